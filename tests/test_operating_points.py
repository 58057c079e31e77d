"""Rates at thresholds, against the functions they summarise and against resampled arrays."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from rbkeras import metrics
from rbkeras.operating_points import (
    RESOLVED,
    operating_points,
    partial_auc_interval,
    roc_band,
    threshold_at_fpr,
)
from rbkeras.score_table import decided


@pytest.fixture(scope="module")
def scores():
    rng = np.random.default_rng(0)
    return rng.normal(3, 2, 400), rng.normal(-3, 2, 3000)


def test_threshold_at_fpr_by_hand():
    bogus = np.arange(10.0)
    assert threshold_at_fpr(bogus, 0.2) == np.nextafter(np.float32(7), np.float32(8))
    assert threshold_at_fpr(bogus + 0.1, 0.2) == np.nextafter(7.1, np.inf)
    assert (bogus >= threshold_at_fpr(bogus, 0.2)).sum() == 2
    assert threshold_at_fpr(bogus, 0.01) > 9
    assert threshold_at_fpr(bogus, 1.0) == 0.0


def test_threshold_at_fpr_in_single_precision_lets_no_tie_pass():
    bogus = np.random.default_rng(0).normal(size=5000).astype(np.float32)
    bogus[:300] = bogus.max()
    for scores in (bogus, bogus.astype(np.float64)):
        for rate in (1e-3, 0.05, 0.07):
            threshold = threshold_at_fpr(scores, rate)
            assert np.float32(threshold) == threshold
            assert (scores >= threshold).sum() <= rate * len(scores)
    table = decided(None, pd.DataFrame({"score": bogus}), threshold=threshold, prevalence=None)
    assert table["decision"].sum() == 350


def test_rates_are_those_of_the_metrics(scores):
    real, bogus = scores
    for row in operating_points(real, bogus).itertuples():
        if row.chosen == "tpr":
            assert row.fpr == pytest.approx(metrics.fpr_at_tpr(real, bogus, row.target))
            assert row.tpr >= row.target
        else:
            assert row.tpr == pytest.approx(metrics.tpr_at_fpr(real, bogus, row.target))
        assert row.tpr_low <= row.tpr <= row.tpr_high
        assert row.fpr_low <= row.fpr <= row.fpr_high
        assert row.tpr == np.mean(real >= row.threshold)
        assert row.fpr == np.mean(bogus >= row.threshold)


def test_points_are_chosen_at_three_rates_of_either_class(scores):
    table = operating_points(*scores)
    assert table["chosen"].tolist() == ["tpr"] * 3 + ["fpr"] * 3
    assert table["target"].tolist() == [0.9, 0.95, 0.99, 1e-2, 1e-3, 1e-4]


def test_intervals_are_those_of_resampled_arrays(scores):
    real, bogus = scores
    table = operating_points(real, bogus, resamples=4000).set_index(["chosen", "target"])
    low, high = metrics.fpr_interval(real, bogus, tpr=0.95)
    assert table.loc[("tpr", 0.95), "fpr_low"] == pytest.approx(low, rel=0.15)
    assert table.loc[("tpr", 0.95), "fpr_high"] == pytest.approx(high, rel=0.15)


def test_band_is_that_of_resampled_arrays(scores):
    real, bogus = scores
    rates = np.array([3e-2, 1e-1])
    low, high = roc_band(real, bogus, rates, resamples=2000)
    rng = np.random.default_rng(1)
    drawn = np.array(
        [
            [metrics.tpr_at_fpr(a, b, rate) for rate in rates]
            for a, b in (
                (rng.choice(real, len(real)), rng.choice(bogus, len(bogus))) for _ in range(1000)
            )
        ]
    )
    np.testing.assert_allclose(low, np.quantile(drawn, 0.025, axis=0), atol=0.01)
    np.testing.assert_allclose(high, np.quantile(drawn, 0.975, axis=0), atol=0.01)


def test_intervals_at_false_positive_rates_are_those_of_the_band(scores):
    table = operating_points(*scores, resamples=4000).set_index(["chosen", "target"])
    rates = [1e-2, 1e-3]
    low, high = roc_band(*scores, np.array(rates), resamples=4000)
    found = table.loc["fpr"].loc[rates]
    np.testing.assert_allclose(found["tpr_low"], low, atol=0.02)
    np.testing.assert_allclose(found["tpr_high"], high, atol=0.02)


@pytest.mark.parametrize(
    ("bogus", "rate"), [(200, 1e-2), (2000, 1e-4), (20000, 1e-4), (20000, 2.5e-4), (5000, 1e-2)]
)
def test_band_covers_the_rate_of_all_that_could_be(bogus, rate):
    truth = stats.norm.sf((stats.norm.isf(rate) - 4) / 1.2)
    rng = np.random.default_rng(5)
    trials, covered = 300, 0
    for seed in range(trials):
        scores = rng.normal(4, 1.2, 500), rng.normal(0, 1, bogus)
        low, high = roc_band(*scores, np.array([rate]), resamples=300, seed=seed)
        covered += low[0] <= truth <= high[0]
    # 95% but for chance, which is 1.3% of 300 trials.
    assert covered >= 0.92 * trials


def test_band_rises_in_whatever_order_it_is_asked_for(scores):
    rates = np.geomspace(1e-4, 1, 60)
    rising = roc_band(*scores, rates, resamples=50)
    falling = roc_band(*scores, rates[::-1], resamples=50)
    for edge, turned in zip(rising, falling, strict=True):
        assert (np.diff(edge) >= 0).all()
        np.testing.assert_array_equal(edge, turned[::-1])


def test_too_few_bogus_leave_the_true_positive_rate_without_a_lower_limit():
    real = np.linspace(1, 3, 200)
    for bogus, resolved in ((36_000, False), (38_000, True)):
        table = operating_points(real, np.zeros(bogus), resamples=40_000)
        low = table.set_index(["chosen", "target"]).loc[("fpr", 1e-4), "tpr_low"]
        assert (bogus * 1e-4 > RESOLVED) == resolved
        assert (low > 0.9) == resolved
        assert (low == 0) == (not resolved)


def test_band_is_between_the_bogus_around_the_threshold():
    # Of 1000 bogus, 50 are expected above the threshold: 37 to 64 in 95% of the cases.
    bogus, real = np.arange(1000.0), np.repeat([955.0, 980.0, 0.0], [60, 20, 20]) + 0.5
    low, high = roc_band(real, bogus, np.array([0.05]), resamples=20_000)
    # The 44th highest bogus is 956: with fewer above, only the 20 pass; with more, all 80.
    assert low[0] == pytest.approx(metrics.binomial_interval(20, 100)[0], abs=0.03)
    assert high[0] == pytest.approx(metrics.binomial_interval(80, 100)[1], abs=0.02)


def test_band_is_the_exact_one_where_all_bogus_are_alike():
    real = np.repeat([1.0, -1.0], 50)
    low, high = roc_band(real, np.zeros(100), np.array([0.1]), resamples=40_000)
    np.testing.assert_allclose([low[0], high[0]], metrics.binomial_interval(50, 100), atol=0.003)


def test_band_counts_ties_against_the_classifier():
    # All of the 5% of bogus above the threshold score as half of the reals do.
    real, bogus = np.repeat([5.0, 9.0], 50), np.repeat([5.0, 0.0], [100, 900])
    low, high = roc_band(real, bogus, np.array([0.05]), resamples=20_000)
    np.testing.assert_allclose([low[0], high[0]], metrics.binomial_interval(50, 100), atol=0.02)


def test_interval_of_the_partial_area_covers_that_of_all_that_could_be():
    beta, rng = 0.01, np.random.default_rng(6)
    rates = beta * (np.arange(2000) + 0.5) / 2000
    truth = stats.norm.sf((stats.norm.isf(rates) - 4) / 1.2).mean()
    covered, widths = 0, []
    for _ in range(40):
        scores = rng.normal(4, 1.2, 500), rng.normal(0, 1, 10_000)
        low, high = partial_auc_interval(*scores)
        assert low <= metrics.partial_auc(*scores, beta) <= high
        covered += low <= truth <= high
        widths.append(high - low)
    assert covered >= 36
    # The area itself scatters by 0.02.
    assert np.median(widths) < 0.15


def test_a_single_stamp_of_a_class_tells_nothing_of_the_partial_area():
    assert partial_auc_interval(np.ones(1), np.zeros(50)) == (0, 1)
    assert partial_auc_interval(np.ones(50), np.zeros(1)) == (0, 1)


def test_intervals_of_perfect_separation_are_exact():
    real, bogus = np.linspace(5, 6, 50), np.linspace(-1, 0, 1000)
    table = operating_points(real, bogus).set_index("chosen")
    # Clopper-Pearson of none of 1000 bogus, and of all of 50 reals.
    of_bogus, of_real = [0, 1 - 0.025 ** (1 / 1000)], [0.025 ** (1 / 50), 1]
    np.testing.assert_allclose(table.loc["tpr", ["fpr_low", "fpr_high"]], [of_bogus] * 3)
    first, *others = table.loc["fpr", ["tpr_low", "tpr_high"]].to_numpy()
    np.testing.assert_allclose(first, of_real, atol=0.01)
    # One bogus in a thousand, and fewer, are not to be seen among a thousand.
    np.testing.assert_allclose(others, [[0, 1]] * 2)


def test_a_threshold_found_on_a_single_real_says_nothing_of_the_bogus():
    table = operating_points(np.array([5.0]), np.arange(1000) / 1000).set_index("chosen")
    assert (table.loc["tpr", "fpr_low"] == 0).all()
    assert (table.loc["tpr", "fpr_high"] == 1).all()


def test_a_threshold_found_on_a_single_bogus_says_nothing_of_the_reals():
    table = operating_points(np.array([1.0, 2.0, 3.0]), np.array([0.0])).set_index("chosen")
    assert (table.loc["fpr", "tpr_low"] == 0).all()
    assert (table.loc["fpr", "tpr_high"] == 1).all()


def test_two_samples_of_each_class_say_something():
    table = operating_points(np.array([1.0, 2.0]), np.array([0.0, 0.5])).set_index("chosen")
    # Clopper-Pearson of none of two.
    np.testing.assert_allclose(table.loc["tpr", "fpr_high"], 1 - 0.025 ** (1 / 2))
    np.testing.assert_allclose(table.loc["fpr", "tpr_high"], 1)


def test_few_samples_and_rate_one():
    table = operating_points(np.array([1.0]), np.array([0.0, 2.0]))
    assert np.isfinite(table.drop(columns="chosen")).all(axis=None)
    # Where the threshold was found on a single sample, it says nothing of the other class.
    found = table[table["chosen"] == "tpr"]
    assert (found["fpr_low"] == 0).all()
    assert (found["fpr_high"] == 1).all()
    low, high = roc_band(np.array([1.0, 3.0]), np.array([0.0, 2.0]), np.array([1.0]))
    assert low[0] == high[0] == 1
