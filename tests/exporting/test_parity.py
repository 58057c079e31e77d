"""Comparing engines: what is counted, what is allowed, and the awkward stamps."""

from dataclasses import replace

import numpy as np
import pytest

from rbkeras.decision import Decision, OperatingPoint
from rbkeras.exporting.parity import (
    awkward_stamps,
    compare_logits,
    float_fault,
    int8_fault,
    outputs_fault,
)

DECISION = Decision(
    operating_point=OperatingPoint(true_positive_rate=0.9, threshold=1.0, false_positive_rate=0.1),
    n_real=1,
    n_bogus=1,
)


def compare(keras, other, labels=None, decision=DECISION):
    keras, other = (np.stack([np.zeros(len(s)), s], axis=1) for s in (keras, other))
    labels = np.full(len(keras), -1) if labels is None else np.array(labels)
    return compare_logits(keras, other, labels=labels, decision=decision)


def test_differences_and_decisions_by_hand():
    found = compare([0.0, 0.9, 2.0, 3.0], [0.25, 1.1, 2.0, 3.0], labels=[0, 1, 0, 1])
    assert found.largest_difference == 0.25
    assert found.median_difference == pytest.approx(0.1)
    assert found.changed == 0.25
    assert (found.auc, found.keras_auc) == (0.75, 0.75)
    assert compare([0.0], [0.0], decision=None).changed is None


@pytest.mark.parametrize(
    ("keras", "other", "whole"),
    [
        (1.0, 1.00009, True),
        (1.0, 1.0002, False),
        # 3e-5 of a logit of 40.
        (40.0, 40.001, True),
        (40.0, 40.002, False),
        (np.nan, np.nan, True),
        (np.nan, 1.0, False),
        (1.0, np.inf, False),
    ],
)
def test_what_a_float_file_is_allowed(keras, other, whole):
    fault = float_fault(compare([0.0, keras], [0.0, other]))
    assert (fault is None) is whole


def test_large_logits_excuse_no_other_stamp():
    assert float_fault(compare([1.0, 1e5], [1.5, 1e5])) is not None
    assert float_fault(compare([1.0, 1e5], [1.0, 1e5 + 0.5])) is None


def test_what_int8_is_allowed():
    scores, labels = np.arange(100.0), np.arange(100) >= 50
    assert int8_fault(compare(scores, scores + 0.3, labels)) is None
    swapped = scores.copy()
    swapped[[20, 80]] = swapped[[80, 20]]
    assert "AUC at most 0.005" in int8_fault(compare(scores, swapped, labels))
    # The order stays, and 4% of the scores pass the threshold.
    assert "at most 2% of the decisions" in int8_fault(
        compare(scores / 20, scores / 20 + 0.2, labels)
    )
    assert "finite" in int8_fault(compare(scores, np.r_[np.nan, scores[1:]], labels))


STEPPED = replace(
    DECISION, calibration="isotonic", knots=((0.0, 1.0, 1.0, 2.0), (0.1, 0.2, 0.7, 0.9))
)


@pytest.mark.parametrize(
    ("decision", "score", "output", "probability", "said"),
    [
        (None, 0.0, 0.0, 0.5, None),
        (None, 0.0, 0.0, 0.51, "a probability from 0.4999 to 0.5001 at a score of 0.0000"),
        (None, 0.0, 0.01, 0.5, "logit differences"),
        (None, np.nan, 1.0, 0.5, "wherever the logits are finite"),
        (None, np.nan, np.nan, np.nan, None),
        (replace(DECISION, temperature=2.0), 2.0, 2.0, 0.731059, None),
        (replace(DECISION, temperature=2.0), 2.0, 2.0, 0.880797, "found 0.8808"),
        # Either side of a step is right for a score that lies on it, and nothing beyond.
        (STEPPED, 1.0, 1.0, 0.2, None),
        (STEPPED, 1.0, 1.0, 0.7, None),
        (STEPPED, 1.0, 1.0, 0.71, "found 0.7100"),
        (STEPPED, 0.5, 0.5, 0.15, None),
    ],
)
def test_score_and_probability_follow_from_the_logits(decision, score, output, probability, said):
    outputs = {
        "logits": np.float32([[0.0, score], [0.0, np.inf]]),
        "score": np.float32([output, np.inf]),
        "probability": np.float32([probability, 1.0]),
    }
    fault = outputs_fault(outputs, decision)
    assert fault is None if said is None else said in fault


def test_awkward_stamps_are_what_they_say():
    made = awkward_stamps(np.random.default_rng(0).normal(size=(2, 9, 6, 2)).astype(np.float32))
    assert made.dtype == np.float32
    assert made.shape[1:] == (9, 6, 2)
    flat = made.reshape(len(made), -1)
    assert np.isnan(flat).all(axis=1).any()
    assert np.isposinf(flat).all(axis=1).any()
    assert (np.isnan(flat).any(axis=1) & ~np.isnan(flat).all(axis=1)).any()
    assert (flat.max(axis=1) == flat.min(axis=1)).sum() >= 10
    assert flat.max(initial=0, where=np.isfinite(flat)) == np.finfo(np.float32).max


@pytest.mark.parametrize("value", [0.0, np.nan])
def test_awkward_stamps_need_no_good_one_to_start_from(value):
    made = awkward_stamps(np.full((1, 7, 7, 1), value, np.float32))
    assert np.isfinite(made).all(axis=(1, 2, 3)).any()
