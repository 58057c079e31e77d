"""Small pieces of work for the tests of distribution; imported by processes of their own."""

import os
import resource
import signal
import time
from pathlib import Path

import numpy as np

from rbkeras.errors import InputError
from rbkeras.pieces import Piece


def write(*, path: str, text: str = "done", variable: str = "") -> None:
    """Write a text, or the value of an environment variable."""
    print("writing", path)
    Path(path).write_text(os.environ[variable] if variable else text)


def copy(*, source: str, path: str) -> None:
    """Copy what another piece has written."""
    Path(path).write_text(Path(source).read_text())


def refuse() -> None:
    """Find the input at fault."""
    raise InputError("table.csv: expected rows, found none")


def break_down() -> None:
    """Be wrong."""
    print("about to divide")
    print(1 / 0)


def die(*, attempts: str, times: int, worker: bool) -> None:
    """Have this process, or the worker that waits for it, killed so many times."""
    with open(attempts, "a") as stream:
        stream.write(f"{os.getpid()} {os.getppid()}\n")
    if len(Path(attempts).read_text().splitlines()) <= times:
        os.kill(os.getppid() if worker else os.getpid(), signal.SIGKILL)
        time.sleep(60)
        Path(f"{attempts}.lived_on").touch()


def chore(folder: Path, name: str, work, after=(), **arguments) -> Piece:
    """Make a piece of one of these."""
    arguments = {key: str(v) if isinstance(v, Path) else v for key, v in arguments.items()}
    log = folder / "logs" / f"{name}.txt"
    return Piece(name=name, work=work, arguments=arguments, log=log, after=tuple(after))


def nap(*, path: str, seconds: float = 60) -> None:
    """Say who this process and its worker are, and take time."""
    Path(path).write_text(f"{os.getpid()} {os.getppid()}")
    time.sleep(seconds)


def take_and_give_back(*, path: str) -> None:
    """Write how many pages of 24 MiB come from the system when they are taken once more."""

    def batch() -> int:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        for array in [np.empty(1 << 21, np.uint8) for _ in range(12)]:
            array[::4096] = 1
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

    Path(path).write_text(str([batch() for _ in range(10)][-1]))
