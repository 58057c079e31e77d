"""Memory does not grow with the number of stamps: what numpy allocates, by Python's own count.

Tables of labels do grow, some 0.2 KB a stamp; the stamps here are 12 KB each. What TensorFlow holds
is not counted: `benchmarks/training_memory.py` and `benchmarks/night.py` measure all of it.
"""

import tracemalloc

import numpy as np
import pytest
from detectors import write_detector

from rbkeras import predict, scoring
from rbkeras.data.pipeline import stamp_dataset
from rbkeras.data.records import open_records
from rbkeras.data.write_records import convert_survey

SHAPE = (32, 32, 3)
STAMP_BYTES = 32 * 32 * 3 * 4
FEW, MANY = 1500, 9000
#: A quarter of what the additional stamps need.
ALLOWED = (MANY - FEW) * STAMP_BYTES / 4


def grows_by(work):
    """Bytes by which the peak of work(MANY) is above that of work(FEW), after a first call."""
    work(FEW)
    peaks = []
    for count in (FEW, MANY):
        tracemalloc.start()
        try:
            work(count)
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
    return peaks[1] - peaks[0]


@pytest.fixture(scope="module")
def surveys(tmp_path_factory):
    folder = tmp_path_factory.mktemp("surveys")
    for count in (FEW, MANY):
        stamps = np.random.default_rng(0).normal(size=(count, *SHAPE)).astype(np.float32)
        names = ["real", "bogus"] * (count // 2)
        write_detector(folder / str(count), 1, stamps, names)
    return folder


@pytest.fixture(scope="module")
def records(surveys):
    for count in (FEW, MANY):
        convert_survey(surveys / str(count), surveys / f"records{count}", progress=False)
    return surveys


def test_what_holds_all_stamps_is_noticed(surveys):
    def read_all(count):
        np.load(surveys / str(count) / "images1.npy", allow_pickle=False)

    assert grows_by(read_all) > ALLOWED


def test_converting(surveys, tmp_path):
    def convert(count):
        out = tmp_path / f"{len(list(tmp_path.iterdir()))}"
        convert_survey(surveys / str(count), out, progress=False)

    assert grows_by(convert) < ALLOWED


@pytest.mark.parametrize("shuffle_buffer", [0, 1024])
def test_an_epoch_of_training(records, shuffle_buffer):
    def read(count):
        opened = open_records(records / f"records{count}")
        targets = np.zeros(count, np.int8)
        dataset = stamp_dataset(opened, targets, batch_size=64, shuffle_buffer=shuffle_buffer)
        assert sum(len(labels) for _, labels in dataset) == count

    assert grows_by(read) < ALLOWED


class Constant:
    """A network that scores any stamp 0."""

    stamp_shape = SHAPE
    decision = None

    def logits(self, stamps):
        return np.zeros((len(stamps), 2), np.float32)


@pytest.mark.parametrize("kind", ["npy", "records"])
def test_scoring(records, tmp_path, monkeypatch, kind):
    monkeypatch.setattr(scoring, "load_engine", lambda *args, **kwargs: Constant())
    model = tmp_path / "model.onnx"
    model.write_text("weights")

    def score(count):
        folder = str(count) if kind == "npy" else f"records{count}"
        path = records / folder / ("images1.npy" if kind == "npy" else "")
        out = tmp_path / f"{len(list(tmp_path.iterdir()))}.csv"
        assert predict.main([str(model), str(path), "--out", str(out)]) == 0
        assert len(out.read_text().splitlines()) == count + 1

    assert grows_by(score) < ALLOWED
