"""One alert packet of ZTF, of Rubin, or of a survey with the same three cutouts -> `Sample`."""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from rbkeras.data.avro import CUTOUTS
from rbkeras.data.cutouts import decode_cutout
from rbkeras.data.samples import Sample
from rbkeras.errors import InputError

_JD_OF_MJD_0 = 2400000.5
_AB_ZERO_POINT_NJY = 31.4
_ZTF_BANDS = {1: "g", 2: "r", 3: "i"}
_ZTF_CUTOUT = 63  # pixels on a side, unless the edge of the readout channel is nearer
_ZTF_CHANNEL = (3080, 3072)  # rows and columns of one


def _text(value: Any) -> str | None:
    # Rubin writes 0 for an object that there is none of.
    return None if value == 0 else str(value)


def _magnitude(nanojansky: float) -> float:
    flux = abs(nanojansky)
    return _AB_ZERO_POINT_NJY - 2.5 * math.log10(flux) if flux > 0 else math.nan


# Where a column's value stands in a packet: the first place that has one, and what is made of it.
_PLACES: dict[str, list[tuple[str, Callable[[Any], Any]]]] = {
    "alert_id": [("candid", _text), ("diaSourceId", _text), ("alertId", _text)],
    "object_id": [
        ("objectId", _text),
        ("diaSource.diaObjectId", _text),
        ("diaSource.ssObjectId", _text),
    ],
    # ZTF numbers the four readout channels of each of its 16 detectors.
    "detector_id": [("candidate.rcid", lambda rcid: rcid // 4 + 1), ("diaSource.detector", int)],
    "mjd": [
        ("candidate.jd", lambda jd: jd - _JD_OF_MJD_0),
        ("diaSource.midpointMjdTai", float),
    ],
    "ra": [("candidate.ra", float), ("diaSource.ra", float)],
    "dec": [("candidate.dec", float), ("diaSource.dec", float)],
    "band": [("candidate.fid", _ZTF_BANDS.get), ("diaSource.band", str)],
    "magnitude": [("candidate.magpsf", float), ("diaSource.psfFlux", _magnitude)],
}
_SCORES = ("candidate.drb", "candidate.rb", "diaSource.reliability")
_TEXT = ("file", "alert_id", "object_id", "band", "survey_score_name")
_INTEGERS = ("sample_index", "detector_id")
COLUMNS = ("sample_index", "file", *_PLACES, "survey_score", "survey_score_name")


def read_alert(
    packet: Mapping[str, Any],
    *,
    file: Path,
    number: int,
    sample_index: int,
    score_field: str | None = None,
) -> Sample:
    """Take what rbkeras needs from a packet.

    Parameters
    ----------
    packet
        As Avro decodes it. Cutouts are FITS files, gzipped or not, as bytes or in `stampData`.
    file, number
        Where it comes from.
    sample_index
        Its number in the source.
    score_field
        Where the survey's score stands, such as 'candidate.rb'; None takes the first of
        candidate.drb, candidate.rb and diaSource.reliability that has a value.

    Returns
    -------
    Sample
        Channels science, template, difference, float32, NaN where there are no data. Identity
        has the keys `COLUMNS`; None where the packet has no value, detector_id 0.

    Raises
    ------
    InputError
        When a cutout is missing, damaged or not two-dimensional, or a value is of no use.
    """
    where = f"{file}: packet {number + 1}"
    images = tuple(_cutout(packet, name, where) for name in CUTOUTS)
    identity: dict[str, Any] = {"sample_index": sample_index, "file": file.name}
    for column, places in _PLACES.items():
        values = (_value(packet, place, convert, where) for place, convert in places)
        identity[column] = next((value for value in values if value is not None), None)
    identity["alert_id"] = identity["alert_id"] or f"{file.name}:{number + 1}"
    identity["detector_id"] = identity["detector_id"] or 0
    for place in [score_field] if score_field else _SCORES:
        score = _value(packet, place, float, where)
        if score is not None and not math.isnan(score):
            identity |= {"survey_score": score, "survey_score_name": place.rsplit(".")[-1]}
            break
    else:
        identity |= {"survey_score": None, "survey_score_name": None}
    return Sample(where, identity, images, tuple(_center(packet, i.shape, where) for i in images))


def alert_table(samples: Sequence[Sample]) -> pd.DataFrame:
    """Identity columns of alerts, of the same dtypes whatever is missing."""
    table = pd.DataFrame([sample.identity for sample in samples], columns=list(COLUMNS))
    floats = set(COLUMNS) - set(_TEXT) - set(_INTEGERS)
    return table.astype(
        dict.fromkeys(_TEXT, "string")
        | dict.fromkeys(_INTEGERS, "int64")
        | dict.fromkeys(floats, "float64")
    )


def _cutout(packet: Mapping[str, Any], name: str, where: str):
    content = packet.get(name)
    if isinstance(content, Mapping):
        content = content.get("stampData")
    if not content:
        raise InputError(f"{where}: expected a {name}, found none")
    return decode_cutout(content, where=f"{where}, {name}")


def _value(
    packet: Mapping[str, Any], place: str, convert: Callable[[Any], Any], where: str
) -> Any | None:
    value: Any = packet
    for key in place.split("."):
        value = value.get(key) if isinstance(value, Mapping) else None
    try:
        return None if value is None else convert(value)
    except (TypeError, ValueError, OverflowError):
        raise InputError(f"{where}: expected a number in {place}, found {value!r}") from None


def _center(
    packet: Mapping[str, Any], shape: tuple[int, ...], where: str
) -> tuple[int, int] | None:
    """Find the detection in a ZTF cutout that the detector's edge cuts short.

    ZTF leaves away what lies beyond the edge, so the detection is not in the middle of what is
    left. None where size and position do not tell of such an edge.
    """
    if shape == (_ZTF_CUTOUT, _ZTF_CUTOUT):
        return None
    center = []
    for length, pixels, place in zip(shape, _ZTF_CHANNEL, ("ypos", "xpos"), strict=True):
        position = _value(packet, f"candidate.{place}", float, where)
        if position is None or not 0 <= position <= pixels + 1:
            return None
        pixel = math.floor(position - 0.5)  # positions count from 1
        before, after = (min(_ZTF_CUTOUT // 2, n) for n in (pixel, pixels - 1 - pixel))
        if before + 1 + after != length:
            return None
        center.append(before)
    return center[0], center[1]
