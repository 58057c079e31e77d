"""Whether files are still those that they were."""

import contextlib
import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rbkeras.errors import InputError


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
    path = Path(path)
    # The same place may be named by way of a link.
    left_out = {Path(one).parent.resolve() / Path(one).name for one in besides}
    found = [path]
    if path.is_dir():
        found = []
        for here, folders, names in walked(path.absolute()):
            place = here.resolve()
            folders[:] = [name for name in folders if place / name not in left_out]
            found += [here / name for name in names if place / name not in left_out]
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


def require_state(path: Path, state: dict[str, Any]) -> None:
    """Raise `InputError` unless a file that is being converted still has this `state_of`."""
    if state_of(path) != state:
        raise InputError(
            f"{path}: expected it to stay as it was while it was converted, found it changed; call "
            "the command again"
        )
