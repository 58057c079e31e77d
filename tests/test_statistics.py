import numpy as np
import pytest
from scipy import stats

from rbkeras import metrics
from rbkeras.statistics import Resampled, estimate, resample


def made_up(seeds=4, real=60, bogus=200, shift=0.0, seed=0):
    rng = np.random.default_rng(seed)
    return [(rng.normal(1.5 + shift, 1, real), rng.normal(0, 1, bogus)) for _ in range(seeds)]


def mean_gap(real, bogus):
    return real.mean() - bogus.mean()


def test_interval_over_seeds_is_students():
    values = np.array([1.0, 2.0, 4.0, 5.0])
    found = estimate(Resampled(values, np.full(10, 3.0), shared=False))
    low, high = stats.t.interval(0.95, 3, loc=3.0, scale=stats.sem(values))
    assert (found.mean, found.low, found.high) == pytest.approx((3.0, low, high))
    assert found.p_value == pytest.approx(stats.ttest_1samp(values, 0.0).pvalue)


def test_shared_test_samples_add_their_variance():
    values, means = np.array([1.0, 3.0]), np.array([1.0, 2.0, 3.0])
    found = estimate(Resampled(values, means, shared=True))
    # S^2 / n = 2 / 2 = 1, bootstrap variance 1; Welch and Satterthwaite: (1 + 1)^2 / (1 / 1) = 4.
    half = stats.t.ppf(0.975, 4) * np.sqrt(2)
    assert (found.low, found.high) == pytest.approx((2 - half, 2 + half))


def test_seeds_that_agree_by_chance_keep_the_bootstraps_width():
    found = estimate(Resampled(np.array([2.0, 2.0]), np.array([1.0, 2.0, 3.0]), shared=False))
    assert found.high - found.mean == pytest.approx(stats.t.ppf(0.975, 1))


def test_one_seed_has_the_bootstraps_interval():
    found = estimate(Resampled(np.array([2.0]), np.array([1.0, 2.0, 3.0]), shared=True))
    assert found.high - found.mean == pytest.approx(stats.norm.ppf(0.975))


def test_no_scatter_at_all_is_certain():
    none = Resampled(np.zeros(3), np.zeros(5), shared=False)
    assert estimate(none).p_value == 1.0
    some = Resampled(np.ones(3), np.ones(5), shared=False)
    assert (estimate(some).p_value, estimate(some).low) == (0.0, 1.0)


def test_bootstrap_agrees_with_the_theory_of_the_mean():
    scores = made_up(seeds=1)
    found = resample(scores, mean_gap, shared=True, resamples=4000)
    real, bogus = scores[0]
    assert found.values == pytest.approx([real.mean() - bogus.mean()])
    expected = real.var() / len(real) + bogus.var() / len(bogus)
    assert found.means.var() == pytest.approx(expected, rel=0.1)


def test_differences_are_paired():
    # The same scores up to a constant: each alone is uncertain, their difference is not.
    scores = made_up()
    higher = [(real + 0.3, bogus) for real, bogus in scores]
    one, other = (resample(s, mean_gap, shared=False, resamples=50) for s in (higher, scores))
    found = estimate(one - other)
    assert found.mean == pytest.approx(0.3)
    assert found.high - found.low < 1e-6
    assert estimate(one).high - estimate(one).low > 0.1


def test_interval_covers_as_often_as_it_says():
    truth, covered, trials = stats.norm.cdf(1.5 / np.sqrt(2)), 0, 200
    for trial in range(trials):
        found = estimate(resample(made_up(3, seed=trial), metrics.auc, shared=False, resamples=8))
        covered += found.low <= truth <= found.high
    assert stats.binomtest(covered, trials, 0.95).pvalue > 1e-3 or covered / trials > 0.95


def test_what_does_not_belong_together_is_refused():
    one = Resampled(np.zeros(3), np.zeros(5), shared=False)
    with pytest.raises(ValueError, match="same seeds"):
        one - Resampled(np.zeros(2), np.zeros(5), shared=False)
    with pytest.raises(ValueError, match="same seeds"):
        one - Resampled(np.zeros(3), np.zeros(5), shared=True)
