"""The second look: by hand, without edges, and the same whoever scores."""

from dataclasses import replace

import keras
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit, logit

from rbkeras import evaluation, predict
from rbkeras.data.symmetries import symmetric_views
from rbkeras.decision import Decision, OperatingPoint, SecondLook
from rbkeras.inference import load_classifier, predict_logits, score_array
from rbkeras.models.classifier import build_classifier
from rbkeras.parts import Parts
from rbkeras.second_look import RAMP, look_again

SHAPE = (13, 13, 2)


def corner(stamps):
    """Logits 0 and the first pixel: a network that knows nothing but orientation."""
    score = stamps[:, 0, 0, 0]
    return np.stack([np.zeros_like(score), score], axis=1)


def stamp(*corners):
    """A 2 x 2 stamp of one channel; its eight views show each pixel in the corner twice."""
    return np.array(corners, np.float32).reshape(1, 2, 2, 1)


def looked_at(stamps, from_score):
    logits = look_again(corner, stamps, corner(stamps), from_score=from_score)
    assert logits.dtype == np.float32
    return logits[:, 1] - logits[:, 0]


def test_by_hand():
    stamps = np.concatenate([stamp(3, 0, 1, 0), stamp(1.5, 0.5, 0, 0), stamp(1, 9, 9, 9)])
    # Well above 1 the mean probability counts, half way up the ramp half of it, at 1 nothing.
    means = [logit(expit([3, 0, 1, 0]).mean()), logit(expit([1.5, 0.5, 0, 0]).mean())]
    expected = [means[0], (1.5 + means[1]) / 2, 1.0]
    np.testing.assert_allclose(looked_at(stamps, 1), expected, rtol=1e-6)


def test_only_stamps_above_the_score_are_asked_again():
    asked = []

    def counting(stamps):
        asked.append(len(stamps))
        return corner(stamps)

    stamps = np.concatenate([stamp(value, 0, 0, 0) for value in (-5, 0, 1, 2)])
    look_again(counting, stamps, corner(stamps), from_score=0)
    assert asked == [2 * 8]


def test_a_rectangle_has_four_views():
    stamps = np.arange(8, dtype=np.float32).reshape(1, 2, 4, 1) + 10
    expected = logit(expit([10.0, 13, 14, 17]).mean())
    np.testing.assert_allclose(looked_at(stamps, 0), [expected], rtol=1e-5)


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
def test_what_is_not_finite_stays_what_it_is(value):
    stamps = np.full((1, 2, 2, 1), value, np.float32)
    np.testing.assert_array_equal(looked_at(stamps, 0), [value])


@given(
    st.lists(st.floats(-50, 50, width=32), min_size=4, max_size=4),
    st.floats(-20, 20),
    st.floats(-1e-3, 1e-3),
)
def test_scores_have_no_edges(corners, from_score, step):
    here = stamp(*corners)
    there = here.copy()
    there[:, 0, 0] += np.float32(step)
    spread = np.ptp(here)
    moved = np.abs(there - here).max()
    change = abs(looked_at(there, from_score) - looked_at(here, from_score))
    assert change <= moved * (1 + spread / RAMP) + 1e-4


def test_many_stamps_are_those_one_by_one():
    stamps = np.random.default_rng(0).normal(0, 2, (200, 3, 3, 2)).astype(np.float32)
    each = np.concatenate([looked_at(one[np.newaxis], 0.5) for one in stamps])
    np.testing.assert_allclose(looked_at(stamps, 0.5), each, atol=1e-6)


def decision(threshold, **more):
    point = OperatingPoint(true_positive_rate=0.9, threshold=threshold, false_positive_rate=0.1)
    return Decision(operating_point=point, n_real=9, n_bogus=9, training_prevalence=0.5, **more)


@pytest.fixture(scope="module")
def night(tmp_path_factory):
    """A run whose model looks again at the upper half of a night; its scores, and the means."""
    folder = tmp_path_factory.mktemp("second-look")
    keras.utils.set_random_seed(0)
    model = build_classifier(SHAPE, network="simple", width=0.25)
    stamps = np.random.default_rng(1).normal(100, 10, (40, *SHAPE)).astype(np.float32)
    np.save(folder / "night.npy", stamps)
    first = np.diff(predict_logits(model, [stamps]))[:, 0]
    views = [np.diff(predict_logits(model, [view]))[:, 0] for view in symmetric_views(stamps)]
    mean = logit(expit(np.array(views, np.float64)).mean(axis=0))
    # Where some of the stamps are at: the scores of an untrained network are much alike.
    middle = float(np.sort(first)[20])
    again = SecondLook(from_score=middle - RAMP, share=0.5, decision=decision(middle + 0.01))
    model.decision = decision(middle, second_look=again)
    model.save(folder / "model.keras")
    weight = np.clip(first - again.from_score, 0, 1)
    return folder, first, (1 - weight) * first + weight * mean


def scored(night, out, *flags):
    folder = night[0]
    inputs = [str(folder), str(folder / "night.npy")]
    assert predict.main([*inputs, "--out", str(out), *flags]) == 0
    return pd.read_csv(out)


@pytest.mark.parametrize("batch_size", ["7", "512"])
def test_predict_looks_again_and_decides_by_that(night, tmp_path, batch_size):
    _, first, expected = night
    assert np.abs(expected - first).max() > 1e-3
    table = scored(night, tmp_path / "scores.csv", "--batch_size", batch_size)
    np.testing.assert_allclose(table["score"], expected, atol=1e-5)
    threshold = load_classifier(night[0]).decision.final.operating_point.threshold
    np.testing.assert_array_equal(table["decision"], table["score"] >= threshold)


def test_predict_looks_once_when_asked_to(night, tmp_path):
    table = scored(night, tmp_path / "scores.csv", "--once")
    np.testing.assert_allclose(table["score"], night[1], atol=1e-5)
    np.testing.assert_array_equal(table["decision"], table["score"] >= np.sort(night[1])[20] - 1e-9)


def test_a_table_begun_with_second_looks_is_not_gone_on_with_without(
    night, tmp_path, capsys, monkeypatch
):
    inputs = [str(night[0]), str(night[0] / "night.npy"), "--out", str(tmp_path / "scores.csv")]

    def full(*arguments, **more):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Parts, "write", full)
        assert predict.main(inputs) == 1
    assert predict.main([*inputs, "--once"]) == 2
    assert "once was False, is True" in capsys.readouterr().err
    assert predict.main(inputs) == 0


def test_evaluation_scores_as_predict_does(night):
    folder, _, expected = night
    model = load_classifier(folder)
    files = {"real": folder / "night.npy", "bogus": folder / "night.npy"}
    for scores in evaluation.score_test_set(model, **files):
        np.testing.assert_allclose(scores, expected, atol=1e-5)
    assert keras.models.clone_model(model).again_from is None
    array = np.load(folder / "night.npy")
    logits = score_array(model, array, source="x", again_from=model.again_from)
    np.testing.assert_allclose(np.diff(logits)[:, 0], expected, atol=1e-5)


def test_a_saved_model_brings_its_second_look_back(night):
    found = load_classifier(night[0]).decision
    assert found.second_look.share == 0.5
    assert found.final == found.second_look.decision
    assert replace(found, second_look=None).final.second_look is None
