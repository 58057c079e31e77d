"""What `predict` scores: stamps read block by block, wherever they lie.

A new kind of source is a class with the members of `Source` and a line in `open_source`.
"""

import glob
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Protocol

import numpy as np
import pandas as pd

from rbkeras.data.alert_source import AlertSource
from rbkeras.data.avro import is_alerts
from rbkeras.data.blocks import has_blocks, ordered_blocks
from rbkeras.data.fits_source import FitsSource, is_fits_table
from rbkeras.data.manifest import MANIFEST, read_manifest
from rbkeras.data.records import damaged, is_records, open_records
from rbkeras.data.survey import open_stamps
from rbkeras.errors import InputError

Block = tuple[pd.DataFrame, np.ndarray]


class Source(Protocol):
    """Stamps in a fixed order, and who each of them is.

    Attributes
    ----------
    name
        As the user gave it; named in errors and in the table of scores.
    """

    name: str

    @property
    def stamp_shape(self) -> tuple[int, int, int]:
        """Height, width, channels."""
        ...

    def __len__(self) -> int:
        """Return the number of stamps; 0 is not a fault."""
        ...

    def blocks(self, start: int, size: int) -> Iterator[Block]:
        """Read from stamp `start` to the end, `size` stamps at a time; the last block is the rest.

        Nothing but the block at hand is kept in memory. Blocks may be drawn on another thread
        than the one that opened the source.

        Yields
        ------
        identity, stamps
            A table whose columns tell stamps apart, such as detector_id and sample_index, and
            float32 (n, H, W, C), NaN and infinities as they are stored.

        Raises
        ------
        InputError
            When the source is damaged there.
        """
        ...


def expanded(paths: Sequence[str | Path]) -> list[Path]:
    """Put the `.npy` files in and below a folder in its place, and what a pattern stands for.

    A survey directory is such a folder. Files come in the order of the numbers in their names.
    """
    return [file for path in map(Path, paths) for file in _expanded(path)]


def _expanded(path: Path) -> list[Path]:
    """Expand one path; what cannot be opened stays as it is, to be told by who opens it."""
    found = [path]
    try:
        if glob.has_magic(str(path)) and not path.exists():
            names = glob.glob(str(path), recursive=True)
            found = _by_number(map(Path, names)) or found
        return [file for one in found for file in (_arrays_of(one) or [one])]
    except OSError:
        return found


def _arrays_of(path: Path) -> list[Path]:
    """List the `.npy` files of a folder that holds nothing else that can be opened."""
    if not path.is_dir() or is_alerts(path) or is_fits_table(path) or is_records(path):
        return []
    below = (file for file in path.rglob("*.npy") if file.is_file())
    return _by_number(
        file for file in below if not any(part[0] == "." for part in file.relative_to(path).parts)
    )


def _by_number(paths: Iterable[Path]) -> list[Path]:
    def key(path: Path) -> list[tuple[int, str]]:
        words = re.split(r"(\d+)", str(path))
        return [(int(word), "") if word.isdecimal() else (-1, word) for word in words]

    return sorted(paths, key=key)


def open_source(
    path: str | Path, *, stamp_shape: tuple[int, int, int] | None = None, keep_bad: bool = False
) -> Source:
    """Open what lies at `path`, whichever kind of source it is.

    Parameters
    ----------
    path
        Alert packets, a table of FITS stamps, a records directory or a `.npy` file.
    stamp_shape
        To which packets and FITS stamps are cut or padded; None takes them as they are.
    keep_bad
        Give packets at fault a row, all NaN, and say why in a column `fault`, in place of raising.

    Raises
    ------
    InputError
        When it is missing or at fault, as far as that can be told without reading all of it.
    """
    path = Path(path)
    size = None if stamp_shape is None else stamp_shape[:2]
    if is_alerts(path):
        return AlertSource(path, size=size, keep_bad=keep_bad and size is not None)
    if is_fits_table(path):
        return FitsSource(path, size=size)
    if path.is_dir() and not any(path.iterdir()):
        raise InputError(
            f"{path}: expected alert packets, FITS stamps with their table, or records, found an "
            "empty folder"
        )
    return RecordsSource(path) if path.is_dir() else ArraySource(path)


def require_stamp_shape(
    found: tuple[int, ...], expected: tuple[int, ...], *, source: str | Path
) -> None:
    """Raise `InputError` naming `source` unless a model that takes `expected` can take `found`."""
    if tuple(found) != tuple(expected):
        raise InputError(
            f"{source}: expected stamps of shape {tuple(expected)}, which the model was trained "
            f"on, found {tuple(found)}"
        )


class ArraySource:
    """A `.npy` file (N, H, W, C) of real numbers; its stamps are told apart by `sample_index`."""

    def __init__(self, path: Path):
        stamps = open_stamps(path, allow_none=True)
        self.name = str(path)
        self.stamp_shape = stamps.shape[1:]
        self._path = path
        self._length = len(stamps)
        self._dtype = stamps.dtype
        # The map is not kept: its pages would count as this process's memory, and a file that is
        # cut short while it is mapped kills the process without a word.
        self._first_byte: int | None = stamps.offset if stamps.flags.c_contiguous else None

    def __len__(self) -> int:
        return self._length

    def blocks(self, start: int, size: int) -> Iterator[Block]:
        """See `Source`."""
        with self._path.open("rb", buffering=0) as file:
            for first in range(start, self._length, size):
                count = min(size, self._length - first)
                stamps = self._read(file, first, count)
                identity = pd.DataFrame({"sample_index": np.arange(first, first + count)})
                # float64 beyond float32's range becomes infinite, which networks know how to take.
                with np.errstate(over="ignore"):
                    stamps = stamps.astype(np.float32, copy=False)
                yield identity, stamps

    def _read(self, file: BinaryIO, first: int, count: int) -> np.ndarray:
        if self._first_byte is None:
            # In Fortran's order a stamp is strewn over the whole file.
            return np.array(open_stamps(self._path)[first : first + count])
        pixels = int(np.prod(self.stamp_shape))
        file.seek(self._first_byte + first * pixels * self._dtype.itemsize)
        values = np.fromfile(file, self._dtype, count * pixels)
        if len(values) < count * pixels:
            raise InputError(
                f"{self._path}: expected {self._length} stamps, but the file now ends within "
                f"stamp {first + len(values) // pixels}"
            )
        return values.reshape(count, *self.stamp_shape)


class RecordsSource:
    """A records directory, ours or the original's, in the order of its files."""

    def __init__(self, directory: Path):
        self._records = open_records(directory)
        self.name = str(directory)
        self.stamp_shape = self._records.stamp_shape

    def __len__(self) -> int:
        return len(self._records)

    def blocks(self, start: int, size: int) -> Iterator[Block]:
        """See `Source`."""
        if has_blocks(self._records) and (self._records.directory / MANIFEST).exists():
            yield from self._layout_blocks(start, size)
            return
        # TensorFlow reads what has to be parsed; other sources do without it.
        from rbkeras.data.parsing import identified_stamps

        yield from identified_stamps(self._records, start=start, batch_size=size)

    def _layout_blocks(self, start: int, size: int) -> Iterator[Block]:
        # By their places, which rbkeras.check holds records to: their table has a row for each.
        entries = read_manifest(self._records.directory)["detectors"]
        starts = np.array([entry["start_index"] for entry in entries])
        detectors = np.array([entry["detector_id"] for entry in entries])
        try:
            for stamps, index in ordered_blocks(self._records, start=start, size=size):
                file = np.searchsorted(starts, index, side="right") - 1
                names = {"detector_id": detectors[file], "sample_index": index - starts[file]}
                yield pd.DataFrame(names), stamps
        except ValueError as error:
            raise damaged(self.name, str(error)) from None
