"""Run directories: the batches that a training sees."""

import numpy as np
from detectors import write_detector

from rbkeras.config import FitConfig
from rbkeras.data.records import open_records
from rbkeras.data.write_records import convert_survey
from rbkeras.rundir import Run


def test_validation_batches_of_a_survey_sorted_by_class_have_both(tmp_path, random_stamps):
    names = ["artifact"] * 600 + ["real"] * 600
    (tmp_path / "survey").mkdir()
    write_detector(tmp_path / "survey", 1, random_stamps(1200), names)
    convert_survey(tmp_path / "survey", tmp_path / "records", progress=False)
    records = open_records(tmp_path / "records")
    run = Run(FitConfig(data=records.directory, out=tmp_path / "run"), records)
    batches = run.dataset(run.labels, training=False)
    epochs = [[labels.numpy() for _, labels in batches] for _ in range(2)]
    # The last batch has 176 stamps.
    assert all(0.3 < labels.mean() < 0.7 for labels in epochs[0])
    assert np.array_equal(np.concatenate(epochs[0]), np.concatenate(epochs[1]))
