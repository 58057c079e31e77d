"""A test set held out of the records: seen by no stage, whole groups, and scored as by predict."""

import json

import numpy as np
import pandas as pd
import pytest
from detectors import write_detector
from tiny import SMALL, data_flags

from rbkeras import fit, predict
from rbkeras.config import FitConfig, LabelErrorConfig
from rbkeras.data.labels import SKIP
from rbkeras.data.records import open_records
from rbkeras.data.write_records import convert_survey
from rbkeras.rundir import Run
from rbkeras.stage2 import choose_targets

SHARE = 0.25


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    """Two detectors; objects of three detections each, some of them unlabelled."""
    folder = tmp_path_factory.mktemp("held-out")
    rng = np.random.default_rng(0)
    for detector in (1, 2):
        names = rng.choice(["real", "artifact", "unlabelled"], 120, p=[0.4, 0.4, 0.2])
        stamps = rng.normal(100, 10, (120, 5, 5, 1)).astype(np.float32)
        objects = [f"{detector}-{number // 3}" for number in range(120)]
        write_detector(folder / "survey", detector, stamps, names, object=objects)
    convert_survey(folder / "survey", folder / "records", progress=False)
    return open_records(folder / "records")


def make_run(records, tmp_path, *, group=None, **settings):
    own = LabelErrorConfig(group=group)
    config = FitConfig(data=records.directory, out=tmp_path, label_errors=own, **settings)
    return Run(config, records)


def test_without_it_every_label_is_as_given(records, tmp_path):
    run = make_run(records, tmp_path)
    assert not run.held_out.any()
    assert (run.test_labels == SKIP).all()
    np.testing.assert_array_equal(run.labels, records.samples["label"])
    assert "labels" not in run.settings()


def test_the_part_is_stratified_and_nothing_else_has_it(records, tmp_path):
    run = make_run(records, tmp_path, hold_out=SHARE)
    given = records.samples["label"].to_numpy()
    for detector in (1, 2):
        for label in (0, 1):
            those = (records.samples["detector_id"] == detector) & (given == label)
            assert abs(run.held_out[those].sum() - SHARE * those.sum()) <= 1
    assert not run.held_out[given == -1].any()
    np.testing.assert_array_equal(run.test_labels != SKIP, run.held_out)
    np.testing.assert_array_equal(run.test_labels[run.held_out], given[run.held_out])
    training, validation = choose_targets(run, None)
    seen = np.stack([part != SKIP for part in (training, validation, run.test_labels)])
    assert (seen.sum(axis=0) == 1).all()
    assert run.settings()["labels"]


def test_objects_are_held_out_whole_with_their_unlabelled_stamps(records, tmp_path):
    run = make_run(records, tmp_path, group="object", hold_out=SHARE)
    held_out = pd.Series(run.held_out).groupby(records.samples["object"].to_numpy())
    assert set(held_out.mean()) == {0.0, 1.0}
    assert abs(run.held_out.mean() - SHARE) < 0.05
    assert (run.labels[run.held_out] == SKIP).all()
    assert (records.samples["label"].to_numpy()[run.test_labels != SKIP] >= 0).all()


def test_verdicts_correct_the_test_and_bring_nothing_back(records, tmp_path):
    plain = make_run(records, tmp_path, hold_out=SHARE)
    chosen = np.flatnonzero(plain.held_out)[:3]
    old = records.samples["label"].to_numpy()[chosen]
    words = [("bogus", "real")[1 - label] for label in old[:1]] + ["unlabelled", "ok"]
    path = tmp_path / "verdicts.csv"
    pd.DataFrame({"unique_index": chosen, "verdict": words}).to_csv(path, index=False)
    run = make_run(records, tmp_path, hold_out=SHARE, verdicts=path)
    assert run.test_labels[chosen].tolist() == [1 - old[0], SKIP, old[2]]
    training, validation = choose_targets(run, None)
    assert (training[chosen] == SKIP).all()
    assert (validation[chosen] == SKIP).all()


def test_fit_tests_on_what_it_held_out(tiny_survey, tmp_path, capsys):
    data, out = data_flags(tiny_survey)[:2], tmp_path / "run"
    arguments = [*data, "--out", str(out), *SMALL, "--hold_out", str(SHARE)]
    assert fit.main(arguments) == 0
    printed = capsys.readouterr().out
    assert "are held out for the test" in printed
    scores = pd.read_csv(out / "evaluation" / "scores.csv")
    records = open_records(tiny_survey / "records")
    labels = records.samples["label"].to_numpy()
    np.testing.assert_array_equal(scores["label"], labels[scores["unique_index"]])
    assert abs(len(scores) - SHARE * len(records)) <= 2
    judged = pd.read_csv(out / "label_errors.csv")["unique_index"]
    seen = np.sort(np.concatenate([judged, scores["unique_index"]]))
    np.testing.assert_array_equal(seen, np.arange(len(records)))
    metrics = json.loads((out / "evaluation" / "metrics.json").read_text())
    assert metrics["n_real"] == (scores["label"] == 1).sum()
    assert f"test set, {metrics['n_real']} real" in printed
    page = (out / "report.html").read_text()
    assert "test set held out of the records" in page
    # The same scores as whoever scores the records gets.
    table = tmp_path / "scores.csv"
    assert predict.main([str(out), str(tiny_survey / "records"), "--out", str(table)]) == 0
    keys = ["detector_id", "sample_index"]
    both = scores.merge(pd.read_csv(table), on=keys, suffixes=("", "_again"))
    assert len(both) == len(scores)
    np.testing.assert_allclose(both["score_again"], both["score"], atol=1e-4)
    # Another part is another training.
    assert fit.main([*arguments[:-1], "0.4"]) == 2
    assert "labels" in capsys.readouterr().err


def test_a_part_without_a_class_is_refused_before_training(tmp_path, capsys):
    rng = np.random.default_rng(0)
    stamps = rng.normal(100, 10, (60, 13, 13, 1)).astype(np.float32)
    write_detector(tmp_path / "survey", 1, stamps, ["real"] + ["artifact"] * 59)
    convert_survey(tmp_path / "survey", tmp_path / "records", progress=False)
    data = ["--data", str(tmp_path / "records"), "--out", str(tmp_path / "run")]
    assert fit.main([*data, "--hold_out", "0.1", "--seed", "5"]) == 2
    assert "--hold_out: expected real and bogus among" in capsys.readouterr().err
    assert not (tmp_path / "run" / "folds").exists()
