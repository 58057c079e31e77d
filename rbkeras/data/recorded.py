"""Detectors of a records directory, read as those of a survey directory are."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from rbkeras.data.blocks import has_blocks
from rbkeras.data.encoding import frame_length, pixels_of_frames
from rbkeras.data.labels import LABEL_NAMES
from rbkeras.data.manifest import MANIFEST, read_manifest
from rbkeras.data.records import IDENTITY, SAMPLES, damaged, open_records
from rbkeras.data.survey import DetectorFiles
from rbkeras.errors import InputError
from rbkeras.file_states import require_state, state_of


class RecordedStamps:
    """Stamps of one file of records: a selection is read, and its checksums compared, when sliced.

    Parameters
    ----------
    path
        Uncompressed records, as `rbkeras.data.encoding.frame_block` writes them.
    size
        Their number.
    stamp_shape
        Height, width, channels.
    """

    dtype = np.dtype("<f4")

    def __init__(self, path: Path, size: int, stamp_shape: tuple[int, int, int]):
        self._path = path
        self.shape = (size, *stamp_shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice) -> np.ndarray:
        """float32 (n, H, W, C).

        Raises
        ------
        InputError
            When the file ends too early or a checksum is not that of the bytes.
        """
        first, last, step = rows.indices(len(self))
        if step != 1:
            raise ValueError(f"expected rows without gaps, got {rows}")
        stamp_shape = self.shape[1:]
        count, length = max(last - first, 0), frame_length(stamp_shape)
        with self._path.open("rb", buffering=0) as file:
            file.seek(first * length)
            frames = np.fromfile(file, np.uint8, count * length)
        if len(frames) < count * length:
            raise damaged(self._path.parent, f"{self._path.name} ends before record {last}")
        try:
            pixels = pixels_of_frames(
                frames.reshape(count, length), np.arange(count), stamp_shape=stamp_shape
            )
        except ValueError as error:
            raise damaged(self._path.parent, f"{error}, in {self._path.name}") from None
        return np.ascontiguousarray(pixels).view(self.dtype).reshape(count, *stamp_shape)


@dataclass(frozen=True)
class RecordedDetector:
    """A detector of a records directory; attributes as in `rbkeras.data.survey.DetectorData`."""

    files: DetectorFiles
    stamps: RecordedStamps
    labels: np.ndarray
    params: pd.DataFrame
    #: Of what the records were made of.
    images_sha256: str
    #: What the two files were when they were opened.
    states: tuple[dict[str, Any], ...]

    @property
    def detector_id(self) -> int:
        """The detector's number."""
        return self.files.detector_id

    def checksums(self) -> dict[str, str]:
        """SHA-256 of the stamps that the records were made of, and of labels and table."""
        table = self.labels.tobytes() + self.params.to_csv(index=False).encode()
        return {
            "images_sha256": self.images_sha256,
            "params_sha256": hashlib.sha256(table).hexdigest(),
        }

    def require_unchanged(self) -> None:
        """Raise `InputError` where a file is another by now than the one that was opened."""
        for path, state in zip((self.files.images, self.files.params), self.states, strict=True):
            require_state(path, state)


def read_recorded(directory: str | Path) -> Iterator[RecordedDetector]:
    """Open the detectors of a records directory one after the other, in its order.

    Their `files` are the file of records and the table of all of them.

    Raises
    ------
    InputError
        As `rbkeras.data.records.open_records` does, and where the records are the original's or
        compressed: these cannot be read from the middle.
    """
    directory = Path(directory)
    # Without a manifest, TensorFlow would have to look into the records first.
    records = open_records(directory) if (directory / MANIFEST).exists() else None
    if records is None or not has_blocks(records):
        raise InputError(
            f"{directory}: expected records that rbkeras.convert wrote without --compress, found "
            "others; convert them by themselves first"
        )
    states = [state_of(path) for path in (*records.files, directory / SAMPLES)]
    table = records.samples
    entries = read_manifest(directory)["detectors"]
    start = 0
    for entry, path, state in zip(entries, records.files, states[:-1], strict=True):
        own = table.iloc[start : start + entry["size"]]
        start += entry["size"]
        if (own["detector_id"] != entry["detector_id"]).any():
            raise damaged(directory, f"{SAMPLES} has other detectors than {MANIFEST}")
        yield RecordedDetector(
            DetectorFiles(entry["detector_id"], path, directory / SAMPLES),
            RecordedStamps(path, entry["size"], records.stamp_shape),
            own["label"].to_numpy(np.int8),
            own.drop(columns=IDENTITY).reset_index(drop=True),
            entry["images_sha256"],
            (state, states[-1]),
        )


def with_recorded_labels(labels: Mapping[str, int], directory: str | Path) -> dict[str, int]:
    """Add the label names of a records directory to `labels`.

    Raises
    ------
    InputError
        Where a name has two meanings; that of the records cannot be changed any more.
    """
    if not (Path(directory) / MANIFEST).exists():
        return dict(labels)
    recorded = read_manifest(Path(directory))["labels"]
    for name, value in recorded.items():
        if labels.get(name, value) != value:
            raise InputError(
                f"{directory}: expected {name} to mean {LABEL_NAMES[labels[name]]} as --labels or "
                f"other records have it, found records in which it means {LABEL_NAMES[value]}; "
                "where records differ, convert one of them anew"
            )
    return {**labels, **recorded}
