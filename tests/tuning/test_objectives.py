import numpy as np
import pytest

from rbkeras.metrics import threshold_at_tpr
from tuning.objectives import OBJECTIVES, hopeless, mean_fpr_above, measure, projected


def test_mean_rate_above_is_the_mean_over_thresholds():
    rng = np.random.default_rng(0)
    real, bogus = rng.normal(1, 1, 50), rng.normal(-1, 1, 80)
    rates = [(bogus >= threshold_at_tpr(real, k / 50)).mean() for k in range(45, 51)]
    assert mean_fpr_above(real, bogus) == pytest.approx(np.mean(rates))
    assert mean_fpr_above(real + 100, bogus) == 0


def test_the_tie_break_orders_ties_and_never_outvotes_a_bogus():
    real = np.arange(10.0)
    none = measure(real, np.array([-1.0, -2, -3]))
    near = measure(real, np.array([0.5, -2, -3]))
    one = measure(real, np.array([1.0, -2, -3]))
    worst = measure(real, np.array([0.5, 0.5, 0.5]))
    assert none["fpr_at_tpr90"] == near["fpr_at_tpr90"] == worst["fpr_at_tpr90"] == 0
    tied = [part["fpr_at_tpr90_tied"] for part in (none, near, worst, one)]
    assert tied[0] == 0
    assert tied == sorted(set(tied))


def test_scores_that_are_not_finite_fail():
    with pytest.raises(ValueError, match="among the bogus"):
        measure(np.ones(3), np.array([0.0, np.nan]))


def test_the_oracle_minimises_both():
    rate, auc = OBJECTIVES["fpr90"], OBJECTIVES["auc"]
    assert rate.for_oracle(0.0, 100) < rate.for_oracle(1e-4, 100) < rate.for_oracle(0.5, 100)
    assert auc.for_oracle(1.0, 100) < auc.for_oracle(0.9, 100) < auc.for_oracle(0.5, 100)


def test_what_was_given_up_is_told_as_of_all_folds():
    # An easy first fold: 0.002 there is twice the best's, whose mean over all is 0.007.
    best = [0.001, 0.01, 0.01]
    assert projected(OBJECTIVES["fpr90"], [0.002], best) == pytest.approx(0.014)
    # What is left to an AUC of 1 is compared, not the area.
    assert projected(OBJECTIVES["auc"], [0.98], [0.99, 0.97]) == pytest.approx(0.96)
    # Never better than the best, and finite beside a perfect fold.
    assert projected(OBJECTIVES["fpr90"], [0.001], [0.0, 0.03]) == pytest.approx(0.015)


def test_only_what_is_behind_everywhere_is_given_up():
    others = [[0.1, 0.2, 0.1], [0.3, 0.2], [0.5]]
    rate = OBJECTIVES["fpr90"]
    assert hopeless(rate, [0.4], others, least=3)
    assert not hopeless(rate, [0.4], others, least=4)
    assert not hopeless(rate, [0.4, 0.4], others, least=3)  # only two have seen two folds
    assert not hopeless(rate, [0.2], others, least=3)  # better than the median
    assert not hopeless(rate, [0.6, 0.1], others, least=2)  # ahead of the best in one fold
    assert hopeless(OBJECTIVES["auc"], [0.5], [[0.9], [0.8], [0.7]], least=3)
    assert not hopeless(OBJECTIVES["auc"], [0.95], [[0.9], [0.8], [0.7]], least=3)
    # Ahead of the worst in one fold, which is no merit.
    assert hopeless(OBJECTIVES["auc"], [0.6, 0.6], [[0.9, 0.9], [0.8, 0.8], [0.5, 0.7]], least=3)
