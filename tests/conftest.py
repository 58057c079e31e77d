import gc
import os
import shutil
import warnings

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
if "PYTEST_XDIST_WORKER" in os.environ:
    # Every processor has a test process already.
    os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")

import numpy as np
import pandas as pd
import pytest
from detectors import write_detector
from tiny import SMALL, data_flags

from rbkeras import machine
from rbkeras.locks import alone

# As commands do: a test compares what it computes itself with what they do in other processes.
machine.prepare()


def pytest_collection_finish():
    """Leave what was imported out of every search for garbage, as commands do."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def no_deprecated_calls():
    """What the project calls may not be deprecated; what packages call is theirs to mend."""
    for category in (DeprecationWarning, FutureWarning):
        warnings.filterwarnings("error", category=category, module="rbkeras|tuning")


NAMES = ("artifact", "galx_artificial_real", "rand_artificial_real", "unlabelled", "bogus", "real")


@pytest.fixture(scope="session")
def random_stamps():
    """Stamps (n, *shape) whose first pixel says which one it is: 1000 detector + row."""

    def make(n=12, shape=(7, 7, 3), detector=1, seed=0):
        rng = np.random.default_rng([seed, detector])
        stamps = rng.normal(size=(n, *shape)).astype(np.float32)
        stamps[:, 0, 0, 0] = 1000 * detector + np.arange(n)
        return stamps

    return make


@pytest.fixture(scope="session")
def make_survey(random_stamps):
    """Write a survey of detectors 1, 2 and 10, with NaN pixels and unlabelled rows."""

    def make(directory, *, detectors=(1, 2, 10), n=12, shape=(7, 7, 3), dtype=np.float32):
        for detector in detectors:
            stamps = random_stamps(n, shape, detector)
            if np.dtype(dtype).kind == "f":
                stamps[3, 2, 1, 0] = np.nan
                stamps[7, 1:3, :, -1] = np.nan
            else:
                stamps *= 10
            names = [NAMES[row % len(NAMES)] for row in range(n)]
            objects = [f"obj{detector}_{row // 2}" for row in range(n)]
            write_detector(directory, detector, stamps.astype(dtype), names, objectId=objects)
        return directory

    return make


@pytest.fixture
def survey(tmp_path, make_survey):
    return make_survey(tmp_path / "survey")


@pytest.fixture(params=[(7, 7, 3), (9, 6, 2)], ids=["7x7x3", "9x6x2"])
def shape(request):
    return request.param


@pytest.fixture
def fails_with(capsys):
    """Run a command and return its one line on stderr, once it has ended with this status."""

    def run(main, arguments, status=2):
        capsys.readouterr()
        assert main([str(argument) for argument in arguments]) == status
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == 1, lines
        assert lines[0].startswith("error: ")
        assert "Traceback" not in lines[0]
        return lines[0]

    return run


@pytest.fixture(scope="session")
def records_dir(tmp_path_factory, make_survey):
    """Records of the usual survey, not to be changed."""
    from rbkeras.data.write_records import convert_survey

    folder = tmp_path_factory.mktemp("converted")
    convert_survey(make_survey(folder / "survey"), folder / "records", progress=False)
    return folder / "records"


@pytest.fixture
def own_records(tmp_path, records_dir):
    """A copy of them, to be damaged."""
    return shutil.copytree(records_dir, tmp_path / "records")


@pytest.fixture(scope="session")
def write_original():
    """Write stamps the way the original scripts did: one {detector: (stamps, labels)}."""
    import tensorflow as tf

    def integer(value):
        return tf.train.Feature(int64_list=tf.train.Int64List(value=[int(value)]))

    def write(directory, detectors):
        directory.mkdir()
        rows, unique = [], 0
        for detector, (stamps, labels) in detectors.items():
            rows.append((detector, len(stamps), unique))
            path = str(directory / f"data{detector}.tfrecord")
            with tf.io.TFRecordWriter(path, tf.io.TFRecordOptions("GZIP")) as writer:
                for index, (stamp, label) in enumerate(zip(stamps, labels, strict=True)):
                    image = tf.train.FloatList(value=stamp.ravel())
                    feature = {
                        "image": tf.train.Feature(float_list=image),
                        "label": integer(label),
                        "detector_id": integer(detector),
                        "sample_index": integer(index),
                        "unique_index": integer(unique),
                    }
                    features = tf.train.Features(feature=feature)
                    writer.write(tf.train.Example(features=features).SerializeToString())
                    unique += 1
        columns = ["detector_id", "size", "start_index"]
        pd.DataFrame(rows, columns=columns).to_csv(directory / "data_info.csv")
        return directory

    return write


@pytest.fixture(scope="session")
def read_all():
    """All stamps of a records directory as they leave the pipeline, by unique_index."""
    from rbkeras.data.pipeline import stamp_dataset

    def read(records, **options):
        options = {"batch_size": 5, "with_index": True} | options
        batches = list(stamp_dataset(records, np.zeros(len(records), np.int8), **options))
        index = np.concatenate([index for _, index in batches])
        assert sorted(index) == list(range(len(records)))
        return np.concatenate([stamps for stamps, _ in batches])[np.argsort(index)]

    return read


@pytest.fixture(scope="session")
def made_once(tmp_path_factory):
    """Fill a folder, not to be changed, once for all test processes."""
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent

    def make(name, fill):
        folder, filled = shared / name, shared / f"{name}-filled"
        with alone(folder):
            if not filled.exists():
                fill(folder)
                filled.touch()
        return folder

    return make


@pytest.fixture(scope="session")
def conditions():
    """A plain, empty field: what a test sees comes from what it put in."""
    from rbkeras.data.simulation.sky import Conditions, Psf

    return Conditions(
        psf=Psf(3.0, 3.5),
        reference_psf=Psf(2.5, 3.5),
        sky=500.0,
        gain=2.0,
        read_noise=8.0,
        coadds=16,
        crowding=0.0,
        misalignment=0.05,
        mismatch=0.01,
        saturation=4e4,
        zero_point=25.0,
    )


@pytest.fixture(scope="session")
def tiny_survey(made_once):
    """A simulated survey in `sim` and its `records`, not to be changed."""
    from rbkeras.data.simulation import simulate_survey
    from rbkeras.data.write_records import convert_survey

    def fill(folder):
        simulate_survey(
            folder / "sim",
            detectors=2,
            per_detector=150,
            test_real=60,
            test_bogus=200,
            size=21,
            seed=1,
            progress=False,
        )
        convert_survey(folder / "sim" / "raw", folder / "records", progress=False)

    return made_once("tiny-survey", fill)


@pytest.fixture(scope="session")
def tiny_run(tiny_survey, made_once):
    """A finished run on it, not to be changed."""
    from rbkeras import fit

    def fill(folder):
        assert fit.main([*data_flags(tiny_survey), "--out", str(folder / "run"), *SMALL]) == 0

    return made_once("tiny-run", fill) / "run"
