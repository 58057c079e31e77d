"""A chief and two workers, in real processes."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from rbkeras.errors import InputError
from tuning import search, workers
from tuning.workers import check_address, role

TINY = [
    *("--model.network", "simple", "--model.width", "0.2", "--epochs", "1", "--seed", "2"),
    *("--loss.lambda_vat", "0", "--fix", "use_vat", "--policy", "keep", "--tuner", "random"),
    *("--process_per_trial", "false"),
]


def test_the_environment_says_which_process_it_is(monkeypatch):
    assert role() == "alone"
    monkeypatch.setenv("KERASTUNER_TUNER_ID", "chief")
    with pytest.raises(InputError, match="KERASTUNER_ORACLE_PORT"):
        role()
    monkeypatch.setenv("KERASTUNER_ORACLE_IP", "127.0.0.1")
    monkeypatch.setenv("KERASTUNER_ORACLE_PORT", "1")
    assert role() == "chief"
    monkeypatch.setenv("KERASTUNER_TUNER_ID", "worker3")
    assert role() == "worker"
    for port in ("abc", "0", "99999"):
        monkeypatch.setenv("KERASTUNER_ORACLE_PORT", port)
        with pytest.raises(InputError, match="KERASTUNER_ORACLE_PORT: expected a number from 1"):
            role()


def test_a_chief_needs_an_address_of_its_own(monkeypatch):
    monkeypatch.setenv("KERASTUNER_ORACLE_IP", "127.0.0.1")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        monkeypatch.setenv("KERASTUNER_ORACLE_PORT", str(taken.getsockname()[1]))
        with pytest.raises(InputError, match="expected a free address of this machine"):
            check_address()
    check_address()
    # A documentation network, RFC 5737, that no machine is in.
    monkeypatch.setenv("KERASTUNER_ORACLE_IP", "192.0.2.1")
    with pytest.raises(InputError, match=r"got 192\.0\.2\.1:"):
        check_address()


def test_who_ended_early_is_named(monkeypatch, capsys):
    """Neither workers without a chief, nor a chief without workers, are at fault themselves."""

    def begin(ends):
        def popen(command, *, env, **_):
            status = ends.get(env["KERASTUNER_TUNER_ID"])
            end = "import time; time.sleep(60)" if status is None else f"raise SystemExit({status})"
            return real([sys.executable, "-c", end])

        return popen

    real = subprocess.Popen
    monkeypatch.setattr(workers, "_FAREWELL", 0.2)
    for ends, lost in (
        ({"chief": 3}, "status: chief (3);"),
        ({"worker0": 4, "worker1": 0}, "status: worker0 (4);"),
    ):
        monkeypatch.setattr(subprocess, "Popen", begin(ends))
        assert search.share([], workers=2, threads=1) == 1
        assert lost in capsys.readouterr().err


@pytest.mark.slow
def test_two_workers_share_a_search(tiny_survey, tmp_path, capfd):
    out = tmp_path / "sweep"
    arguments = ["--data", str(tiny_survey / "records"), "--out", str(out), *TINY]
    # Which trial would be given up depends on which ends first.
    arguments += ["--folds", "2", "--max_trials", "4", "--abandon", "false"]
    shared = [*arguments, "--workers", "2", "--threads_per_worker", "1"]
    assert search.main(shared) == 0
    table = pd.read_csv(out / "trials.csv")
    assert table["trial"].tolist() == [0, 1, 2, 3]
    assert (table["status"] == "completed").all()
    values = table[[name for name in table if name.startswith(("loss.", "use_"))]]
    assert len(values.drop_duplicates()) == 4
    text = capfd.readouterr().out
    for trial in range(4):
        assert text.count(f"trial {trial} of 4") == 1
    state = json.loads((out / "keras_tuner" / "oracle.json").read_text())
    assert sorted(state["end_order"]) == ["0", "1", "2", "3"]
    workers = {path.name for path in (out / "keras_tuner").glob("worker-*.json")}
    assert workers == {"worker-worker0.json", "worker-worker1.json"}
    # One process goes on with what several began.
    assert search.main([*arguments, "--max_trials", "5"]) == 0
    assert pd.read_csv(out / "trials.csv")["trial"].tolist() == [0, 1, 2, 3, 4]


def worker_of(process, name):
    """Find the process of a worker below `process`; None until it has been started."""
    for child in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split():
        environment = Path(f"/proc/{child}/environ").read_bytes().split(b"\0")
        if f"KERASTUNER_TUNER_ID={name}".encode() in environment:
            return int(child)
    return None


def wait_for(condition, process):
    deadline = time.monotonic() + 300
    while not (found := condition()):
        assert process.poll() is None, "the search ended too early"
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="looks processes up in /proc")
def test_a_killed_worker_loses_no_finished_trial(tiny_survey, tmp_path):
    out = tmp_path / "sweep"
    arguments = ["--data", str(tiny_survey / "records"), "--out", str(out), *TINY]
    arguments += ["--folds", "3", "--max_trials", "5"]
    shared = [*arguments, "--workers", "2", "--threads_per_worker", "1"]
    process = subprocess.Popen(
        [sys.executable, "-m", "tuning.search", *shared], stderr=subprocess.PIPE, text=True
    )

    def half_done():
        begun = [path.parent for path in out.glob("trials/*/values.json")]
        open_ones = [folder for folder in begun if not (folder / "result.json").exists()]
        finished = len(begun) - len(open_ones)
        return finished >= 1 and any(list(f.glob("parts/*/part.json")) for f in open_ones)

    wait_for(half_done, process)
    before = {path: path.read_bytes() for path in out.glob("trials/*/result.json")}
    os.kill(wait_for(lambda: worker_of(process, "worker1"), process), signal.SIGKILL)
    _, message = process.communicate(timeout=600)
    assert process.returncode == 1
    assert "processes that ended early, with their status: worker1 (-9)" in message
    assert before
    assert all(path.read_bytes() == content for path, content in before.items())

    assert search.main(arguments) == 0
    table = pd.read_csv(out / "trials.csv")
    assert table["trial"].tolist() == [0, 1, 2, 3, 4]
    assert (table["status"] != "failed").all()
    assert all(path.read_bytes() == content for path, content in before.items())
