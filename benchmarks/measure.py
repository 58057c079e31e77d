"""Timing and memory of several ways to do the same thing, each in a process of its own."""

import json
import multiprocessing
import os
import platform
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from importlib import metadata
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

median = statistics.median

# Does the work once and returns the number of stamps.
Work = Callable[[], int]


@dataclass(frozen=True)
class Side:
    """One way of doing the work.

    `make(**arguments)` prepares it, untimed, and returns the work; it runs in the side's own
    process, so it has to be a function at the top level of a module. A side that does not need
    `tensorflow` is measured without it.
    """

    name: str
    make: Callable[..., Work]
    arguments: dict[str, Any] = field(default_factory=dict)
    tensorflow: bool = True
    before_each: Callable[..., None] | None = None


@dataclass(frozen=True)
class Measurement:
    """Seconds of each repeat, and peak memory in MiB: of all, and before the work was prepared."""

    name: str
    stamps: int
    seconds: list[float]
    peak_mib: float
    import_mib: float

    @property
    def rate(self) -> float:
        """Stamps per second, of the median repeat."""
        return self.stamps / median(self.seconds)

    def as_dict(self) -> dict[str, Any]:
        """Return what --json stores."""
        return vars(self) | {"median_seconds": median(self.seconds), "stamps_per_second": self.rate}


@contextmanager
def temporary_folder(parent: Path | None) -> Iterator[Path]:
    """Make a folder that goes away again; in `parent`, which is made if it is not there."""
    if parent is not None:
        parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=parent) as name:
        yield Path(name)


def timed(function: Callable[[], Any], repeats: int) -> list[float]:
    """Seconds of each of several calls."""
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - start)
    return seconds


def peak_memory_mib() -> float:
    """Peak resident memory of this process so far.

    Linux's own counter is preferred: `ru_maxrss` survives exec, so that a child process starts
    with the peak of the parent that started it.
    """
    peak = _status_mib("VmHWM")
    if peak is not None:
        return peak
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 1024


def resident_mib() -> float:
    """Resident memory of this process now; Linux alone tells."""
    resident = _status_mib("VmRSS")
    if resident is None:
        raise RuntimeError("expected /proc/self/status, which only Linux has")
    return resident


def _status_mib(key: str) -> float | None:
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith(f"{key}:"):
                return int(line.split()[1]) / 1024
    return None


def compare(sides: Sequence[Side], repeats: int, *, warm_up: int = 1) -> list[Measurement]:
    """Measure all sides by turns, so that whatever else the machine does falls on all of them."""
    seconds: dict[str, list[float]] = {side.name: [] for side in sides}
    stamps: dict[str, int] = {}
    with ExitStack() as stack:
        workers = [stack.enter_context(_Worker(side)) for side in sides]
        for turn in range(warm_up + repeats):
            for worker in workers:
                elapsed, stamps[worker.name] = worker.ask("run")
                if turn >= warm_up:
                    seconds[worker.name].append(elapsed)
        return [
            Measurement(worker.name, stamps[worker.name], seconds[worker.name], *worker.ask("peak"))
            for worker in workers
        ]


class _Worker:
    """A fresh process that does one side's work when asked."""

    def __init__(self, side: Side):
        self.name = side.name
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        # Not a daemon, which could have no workers of Dask; it ends when its pipe does.
        self._process = context.Process(target=_serve, args=(theirs, side))
        self._process.start()
        # Only the child may hold its end, or its death would go unnoticed here.
        theirs.close()

    def __enter__(self) -> "_Worker":
        self._receive()
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()
        self._process.join(timeout=10)
        if self._process.is_alive():
            self._process.terminate()

    def ask(self, question: str) -> tuple[float, Any]:
        self._connection.send(question)
        return self._receive()

    def _receive(self) -> Any:
        try:
            return self._connection.recv()
        except EOFError:
            raise RuntimeError(f"{self.name}: its process failed; see the message above") from None


def _serve(connection: Connection, side: Side) -> None:
    if side.tensorflow:
        from rbkeras.cli import load_tensorflow

        load_tensorflow()
    before = peak_memory_mib()
    work = side.make(**side.arguments)
    connection.send("ready")
    results: list[int] = []
    while True:
        try:
            question = connection.recv()
        except EOFError:
            return
        if question == "peak":
            connection.send((peak_memory_mib(), before))
        else:
            if side.before_each is not None:
                side.before_each(**side.arguments)
            (elapsed,) = timed(lambda: results.append(work()), 1)
            connection.send((elapsed, results[-1]))


def print_comparison(rows: Sequence[tuple[str, Measurement, Measurement]], unit: str) -> None:
    """Print a row per pair of ours and the original's way."""
    header = ("", f"ours {unit}", f"original's way {unit}", "ratio", "ours MiB", "original's MiB")
    body = [
        (
            what,
            f"{ours.rate:,.0f}",
            f"{original.rate:,.0f}",
            f"{ours.rate / original.rate:.1f}",
            f"{ours.peak_mib:,.0f}",
            f"{original.peak_mib:,.0f}",
        )
        for what, ours, original in rows
    ]
    print_table([header, *body])
    both = [m for _, *pair in rows for m in pair]
    print(f"MiB: peak of each process; {max(m.import_mib for m in both):,.0f} of it is TensorFlow")


def print_table(rows: Sequence[Sequence[str]]) -> None:
    """Print rows of text in columns, the first to the left and the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [cell.rjust(width) for cell, width in zip(row, widths, strict=True)]
        cells[0] = row[0].ljust(widths[0])
        print("  ".join(cells).rstrip())


def machine() -> dict[str, Any]:
    """Describe what the numbers were measured on."""
    packages = ("rbkeras", "keras", "tensorflow", "numpy", "onnxruntime", "ai-edge-litert")
    return {
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
        "load_average": os.getloadavg()[0],
        "system": platform.system(),
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in packages},
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor())


def write_results(
    path: Path | None, settings: dict[str, Any], measurements: Sequence[Measurement]
) -> None:
    """Store what was measured, where, and how, if a path is given."""
    if path is None:
        return
    results = {
        "machine": machine(),
        "settings": {
            key: str(value) if isinstance(value, Path) else value for key, value in settings.items()
        },
        "results": [measurement.as_dict() for measurement in measurements],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(results, indent=2) + "\n")
