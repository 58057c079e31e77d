"""Several survey directories as one, such as a month's each: stamps below one another."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from rbkeras.data.detectors import Detector
from rbkeras.data.labels import DEFAULT_LABELS
from rbkeras.data.survey import DetectorData, read_survey, require_same_shape
from rbkeras.errors import InputError
from rbkeras.tables import stacked

_COMPARED = 100


@dataclass(frozen=True)
class JoinedStamps:
    """Arrays (N_k, H, W, C), one below another, read when they are sliced.

    Rows come in the type that all of the arrays fit into, whichever they are from.
    """

    arrays: Sequence[np.ndarray]

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
        pieces, start = [self.arrays[0][:0]], 0
        for array in self.arrays:
            pieces.append(array[max(first - start, 0) : max(last - start, 0)])
            start += len(array)
        return np.concatenate(pieces, dtype=np.result_type(*self.arrays))


@dataclass(frozen=True)
class JoinedDetector:
    """A detector that stands in several surveys."""

    parts: tuple[DetectorData, ...]

    @property
    def detector_id(self) -> int:
        """The detector's number."""
        return self.parts[0].detector_id

    @cached_property
    def stamps(self) -> JoinedStamps:
        """Stamps (N, H, W, C), those of the first survey first."""
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


def read_surveys(
    directories: Sequence[str | Path], *, labels: Mapping[str, int] = DEFAULT_LABELS
) -> Iterator[Detector]:
    """Open the detectors of one survey directory or more, in file-name order.

    A detector that stands in several directories has their stamps one below another, in the order
    in which the directories are named.

    Raises
    ------
    InputError
        As `rbkeras.data.survey.read_survey` does, when stamps differ in shape between directories,
        and when the arrays of two begin alike, as where one has been appended to the other: of
        stamps that come twice, one would be learnt from and the other tested on.
    """
    found: dict[int, list[DetectorData]] = {}
    for directory in directories:
        for detector in read_survey(directory, labels=labels):
            first = next(iter(found.values()), [detector])[0]
            require_same_shape(detector.files, detector.stamps, first.files, first.stamps)
            found.setdefault(detector.detector_id, []).append(detector)
    for parts in sorted(found.values(), key=lambda parts: parts[0].files.images.name):
        _require_different(parts)
        yield parts[0] if len(parts) == 1 else JoinedDetector(tuple(parts))


def _require_different(parts: Sequence[DetectorData]) -> None:
    for number, part in enumerate(parts):
        for other in parts[:number]:
            count = min(len(part.stamps), len(other.stamps), _COMPARED)
            beginnings = part.stamps[:count], other.stamps[:count]
            if np.array_equal(*beginnings, equal_nan=True):
                raise InputError(
                    f"{part.files.images}: expected other stamps than in {other.files.images}, "
                    f"found the same {count} at the beginning of both"
                )
