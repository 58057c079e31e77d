"""`fit` killed at some moment and started again: nothing finished is lost or done twice."""

import signal
import subprocess
import sys
import time

import pandas as pd
import pytest

from rbkeras import fit
from rbkeras import run as run_module
from rbkeras.inference import load_classifier

KILLED_IN_ITS_THIRD_EPOCH = """
import os, signal, sys
from rbkeras import fit, training

class Killed(training.StopOnDivergence):
    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if (self.epoch, batch) == (2, 1):
            os.kill(os.getpid(), signal.SIGKILL)

training.StopOnDivergence = Killed
fit.main(sys.argv[1:])
"""


def test_a_killed_training_goes_on_after_its_last_whole_epoch(
    tiny_survey, tmp_path, monkeypatch, capsys
):
    out = tmp_path / "run"
    flags = ["--data", str(tiny_survey / "records"), "--out", str(out), "--policy", "keep"]
    flags += ["--model.network", "simple", "--model.width", "0.25", "--loss.lambda_vat", "0"]
    flags += ["--training.min_steps", "0", "--training.epochs", "5"]
    killed = subprocess.run([sys.executable, "-c", KILLED_IN_ITS_THIRD_EPOCH, *flags], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert not (out / "model.keras").exists()
    first = pd.read_csv(out / "log.csv")
    assert first["epoch"].tolist() == [0, 1]
    # It would take longer than all else.
    monkeypatch.setattr(run_module, "write_report", lambda *_: None)
    capsys.readouterr()
    assert fit.main(flags) == 0
    printed = capsys.readouterr().out
    assert [f"Epoch {epoch}/5" in printed for epoch in range(1, 6)] == [False] * 2 + [True] * 3
    log = pd.read_csv(out / "log.csv")
    assert log["epoch"].tolist() == [0, 1, 2, 3, 4]
    pd.testing.assert_frame_equal(log.head(2), first)
    # A tenth of 300 stamps is for the validation; the others take five batches of 64.
    assert int(load_classifier(out, compile=True).optimizer.iterations) == 5 * 5
    assert not (out / "backup").exists()


def start(out):
    command = [
        *(sys.executable, "-m", "rbkeras.fit", "--out", str(out), "--model.network", "simple"),
        *("--simulation.per_detector", "200", "--simulation.test_real", "50"),
        *("--simulation.test_bogus", "100", "--label_errors.folds", "2"),
        *("--label_errors.epochs", "3", "--label_errors.min_steps", "0", "--training.epochs", "40"),
        *("--training.min_steps", "0"),
    ]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def kill_when(process, path, *, lines=1, timeout=240):
    """Kill -9 once `path` has that many lines."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        if path.exists() and len(path.read_text().splitlines()) >= lines:
            process.send_signal(signal.SIGKILL)
            process.wait()
            return
        assert process.poll() is None, process.stdout.read()
        time.sleep(0.05)
    process.kill()
    pytest.fail(f"{path} did not reach {lines} lines")


@pytest.mark.slow
def test_a_run_killed_in_each_stage_goes_on_where_it_stopped(tmp_path):
    out = tmp_path / "run"
    kill_when(start(out), out / "folds" / "1" / "log.csv", lines=2)
    first_fold = out / "folds" / "0" / "model.keras"
    trained = first_fold.stat().st_mtime_ns
    kill_when(start(out), out / "log.csv", lines=6)
    assert first_fold.stat().st_mtime_ns == trained
    finished = start(out)
    printed, _ = finished.communicate(timeout=600)
    assert finished.returncode == 0, printed
    assert printed.count("finished already") == 2
    log = pd.read_csv(out / "log.csv")
    assert log["epoch"].tolist() == list(range(40))
    # The last run did not start from the beginning.
    assert "Epoch 1/40" not in printed
    load_classifier(out)
