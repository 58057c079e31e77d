"""`predict` killed with signal 9 in the middle, in a process of its own, and called again."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from rbkeras import streaming
from rbkeras.parts import Parts, parts_folder

SHAPE = (3, 3, 1)
BATCH = 64

# The command with a network that takes its time, and writes down whom it scores.
COMMAND = f"""
import sys, time
import numpy as np
from rbkeras import predict, scoring
class Slow:
    stamp_shape, decision = {SHAPE}, None
    def logits(self, stamps):
        time.sleep(0.004)
        first = stamps[:, 0, 0, 0]
        with open(sys.argv[1], "ab") as log:
            log.write(first.tobytes())
        return np.stack([0 * first, np.sin(first)], axis=1)
scoring.load_engine = lambda *args, **kwargs: Slow()
sys.exit(predict.main(sys.argv[2:]))
"""


def start(folder, model, inputs, out):
    arguments = [*inputs, "--out", out, "--engine", "onnx", "--batch_size", BATCH]
    command = [sys.executable, "-c", COMMAND, folder / "seen", model, *arguments]
    return subprocess.Popen(
        list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def finish(process):
    printed, _ = process.communicate(timeout=120)
    assert process.returncode == 0, printed


def kill_at(process, out, *, parts, timeout=120):
    deadline = time.monotonic() + timeout
    while len(list(parts_folder(out).glob("[0-9]*.parquet"))) < parts:
        assert process.poll() is None, process.stdout.read()
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()


def seen(folder):
    return np.fromfile(folder / "seen", np.float32)


@pytest.mark.parametrize("ending", ["csv", pytest.param("parquet", marks=pytest.mark.slow)])
def test_a_killed_night_ends_as_one_in_one_piece(tmp_path, ending):
    model, inputs = tmp_path / "model.onnx", []
    model.write_text("weights")
    sizes = [int(1.5 * streaming.PART_ROWS), 100, int(1.2 * streaming.PART_ROWS)]
    first = np.cumsum([0, *sizes])
    for number, size in enumerate(sizes):
        stamps = np.zeros((size, *SHAPE), np.float32)
        stamps[:, 0, 0, 0] = np.arange(first[number], first[number + 1])
        inputs.append(tmp_path / f"night{number}.npy")
        np.save(inputs[-1], stamps)
    whole, out = tmp_path / f"whole.{ending}", tmp_path / f"scores.{ending}"
    finish(start(tmp_path, model, inputs, whole))
    assert seen(tmp_path).tolist() == list(range(first[-1]))
    Path(tmp_path / "seen").unlink()

    kept = []
    for parts in (1, 4):
        kill_at(start(tmp_path, model, inputs, out), out, parts=parts)
        assert not out.exists()
        stored = Parts(out)
        rows = [stored.rows(number) for number in range(3)]
        kept.append(
            np.concatenate([np.arange(f, f + n) for f, n in zip(first[:-1], rows, strict=True)])
        )
        assert streaming.PART_ROWS <= len(kept[-1]) < first[-1]
    scored = len(seen(tmp_path))
    finish(start(tmp_path, model, inputs, out))
    assert out.read_bytes() == whole.read_bytes()
    # The last call scored what had not been stored, each stamp once and no other.
    rest = seen(tmp_path)[scored:]
    assert sorted(rest) == sorted(set(range(first[-1])) - set(kept[-1]))
    assert not parts_folder(out).exists()
