"""What every command shares: exit statuses and messages without tracebacks."""

import errno
import os
import sys
from collections.abc import Callable

from rbkeras.errors import InputError


def run_command(work: Callable[[], None]) -> int:
    """Run a command's work and turn its outcome into an exit status.

    Parameters
    ----------
    work
        The command, its arguments already parsed.

    Returns
    -------
    int
        0 done; 2 bad input (one sentence on stderr); 1 interrupted, or the disk is full or
        not writable. Any other exception is a defect and is raised, traceback and all.
    """
    # TensorFlow's start-up notices would drown the one sentence that matters.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    try:
        work()
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS, errno.EPERM):
            raise
        print(f"error: cannot write {error.filename or ''}: {error.strerror}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; the same command continues where this one stopped", file=sys.stderr)
        return 1
    return 0
