"""Hand-made alert packets, and where real ones are, for several test modules."""

import gzip
import io
import os
from pathlib import Path

import fastavro
import numpy as np
import pytest
from astropy.io import fits

CUTOUTS = ("cutoutScience", "cutoutTemplate", "cutoutDifference")
# Samples of real packets are not part of the project: they lie beside it where there are any.
BESIDE = Path(__file__).resolve().parents[2] / "shared"
SHARED = Path(os.environ.get("RBKERAS_TEST_PACKETS", BESIDE))


def needs_real(survey):
    missing = not (SHARED / survey / "alerts").is_dir()
    return pytest.mark.skipif(missing, reason=f"needs real packets of {survey}")


def fits_bytes(*images, compress=False, **header):
    """A FITS file with an image per unit; None makes a unit without data."""
    units = [fits.PrimaryHDU(images[0]), *map(fits.ImageHDU, images[1:])]
    units[0].header.update(header)
    content = io.BytesIO()
    fits.HDUList(units).writeto(content)
    return gzip.compress(content.getvalue()) if compress else content.getvalue()


def images_of(number, shape=(9, 9)):
    """Three images whose pixels say which packet, channel, row and column they are of."""
    rows, columns = np.indices(shape, dtype=np.float32)
    return [1000 * number + 100 * c + 10 * rows + columns for c in range(3)]


def _record(name, **fields):
    fields = [{"name": key, "type": kind} for key, kind in fields.items()]
    return {"type": "record", "name": name, "fields": fields}


_STAMP = _record("stamp", fileName="string", stampData="bytes")
_CANDIDATE = dict.fromkeys(("fid", "rcid"), "int") | {
    key: ["null", "double"] for key in ("jd", "ra", "dec", "magpsf", "xpos", "ypos", "rb", "drb")
}
ZTF = _record(
    "ztf",
    objectId="string",
    candid="long",
    candidate=_record("candidate", **_CANDIDATE),
    cutoutScience=["null", _STAMP],
    cutoutTemplate=["null", "stamp"],
    cutoutDifference=["null", "stamp"],
)
_OPTIONAL = {
    key: ["null", kind]
    for key, kind in {
        "diaObjectId": "long",
        "ssObjectId": "long",
        "band": "string",
        "psfFlux": "float",
        "x": "float",
        "y": "float",
        "reliability": "float",
    }.items()
}
_NUMBERS = dict.fromkeys(("midpointMjdTai", "ra", "dec"), "double")
RUBIN = _record(
    "rubin",
    diaSourceId="long",
    diaSource=_record("diaSource", detector="int", **_NUMBERS, **_OPTIONAL),
    **{name: ["null", "bytes"] for name in CUTOUTS},
)
OTHER = _record("other", **dict.fromkeys(CUTOUTS, "bytes"))


def ztf_packet(number, *, images=None, rcid=0, **candidate):
    images = images_of(number) if images is None else images
    values = {"jd": 2460000.5 + number, "ra": 10.0, "dec": -5.0, "magpsf": 18.5, "drb": 0.9}
    return {
        "objectId": f"ZTF{number // 2}",
        "candid": 10**18 + number,
        "candidate": {"fid": 1 + number % 3, "rcid": rcid} | values | candidate,
    } | {
        name: {"fileName": name, "stampData": fits_bytes(image, compress=True)}
        for name, image in zip(CUTOUTS, images, strict=True)
    }


def rubin_packet(number, *, images=None, headers=({}, {}, {}), **source):
    images = images_of(number) if images is None else images
    values = {"diaObjectId": 7 * number + 1, "ssObjectId": 0, "detector": 3, "band": "i"}
    values |= {"midpointMjdTai": 61000.25, "ra": 10.0, "dec": -5.0, "psfFlux": 1000.0}
    cutouts = (
        fits_bytes(image, np.ones((9, 9)), np.ones((5, 5)), **header)
        for image, header in zip(images, headers, strict=True)
    )
    return {
        "diaSourceId": 10**17 + number,
        "diaSource": values | {"reliability": 0.75} | source,
    } | dict(zip(CUTOUTS, cutouts, strict=True))


def write_packets(path, packets, schema=ZTF, *, sync_interval=1, codec="null"):
    """Write an Avro file, by default with a block per packet, as packets' sizes bring about."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        schema = fastavro.parse_schema(schema)
        fastavro.writer(file, schema, packets, codec=codec, sync_interval=sync_interval)
    return path
