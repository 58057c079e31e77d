"""predict: scores, probabilities, decisions, and a night with a bad file in it."""

from dataclasses import replace

import keras
import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, logit

from rbkeras import predict
from rbkeras.decision import Decision, OperatingPoint
from rbkeras.inference import load_classifier
from rbkeras.models.classifier import build_classifier

SHAPE = (13, 13, 2)


def make_model(folder, scores=None):
    """Save a model whose threshold lies in the middle of these scores, or that has none."""
    keras.utils.set_random_seed(0)
    model = build_classifier(SHAPE, network="simple", width=0.25)
    if scores is not None:
        middle, high = np.quantile(scores, [0.5, 0.9])
        points = [
            OperatingPoint(true_positive_rate=rate, threshold=float(at), false_positive_rate=0.1)
            for rate, at in ((0.9, middle), (0.5, high))
        ]
        model.decision = Decision(
            operating_point=points[0],
            others=tuple(points[1:]),
            n_real=10,
            n_bogus=10,
            calibration="temperature",
            temperature=0.5,
            training_prevalence=0.5,
        )
    folder.mkdir()
    model.save(folder / "model.keras")
    return folder


@pytest.fixture(scope="module")
def night(tmp_path_factory):
    folder = tmp_path_factory.mktemp("night")
    stamps = np.random.default_rng(0).normal(100, 10, (21, *SHAPE)).astype(np.float32)
    np.save(folder / "a.npy", stamps[:13])
    np.save(folder / "b.npy", stamps[13:])
    return folder


@pytest.fixture(scope="module")
def plain(night):
    return make_model(night / "plain")


@pytest.fixture(scope="module")
def run(night, plain):
    assert score(plain, [night / "a.npy"], night / "first.csv") == 0
    return make_model(night / "run", pd.read_csv(night / "first.csv")["score"])


def score(model, inputs, out, *flags):
    return predict.main([str(model), *map(str, inputs), "--out", str(out), *map(str, flags)])


def table_of(model, night, tmp_path, *flags):
    out = tmp_path / "scores.csv"
    assert score(model, [night / "a.npy", night / "b.npy"], out, *flags) == 0
    return pd.read_csv(out)


def test_without_a_decision_it_says_so(plain, night, tmp_path, capsys):
    table = table_of(plain, night, tmp_path)
    assert list(table) == ["source", "sample_index", "score", "probability_real"]
    np.testing.assert_allclose(table["probability_real"], expit(table["score"]), rtol=1e-5)
    said = [line for line in capsys.readouterr().err.splitlines() if "no threshold" in line]
    assert len(said) == 1


def test_decisions_follow_the_stored_threshold(run, night, tmp_path):
    table = table_of(run, night, tmp_path)
    columns = ["source", "sample_index", "score", "probability_real", "decision"]
    assert list(table) == columns
    assert len(table) == 21
    np.testing.assert_allclose(table["probability_real"], expit(2 * table["score"]), rtol=1e-5)
    first = table[table["source"].str.endswith("a.npy")]
    assert first["decision"].tolist() == [
        int(value >= np.median(first["score"])) for value in first["score"]
    ]
    assert first["decision"].sum() == 7


def test_thresholds_can_be_chosen(run, night, tmp_path):
    strict = table_of(run, night, tmp_path, "--true_positive_rate", "0.5")
    assert 0 < strict["decision"].sum() < table_of(run, night, tmp_path)["decision"].sum()
    assert table_of(run, night, tmp_path, "--threshold", "-1000")["decision"].all()


def test_a_probability_decides_at_the_stated_prevalence(run, night, tmp_path):
    usual = table_of(run, night, tmp_path)
    middle = float(np.median(usual["probability_real"]))
    likely = table_of(run, night, tmp_path, "--probability", middle)
    assert (likely["decision"] == (usual["probability_real"] >= middle)).all()
    assert likely["decision"].sum() == 11
    rare = table_of(run, night, tmp_path, "--probability", middle, "--prevalence", "1e-6")
    assert not rare["decision"].any()


def test_isotonic_calibration_knows_no_certainty(run, night, tmp_path, fails_with):
    model = load_classifier(run, compile=True)
    knots = ((-1.0, 1.0), (0.1, 0.9))
    own = replace(model.decision, calibration="isotonic", temperature=1.0, knots=knots)
    model.decision = own
    (tmp_path / "isotonic").mkdir()
    model.save(tmp_path / "isotonic" / "model.keras")
    arguments = [tmp_path / "isotonic", night / "a.npy", "--out", tmp_path / "scores.csv"]
    said = fails_with(predict.main, [*arguments, "--probability", "0.9001"])
    assert "expected at most 0.899, the highest" in said
    # Rounded so that it would be taken.
    said = fails_with(predict.main, [*arguments, "--probability", "0.5", "--prevalence", "1e-4"])
    assert "expected at most 0.000899," in said
    table = table_of(tmp_path / "isotonic", night, tmp_path, "--probability", "0.05")
    assert table["decision"].all()


def test_a_threshold_serves_a_model_without(plain, night, tmp_path):
    assert not table_of(plain, night, tmp_path, "--threshold", "1e9")["decision"].any()


def test_prevalence_moves_probabilities_and_no_decision(run, night, tmp_path):
    usual = table_of(run, night, tmp_path)
    rare = table_of(run, night, tmp_path, "--prevalence", "1e-3")
    np.testing.assert_allclose(
        logit(rare["probability_real"]), logit(usual["probability_real"]) + logit(1e-3), atol=1e-3
    )
    assert rare["decision"].equals(usual["decision"])


@pytest.mark.parametrize("batch_size", [1, 5, 64])
def test_scores_are_those_of_the_model_in_one_go(plain, night, tmp_path, batch_size):
    stamps = np.concatenate([np.load(night / f"{name}.npy") for name in "ab"])
    stamps[2, 3:6] = np.nan
    stamps[4, :, 2, 1] = np.inf
    np.save(tmp_path / "night.npy", stamps)
    assert (
        score(plain, [tmp_path / "night.npy"], tmp_path / "s.csv", "--batch_size", batch_size) == 0
    )
    logits = load_classifier(plain)(stamps, training=False).numpy()
    found = pd.read_csv(tmp_path / "s.csv")["score"]
    np.testing.assert_allclose(found, logits[:, 1] - logits[:, 0], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (["--prevalence", "0"], "--prevalence"),
        (["--threads", "0"], "--threads"),
        (["--true_positive_rate", "0.7"], "0.5, 0.9"),
        (["--true_positive_rate", "0.5", "--threshold", "1"], "at most one"),
        (["--probability", "0.5", "--threshold", "1"], "--threshold and --probability"),
        (["--probability", "1"], "--probability"),
        (["--batch_size", "0"], "--batch_size"),
        (["--threshold", "nan"], "--threshold"),
    ],
)
def test_bad_options_are_one_sentence(run, night, tmp_path, fails_with, flags, named):
    arguments = [run, night / "a.npy", "--out", tmp_path / "scores.csv", *flags]
    assert named in fails_with(predict.main, arguments)


def test_options_that_need_a_decision_say_so(plain, night, tmp_path, fails_with):
    for flag in ("--prevalence", "--probability"):
        arguments = [plain, night / "a.npy", "--out", tmp_path / "scores.csv", flag, "0.1"]
        assert flag in fails_with(predict.main, arguments)


@pytest.fixture
def bad(tmp_path):
    (tmp_path / "cut.npy").write_bytes(b"\x93NUMPY\x01\x00")
    np.save(tmp_path / "other.npy", np.zeros((2, 5, 5, 1), np.float32))
    (tmp_path / "empty").mkdir()
    return [tmp_path / "cut.npy", tmp_path / "other.npy", tmp_path / "empty", tmp_path / "none.npy"]


def test_a_bad_file_stops_everything_before_scoring(run, night, tmp_path, bad, fails_with):
    out = tmp_path / "scores.csv"
    assert "cut.npy" in fails_with(predict.main, [run, night / "a.npy", bad[0], "--out", out])
    assert not out.exists()


def test_an_empty_folder_is_called_that(run, tmp_path, fails_with):
    (tmp_path / "night").mkdir()
    line = fails_with(predict.main, [run, tmp_path / "night", "--out", tmp_path / "scores.csv"])
    assert "night: expected alert packets" in line
    assert "found an empty folder" in line


def test_bad_files_are_skipped_and_listed(run, night, tmp_path, bad, capsys):
    out = tmp_path / "scores.parquet"
    assert (
        score(run, [*bad[:2], night / "a.npy", *bad[2:], night / "b.npy"], out, "--skip_bad") == 1
    )
    table = pd.read_parquet(out)
    assert len(table) == 21
    assert set(table["decision"]) == {0, 1}
    skipped = [s for s in capsys.readouterr().err.splitlines() if s.startswith("skipped: ")]
    assert [path.name in line for path, line in zip(bad, skipped, strict=True)] == [True] * 4


def test_a_night_of_bad_files_leaves_an_empty_table(run, tmp_path, bad):
    out = tmp_path / "scores.csv"
    assert score(run, bad, out, "--skip_bad") == 1
    table = pd.read_csv(out)
    assert len(table) == 0
    assert "decision" in table
