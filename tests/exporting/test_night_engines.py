"""`predict` with every engine's real file, alone and on workers that are processes of their own."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from rbkeras import engines, predict
from rbkeras.file_states import checksum
from rbkeras.parts import parts_folder


@pytest.fixture(scope="module")
def night(exported, tmp_path_factory):
    folder = tmp_path_factory.mktemp("night")
    stamps = exported[2]
    paths = [folder / f"night{number}.npy" for number in range(6)]
    for path, part in zip(paths, np.array_split(stamps, [50, 50, 70, 90, 110]), strict=True):
        np.save(path, part)
    return paths


@pytest.fixture
def run(exported, night):
    def run(out, *flags):
        return predict.main([str(one) for one in (exported[0], *night, "--out", out, *flags)])

    return run


def test_engines_write_the_same_table(exported, run, tmp_path):
    _, _, stamps, logits = exported
    tables = {}
    for engine in ("keras", "onnx", "litert"):
        assert run(tmp_path / f"{engine}.csv", "--engine", engine) == 0
        tables[engine] = pd.read_csv(tmp_path / f"{engine}.csv")
        assert len(tables[engine]) == len(stamps)
        if engine != "keras":
            pd.testing.assert_frame_equal(
                tables[engine], tables["keras"], check_exact=False, rtol=0, atol=1e-4
            )
    assert set(tables["keras"]["decision"]) == {0, 1}
    assert run(tmp_path / "once.csv", "--engine", "onnx", "--once") == 0
    once = pd.read_csv(tmp_path / "once.csv")
    np.testing.assert_allclose(once["score"], logits[:, 1] - logits[:, 0], atol=1e-4)


@pytest.mark.parametrize("name", ["onnx", "litert"])
def test_predict_with_an_exported_file_does_without_tensorflow(exported, night, tmp_path, name):
    code = (
        "import sys\n"
        "for name in ('tensorflow', 'keras'):\n"
        "    sys.modules[name] = None\n"
        "from rbkeras import predict\n"
        "sys.exit(predict.main(sys.argv[1:]))\n"
    )
    arguments = [exported[0], *night, "--engine", name, "--out", tmp_path / "scores.csv"]
    subprocess.run([sys.executable, "-c", code, *map(str, arguments)], check=True)
    assert len(pd.read_csv(tmp_path / "scores.csv")) == len(exported[2])


def test_the_model_beside_an_exported_file_is_read_once(run, tmp_path, monkeypatch):
    read = []
    monkeypatch.setattr(engines, "checksum", lambda path: read.append(path) or checksum(path))
    assert run(tmp_path / "out.csv", "--engine", "onnx") == 0
    assert [path.name for path in read] == ["model.keras"]


def test_workers_write_the_same_bytes(run, tmp_path):
    flags = ["--engine", "onnx", "--threads", 1]
    assert run(tmp_path / "alone.csv", *flags) == 0
    assert run(tmp_path / "shared.csv", *flags, "--dask", "local:2") == 0
    assert (tmp_path / "shared.csv").read_bytes() == (tmp_path / "alone.csv").read_bytes()


def has_children(process):
    threads = Path(f"/proc/{process.pid}/task").glob("*/children")
    return any(thread.read_text() for thread in threads)


@pytest.fixture
def workers(tmp_path):
    """A scheduler and two workers, each a process as on a cluster: its file and the workers."""
    from distributed import Client

    dask = [sys.executable, "-m", "dask"]
    file = tmp_path / "scheduler.json"
    common = ["--scheduler-file", str(file), "--host", "127.0.0.1", "--no-dashboard"]
    options = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    processes = [subprocess.Popen([*dask, "scheduler", "--port", "0", *common], **options)]
    try:
        for _ in range(2):
            command = [*dask, "worker", "--nthreads", "1", "--no-nanny", *common]
            processes.append(subprocess.Popen(command, **options))
        with Client(scheduler_file=str(file), timeout=60) as client:
            client.wait_for_workers(2, timeout=60)
        yield file, processes[1:]
    finally:
        for process in reversed(processes):
            process.kill()
            process.wait()


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks processes up in /proc")
def test_a_scheduler_whose_worker_is_killed_loses_nothing(exported, night, run, workers, tmp_path):
    file, (first, _) = workers
    flags = ["--engine", "onnx", "--threads", 1]
    assert run(tmp_path / "alone.csv", *flags) == 0
    deadline = time.monotonic() + 120
    out = tmp_path / "shared.csv"
    command = [sys.executable, "-m", "rbkeras.predict", exported[0], *night, "--out", out]
    command = [str(one) for one in (*command, *flags, "--dask", file)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as predicting:
        while not has_children(first):
            assert predicting.poll() is None, predicting.stderr.read()
            assert time.monotonic() < deadline
            time.sleep(0.01)
        first.send_signal(signal.SIGKILL)
        messages = predicting.communicate(timeout=120)[1]
    assert predicting.returncode == 0, messages
    assert out.read_bytes() == (tmp_path / "alone.csv").read_bytes()
    assert not parts_folder(out).exists()
