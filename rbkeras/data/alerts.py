"""What is in an alert packet of ZTF, of Rubin, or of a survey with the same three cutouts."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from rbkeras.data.avro import CUTOUTS
from rbkeras.data.cutouts import Position, decode_cutout
from rbkeras.data.samples import Sample
from rbkeras.errors import InputError

_JD_OF_MJD_0 = 2400000.5
_AB_ZERO_POINT_NJY = 31.4
_ZTF_BANDS = {1: "g", 2: "r", 3: "i"}
_ZTF_CUTOUT = 63  # pixels on a side, unless the edge of the readout channel is nearer
_ZTF_CHANNEL = (3080, 3072)  # rows and columns of one
_SAME_PLACE = 0.01  # pixels; positions on a detector are float32
_DETECTORS = 10**18  # exclusive, as in names of files of a survey


def _text(value: Any) -> str | None:
    # Rubin writes 0 for an object that there is none of.
    return None if value == 0 else str(value)


def _magnitude(nanojansky: float) -> float:
    flux = abs(nanojansky)
    return _AB_ZERO_POINT_NJY - 2.5 * math.log10(flux) if flux > 0 else math.nan


def _detector(number: float) -> int:
    if not 0 <= number < _DETECTORS or number % 1:
        raise ValueError(f"expected a whole number of at most 18 digits, got {number}")
    return int(number)


# Where a column's value stands in a packet: the first place that has one, and what is made of it.
_PLACES: dict[str, list[tuple[str, Callable[[Any], Any]]]] = {
    "alert_id": [("candid", _text), ("diaSourceId", _text), ("alertId", _text)],
    "object_id": [
        ("objectId", _text),
        ("diaSource.diaObjectId", _text),
        ("diaSource.ssObjectId", _text),
    ],
    # ZTF numbers the four readout channels of each of its 16 detectors.
    "detector_id": [
        ("candidate.rcid", lambda rcid: _detector(rcid) // 4 + 1),
        ("diaSource.detector", _detector),
    ],
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


def alert_identity(
    packet: Mapping[str, Any], *, where: str, score_field: str | None
) -> dict[str, Any]:
    """Say which detection a packet is of.

    Parameters
    ----------
    packet
        As Avro decodes it.
    where
        Named in errors.
    score_field
        Where the survey's score stands, such as 'candidate.rb'; None takes the first of
        candidate.drb, candidate.rb and diaSource.reliability that has a value.

    Returns
    -------
    dict
        The keys `COLUMNS` but the first two, and alert_id only where the packet has one; None
        where it has no value, detector_id 0.

    Raises
    ------
    InputError
        When a value is of no use.
    """
    identity: dict[str, Any] = {}
    for column, places in _PLACES.items():
        values = (_value(packet, place, convert, where) for place, convert in places)
        identity[column] = next((value for value in values if value is not None), None)
    if identity["alert_id"] is None:
        del identity["alert_id"]
    identity["detector_id"] = identity["detector_id"] or 0
    for place in [score_field] if score_field else _SCORES:
        score = _value(packet, place, float, where)
        if score is not None and not math.isnan(score):
            name = place.rsplit(".")[-1]
            return identity | {"survey_score": score, "survey_score_name": name}
    return identity | {"survey_score": None, "survey_score_name": None}


def alert_images(
    packet: Mapping[str, Any], *, where: str
) -> tuple[tuple[np.ndarray, ...], tuple[tuple[int, int] | None, ...]]:
    """Decode a packet's cutouts: FITS files, gzipped or not, as bytes or in `stampData`.

    Returns
    -------
    images, centers
        Science, template, difference, float32 (H, W), NaN where there are no data; and what
        `rbkeras.data.samples.Sample` calls centers.

    Raises
    ------
    InputError
        When a cutout is missing, damaged or not two-dimensional.
    """
    images, references = zip(*(_cutout(packet, name, where) for name in CUTOUTS), strict=True)
    if _are_detections(references, packet, [image.shape for image in images], where):
        return images, tuple((_pixel(row), _pixel(column)) for row, column in references)
    return images, tuple(_center(packet, image.shape, where) for image in images)


def repeated_alerts(table: pd.DataFrame) -> pd.Series:
    """Say of every row of `alert_table` whether its alert has been there before, bool.

    Names of last resort, after a file and a place in it, are nobody's in another file.
    """
    names = zip(table["alert_id"], table["file"], strict=True)
    own = [not alert.startswith(f"{file}:") for alert, file in names]
    return table["alert_id"].duplicated() & np.array(own)


def alert_table(samples: Sequence[Sample]) -> pd.DataFrame:
    """Return the columns `COLUMNS`, of the same dtypes whatever is missing."""
    table = pd.DataFrame([sample.identity for sample in samples], columns=list(COLUMNS))
    table["detector_id"] = [sample.identity.get("detector_id", 0) for sample in samples]
    floats = set(COLUMNS) - set(_TEXT) - set(_INTEGERS)
    return table.astype(
        dict.fromkeys(_TEXT, "string")
        | dict.fromkeys(_INTEGERS, "int64")
        | dict.fromkeys(floats, "float64")
    )


def _cutout(packet: Mapping[str, Any], name: str, where: str) -> tuple[np.ndarray, Position | None]:
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
        raise InputError(f"{where}: expected a number in {place}, found {value!r:.80}") from None


def _pixel(position: float) -> int:
    """Name the pixel in which a position lies; centres of pixels are whole numbers."""
    return math.floor(position + 0.5)


def _are_detections(
    references: Sequence[Position | None],
    packet: Mapping[str, Any],
    shapes: Sequence[tuple[int, int]],
    where: str,
) -> bool:
    """Find out whether the reference pixels of all cutouts are the detection, as Rubin's are.

    They are what `diaSource` says of its position on the detector, but for whole pixels; other
    programs leave the reference pixel of the whole exposure there.
    """
    detection = [_value(packet, f"diaSource.{axis}", float, where) for axis in "yx"]
    for reference, shape in zip(references, shapes, strict=True):
        if reference is None:
            return False
        for place, length, known in zip(reference, shape, detection, strict=True):
            if known is None:
                return False
            inside = -0.5 <= place < length - 0.5
            if not (inside and abs(math.remainder(place - known, 1)) < _SAME_PLACE):
                return False
    return True


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
        pixel = _pixel(position - 1)  # positions count from 1
        before, after = (min(_ZTF_CUTOUT // 2, n) for n in (pixel, pixels - 1 - pixel))
        if before + 1 + after != length:
            return None
        center.append(before)
    return center[0], center[1]
