"""Pieces of work on Dask, in real processes; most do next to nothing."""

import importlib.util
import json
import os
import platform
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import chores
import pandas as pd
import pytest
from chores import chore
from tiny import SMALL, data_flags

from rbkeras import distribution, find_label_errors, fit
from rbkeras.distribution import check_dask, do_on_dask
from rbkeras.errors import InputError, WorkError
from rbkeras.inference import load_classifier
from rbkeras.pieces import ProcessDied, do_piece, thread_limits

looks_into_proc = pytest.mark.skipif(
    not Path("/proc/self/stat").exists(), reason="looks processes up in /proc"
)


@pytest.fixture(autouse=True)
def importable_chores(monkeypatch):
    """Let processes of pieces import what the test modules import."""
    here = str(Path(__file__).parent)
    known = [path for path in (os.environ.get("PYTHONPATH"), here) if path]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(known))


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """A scheduler of somebody's own, with two workers in this process: its address and its file."""
    from distributed import Client, LocalCluster

    path = tmp_path_factory.mktemp("scheduler") / "scheduler.json"
    options = {"processes": False, "threads_per_worker": 1, "dashboard_address": "127.0.0.1:0"}
    with LocalCluster(n_workers=2, protocol="tcp", **options) as cluster, Client(cluster) as client:
        client.write_scheduler_file(str(path))
        yield cluster.scheduler_address, str(path)


def wait_until(condition, seconds=120):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


# --- the flag -------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", ["local:0", "local:", "local:two", "local:-1", "host:8786", "x"])
def test_flags_that_name_no_workers_are_told_at_once(value, records_dir, tmp_path, fails_with):
    for main in (find_label_errors.main, fit.main):
        arguments = ["--data", records_dir, "--out", tmp_path / "run", "--dask", value]
        message = fails_with(main, arguments)
        assert "--dask: expected local:N" in message
        assert value in message
    assert not (tmp_path / "run").exists()


def test_without_the_package_the_extra_is_named(records_dir, tmp_path, monkeypatch, fails_with):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    arguments = ["--data", records_dir, "--out", tmp_path / "run", "--dask", "local:2"]
    assert "pip install 'rbkeras[dask]'" in fails_with(find_label_errors.main, arguments)
    check_dask(None)


def test_a_scheduler_that_is_not_there(monkeypatch, tmp_path):
    monkeypatch.setattr(distribution, "_PATIENCE", 1)
    pieces = [chore(tmp_path, "first", chores.write, path=tmp_path / "a")]
    with pytest.raises(InputError, match=r"--dask tcp://127.0.0.1:9: expected a scheduler there"):
        do_on_dask(pieces, "tcp://127.0.0.1:9", title="chores")
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize("content", ["", "no JSON", "[1]", "{}", '{"address": 5}'])
def test_a_scheduler_file_that_says_nothing(tmp_path, content):
    path = tmp_path / "scheduler.json"
    path.write_text(content)
    pieces = [chore(tmp_path, "first", chores.write, path=tmp_path / "a")]
    with pytest.raises(InputError, match=r"scheduler\.json: expected"):
        do_on_dask(pieces, str(path), title="chores")


def test_no_pieces_need_no_scheduler():
    do_on_dask([], "tcp://127.0.0.1:9", title="nothing")


# --- a scheduler of somebody's own ----------------------------------------------------------------


@pytest.mark.parametrize("which", [0, 1], ids=["address", "file"])
def test_pieces_are_done_in_processes_of_their_own(cluster, which, tmp_path):
    pieces = [
        chore(tmp_path, "first", chores.write, path=tmp_path / "a", text="one"),
        chore(tmp_path, "then", chores.copy, ["first"], source=tmp_path / "a", path=tmp_path / "b"),
        chore(tmp_path, "too", chores.write, path=tmp_path / "c"),
    ]
    do_on_dask(pieces, cluster[which], title="chores")
    assert [(tmp_path / name).read_text() for name in "abc"] == ["one", "one", "done"]
    assert (tmp_path / "logs" / "first.txt").read_text() == f"writing {tmp_path / 'a'}\n"


def test_failures_stop_only_what_needs_them(cluster, tmp_path, capsys):
    pieces = [
        chore(tmp_path, "broken", chores.break_down),
        chore(tmp_path, "needy", chores.write, ["broken"], path=tmp_path / "needy"),
        chore(tmp_path, "needier", chores.write, ["needy"], path=tmp_path / "needier"),
        chore(tmp_path, "other", chores.write, path=tmp_path / "other"),
    ]
    expected = r"^broken: ZeroDivisionError: division by zero \(more in (.*)\); not done in all: 3"
    with pytest.raises(WorkError, match=expected) as raised:
        do_on_dask(pieces, cluster[0], title="chores")
    assert "\n" not in str(raised.value)
    assert (tmp_path / "other").exists()
    assert not (tmp_path / "needy").exists()
    assert not (tmp_path / "needier").exists()
    log = (tmp_path / "logs" / "broken.txt").read_text()
    assert "about to divide" in log
    assert "Traceback" in log
    assert str(tmp_path / "logs" / "broken.txt") in str(raised.value)
    printed = capsys.readouterr()
    assert "failed=3" in printed.err
    assert "not done: needy: needs another one that failed" in printed.out


def test_input_at_fault_is_said_to_be(cluster, tmp_path):
    with pytest.raises(InputError, match=r"^bad: table.csv: expected rows, found none$"):
        do_on_dask([chore(tmp_path, "bad", chores.refuse)], cluster[0], title="chores")


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="a setting of glibc")
def test_pieces_keep_the_memory_of_a_batch_for_the_next(tmp_path):
    piece = chore(tmp_path, "batches", chores.take_and_give_back, path=tmp_path / "pages")
    assert do_piece(piece.order(), environment={}) is None
    # Without the setting all 6,144 come anew.
    assert int((tmp_path / "pages").read_text()) < 600


@pytest.mark.parametrize(
    ("name", "own"), [("TF_ENABLE_ONEDNN_OPTS", "1"), ("TF_FORCE_GPU_ALLOW_GROWTH", "true")]
)
@pytest.mark.parametrize("given", [None, "0"])
def test_pieces_ask_of_tensorflow_what_commands_do(name, own, given, tmp_path, monkeypatch):
    monkeypatch.delenv(name, raising=False)
    piece = chore(tmp_path, "x", chores.write, path=tmp_path / "value", variable=name)
    environment = {} if given is None else {name: given}
    assert do_piece(piece.order(), environment=environment) is None
    assert (tmp_path / "value").read_text() == (given or own)


def test_a_piece_whose_process_is_killed_is_done_again(cluster, tmp_path, capsys):
    attempts = tmp_path / "attempts"
    arguments = {"attempts": attempts, "worker": False}
    do_on_dask([chore(tmp_path, "x", chores.die, times=2, **arguments)], cluster[0], title="chores")
    assert len(attempts.read_text().splitlines()) == 3

    hopeless = [
        chore(tmp_path, "y", chores.die, times=9, **arguments),
        chore(tmp_path, "needy", chores.write, ["y"], path=tmp_path / "needy"),
    ]
    with pytest.raises(WorkError, match="y: ProcessDied: its process ended with status -9"):
        do_on_dask(hopeless, cluster[0], title="chores")
    assert "not done: needy: needs another one that failed" in capsys.readouterr().out


def test_workers_of_another_version_are_refused(tmp_path):
    order = chore(tmp_path, "a", chores.write, path=tmp_path / "a").order() | {"version": "0.0"}
    outcome = do_piece(order, environment={})
    assert outcome["error"] == "InputError"
    assert "expected workers with rbkeras 0.0, found " in outcome["message"]
    assert not (tmp_path / "a").exists()


def test_a_killed_process_is_no_outcome(tmp_path):
    piece = chore(tmp_path, "a", chores.die, attempts=tmp_path / "attempts", times=1, worker=False)
    with pytest.raises(ProcessDied, match=r"status -9 \(see .*a\.txt\)"):
        do_piece(piece.order(), environment={})


# --- workers of our own ---------------------------------------------------------------------------


@looks_into_proc
def test_a_killed_worker_loses_nothing(tmp_path, monkeypatch):
    for name in thread_limits(1):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("dask.system.CPU_COUNT", 6)
    attempts = tmp_path / "attempts"
    pieces = [
        chore(tmp_path, "kill", chores.die, attempts=attempts, times=1, worker=True),
        *(chore(tmp_path, f"w{n}", chores.write, path=tmp_path / f"w{n}") for n in range(4)),
        *(
            chore(tmp_path, name, chores.write, path=tmp_path / name, variable=name)
            for name in thread_limits(1)
        ),
    ]
    do_on_dask(pieces, "local:2", title="chores")
    assert all((tmp_path / f"w{n}").read_text() == "done" for n in range(4))
    # Two workers on six processors have three each.
    assert {(tmp_path / name).read_text() for name in thread_limits(1)} == {"3"}
    (process, worker), (_, other) = (line.split() for line in attempts.read_text().splitlines())
    assert worker != other
    # The process of the piece has ended with its worker, so that nobody else is at work on it.
    wait_until(lambda: not alive(process), 30)
    assert not Path(f"{attempts}.lived_on").exists()


@looks_into_proc
def test_workers_end_with_a_command_that_is_killed(tmp_path):
    code = """
        import sys
        from pathlib import Path
        import chores
        from rbkeras.distribution import do_on_dask
        if __name__ == "__main__":
            folder = Path(sys.argv[1])
            piece = chores.chore(folder, "nap", chores.nap, path=folder / "pids")
            do_on_dask([piece], "local:1", title="chores")
    """
    (tmp_path / "command.py").write_text(textwrap.dedent(code))
    command = subprocess.Popen([sys.executable, str(tmp_path / "command.py"), str(tmp_path)])
    pids = tmp_path / "pids"
    wait_until(lambda: pids.exists() and len(pids.read_text().split()) == 2)
    command.kill()
    command.wait()
    wait_until(lambda: not any(alive(pid) for pid in pids.read_text().split()), 30)


def alive(pid):
    """Say whether a process runs; one that nobody has waited for is dead too."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().split(") ")[1][0] not in "ZX"
    except OSError:
        return False


FOLDS = [*SMALL, "--model.width", "0.2", "--label_errors.epochs", "1", "--deterministic"]


def command(survey, out, *more):
    arguments = ["--data", str(survey / "records"), "--out", str(out), *FOLDS, *more]
    return [sys.executable, "-m", "rbkeras.find_label_errors", *arguments]


@pytest.mark.slow
def test_two_workers_find_the_same_label_errors_as_one_process(tiny_survey, tmp_path):
    """Byte for byte, when every process has one thread."""
    environment = os.environ | thread_limits(1)
    tables = []
    for name, more in (("alone", []), ("shared", ["--dask", "local:2"])):
        done = subprocess.run(
            command(tiny_survey, tmp_path / name, *more),
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        tables.append((tmp_path / name / "label_errors.csv").read_bytes())
    assert tables[0] == tables[1]
    # The folds were indeed trained by the workers.
    assert "training on" not in done.stdout
    for fold in (0, 1):
        assert "training on" in (tmp_path / "shared" / "logs" / f"fold-{fold}.txt").read_text()


@pytest.mark.slow
def test_workers_of_a_scheduler_train_stage_two_as_well(cluster, tiny_survey, tmp_path, capsys):
    out = tmp_path / "run"
    arguments = [*data_flags(tiny_survey), "--out", str(out), *FOLDS, "--dask", cluster[1]]
    # Folds that have learnt so little would suspect a whole class.
    arguments += ["--label_errors.certainty", "0.99"]
    assert fit.main(arguments) == 0
    printed = capsys.readouterr().out
    assert printed.count("finished already") == 1
    assert "training on" not in printed
    assert "training on" in (out / "logs" / "stage-2.txt").read_text()
    assert (out / "report.html").exists()
    assert load_classifier(out).decision is not None


@pytest.mark.slow
@looks_into_proc
def test_a_worker_killed_in_the_middle_of_a_fold(tiny_survey, tmp_path):
    out = tmp_path / "run"
    more = ["--label_errors.folds", "3", "--label_errors.epochs", "12", "--dask", "local:2"]
    process = subprocess.Popen(
        command(tiny_survey, out, *more),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )

    def rows(fold):
        log = out / "folds" / str(fold) / "log.csv"
        return len(log.read_text().splitlines()) if log.exists() else 0

    def finished(fold):
        marker = out / "folds" / str(fold) / "fold.json"
        return marker.exists() and json.loads(marker.read_text())["finished"]

    # Fold 2 begins once another one is finished.
    wait_until(lambda: rows(2) >= 3 or process.poll() is not None, 900)
    assert process.poll() is None, process.stdout.read()
    before = {
        fold: (out / "folds" / str(fold) / "model.keras").stat().st_mtime_ns
        for fold in range(3)
        if finished(fold)
    }
    assert before
    os.kill(worker_at(process.pid, out / "logs" / "fold-2.txt"), signal.SIGKILL)
    printed, _ = process.communicate(timeout=900)
    assert process.returncode == 0, printed
    for fold, time_ns in before.items():
        assert (out / "folds" / str(fold) / "model.keras").stat().st_mtime_ns == time_ns
    # The fold went on where it was, in another process.
    text = (out / "logs" / "fold-2.txt").read_text()
    assert text.count("training on") == 2
    assert text.count("Epoch 1/12") == 1
    assert len(pd.read_csv(out / "folds" / "2" / "log.csv")) == 12
    assert len(pd.read_csv(out / "label_errors.csv")) == 300


def worker_at(root, log):
    """Find the worker that waits for the process whose log this is."""
    for process in descendants(root):
        links = Path(f"/proc/{process}/fd")
        targets = {os.readlink(link) for link in links.iterdir()} if links.exists() else set()
        if str(log) in targets and descendants(process):
            return process
    raise AssertionError(f"no worker has {log} open")


def descendants(process):
    found = []
    for task in Path(f"/proc/{process}/task").iterdir():
        for child in (task / "children").read_text().split():
            found += [int(child), *descendants(int(child))]
    return found
