"""A folder of FITS stamps, listed in a table, as a source of stamps."""

import os
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from rbkeras.data.cutouts import decode_cutout, decode_planes
from rbkeras.data.samples import Block, OnBad, Sample, ignore_bad, report_bad, stamp_blocks
from rbkeras.data.survey import LABEL_COLUMN
from rbkeras.errors import InputError
from rbkeras.tables import LONGEST_EXACT, moved_aside, read_table, spreadsheet_row

TABLE = "stamps.csv"
STACK = "file"
PLANES = ("new", "reference", "difference")


class FitsSource:
    """Stamps as FITS files, in the order of a table that names them.

    Parameters
    ----------
    path
        The folder that holds `stamps.csv`, or such a table under another name. It has a row per
        stamp: column `file` names one FITS file with all channels (a cube, or an image per
        extension), or `new`, `reference` and `difference` name a file each, relative to the
        table. `detector_id` is an integer, 0 where there is no such column; all other columns
        ride along.
    size
        Height and width of the stamps, or one number for both: images are cut and NaN-padded
        about their centre, see `rbkeras.data.cutouts.fit_image`. None takes them as they are,
        of one size.
    on_bad
        Told a sentence about every stamp at fault, which is left out; None raises.

    Raises
    ------
    InputError
        When there is no such table, it has no rows, names no files, or a detector is no integer.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        size: int | tuple[int, int] | None = None,
        on_bad: OnBad | None = None,
    ):
        path = Path(path)
        self.path = path / TABLE if path.is_dir() else path
        self.name = str(path)
        self._shape = (size, size) if isinstance(size, int) else size
        self._on_bad = on_bad
        self.table, self._columns = _read(self.path)

    @cached_property
    def stamp_shape(self) -> tuple[int, int, int]:
        """Height, width and channels; channels, and without a size all, of the first sound one."""
        first = next(self._samples(0, self._on_bad and ignore_bad), None)
        if first is None:
            raise InputError(f"{self.path}: expected FITS stamps, found no sound one")
        return (*(self._shape or first.images[0].shape), len(first.images))

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.table)

    def files(self) -> Iterator[Path]:
        """Name the FITS files of all rows, in order, whether they are there or not."""
        for names in self.table[list(self._columns)].itertuples(index=False, name=None):
            yield from (self.path.parent / name for name in names if isinstance(name, str))

    def repeated(self, table: pd.DataFrame) -> pd.Series:
        """Say of every row of a table of this source whether one before names the same files."""
        names = table[list(self._columns)].dropna().map(os.path.normpath)
        return names.duplicated().reindex(table.index, fill_value=False)

    def samples(self, start: int = 0) -> Iterator[Sample]:
        """Read stamps from row `start` on, one at a time, of whatever size they are.

        Raises
        ------
        InputError
            At a stamp at fault, unless there is an `on_bad`.
        """
        return self._samples(start, self._on_bad)

    def blocks(self, start: int = 0, size: int = 512) -> Iterator[Block]:
        """Read rows of the table, with `sample_index`, and float32 stamps (n, H, W, C).

        Yields
        ------
        identity, stamps
            At most `size` rows; NaN where an image has no data.

        Raises
        ------
        InputError
            At a stamp at fault, unless there is an `on_bad`.
        """
        yield from stamp_blocks(
            self.samples(start),
            self.stamp_shape,
            self._rows,
            size=size,
            exact=self._shape is None,
            on_bad=self._on_bad,
        )

    def _samples(self, start: int, on_bad: OnBad | None) -> Iterator[Sample]:
        rows = self.table[list(self._columns)].iloc[start:].itertuples(index=False, name=None)
        for row, names in enumerate(rows, start):
            try:
                images = self._images(row, names)
            except InputError as error:
                report_bad(error, on_bad)
                continue
            where = str(self.path.parent / names[0])
            yield Sample(where, {"sample_index": row}, images, (None,) * len(images))

    def _rows(self, samples: Sequence[Sample]) -> pd.DataFrame:
        index = [sample.identity["sample_index"] for sample in samples]
        table = self.table.iloc[index].reset_index(drop=True)
        # A column `fault` beside stamps says which have no score.
        table = moved_aside(table, ["fault"])
        table.insert(0, "sample_index", np.asarray(index, np.int64))
        return table

    def _images(self, row: int, names: Sequence[str]) -> tuple[np.ndarray, ...]:
        payloads = []
        for column, name in zip(self._columns, names, strict=True):
            if not isinstance(name, str) or "\0" in name:
                raise InputError(
                    f"{self.path}: expected a file name in row {spreadsheet_row(row)}, "
                    f"column {column}, found {'none' if pd.isna(name) else repr(name)}"
                )
            path = self.path.parent / name
            if path.exists() and not path.is_file():
                raise InputError(f"{path}: expected a FITS file, found a folder, pipe or device")
            try:
                payloads.append((path.read_bytes(), str(path)))
            except OSError as error:
                raise InputError(
                    f"{path}: expected a readable FITS file, as row {spreadsheet_row(row)} of "
                    f"{self.path.name} names, got {error.strerror}"
                ) from None
        if self._columns == (STACK,):
            (payload, where), *_ = payloads
            return tuple(decode_planes(payload, where=where))
        return tuple(decode_cutout(payload, where=where)[0] for payload, where in payloads)


def is_fits_table(path: str | Path) -> bool:
    """Whether a path is a folder with a table of FITS stamps, or itself a CSV table."""
    path = Path(path)
    return (path / TABLE).exists() or (path.is_file() and path.suffix == ".csv")


def _read(path: Path) -> tuple[pd.DataFrame, tuple[str, ...]]:
    # A file may have a number for a name.
    names = dict.fromkeys((STACK, *PLANES), "str")
    table = read_table(path, [], dtype=names, words=LABEL_COLUMN)
    columns = (STACK,) if STACK in table else PLANES
    if not set(columns) <= set(table.columns):
        found = ", ".join(map(str, table.columns[:8]))
        raise InputError(
            f"{path}: expected the column {STACK}, or {', '.join(PLANES)}, which name FITS files, "
            f"found {found}"
        )
    if table.empty:
        raise InputError(f"{path}: expected a row per stamp, found none")
    table = table.loc[:, ~table.columns.str.startswith("Unnamed:")].drop(
        columns="sample_index", errors="ignore"
    )
    if "detector_id" not in table:
        table["detector_id"] = 0
    numbers = pd.to_numeric(table["detector_id"], errors="coerce")
    wrong = np.flatnonzero(~((numbers % 1 == 0) & numbers.between(0, LONGEST_EXACT)))
    if wrong.size:
        found = table["detector_id"].iloc[wrong[0]]
        raise InputError(
            f"{path}: expected an integer detector_id of at least 0 in row "
            f"{spreadsheet_row(wrong[0])}, found {found}"
        )
    table["detector_id"] = numbers.astype(np.int64)
    return table, columns
