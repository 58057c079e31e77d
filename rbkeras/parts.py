"""A long table that is gathered part by part, survives a kill, and appears whole at the end.

Beside `scores.csv` stands a folder `scores.csv.parts`: a marker with the settings that the rows
depend on, and a Parquet file for every finished run of rows. Who starts again with the same
settings asks what is there, and adds the rest.
"""

import contextlib
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Self

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from rbkeras.errors import InputError
from rbkeras.file_states import checksum
from rbkeras.files import beside, named_in_errors, whole_file
from rbkeras.locks import NO_LOCKS
from rbkeras.resume import claim

try:
    import fcntl
except ImportError:  # Windows has none.
    fcntl = None  # type: ignore[assignment]

ENDINGS = (".csv", ".parquet")
_MARKER = "settings.json"
_TEXT = pa.large_string()


def parts_folder(out: Path) -> Path:
    """Where the parts of the table `out` are gathered."""
    return out.with_name(f"{out.name}.parts")


class Parts:
    """The parts of one table, kept apart by the number of the input that they come from.

    Use `claimed` to make one.
    """

    def __init__(self, out: Path):
        self._out = out
        self._folder = parts_folder(out)
        self._claim = self._claimed_now()
        self._stored: dict[int, list[Path]] = {}
        self._rows: dict[int, int] = {}
        for path in sorted(self._folder.glob("[0-9]*.parquet")):
            number, start = map(int, path.stem.split("-"))
            rows = _rows_of(path)
            # After a loss of power a part may be empty: what follows it is then done again too.
            if rows and start == self.rows(number):
                self._count(number, path, rows)

    @classmethod
    @contextlib.contextmanager
    def claimed(cls, out: Path, settings: dict[str, Any], *, overwrite: bool) -> Iterator[Self]:
        """Claim the folder of `out` for these settings while the block runs.

        Parameters
        ----------
        out
            The table to be, ending in one of `ENDINGS`.
        settings
            All that the rows depend on; plain values in nested dicts.
        overwrite
            Begin anew whatever is there.

        Raises
        ------
        InputError
            When parts of other settings are there (it says what differs), when `out` is a folder,
            or when another process is at it.
        """
        folder = parts_folder(out)
        if out.is_dir():
            raise InputError(f"{out}: expected the name of a file to write, found a folder")
        if folder.exists() and not _is_ours(folder):
            raise InputError(
                f"{folder}: expected parts of {out.name}, or nothing, found something else"
            )
        folder.mkdir(parents=True, exist_ok=True)
        with _locked(folder):
            if overwrite:
                # The marker last: whatever a kill leaves, it says whose it is.
                for path in sorted(folder.glob("[!.]*"), key=lambda one: one.name == _MARKER):
                    path.unlink()
            claim(folder / _MARKER, settings, products=[], overwrite=False)
            yield cls(out)

    def rows(self, number: int) -> int:
        """Rows of input `number` that are stored, from its first one on."""
        return self._rows.get(number, 0)

    def add(self, number: int, table: pd.DataFrame) -> None:
        """Store the next rows of input `number`; they survive whatever happens later.

        Raises
        ------
        InputError
            When another command has begun the table anew, or finished it, in the meantime.
        """
        if self._claimed_now() != self._claim:
            raise InputError(f"{self._folder}: expected the parts that were begun, found others")
        path = self._folder / f"{number:06d}-{self.rows(number):012d}.parquet"
        with whole_file(path) as temporary:
            table.to_parquet(temporary, index=False)
        self._count(number, path, len(table))

    def texts(self, number: int, column: str) -> list[str]:
        """Collect what the stored rows of input `number` say in a column, if they have it."""
        found = []
        for path in self._stored.get(number, []):
            if column in pq.read_schema(path).names:
                values = pq.read_table(path, columns=[column])[column]
                found += values.drop_null().to_pylist()
        return found

    def gaps(self, number: int, column: str) -> int:
        """Count the stored rows of input `number` that have nothing in a column."""
        paths = self._stored.get(number, [])
        return sum(pq.read_table(path, columns=[column])[column].null_count for path in paths)

    def write(self, numbers: Sequence[int], *, empty: pd.DataFrame, last: Sequence[str]) -> None:
        """Join the parts of these inputs, in their order, into the whole table; remove the parts.

        Memory is that of one part.

        Parameters
        ----------
        numbers
            Inputs to take; parts of others are dropped.
        empty
            A table without rows: the columns that there are whatever the inputs.
        last
            Columns that stand last, in this order; before them come those of `empty` and of the
            parts, as they appear, and missing ones are empty.
        """
        paths = [path for number in numbers for path in self._stored.get(number, [])]
        columns = pa.Schema.from_pandas(empty, preserve_index=False)
        schema = _joined_schema(columns, paths, last)
        # In the folder of parts, so that a kill leaves nothing else behind.
        whole = self._folder / f"whole{self._out.suffix}"
        try:
            with named_in_errors(self._out), _writer(whole, schema) as writer:
                for path in paths:
                    part = _with_texts(pq.read_table(path).replace_schema_metadata(None), schema)
                    rows = pa.concat_tables(
                        [schema.empty_table(), part], promote_options="permissive"
                    )
                    rows = rows.select(schema.names).cast(schema)
                    # Of a chunk without rows pyarrow before 24 makes another header.
                    if rows.num_rows:
                        writer.write_table(rows.combine_chunks())
            os.replace(whole, self._out)
        finally:
            whole.unlink(missing_ok=True)
        # Under another name first: what a kill leaves of it stands in nobody's way.
        done = beside(self._folder, "part")
        self._folder.rename(done)
        shutil.rmtree(done)

    def _claimed_now(self) -> str | None:
        marker = self._folder / _MARKER
        return checksum(marker) if marker.exists() else None

    def _count(self, number: int, path: Path, rows: int) -> None:
        self._stored.setdefault(number, []).append(path)
        self._rows[number] = self.rows(number) + rows


def _rows_of(path: Path) -> int:
    try:
        return pq.read_metadata(path).num_rows
    except (OSError, ValueError):
        return 0


def _joined_schema(first: pa.Schema, paths: Sequence[Path], last: Sequence[str]) -> pa.Schema:
    """Find types that hold what the parts have, in columns as they appear, `last` at the end."""
    fields: dict[str, pa.Field] = {}
    # The same type over and over, since there may be thousands of parts.
    kinds = {field: None for schema in [first, *map(pq.read_schema, paths)] for field in schema}
    for field in (field.remove_metadata() for field in kinds):
        # pandas writes texts now as the one and now as the other.
        kind = _TEXT if pa.types.is_string(field.type) else field.type
        field = pa.field(field.name, kind)
        known = fields.get(field.name, field)
        try:
            pair = [pa.schema([known]), pa.schema([field])]
            joined = pa.unify_schemas(pair, promote_options="permissive").field(0)
        except pa.ArrowTypeError:
            # Numbers of one input, words of another.
            joined = pa.field(field.name, _TEXT)
        kinds_here = {known.type, kind}
        if kinds_here == {pa.int64(), pa.float64()} and not _exact(paths, field.name):
            joined = pa.field(field.name, _TEXT)
        if pa.uint64() in kinds_here and not kinds_here <= {pa.uint64(), pa.null()}:
            # No type of numbers holds these and others.
            joined = pa.field(field.name, _TEXT)
        fields[field.name] = joined
    names = [name for name in fields if name not in last]
    names += [name for name in last if name in fields]
    schema = pa.schema([fields[name] for name in names])
    # pandas keeps small integers with gaps as integers where the schema says so.
    frame = schema.empty_table().to_pandas(types_mapper={pa.int8(): pd.Int8Dtype()}.get)
    return schema.with_metadata(pa.Schema.from_pandas(frame, preserve_index=False).metadata)


def _exact(paths: Sequence[Path], name: str) -> bool:
    """Say whether float64 holds all integers of a column: identifiers may be too long for it."""
    for path in paths:
        field = pq.read_schema(path)
        if name in field.names and pa.types.is_integer(field.field(name).type):
            column = pq.read_table(path, columns=[name])[name]
            ends = pc.min_max(column).as_py()
            if any(end is not None and abs(end) > 2**53 for end in ends.values()):
                return False
    return True


def _with_texts(part: pa.Table, schema: pa.Schema) -> pa.Table:
    """Turn columns into texts that are texts in the schema."""
    for place, name in enumerate(part.column_names):
        if schema.field(name).type == _TEXT:
            part = part.set_column(place, name, part[name].cast(_TEXT))
    return part


def _writer(path: Path, schema: pa.Schema) -> pq.ParquetWriter | pa.csv.CSVWriter:
    if path.suffix == ".parquet":
        return pq.ParquetWriter(path, schema)
    # Ten times as fast as pandas.
    options = pa.csv.WriteOptions(quoting_style="needed")
    return pa.csv.CSVWriter(path, schema, write_options=options)


def _is_ours(folder: Path) -> bool:
    # Names with a dot are the lock, and what a kill has left of a file.
    names = [path.name for path in folder.glob("[!.]*")] if folder.is_dir() else ["a file"]
    return not names or _MARKER in names


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Keep a second process out; the lock goes with the process, however that ends."""
    if fcntl is None:
        yield
        return
    # Not emptied, should it be a link to something else.
    with open(folder / ".lock", "a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(
                f"{folder}: expected to be alone, but another process is writing there"
            ) from None
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
        yield
