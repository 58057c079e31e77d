import numpy as np
import pytest
from scipy import stats

from rbkeras import metrics
from rbkeras.statistics import Resampled, estimate, paired_fractions, resample


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


@pytest.mark.parametrize(
    ("values", "variance", "freedom"),
    [
        # S^2 / n = 2 / 2 = 1, bootstrap 1; Welch and Satterthwaite: (1 + 1)^2 / (1 / 1) = 4.
        ([1.0, 3.0], 2, 4),
        # S^2 / n = 8 / 2 = 4, bootstrap 1; (4 + 1)^2 / (16 / 1).
        ([1.0, 5.0], 5, 25 / 16),
    ],
    ids=["as much as the seeds", "a quarter of it"],
)
def test_shared_test_samples_add_their_variance(values, variance, freedom):
    found = estimate(Resampled(np.array(values), np.array([1.0, 2.0, 3.0]), shared=True))
    half, mean = stats.t.ppf(0.975, freedom) * np.sqrt(variance), np.mean(values)
    assert (found.low, found.high) == pytest.approx((mean - half, mean + half))


@pytest.mark.parametrize(
    ("shared", "distribution"),
    [(False, stats.t(1)), (True, stats.norm)],
    ids=["Student of one degree", "normal"],
)
def test_seeds_that_agree_by_chance_keep_the_bootstraps_width(shared, distribution):
    found = estimate(Resampled(np.array([2.0, 2.0]), np.array([1.0, 2.0, 3.0]), shared=shared))
    assert found.high - found.mean == pytest.approx(distribution.ppf(0.975))


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


def test_resamples_are_averaged_over_the_seeds():
    # Of single scores every resample is the same: gaps of 1 and 3.
    scores = [(np.array([1.0]), np.array([0.0])), (np.array([3.0]), np.array([0.0]))]
    found = resample(scores, mean_gap, shared=False, resamples=5)
    assert found.values.tolist() == [1, 3]
    assert found.means.tolist() == [2] * 5


def test_seeds_share_their_resamples_where_they_share_test_samples():
    (scores,) = made_up(seeds=1)
    alone = resample([scores], mean_gap, shared=True, resamples=5).means
    shared, own = (
        resample([scores, scores], mean_gap, shared=shared, resamples=5).means
        for shared in (True, False)
    )
    np.testing.assert_allclose(shared, alone)
    assert not np.allclose(own, alone)


@pytest.mark.parametrize("place", [0, 1], ids=["real", "bogus"])
def test_a_resample_has_as_many_of_each_class_as_there_are(place):
    scores = [np.ones(1), np.ones(1)]
    scores[place] = np.array([1.0, 0.0])
    found = resample([scores], lambda *both: both[place].mean(), shared=True, resamples=50)
    # The mean of two drawn from 0 and 1.
    assert set(found.means) == {0, 0.5, 1}


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


@pytest.mark.parametrize(("more", "fewer"), [(4, 0), (5, 0), (3, 9), (0, 8), (7, 7)])
def test_paired_fractions_by_the_binomial_formula(more, fewer):
    ours = np.repeat([True, False, True, False], [more, fewer, 20, 100])
    theirs = np.repeat([False, True, True, False], [more, fewer, 20, 100])
    low, high, p_value = paired_fractions(ours, theirs)
    # McNemar's exact test: twice the smaller tail of a fair coin's binomial.
    tail = stats.binom.cdf(min(more, fewer), more + fewer, 0.5)
    assert p_value == pytest.approx(min(2 * tail, 1))
    assert low <= (more - fewer) / len(ours) <= high
    assert (low <= 0 <= high) == (p_value >= 0.05)
    # Clopper-Pearson of `more` of those that differ.
    edges = stats.beta.ppf([0.025, 0.975], [more, more + 1], [fewer + 1, fewer])
    edges = np.where([more == 0, fewer == 0], [0, 1], edges)
    expected = (2 * edges - 1) * (more + fewer) / len(ours)
    assert (low, high) == pytest.approx(tuple(expected))


def test_samples_that_pass_both_tell_no_fractions_apart():
    passing = np.array([True, False, True])
    assert paired_fractions(passing, passing) == (0.0, 0.0, 1.0)
