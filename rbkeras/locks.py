"""Folders in which one process at a time is at work."""

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

try:
    import fcntl
except ImportError:  # not a Unix
    fcntl = None  # type: ignore[assignment]


#: What a file system without locks answers.
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


def _lock_file(folder: Path) -> TextIO:
    beside = folder.with_name(f".{folder.name}.lock")
    try:
        return open(beside, "a")
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise
        if beside.exists():
            # Another user's, which can be held all the same.
            return open(beside)
        # Such as the folder of a user, or a disk's, whose parent is another's.
        if not folder.is_dir():
            raise
        return open(folder / ".lock", "a")


@contextlib.contextmanager
def alone(folder: str | os.PathLike[str]) -> Iterator[None]:
    """Hold a folder against other processes, on this machine or another; wait for one that has it.

    The lock lies beside the folder, or inside it where nothing can be written beside it, and ends
    with the process that holds it, however it ends. On a file system without locks there is none.
    """
    # One lock for all names of the folder.
    folder = Path(folder).resolve()
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _lock_file(folder) as stream:
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
