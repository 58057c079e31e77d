"""Pieces of work, each done in a process of its own.

Keras keeps seeds, precision and graphs per process, and draws its seeds from Python's own
generator, which every thread of a process advances. So whoever does a piece starts a process for
it: results are those of the same work anywhere else, and memory is given back at its end.
"""

import contextlib
import importlib
import json
import os
import platform
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rbkeras import __version__, machine
from rbkeras.errors import InputError, WorkError, first_line
from rbkeras.resume import OtherSettingsError


@dataclass(frozen=True, kw_only=True)
class Piece:
    """A piece of work that goes on where it was interrupted, and returns at once when it is done.

    Attributes
    ----------
    name
        Unique among those that are done together; shown to the user.
    work
        A function of a module, which returns nothing: what it makes are files.
    arguments
        Its keyword arguments: plain values, paths absolute unless it goes to a folder first.
    log
        File that gets all that it prints and, if it fails, its traceback.
    after
        Names of pieces, earlier in the list, without which it cannot be done.
    """

    name: str
    work: Callable[..., None]
    arguments: dict[str, Any]
    log: Path
    after: tuple[str, ...] = ()

    def order(self) -> dict[str, Any]:
        """Say in plain values what is to be done, and by which version."""
        work = f"{self.work.__module__}:{self.work.__qualname__}"
        log = str(self.log.absolute())
        return {"work": work, "arguments": self.arguments, "log": log, "version": __version__}


#: How a piece can fail, by name.
FAULTS = {fault.__name__: fault for fault in (InputError, OtherSettingsError, WorkError)}


class ProcessDied(Exception):  # noqa: N818
    """The process of a piece was killed; the piece may well succeed another time."""


def thread_limits(threads: int) -> dict[str, str]:
    """Name the environment variables that keep a process to so many threads, if set in time."""
    names = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS")
    return dict.fromkeys(names, str(threads))


def do_piece(order: Mapping[str, Any], *, environment: Mapping[str, str]) -> dict[str, Any] | None:
    """Have a new process do a piece, and wait for it.

    Parameters
    ----------
    order
        What `Piece.order` gave.
    environment
        Variables that the process gets in addition.

    Returns
    -------
    dict or None
        None when it is done; otherwise `message`, and as `error` the name of one of `FAULTS`.

    Raises
    ------
    ProcessDied
        When it was killed.
    """
    if order["version"] != __version__:
        expected, where = order["version"], platform.node()
        message = f"{where}: expected workers with rbkeras {expected}, found {__version__}"
        return {"message": message, "error": InputError.__name__}
    Path(order["log"]).parent.mkdir(parents=True, exist_ok=True)
    with (
        open(order["log"], "a", encoding="utf-8") as log,
        subprocess.Popen(
            [sys.executable, "-m", "rbkeras.pieces"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env=os.environ | environment,
        ) as process,
    ):
        # Both are pipes.
        assert process.stdin is not None
        assert process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(json.dumps(dict(order)) + "\n")
            process.stdin.flush()
        # Its standard input stays open: when it closes, this process has died.
        answer = process.stdout.read()
        if not answer:
            raise ProcessDied(f"its process ended with status {process.wait()} (see {log.name})")
    return json.loads(answer)


def main() -> None:
    """Do the piece that standard input describes, and write to standard output how it went."""
    order = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_stdin, daemon=True).start()
    machine.prepare()
    # What is printed, by native code too, belongs into the log.
    answer = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    with answer:
        json.dump(_outcome(order), answer)


#: Variable that tells a process of a command of ours to end when its standard input does.
END_WITH_PARENT = "RBKERAS_END_WITH_PARENT"


def end_with_parent() -> bool:
    """End this process with the one that started it, if that has asked for it; say whether."""
    asked = bool(os.environ.pop(END_WITH_PARENT, None))
    if asked:
        threading.Thread(target=_end_with_stdin, daemon=True).start()
    return asked


def _end_with_stdin() -> None:
    sys.stdin.read()
    os._exit(1)


def _outcome(order: Mapping[str, Any]) -> dict[str, Any] | None:
    try:
        module, name = order["work"].split(":")
        getattr(importlib.import_module(module), name)(**order["arguments"])
    except InputError as error:
        print(f"error: {error}", flush=True)
        return {"message": str(error), "error": type(error).__name__}
    except Exception as error:
        traceback.print_exc()
        message = f"{reason(error)} (more in {order['log']})"
        return {"message": message, "error": WorkError.__name__}
    finally:
        sys.stdout.flush()
    return None


def reason(error: BaseException) -> str:
    """Give type and first line of an exception."""
    return f"{type(error).__name__}: {first_line(error)}"


if __name__ == "__main__":
    main()
