"""Rates at thresholds, against the functions they summarise and against resampled arrays."""

import numpy as np
import pytest

from rbkeras import metrics
from rbkeras.operating_points import operating_points, roc_band, threshold_at_fpr


@pytest.fixture(scope="module")
def scores():
    rng = np.random.default_rng(0)
    return rng.normal(3, 2, 400), rng.normal(-3, 2, 3000)


def test_threshold_at_fpr_by_hand():
    bogus = np.arange(10.0)
    assert threshold_at_fpr(bogus, 0.2) == np.nextafter(7.0, np.inf)
    assert (bogus >= threshold_at_fpr(bogus, 0.2)).sum() == 2
    assert threshold_at_fpr(bogus, 0.01) > 9
    assert threshold_at_fpr(bogus, 1.0) == 0.0


def test_rates_are_those_of_the_metrics(scores):
    real, bogus = scores
    for row in operating_points(real, bogus).itertuples():
        if row.chosen == "tpr":
            assert row.fpr == pytest.approx(metrics.fpr_at_tpr(real, bogus, row.target))
        else:
            assert row.tpr == pytest.approx(metrics.tpr_at_fpr(real, bogus, row.target))
        assert row.tpr_low <= row.tpr <= row.tpr_high
        assert row.fpr_low <= row.fpr <= row.fpr_high
        assert row.fpr == np.mean(bogus >= row.threshold)


def test_intervals_are_those_of_resampled_arrays(scores):
    real, bogus = scores
    table = operating_points(real, bogus, resamples=4000).set_index(["chosen", "target"])
    low, high = metrics.fpr_interval(real, bogus, tpr=0.95)
    assert table.loc[("tpr", 0.95), "fpr_low"] == pytest.approx(low, rel=0.15)
    assert table.loc[("tpr", 0.95), "fpr_high"] == pytest.approx(high, rel=0.15)


def test_band_is_that_of_resampled_arrays(scores):
    real, bogus = scores
    rates = np.array([1e-2, 1e-1])
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


def test_few_samples_and_rate_one():
    table = operating_points(np.array([1.0]), np.array([0.0, 2.0]))
    assert np.isfinite(table.drop(columns="chosen")).all(axis=None)
    # Where the threshold was found on a single sample, it says nothing of the other class.
    found = table[table["chosen"] == "tpr"]
    assert (found["fpr_low"] == 0).all()
    assert (found["fpr_high"] == 1).all()
    low, high = roc_band(np.array([1.0, 3.0]), np.array([0.0, 2.0]), np.array([1.0]))
    assert low[0] == high[0] == 1
