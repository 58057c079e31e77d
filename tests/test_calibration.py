"""Calibration against numbers worked out by hand."""

import numpy as np
import pytest
from scipy.special import expit, logit
from sklearn.calibration import calibration_curve

from rbkeras.calibration import (
    TEMPERATURES,
    cross_entropy,
    expected_calibration_error,
    fit_isotonic,
    fit_temperature,
    isotonic_log_odds,
    reliability_curve,
    score_at,
    separated,
    shift_prevalence,
)


def test_cross_entropy_by_hand():
    # -log(3/4) and -log(1 - 1/4)
    found = cross_entropy(np.array([1, 0]), np.array([np.log(3), -np.log(3)]))
    assert found == pytest.approx(np.log(4 / 3))


@pytest.mark.parametrize(("score", "right"), [(4.0, 3), (0.5, 3), (2.0, 9)])
def test_temperature_makes_a_score_mean_the_fraction_that_is_right(score, right):
    """Scores of one size, `right` of them on their side per wrong one: score / T = log(right)."""
    labels = np.array([1, 0] * right + [1, 0])
    scores = score * np.array([1, -1] * right + [-1, 1])
    assert fit_temperature(labels, scores) == pytest.approx(score / np.log(right), rel=1e-5)


def test_temperature_beside_an_offset_by_hand():
    # Three of four are real where score / T + 1/2 = log(3).
    found = fit_temperature(np.array([1, 1, 1, 0]), np.full(4, 2.0), offset=0.5)
    assert found == pytest.approx(2 / (np.log(3) - 0.5), rel=1e-5)


def test_a_temperature_stops_at_its_bound():
    labels = np.repeat([1, 0], [100, 100])
    scores = np.where(np.arange(200) % 20 == 0, -1, 1) * np.where(labels == 1, 1.0, -1.0)
    assert fit_temperature(labels, scores) == pytest.approx(1 / np.log(19), rel=1e-5)
    assert fit_temperature(labels, scores, lowest=1.0) == 1.0
    assert fit_temperature(labels, scores, lowest=0.2) == pytest.approx(1 / np.log(19), rel=1e-5)


def test_temperature_of_perfect_separation_stays_one():
    assert fit_temperature(np.array([1, 1, 0]), np.array([2.0, 0.1, -3.0])) == 1.0


def test_a_score_of_zero_has_the_sign_of_bogus():
    assert separated(np.array([0, 1]), np.array([0.0, 1.0]))
    assert not separated(np.array([1, 1]), np.array([0.0, 1.0]))


def test_temperature_of_scores_that_say_nothing_is_the_highest():
    found = fit_temperature(np.array([1, 0, 1, 0]), np.array([-1.0, 1.0, -2.0, 2.0]))
    assert found == pytest.approx(TEMPERATURES[1], rel=1e-3)


def test_prevalence_shift_by_hand():
    # Odds 3 at even priors; one in a hundred: odds 3/99.
    found = expit(shift_prevalence(np.log(3.0), trained=0.5, stated=0.01))
    assert found == pytest.approx(3 / 102)
    assert shift_prevalence(1.3, trained=0.2, stated=0.2) == pytest.approx(1.3)


@pytest.mark.parametrize("wrong", [0.0, 1.0, -0.1])
def test_prevalence_has_to_be_a_fraction(wrong):
    with pytest.raises(ValueError, match="stated"):
        shift_prevalence(0.0, trained=0.5, stated=wrong)


def test_prevalence_shift_is_bayes_theorem_on_two_gaussians():
    """Scores that are exact log-odds stay exact when the priors change."""
    x = np.linspace(-3, 3, 7)
    log_likelihoods = -((x - 1) ** 2) / 2 + (x + 1) ** 2 / 2
    trained = log_likelihoods + logit(0.3)
    found = shift_prevalence(trained, trained=0.3, stated=0.001)
    np.testing.assert_allclose(found, log_likelihoods + logit(0.001))


def test_isotonic_pools_what_falls():
    scores = np.array([0.0, 1.0, 2.0, 3.0])
    at, values = fit_isotonic(np.array([0, 1, 0, 1]), scores)
    # The two in the middle fall and are pooled to 1/2; the ends are held 1/6 away from 0 and 1.
    np.testing.assert_allclose(np.interp(scores, at, values), [1 / 6, 1 / 2, 1 / 2, 5 / 6])
    assert isotonic_log_odds(np.array([-100.0]), (at, values)) == pytest.approx(logit(1 / 6))


def test_isotonic_never_falls_and_stays_finite():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 300)
    scores = rng.normal(2 * labels - 1, 1.5)
    grid = np.linspace(-50, 50, 1001)
    log_odds = isotonic_log_odds(grid, fit_isotonic(labels, scores))
    assert np.isfinite(log_odds).all()
    assert (np.diff(log_odds) >= 0).all()


def test_the_lowest_of_scores_that_have_the_same_probability_is_found():
    knots = (-1.0, 0.0, 0.0, 4.0, 6.0), (0.1, 0.1, 0.5, 0.5, 0.8)
    assert score_at(0.0, knots) == 0.0


def test_no_probability_of_a_plateau_is_lost_on_the_way_to_log_odds_and_back():
    for probability in np.linspace(0.05, 0.95, 181):
        knots = (np.array([-2.0, 0.0, 3.0, 5.0]), np.array([0.01, *[probability] * 2, 0.99]))
        assert score_at(float(logit(probability)), knots) == pytest.approx(0.0, abs=1e-9)


def test_reliability_is_that_of_scikit_learn():
    rng = np.random.default_rng(1)
    probabilities = rng.random(500)
    labels = (rng.random(500) < probabilities**2).astype(int)
    # Some on the edges of bins.
    probabilities[:3] = 0.0, 0.5, 1.0
    curve = reliability_curve(labels, probabilities)
    observed, predicted = calibration_curve(labels, probabilities, n_bins=10)
    np.testing.assert_allclose(curve["observed"], observed)
    np.testing.assert_allclose(curve["predicted"], predicted)
    assert curve["count"].sum() == 500
    assert (curve["low"] <= curve["observed"]).all()
    assert (curve["observed"] <= curve["high"]).all()


def test_reliability_has_rows_for_the_bins_with_samples_alone():
    curve = reliability_curve(np.array([1, 0]), np.array([0.95, 0.05]))
    assert curve["predicted"].tolist() == [0.05, 0.95]
    assert curve["observed"].tolist() == [0, 1]
    assert curve["count"].tolist() == [1, 1]


@pytest.mark.parametrize(
    ("labels", "probabilities", "options", "expected"),
    [
        # 0.9 where 3 of 4 are real, 0.2 where 1 of 2 is.
        ([1, 1, 1, 0, 1, 0], [0.9] * 4 + [0.2] * 2, {}, (4 * 0.15 + 2 * 0.3) / 6),
        # Both are below a tenth: 0.0725 in the mean, where half are real.
        ([0, 1], [0.05, 0.095], {}, 0.5 - 0.0725),
        # Half in the mean, where half are real.
        ([1, 0], [0.95, 0.05], {"bins": 1}, 0),
    ],
    ids=["two bins", "bins are tenths", "a single bin"],
)
def test_calibration_error_by_hand(labels, probabilities, options, expected):
    found = expected_calibration_error(np.array(labels), np.array(probabilities), **options)
    assert found == pytest.approx(expected)
