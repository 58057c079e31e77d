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
from rbkeras.pieces import thread_limits

_NAMES = ("KERASTUNER_TUNER_ID", "KERASTUNER_ORACLE_IP", "KERASTUNER_ORACLE_PORT")
#: Seconds that a worker waits for its chief, and a chief that is done has to end.
_PATIENCE, _FAREWELL = 600, 3


def role() -> str:
    """Say what the environment makes this process: 'alone', 'chief' or 'worker'.

    Raises
    ------
    InputError
        When some of the variables are set and others are not.
    """
    found = [name for name in _NAMES if os.environ.get(name)]
    if not found:
        return "alone"
    if len(found) < len(_NAMES):
        raise InputError(f"environment: expected all of {', '.join(_NAMES)}, found {found}")
    # As KerasTuner itself decides.
    return "chief" if "chief" in os.environ["KERASTUNER_TUNER_ID"] else "worker"


def wait_for_chief() -> None:
    """Wait until the chief answers, so that nothing is touched before it has claimed the folder.

    Raises
    ------
    InputError
        When it does not.
    """
    address = (os.environ["KERASTUNER_ORACLE_IP"], int(os.environ["KERASTUNER_ORACLE_PORT"]))
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


def run_workers(argv: Sequence[str], *, workers: int, threads: int | None) -> list[int]:
    """Run a chief and workers on this machine until all workers have ended.

    Parameters
    ----------
    argv
        The command's arguments.
    workers
        How many.
    threads
        Threads of each for one operation; None leaves TensorFlow's choice, all processors.

    Returns
    -------
    list of int
        Exit statuses of the workers.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    own = [argument for argument in argv if argument != "--overwrite"]
    command = [sys.executable, "-m", "tuning.search", *own, "--workers", "0"]
    environment = os.environ | dict(zip(_NAMES[1:], ("127.0.0.1", str(port)), strict=True))
    if threads is not None:
        environment |= thread_limits(threads)

    def begin(name: str) -> subprocess.Popen:
        return subprocess.Popen(command, env=environment | {_NAMES[0]: name})

    chief = begin("chief")
    running = [begin(f"worker{number}") for number in range(workers)]
    try:
        while any(process.poll() is None for process in running):
            if chief.poll() not in (None, 0):
                # Workers would ask it for an hour.
                break
            time.sleep(0.2)
    finally:
        # All that counts is in files by now; a chief waits for a worker that died for ever.
        _end([chief, *running], patience=_FAREWELL)
    return [process.returncode for process in running]


def _end(processes: Sequence[subprocess.Popen], *, patience: float) -> None:
    """Give processes some time to end by themselves, and end those that have not."""
    deadline = time.monotonic() + patience
    for process in processes:
        try:
            process.wait(max(deadline - time.monotonic(), 0))
        except subprocess.TimeoutExpired:
            process.terminate()
            process.wait()
