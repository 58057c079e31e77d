"""Seconds from the start of a process to its first scored stamp, for each engine."""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from exported import random_stamps, write_exported
from measure import Measurement, median, print_table, temporary_folder, write_results

ENGINES = ("onnx", "litert", "keras")
REFERENCE = "loading and calling the Keras model"

_ENGINE = """
import sys
import numpy as np
from rbkeras.engines import load_engine
engine = load_engine(sys.argv[1], engine={engine!r})
logits = engine.logits(np.load(sys.argv[2]))
"""
_REFERENCE = """
import sys
import numpy as np
from rbkeras.inference import load_classifier
logits = load_classifier(sys.argv[1])(np.load(sys.argv[2]), training=False).numpy()
"""
_REPORT = """
assert logits.shape == (1, 2)
peak = [line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")]
print(int(peak[0]) / 1024)
"""


def _children() -> float:
    """Seconds that processors spent on finished child processes so far."""
    spent = os.times()
    return spent.children_user + spent.children_system


def main() -> None:
    from rbkeras.cli import load_tensorflow

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--network", default="complex", help="(default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=5, help="(default: %(default)s)")
    parser.add_argument("--work", type=Path, help="folder for temporary files")
    parser.add_argument("--json", type=Path, metavar="FILE", help="store the results")
    arguments = parser.parse_args()
    load_tensorflow()
    codes = {REFERENCE: _REFERENCE}
    codes |= {engine: _ENGINE.format(engine=engine) for engine in ENGINES}
    seconds: dict[str, list[float]] = {name: [] for name in codes}
    busy: dict[str, list[float]] = {name: [] for name in codes}
    peak = dict.fromkeys(codes, 0.0)
    with temporary_folder(arguments.work) as work:
        run = write_exported(work / "run", arguments.network)
        np.save(run / "stamp.npy", random_stamps(1))
        # By turns, the first one to fill the disk cache.
        for turn in range(1 + arguments.repeats):
            for side, code in codes.items():
                command = [sys.executable, "-c", code + _REPORT, str(run), str(run / "stamp.npy")]
                start, busy_before = time.perf_counter(), _children()
                finished = subprocess.run(command, capture_output=True, text=True, check=True)
                if turn:
                    seconds[side].append(time.perf_counter() - start)
                    busy[side].append(_children() - busy_before)
                peak[side] = max(peak[side], float(finished.stdout))
    measured = [Measurement(side, 1, seconds[side], peak[side], 0.0) for side in codes]
    rows = [("", "seconds", "times as fast", "processor s", "peak MiB")]
    rows += [
        (
            m.name,
            f"{median(m.seconds):.2f}",
            f"{m.rate / measured[0].rate:.1f}",
            f"{median(busy[m.name]):.2f}",
            f"{m.peak_mib:,.0f}",
        )
        for m in measured
    ]
    print_table(rows)
    print("seconds: from the start of the process to its end, the median; processor s: its work")
    write_results(arguments.json, vars(arguments), measured)


if __name__ == "__main__":
    main()
