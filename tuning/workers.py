"""Several processes on one search, by KerasTuner's own chief and workers.

The chief proposes and keeps the state; workers do trials. Which of them a process is, say three
environment variables that KerasTuner reads: KERASTUNER_TUNER_ID ('chief', or any other name of its
own for each worker), KERASTUNER_ORACLE_IP and KERASTUNER_ORACLE_PORT of the chief.
"""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Sequence

from rbkeras.errors import InputError
from rbkeras.machine import processors
from rbkeras.pieces import END_WITH_PARENT, thread_limits

_NAMES = ("KERASTUNER_TUNER_ID", "KERASTUNER_ORACLE_IP", "KERASTUNER_ORACLE_PORT")
#: Seconds that a worker waits for its chief, that one may need to hear that a search is over, and
#: that a chief which is done has to end.
_PATIENCE, _LATE, _FAREWELL = 600, 20, 3


def role() -> str:
    """Say what the environment makes this process: 'alone', 'chief' or 'worker'.

    Raises
    ------
    InputError
        When some of the variables are set and others are not, or the port is none.
    """
    found = [name for name in _NAMES if os.environ.get(name)]
    if not found:
        return "alone"
    if len(found) < len(_NAMES):
        raise InputError(f"environment: expected all of {', '.join(_NAMES)}, found {found}")
    port = os.environ["KERASTUNER_ORACLE_PORT"]
    if not port.isdecimal() or not 0 < int(port) < 2**16:
        raise InputError(f"KERASTUNER_ORACLE_PORT: expected a number from 1 to 65535, got {port!r}")
    # As KerasTuner itself decides.
    return "chief" if "chief" in os.environ["KERASTUNER_TUNER_ID"] else "worker"


def check_address() -> None:
    """See that a chief can be reached where its workers look for it, before it claims anything.

    Raises
    ------
    InputError
        When the address is not this machine's, or taken.
    """
    host, port = _address()
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except OSError as error:
        raise InputError(
            f"KERASTUNER_ORACLE_IP, KERASTUNER_ORACLE_PORT: expected a free address of this "
            f"machine, got {host}:{port}: {error.strerror}"
        ) from None


def _address() -> tuple[str, int]:
    return os.environ["KERASTUNER_ORACLE_IP"], int(os.environ["KERASTUNER_ORACLE_PORT"])


def wait_for_chief() -> None:
    """Wait until the chief answers, so that nothing is touched before it has claimed the folder.

    Raises
    ------
    InputError
        When it does not.
    """
    address = _address()
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            socket.create_connection(address, timeout=5).close()
        except OSError:
            if time.monotonic() > deadline:
                raise InputError(
                    f"{address[0]}:{address[1]}: expected a chief within {_PATIENCE} s, found none"
                ) from None
            time.sleep(0.5)
        else:
            return


def run_workers(argv: Sequence[str], *, workers: int, threads: int | None) -> dict[str, int]:
    """Run a chief and workers on this machine until all workers have ended.

    Parameters
    ----------
    argv
        The command's arguments.
    workers
        How many.
    threads
        Threads of each for one operation; None gives each its share of the processors.

    Returns
    -------
    dict
        Exit statuses of chief and workers by name; 0 of those that were ended because all was done,
        or because nobody was left to work for, or with.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    own = [argument for argument in argv if argument != "--overwrite"]
    command = [sys.executable, "-m", "tuning.search", *own, "--workers", "0"]
    environment = os.environ | dict(zip(_NAMES[1:], ("127.0.0.1", str(port)), strict=True))
    threads = threads or max(processors() // workers, 1)
    environment |= thread_limits(threads)

    def begin(name: str) -> subprocess.Popen:
        # Their end of the pipe tells them when this process has ended, however it did.
        return subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            env=environment | {_NAMES[0]: name, END_WITH_PARENT: "1"},
        )

    chief = begin("chief")
    running = [begin(f"worker{number}") for number in range(workers)]
    late: list[subprocess.Popen] = []
    try:
        while chief.poll() is None and any(process.poll() is None for process in running):
            time.sleep(0.2)
        if chief.poll() == 0:
            # Who has not heard yet that there is no more to do would ask for an hour.
            late += _end(running, patience=_LATE)
    finally:
        # All that counts is in files by now; a chief waits for a worker that died for ever.
        late += _end([chief, *running], patience=_FAREWELL)
    names = ["chief", *(f"worker{number}" for number in range(workers))]
    return {
        name: 0 if process in late else process.returncode
        for name, process in zip(names, [chief, *running], strict=True)
    }


def _end(processes: Sequence[subprocess.Popen], *, patience: float) -> list[subprocess.Popen]:
    """Give processes some time to end by themselves; end those that have not, and return them."""
    deadline = time.monotonic() + patience
    late = []
    for process in processes:
        try:
            process.wait(max(deadline - time.monotonic(), 0))
        except subprocess.TimeoutExpired:
            late.append(process)
            process.terminate()
            process.wait()
    return late
