"""Files that appear under their names only when they are whole."""

import contextlib
import errno
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from rbkeras.errors import InputError

try:
    import fcntl
except ImportError:  # not a Unix
    fcntl = None  # type: ignore[assignment]


#: What a file system without locks answers.
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


@contextlib.contextmanager
def whole_file(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary path beside `path`, and rename it to `path` if the block succeeds.

    The temporary name keeps `path`'s ending, since several writers choose the format by it.
    On any failure, a full disk included, `path` keeps its old contents or stays absent. Works
    for folders too: a folder replaces an existing one of that name, a file never does; a kill
    between two renames can leave the old folder under a hidden name beside.

    Parameters
    ----------
    path
        The final name. Its parent folder is made if need be.

    Yields
    ------
    Path
        Where to write.

    Raises
    ------
    InputError
        When a file was written and `path` is a folder.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # Not by the process's number alone, which one on another machine may have too.
    temporary = beside(path, "part")
    try:
        yield temporary
        if path.is_dir() and temporary.is_file():
            raise InputError(f"{path}: expected a file to write, found a folder")
        if path.is_dir() and not path.is_symlink() and temporary.exists():
            # Moved away whole first: a kill while it is deleted leaves no half of it in place.
            replaced = beside(path, "old")
            os.replace(path, replaced)
            os.replace(temporary, path)
            shutil.rmtree(replaced)
        else:
            os.replace(temporary, path)
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary, ignore_errors=True)
        else:
            temporary.unlink(missing_ok=True)


def beside(path: Path, kind: str) -> Path:
    """Give a hidden name beside `path` that no other process has, on this machine or another."""
    # The folder that is named '.' has a name only where it lies.
    path = path.absolute()
    return path.with_name(f".{os.getpid()}-{secrets.token_hex(4)}.{kind}.{path.name}")


@contextlib.contextmanager
def alone(folder: str | os.PathLike[str]) -> Iterator[None]:
    """Hold a folder against other processes, on this machine or another; wait for one that has it.

    The lock lies beside the folder and ends with the process that holds it, however it ends. On a
    file system without locks there is none.
    """
    folder = Path(folder).absolute()
    folder.parent.mkdir(parents=True, exist_ok=True)
    with open(folder.with_name(f".{folder.name}.lock"), "a") as stream:
        if fcntl is not None:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                print(f"{folder}: waiting for another process that is at work there", flush=True)
                fcntl.flock(stream, fcntl.LOCK_EX)
            except OSError as error:
                if error.errno not in NO_LOCKS:
                    raise
        yield


def write_json(path: str | os.PathLike[str], content: Any) -> None:
    """Write `content` as indented JSON, whole or not at all; NaN becomes null."""
    with whole_file(path) as temporary:
        text = json.dumps(plain(content), indent=2, allow_nan=False)
        temporary.write_text(text + "\n", encoding="utf-8")


def trained_model(path: str | os.PathLike[str]) -> Path:
    """Give the path of a model that is named by its file or its run directory.

    Raises
    ------
    InputError
        When it is not there.
    """
    path = Path(path)
    if path.is_dir():
        path = path / "model.keras"
    if not path.exists():
        raise InputError(f"{path}: expected a trained model, found none")
    return path


def walked(
    folder: str | os.PathLike[str], on_error: Callable[[OSError], None] | None = None
) -> Iterator[tuple[Path, list[str], list[str]]]:
    """Walk as `os.walk` does, through links to folders too, but into no folder twice."""
    seen: set[tuple[int, int]] = set()
    for here, folders, names in os.walk(folder, onerror=on_error, followlinks=True):
        state = os.stat(here)
        place = (state.st_dev, state.st_ino)
        if place in seen:
            folders.clear()
            continue
        seen.add(place)
        yield Path(here), folders, names


def checksum(path: str | os.PathLike[str]) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def state_of(
    path: str | os.PathLike[str], *, besides: Sequence[Path] = (), also: Iterable[Path] = ()
) -> dict[str, Any]:
    """Say of a file, or of all files in a folder, what changes when they do, without reading them.

    Parameters
    ----------
    path
        Where nothing is, the counts are 0.
    besides
        Files and folders inside that do not count.
    also
        Files elsewhere that do.

    Returns
    -------
    dict
        `files` and `bytes`, their numbers; `modified`, the latest time, or None; `listing`, a
        checksum of the names inside, sizes and times, so that a renamed file is noticed.
    """
    path, left_out = Path(path), {Path(one).absolute() for one in besides}
    found = [path]
    if path.is_dir():
        found = []
        for here, folders, names in walked(path.absolute()):
            folders[:] = [name for name in folders if here / name not in left_out]
            found += [here / name for name in names if here / name not in left_out]
    states, listing = [], hashlib.sha256()
    for one in [*sorted(found), *also]:
        # A name that no file can have counts as one that is not there.
        with contextlib.suppress(OSError, ValueError):
            state = one.stat()
            states.append(state)
            inside = one.is_relative_to(path.absolute())
            name = "" if one == path else one.relative_to(path.absolute()) if inside else one
            line = f"{name}\0{state.st_size}\0{state.st_mtime_ns}\n"
            listing.update(line.encode(errors="surrogateescape"))
    modified = None
    if states:
        latest = max(state.st_mtime_ns for state in states)
        modified = datetime.fromtimestamp(latest / 1e9, UTC).isoformat()
    total = sum(state.st_size for state in states)
    return {
        "files": len(states),
        "bytes": total,
        "modified": modified,
        "listing": listing.hexdigest(),
    }


def plain(value: Any) -> Any:
    """Turn numpy scalars, tuples, paths and non-finite floats into what JSON and YAML can say."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [plain(item) for item in value]
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value


def read_json(path: str | os.PathLike[str]) -> Any:
    """Read a JSON file; `InputError` names the file when it is missing or broken."""
    return _read(Path(path), json.loads, "JSON")


def read_yaml(path: str | os.PathLike[str]) -> Any:
    """Read a YAML file of plain values; `InputError` names it when it is missing or broken."""
    return _read(Path(path), yaml.safe_load, "YAML")


def _read(path: Path, parse: Callable[[str], Any], kind: str) -> Any:
    try:
        return parse(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: expected a readable {kind} file, got {error.strerror}") from None
    except (ValueError, RecursionError, yaml.YAMLError) as error:
        raise InputError(f"{path}: expected {kind}, but it does not parse: {error}") from None
