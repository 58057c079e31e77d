"""Several directories as one, such as a month's each: stamps below one another."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from rbkeras.data.alerts import repeated_alerts
from rbkeras.data.detectors import Detector
from rbkeras.data.labels import DEFAULT_LABELS
from rbkeras.data.recorded import (
    RecordedDetector,
    RecordedStamps,
    read_recorded,
    with_recorded_labels,
)
from rbkeras.data.records import is_records
from rbkeras.data.survey import DetectorData, is_survey, read_survey, require_same_shape
from rbkeras.errors import InputError
from rbkeras.tables import stacked

_COMPARED = 100

Part = DetectorData | RecordedDetector


@dataclass(frozen=True)
class JoinedStamps:
    """Arrays (N_k, H, W, C), one below another, read when they are sliced.

    Rows come in the type that all of the arrays fit into, whichever they are from.
    """

    arrays: Sequence[np.ndarray | RecordedStamps]

    @cached_property
    def shape(self) -> tuple[int, ...]:
        """(N, H, W, C)."""
        return (sum(map(len, self.arrays)), *self.arrays[0].shape[1:])

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice) -> np.ndarray:
        first, last, step = rows.indices(len(self))
        if step != 1:
            raise ValueError(f"expected rows without gaps, got {rows}")
        pieces, start = [np.asarray(self.arrays[0][:0])], 0
        for array in self.arrays:
            pieces.append(array[max(first - start, 0) : max(last - start, 0)])
            start += len(array)
        return np.concatenate(pieces, dtype=np.result_type(*(array.dtype for array in self.arrays)))


@dataclass(frozen=True)
class JoinedDetector:
    """A detector that stands in several directories."""

    parts: tuple[Part, ...]

    @property
    def detector_id(self) -> int:
        """The detector's number."""
        return self.parts[0].detector_id

    @cached_property
    def stamps(self) -> JoinedStamps:
        """Stamps (N, H, W, C), those of the first directory first."""
        return JoinedStamps([part.stamps for part in self.parts])

    @cached_property
    def labels(self) -> np.ndarray:
        """Labels, int8 (N,)."""
        return np.concatenate([part.labels for part in self.parts])

    @cached_property
    def params(self) -> pd.DataFrame:
        """The tables; what one of them lacks is missing in its rows."""
        return stacked([part.params for part in self.parts])

    def checksums(self) -> dict[str, str]:
        """SHA-256 of those of the parts, in their order."""
        found = [part.checksums() for part in self.parts]
        return {
            name: hashlib.sha256(" ".join(one[name] for one in found).encode()).hexdigest()
            for name in found[0]
        }

    def require_unchanged(self) -> None:
        """Raise `InputError` where a file of a part has changed since."""
        for part in self.parts:
            part.require_unchanged()


def read_directory(
    directory: str | Path, *, labels: Mapping[str, int] = DEFAULT_LABELS
) -> Iterator[Part]:
    """Open the detectors of a survey directory, or of a records directory.

    Raises
    ------
    InputError
        As `rbkeras.data.survey.read_survey` and `rbkeras.data.recorded.read_recorded` do.
    """
    if _recorded(directory):
        return read_recorded(directory)
    return read_survey(directory, labels=labels)


def _recorded(directory: str | Path) -> bool:
    return is_records(directory) and not is_survey(directory)


def joined_labels(
    directories: Sequence[str | Path], *, labels: Mapping[str, int] = DEFAULT_LABELS
) -> dict[str, int]:
    """Add the label names of those of the directories that are records to `labels`.

    Raises
    ------
    InputError
        Where a name has two meanings.
    """
    found = dict(labels)
    for directory in filter(_recorded, directories):
        found = with_recorded_labels(found, directory)
    return found


def read_surveys(
    directories: Sequence[str | Path], *, labels: Mapping[str, int] = DEFAULT_LABELS
) -> Iterator[Detector]:
    """Open the detectors of one directory or more, in the order of their files' names.

    A detector that stands in several directories has their stamps one below another, in the order
    in which the directories are named. Labels of records are as they were converted.

    Raises
    ------
    InputError
        As `read_directory` does, when stamps differ in shape between directories, when the stamps
        of two begin alike, as where one has been appended to the other, and when an alert stands
        in the records of both: of stamps that come twice, one would be learnt from and the other
        tested on.
    """
    found: dict[int, list[Part]] = {}
    for directory in directories:
        for detector in read_directory(directory, labels=labels):
            first = next(iter(found.values()), [detector])[0]
            require_same_shape(detector.files, detector.stamps, first.files, first.stamps)
            found.setdefault(detector.detector_id, []).append(detector)
    _require_alerts_once([part for parts in found.values() for part in parts])
    for parts in sorted(found.values(), key=_place):
        _require_different(parts)
        yield parts[0] if len(parts) == 1 else JoinedDetector(tuple(parts))


def _place(parts: Sequence[Part]) -> str:
    """Sort data10.tfrecord like images10.npy: before data101.tfrecord and data2.tfrecord."""
    name = parts[0].files.images.name
    return name.removeprefix("images").removeprefix("data")


def _require_different(parts: Sequence[Part]) -> None:
    for number, part in enumerate(parts):
        for other in parts[:number]:
            count = min(len(part.stamps), len(other.stamps), _COMPARED)
            # As records hold them: those of a survey of float64 are not quite its own stamps.
            with np.errstate(over="ignore"):
                one, another = (np.asarray(p.stamps[:count], np.float32) for p in (part, other))
            if np.array_equal(one, another, equal_nan=True):
                raise InputError(
                    f"{part.files.images}: expected other stamps than in {other.files.images}, "
                    f"found the same {count} at the beginning of both"
                )


def _require_alerts_once(parts: Sequence[Part]) -> None:
    of_alerts = [
        part.params[["alert_id", "file"]].assign(records=part.files.images)
        for part in parts
        if isinstance(part, RecordedDetector) and {"alert_id", "file"} <= set(part.params)
    ]
    if not of_alerts:
        return
    table = pd.concat(of_alerts, ignore_index=True).dropna().astype(str)
    again = table[repeated_alerts(table)]
    if len(again):
        alert, _, records = again.iloc[0]
        first = table["records"][table["alert_id"] == alert].iloc[0]
        raise InputError(
            f"{records}: expected every alert once, but {alert} also stands in {first}"
        )
    # Survey directories may use the column as they like, but for alerts that records have.
    for part in parts:
        if isinstance(part, DetectorData) and "alert_id" in part.params:
            names = part.params["alert_id"].dropna().astype(str)
            again = names[names.isin(table["alert_id"])]
            if len(again):
                raise InputError(
                    f"{part.files.params}: expected other alerts than those of the records, found "
                    f"{again.iloc[0]}"
                )
