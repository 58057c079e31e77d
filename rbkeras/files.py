"""Files that appear under their names only when they are whole."""

import contextlib
import errno
import json
import os
import re
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import yaml

from rbkeras.errors import InputError


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
    OSError
        As the block raises it; names `path` where it named nothing, as on a full disk.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # Not by the process's number alone, which one on another machine may have too.
    temporary = beside(path, "part")
    try:
        with named_in_errors(path):
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


@contextlib.contextmanager
def named_in_errors(path: str | os.PathLike[str]) -> Iterator[None]:
    """Name `path` in an `OSError` of the block that names nothing, as of a full disk."""
    try:
        yield
    except OSError as error:
        if error.errno is None or error.filename is not None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error


#: What file systems, and devices, answer that cannot reserve.
_CANNOT_RESERVE = (errno.EINVAL, errno.ENODEV, errno.ENOSYS, errno.EOPNOTSUPP, errno.ESPIPE)


def reserve(file: BinaryIO, size: int) -> None:
    """Take the room for a file's first `size` bytes at once, where the system can.

    It is faster than a bit with every write, and a full disk is told before the first.
    """
    if not hasattr(os, "posix_fallocate"):
        return
    try:
        os.posix_fallocate(file.fileno(), 0, size)
    except OSError as error:
        if error.errno not in _CANNOT_RESERVE:
            raise


def beside(path: Path, kind: str) -> Path:
    """Give a hidden name beside `path` that no other process has, on this machine or another."""
    # The folder that is named '.' has a name only where it lies.
    path = path.absolute()
    # Its end alone, where the ending is: names of files have no more than 255 bytes.
    return path.with_name(f".{os.getpid()}-{secrets.token_hex(4)}.{kind}.{path.name[-50:]}")


#: What `beside` gives.
_BESIDE = re.compile(r"\.\d+-[0-9a-f]{8}\.(part|old)\..+", re.DOTALL)


def remove_abandoned(
    folder: str | os.PathLike[str], *, older_than: float = 3600.0, below: bool = True
) -> None:
    """Remove what killed processes have left under names of `beside`, also in folders `below`.

    Others, on machines whose processes nobody sees here, may be writing; so what has changed in the
    last `older_than` seconds stays. Where one process is at work alone, that can be 0.
    """
    latest = time.time() - older_than
    for parent, folders, names in os.walk(folder):
        for path in (Path(parent, name) for name in folders + names if _BESIDE.fullmatch(name)):
            # It may be gone by now, or another user's.
            with contextlib.suppress(OSError):
                if path.lstat().st_mtime > latest:
                    continue
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                else:
                    path.unlink()
        if not below:
            return


def write_json(path: str | os.PathLike[str], content: Any) -> None:
    """Write `content` as indented JSON, whole or not at all; NaN becomes null."""
    with whole_file(path) as temporary:
        text = json.dumps(plain(content), indent=2, allow_nan=False)
        temporary.write_text(text + "\n", encoding="utf-8")


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


# Settings have three thousand characters.
_LONGEST_YAML = 100_000


def read_yaml(path: str | os.PathLike[str]) -> Any:
    """Read a YAML file of plain values; `InputError` names it when it is missing or broken.

    Or where it has aliases, of which a few lines can stand for billions of values, or is as long as
    no settings are.
    """
    return _read(Path(path), _load_yaml, "YAML")


def _load_yaml(text: str) -> Any:
    if len(text) > _LONGEST_YAML:
        raise ValueError(f"it has {len(text):,} characters, and {_LONGEST_YAML:,} are read")
    if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, yaml.SafeLoader)):
        raise ValueError("it has aliases (*name)")
    return yaml.safe_load(text)


def _read(path: Path, parse: Callable[[str], Any], kind: str) -> Any:
    try:
        return parse(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: expected a readable {kind} file, got {error.strerror}") from None
    except (ValueError, RecursionError, yaml.YAMLError) as error:
        raise InputError(f"{path}: expected {kind}, but it does not parse: {error}") from None
