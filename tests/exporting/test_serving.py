"""The calibrated probability inside an exported graph is the decision's."""

import numpy as np
import pytest
import tensorflow as tf

from rbkeras.decision import Decision, OperatingPoint
from rbkeras.decision_fit import fit_decision
from rbkeras.exporting.serving import _log_odds

SCORES = np.r_[np.linspace(-12, 12, 301), -1e4, 1e4].astype(np.float32)


def make(calibration, **given):
    point = OperatingPoint(true_positive_rate=0.9, threshold=0.0, false_positive_rate=0.1)
    return Decision(operating_point=point, n_real=1, n_bogus=1, calibration=calibration, **given)


def fitted():
    rng = np.random.default_rng(0)
    labels = np.tile([0, 1], 400)
    scores = rng.normal(2.0 * labels - 1, 1.5).astype(np.float32)
    return fit_decision(labels, scores, calibration_method="isotonic", prevalence=1e-3)


STEP = ((-1.0, 0.5, 0.5 + 1e-12, 3.0), (0.01, 0.2, 0.7, 0.9))


@pytest.mark.parametrize(
    "decision",
    [
        make("none"),
        make("none", prevalence=1e-4),
        make("temperature", temperature=2.5, prevalence=0.2, training_prevalence=0.1),
        make("temperature", temperature=1.5, network_prevalence=0.25, training_prevalence=0.1),
        make("isotonic", knots=STEP),
        make("isotonic", knots=((0.3,), (0.4,)), prevalence=0.1),
        fitted(),
    ],
    ids=["none", "prevalence", "temperature", "batches", "step", "one knot", "fitted"],
)
def test_probability_is_the_decisions(decision):
    scores = SCORES[np.abs(SCORES - 0.5) > 1e-6]
    found = tf.sigmoid(_log_odds(tf.constant(scores), decision)).numpy()
    np.testing.assert_allclose(found, decision.probability(scores), rtol=1e-4, atol=1e-30)


def test_a_score_on_a_step_has_a_probability_of_the_step():
    found = tf.sigmoid(_log_odds(tf.constant([0.5]), make("isotonic", knots=STEP))).numpy()
    assert 0.2 - 1e-6 <= found[0] <= 0.7 + 1e-6


def test_a_score_that_is_no_number_has_no_probability():
    for decision in (None, make("none"), make("isotonic", knots=((0.3,), (0.4,)))):
        assert np.isnan(tf.sigmoid(_log_odds(tf.constant([np.nan]), decision)).numpy()).all()
