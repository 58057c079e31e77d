"""Avro files of alert packets: finding, counting, streaming."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import fastavro

from rbkeras.errors import InputError, first_line
from rbkeras.file_states import walked

# In the order of a stamp's channels: new, reference, difference.
CUTOUTS = ("cutoutScience", "cutoutTemplate", "cutoutDifference")


def is_alerts(path: str | Path) -> bool:
    """Whether a path is an Avro file, or a folder with one in or below it."""
    path = Path(path)
    return path.suffix == ".avro" or any(_files_below(path))


def find_alert_files(paths: Sequence[str | Path]) -> list[Path]:
    """List Avro files: those named, and those ending in .avro in and below folders named.

    Returns
    -------
    list of Path
        In the order given, and within a folder in the order of their names.

    Raises
    ------
    InputError
        When a path does not exist, a folder has no such file or one that cannot be read below
        it, or a file comes twice.
    """
    files: list[Path] = []
    for path in map(Path, paths):
        found = sorted(_files_below(path, _unreadable)) if path.is_dir() else [path]
        if not found:
            raise InputError(f"{path}: expected alert packets (*.avro), found none")
        if not path.exists():
            raise InputError(f"{path}: expected an Avro file of alert packets, found none")
        files += found
    repeated = len(files) - len({path.resolve() for path in files})
    if repeated:
        raise InputError(f"{paths[0]}: expected every Avro file once, found {repeated} twice")
    return files


def _files_below(folder: Path, on_error: Callable[[OSError], None] | None = None) -> Iterator[Path]:
    for here, _, names in walked(folder, on_error):
        yield from (here / name for name in names if name.endswith(".avro"))


def _unreadable(error: OSError) -> None:
    raise InputError(f"{error.filename}: expected a readable folder, got {error.strerror}")


def count_packets(path: Path) -> tuple[int, InputError | None]:
    """Count a file's packets by its block headers, without decoding them.

    Damage that shows in the headers counts as one packet, the last, and so does a file without any,
    so that every fault has a number. The damage is given too: by the time that the packets are
    read, the file may be another.
    """
    count = 0
    try:
        with _opened(path) as blocks:
            for block in blocks:
                count += block.num_records
    except InputError as error:
        return count + 1, error
    return max(count, 1), None


def read_packets(path: Path, start: int = 0) -> Iterator[tuple[int, dict[str, Any]]]:
    """Read a file's packets from number `start` on, each with its number, one at a time.

    Raises
    ------
    InputError
        When the file cannot be read, is truncated or damaged, or its records are no alert
        packets; packets before the damage come first.
    """
    number = 0
    with _opened(path) as blocks:
        for block in blocks:
            # What is passed over is decoded too: damage ends a file wherever reading begins.
            for record in _records(block):
                if number >= start:
                    yield number, record
                number += 1
        if number == 0:
            raise InputError(f"{path}: expected at least one alert packet, found none")


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Iterator[Any]]:
    try:
        with path.open("rb") as file:
            blocks = fastavro.block_reader(file)
            _require_finite(path, blocks.writer_schema)
            _require_cutouts(path, blocks.writer_schema)
            yield map(_plausible, blocks)
    except InputError:
        raise
    except OSError as error:
        raise InputError(
            f"{path}: expected a readable Avro file, got {error.strerror or error}"
        ) from None
    # On damaged bytes fastavro raises whatever its decoding trips over.
    except Exception as error:
        raise InputError(
            f"{path}: expected a whole Avro file with its schema inside, but it cannot be read: "
            f"{first_line(error)}"
        ) from None


def _plausible(block: Any) -> Any:
    """Refuse a number of packets that cannot be, which fastavro believes: a packet takes a byte."""
    size = block.bytes_.getbuffer().nbytes
    if not min(size, 1) <= block.num_records <= size:
        raise ValueError(f"a block of {size} bytes says that it holds {block.num_records} packets")
    return block


def _records(block: Any) -> Iterator[dict[str, Any]]:
    """Decode a block; the last packet only once nothing is left, which fastavro does not ask."""
    record: Any = None
    for number, following in enumerate(block):
        if number:
            yield record
        record = following
    left = len(block.bytes_.read())
    if left:
        raise ValueError(f"a block has {left} bytes more than the packets that it says it holds")
    if record is not None:
        yield record


def _require_finite(path: Path, schema: Any, within: tuple[str, ...] = ()) -> None:
    """Refuse schemas of a few bytes that packets without end, or without bytes, can have.

    fastavro follows a record inside itself until the stack ends, and the process with it.
    """
    if isinstance(schema, list):
        for branch in schema:
            _require_finite(path, branch, within)
    elif isinstance(schema, str) and schema in within:
        raise InputError(f"{path}: expected records of a known depth, found {schema} in itself")
    elif isinstance(schema, dict):
        kind = schema.get("type")
        items = schema.get("items", schema.get("values"))
        # Records of nothing wherever they are, since lists can name them.
        if _is_nothing(items) or (kind != "null" and _is_nothing(schema)):
            raise InputError(f"{path}: expected lists of something, found lists of nothing")
        if kind in ("array", "map"):
            _require_finite(path, items, within)
        elif kind in ("record", "error"):
            for field in schema["fields"]:
                _require_finite(path, field["type"], (*within, schema["name"]))
        else:
            _require_finite(path, kind, within)


def _is_nothing(schema: Any) -> bool:
    """Say whether values of a schema take no bytes, so that any number of them takes none."""
    kind = schema.get("type") if isinstance(schema, dict) else schema
    if isinstance(kind, dict):
        return _is_nothing(kind)
    if kind == "record":
        return all(_is_nothing(field["type"]) for field in schema["fields"])
    return kind == "null" or (kind == "fixed" and schema["size"] == 0)


def _require_cutouts(path: Path, schema: Any) -> None:
    fields = schema.get("fields", []) if isinstance(schema, dict) else []
    names = [field["name"] for field in fields]
    if not set(CUTOUTS) <= set(names):
        found = ", ".join(names[:8]) or "none"
        raise InputError(
            f"{path}: expected alert packets with the fields {', '.join(CUTOUTS)}, found the "
            f"fields {found}"
        )
