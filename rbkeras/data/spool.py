"""Stamps put aside on disk until all have been seen."""

import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np


class StampSpool:
    """A temporary file of float32 stamps that vanishes when it is closed, or the process ends.

    Parameters
    ----------
    beside
        The file lies in this folder, or the nearest one above it that exists: on the disk that has
        room for the result, and not where temporary files may be kept in memory.
    stamp_shape
        Height, width, channels.
    """

    def __init__(self, beside: str | Path, stamp_shape: tuple[int, int, int]):
        beside = Path(beside).absolute()
        self._folder = next(one for one in (beside, *beside.parents) if one.is_dir())
        self._file = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115 - closed by `__exit__`
        self._shape = tuple(stamp_shape)
        self._size = 0
        self._whole: np.memmap | None = None

    def append(self, stamps: np.ndarray) -> None:
        """Write stamps (n, *stamp_shape); a full disk is an `OSError` that names the folder."""
        stamps = np.ascontiguousarray(stamps, dtype="<f4")
        try:
            self._file.write(stamps.data)
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(self._folder)) from error
        self._size += len(stamps)
        self._whole = None

    def rows(self, index: np.ndarray) -> "SpooledStamps":
        """Those of the stamps so far with these numbers, in this order."""
        # One map for all selections: each would keep a file open.
        if self._whole is None:
            self._file.flush()
            shape = (self._size, *self._shape)
            self._whole = np.memmap(self._file, dtype="<f4", mode="r", shape=shape)
        return SpooledStamps(self._whole, index)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()


class SpooledStamps:
    """A selection of spooled stamps that reads, like a memory-mapped array, what is sliced."""

    def __init__(self, stamps: np.ndarray, index: np.ndarray):
        self._stamps = stamps
        self._index = index
        self.shape = (len(index), *stamps.shape[1:])

    def __len__(self) -> int:
        return len(self._index)

    def __getitem__(self, rows: slice) -> np.ndarray:
        """float32 (n, H, W, C)."""
        return self._stamps[self._index[rows]]
