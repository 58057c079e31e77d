import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.special import softmax

from rbkeras.averaging import mean_prediction


def test_probabilities_are_averaged():
    logits = np.random.default_rng(0).normal(0, 3, (5, 40, 2))
    mean = mean_prediction(logits)
    # What comes back are logarithms of probabilities, which need no softmax.
    np.testing.assert_allclose(np.exp(mean), softmax(logits, axis=-1).mean(0))


def test_one_network_that_is_too_sure_does_not_outvote_the_others():
    logits = np.zeros((3, 1, 2))
    logits[:, 0, 1] = [-2, -2, 40]
    assert logits.mean(0)[0, 1] > 0
    (mean,) = mean_prediction(logits)
    assert mean[1] < mean[0]


@settings(deadline=None)
@given(arrays(np.float64, (3, 4, 2), elements=st.floats(-1e6, 1e6)))
def test_means_of_finite_logits_are_finite_and_between_them(logits):
    mean = mean_prediction(logits)
    assert np.isfinite(mean).all()
    score, scores = mean[:, 1] - mean[:, 0], logits[..., 1] - logits[..., 0]
    margin = 1e-9 * (1 + np.abs(scores).max())
    assert (score >= scores.min(0) - margin).all()
    assert (score <= scores.max(0) + margin).all()


def test_predictions_that_are_not_finite_stay_so():
    assert np.isnan(mean_prediction(np.array([[[0.0, np.nan]], [[0.0, 1.0]]]))).any()
