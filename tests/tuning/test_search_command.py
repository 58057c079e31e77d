"""The command on real trainings, as small as they get."""

import fcntl
import os
import signal
import subprocess
import sys
import time

import pandas as pd
import pytest

from rbkeras import fit
from rbkeras.files import read_json
from tuning import search
from tuning import sweep as sweep_module

TINY = [
    *("--model.network", "simple", "--model.width", "0.2", "--epochs", "1", "--seed", "2"),
    *("--loss.lambda_vat", "0", "--fix", "use_vat", "--policy", "keep", "--tuner", "random"),
    *("--process_per_trial", "false"),
]


def flags(survey, out, *more):
    return ["--data", str(survey / "records"), "--out", str(out), *TINY, *more]


@pytest.fixture(scope="module")
def sweep(tiny_survey, tmp_path_factory):
    out = tmp_path_factory.mktemp("sweep") / "sweep"
    arguments = flags(tiny_survey, out, "--folds", "2", "--max_trials", "2", "--cost")
    assert search.main(arguments) == 0
    return out, arguments


def test_a_sweep_leaves_its_results(sweep):
    out, _ = sweep
    table = pd.read_csv(out / "trials.csv")
    assert table["status"].tolist() == ["completed", "completed"]
    assert table["parts"].tolist() == [2, 2]
    assert table["epochs"].tolist() == [1, 1]
    assert (table["multiply_adds"] > 1000).all()
    assert table["pareto"].any()
    assert "loss.vat_xi" not in table
    assert (out / "sweep.html").stat().st_size > 20_000
    assert list((out / "tensorboard").rglob("*tfevents*"))
    assert not list(out.rglob("*.keras"))
    # The first trial is the command's own settings.
    assert table.loc[0, "loss.lambda_auc"] == 0.1
    assert "Settings as given: trial 0," in (out / "sweep.html").read_text()


@pytest.mark.slow
def test_more_trials_may_be_added_and_nothing_else_changed(sweep, fails_with, capsys):
    out, arguments = sweep
    before = (out / "trials" / "0" / "result.json").stat().st_mtime_ns
    assert search.main([*arguments, "--max_trials", "3"]) == 0
    assert len(pd.read_csv(out / "trials.csv")) == 3
    assert (out / "trials" / "0" / "result.json").stat().st_mtime_ns == before
    said = capsys.readouterr().out
    assert "3 completed" in said
    assert "settings as given: trial 0," in said
    for change in (["--folds", "3"], ["--loss.auc_beta", "0.5"], ["--fix", "use_auc"]):
        line = fails_with(search.main, [*arguments, *change])
        assert "expected the settings of this run, found others" in line


@pytest.mark.slow
def test_the_best_settings_run_as_they_are(sweep, tmp_path):
    out, _ = sweep
    best = read_json(out / "sweep.json")["settings"]["objective"]
    assert best == "fpr90"
    assert fit.main(["--config", str(out / "best.yaml"), "--out", str(tmp_path / "run")]) == 0
    assert (tmp_path / "run" / "model.keras").exists()


def test_a_search_in_which_everything_fails_says_so(records_dir, tmp_path, capsys):
    # Stamps of 7 x 7 pixels are too small for simple with padding valid.
    arguments = ["--data", str(records_dir), "--out", str(tmp_path), *TINY, "--max_failures", "3"]
    assert search.main(arguments) == 1
    captured = capsys.readouterr()
    assert "none of 3 trials succeeded" in captured.err
    assert "does not fit stamps of 7 x 7" in captured.err
    assert "Traceback" not in captured.err
    assert "0 completed, 0 abandoned, 3 failed" in captured.out
    table = pd.read_csv(tmp_path / "trials.csv")
    assert table["error"].str.contains("does not fit").all()
    assert not (tmp_path / "best.yaml").exists()


def test_a_folder_is_held_from_the_claim_on(records_dir, tmp_path, monkeypatch):
    """Another command with --overwrite would take away what a search is working in."""
    held = []

    def look(*_, **__):
        with open(tmp_path / ".keras_tuner.lock", "a") as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                held.append(True)

    monkeypatch.setattr(sweep_module, "claim", look)
    monkeypatch.setattr(sweep_module, "search", look)
    arguments = ["--data", str(records_dir), "--out", str(tmp_path), *TINY]
    assert search.main(arguments) == 1  # no trial has succeeded
    assert held == [True, True]


def test_bad_flags(tiny_survey, tmp_path, fails_with):
    for more, words in (
        (["--max_trials", "0"], "--max_trials: expected at least 1, got 0"),
        (["--vary", "loss.lamda"], "--vary: expected one of"),
        (["--folds", "101"], "folds: expected 2 to 100, got 101"),
        (["--hours", "-1"], "--hours: expected a number above 0"),
        (["--training.epochs", "0", "--epochs", "0"], "--training.epochs: expected at least 1"),
        (
            ["--max_multiply_adds", "10"],
            "which the network of every trial needs, got 10",
        ),
    ):
        assert words in fails_with(search.main, flags(tiny_survey, tmp_path / "x", *more))
    assert "records directory" in fails_with(search.main, ["--data", str(tmp_path / "none")])


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("max_trials: null", "--max_trials: expected a value, got null"),
        ("objective: null", "--objective: expected a value, got null"),
        ("vary: null", "--vary: expected a value, got null"),
        ("vary: loss.lambda_ce", "--vary: expected a list, got 'loss.lambda_ce'"),
    ],
)
def test_a_file_says_no_nonsense_of_the_search_itself(tmp_path, capsys, line, words):
    path = tmp_path / "settings.yaml"
    path.write_text(f"{line}\n")
    with pytest.raises(SystemExit):
        search.main(["--config", str(path), "--out", str(tmp_path / "out")])
    assert words in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_killed_search_goes_on_in_processes_of_its_own(tiny_survey, tmp_path):
    out = tmp_path / "sweep"
    arguments = flags(tiny_survey, out, "--folds", "2", "--max_trials", "2")
    command = [sys.executable, "-m", "tuning.search", *arguments]
    # stdout has to be read or thrown away, or the process waits for it.
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True)
    deadline = time.monotonic() + 120
    while not (out / "trials" / "0" / "parts" / "0" / "part.json").exists():
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (out / "trials" / "0" / "result.json").exists()
    values = (out / "trials" / "0" / "values.json").read_text()
    part = (out / "trials" / "0" / "parts" / "0" / "part.json").read_text()
    assert search.main([*arguments, "--process_per_trial", "true"]) == 0
    assert pd.read_csv(out / "trials.csv")["trial"].tolist() == [0, 1]
    assert (out / "trials" / "0" / "values.json").read_text() == values
    assert (out / "trials" / "0" / "parts" / "0" / "part.json").read_text() == part
