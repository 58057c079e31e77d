"""What every command shares: exit statuses and messages without tracebacks."""

import argparse
import contextlib
import errno
import gc
import logging
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence

from rbkeras import machine
from rbkeras.errors import InputError, WorkError

#: Kinds of OSError that a path given by the user is to blame for, where it is of the wrong kind.
_KINDS = {
    errno.EEXIST: "expected a folder, or nothing yet, found a file",
    errno.ENOTDIR: "expected a path through folders, found a file on the way",
    errno.EISDIR: "expected a file, found a folder",
    errno.ENOENT: "expected a file or folder there, found none",
    errno.ENAMETOOLONG: "expected a shorter name",
    errno.ELOOP: "expected a file or folder, found links that lead in a circle",
}
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG)
#: Kinds of OSError that the disk, or its owner, is to blame for.
UNWRITABLE = (*_FULL, errno.EACCES, errno.EPERM)


def continues(*, overwrite: bool = False) -> str:
    """Tell what a command that goes on where it was interrupted says then."""
    same = "the same command without --overwrite" if overwrite else "the same command"
    return f"{same} continues where this one stopped"


def run_command(work: Callable[[], int | None], *, interrupted: str | None = None) -> int:
    """Run a command's work and turn its outcome into an exit status.

    Parameters
    ----------
    work
        The command, its arguments already parsed; it may return an exit status of its own.
    interrupted
        What to say after an interruption, as `continues` does; None for commands that begin anew.

    Returns
    -------
    int
        0 done, unless `work` says otherwise; 2 bad input (one sentence on stderr), a file where a
        folder is needed or the other way round included; 1 interrupted, the disk is full or not
        writable, memory is used up, nobody reads what is printed, or other processes failed. Any
        other exception is a defect and is raised, traceback and all.
    """
    try:
        return work() or 0
    except InputError as error:
        print(f"error: {_visible(str(error))}", file=sys.stderr)
        return 2
    except WorkError as error:
        print(f"error: {_visible(str(error))}", file=sys.stderr)
        return 1
    except UnicodeEncodeError as error:
        # Bytes of a file name that are no UTF-8 come as characters that no table can hold.
        print(f"error: expected names in UTF-8, found {error.object!a}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        # Whoever read what is printed has seen enough; nor shall the last words be tried again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except MemoryError as error:
        print(f"error: not enough memory: {error or 'none is left'}", file=sys.stderr)
        return 1
    except OSError as error:
        kind = _KINDS.get(error.errno or 0)
        if kind is not None and error.filename:
            print(f"error: {error.filename}: {kind}", file=sys.stderr)
            return 2
        if error.errno not in UNWRITABLE:
            raise
        # Libraries that write through C often know only the reason, not the file.
        what = "cannot write" if error.errno in _FULL else "cannot read or write"
        where = f"{what} {error.filename}" if error.filename else what
        print(f"error: {where}: {os.strerror(error.errno)}", file=sys.stderr)
        return 1
    except Exception as error:
        # TensorFlow's exception, by its name: here TensorFlow is not loaded.
        if type(error).__name__ != "ResourceExhaustedError":
            raise
        if os.strerror(errno.ENOSPC) in str(error):
            # It says the same of memory and of disks, and of the latter in many lines.
            print(f"error: cannot write: {os.strerror(errno.ENOSPC)}", file=sys.stderr)
            return 1
        print("error: not enough memory for a batch: lower the batch size", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("; ".join(filter(None, ("interrupted", interrupted))), file=sys.stderr)
        return 1


def _visible(text: str) -> str:
    """Spell out what a name in a file would have a terminal do."""
    return "".join(c if c.isprintable() or c in "\n\t" else ascii(c)[1:-1] for c in text)


def words_of(argv: Sequence[str] | None) -> list[str]:
    """Give a command line's words, with a leading ~ as the user's folder wherever it stands.

    Shells leave it alone in quotes and after the = of a flag, and libraries differ in what they do.
    """
    words = sys.argv[1:] if argv is None else argv
    return [_expanded(word) for word in words]


def _expanded(word: str) -> str:
    flag, given, value = word.partition("=")
    if given and flag.startswith("--"):
        return f"{flag}={os.path.expanduser(value)}"
    return os.path.expanduser(word)


def assignment(text: str) -> str:
    """See for argparse that a text is NAME=VALUE, and no path that follows a list of those."""
    if "=" not in text:
        raise argparse.ArgumentTypeError(
            f"expected NAME=VALUE, got {text!r}; paths stand before --labels"
        )
    return text


def add_labels(parser: argparse.ArgumentParser, meaning: str) -> None:
    """Add the option that maps names in `object_type`; `meaning` is its help up to the colon."""
    parser.add_argument(
        "--labels",
        nargs="+",
        default=[],
        type=assignment,
        metavar="NAME=VALUE",
        help=f"{meaning} mean: 1 real, 0 bogus, -1 unlabelled; after the paths",
    )


def load_tensorflow() -> None:
    """Import TensorFlow without its start-up notices, which drown the sentences that matter.

    Some of them are printed by native code before any log level is obeyed, so file descriptor 2
    itself is turned away while it loads; what was printed is shown if loading fails.

    Raises
    ------
    InputError
        When the environment asks for another backend of Keras.
    """
    backend = os.environ["KERAS_BACKEND"]
    if backend not in ("", "tensorflow"):
        raise InputError(f"KERAS_BACKEND: expected tensorflow, found {backend!r}: unset it")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    machine.prepare()
    with _native_stderr_held_back():
        import tensorflow as tf

        tf.config.list_physical_devices()
    # Every fold is a new model, and TensorFlow would warn that it traces each.
    tf.get_logger().setLevel(logging.ERROR)
    # Nothing of what was imported is garbage; looking through it would slow networks' building.
    gc.collect()
    gc.freeze()


@contextlib.contextmanager
def _native_stderr_held_back() -> Iterator[None]:
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        except BaseException:
            os.dup2(kept, 2)
            held.seek(0)
            os.write(2, held.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)
