import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.special import expit
from sklearn.metrics import roc_auc_score, roc_curve

from rbkeras import metrics
from rbkeras.streaming_metrics import (
    FalsePositiveRateAtTPR,
    LabelledAccuracy,
    LabelledAUC,
    TruePositiveRateAtFPR,
    default_metrics,
)

# Few distinct values, so that ties abound.
SCORES = st.lists(st.integers(-4, 4).map(float), min_size=1, max_size=25).map(np.array)
RATES = st.sampled_from([0.1, 0.3, 0.5, 0.7, 0.9, 1.0])


def rates_at(real, bogus):
    """(true, false positive rate) at every threshold at which either changes."""
    thresholds = np.r_[np.unique(np.r_[real, bogus]), np.inf]
    return [((real >= t).mean(), (bogus >= t).mean()) for t in thresholds]


def logits_of(scores):
    return np.stack([np.zeros(len(scores)), scores], axis=1).astype(np.float32)


def normal_scores(seed, reals=300, bogus=700, shift=2.0):
    rng = np.random.default_rng(seed)
    return rng.normal(shift, 1, reals), rng.normal(0, 1, bogus)


@settings(deadline=None)
@given(SCORES, SCORES, RATES)
def test_fpr_at_tpr_is_the_lowest_of_all_thresholds(real, bogus, rate):
    expected = min(fpr for tpr, fpr in rates_at(real, bogus) if tpr >= rate - 1e-12)
    assert metrics.fpr_at_tpr(real, bogus, rate) == pytest.approx(expected)


@settings(deadline=None)
@given(SCORES, SCORES, st.sampled_from([0.0, 0.1, 0.3, 0.5, 1.0]))
def test_tpr_at_fpr_is_the_highest_of_all_thresholds(real, bogus, rate):
    expected = max(tpr for tpr, fpr in rates_at(real, bogus) if fpr <= rate + 1e-12)
    assert metrics.tpr_at_fpr(real, bogus, rate) == pytest.approx(expected)


@settings(deadline=None)
@given(SCORES, SCORES, RATES)
def test_rates_lie_on_the_roc_curve_of_scikit_learn(real, bogus, rate):
    labels = np.r_[np.ones(len(real)), np.zeros(len(bogus))]
    fpr, tpr, _ = roc_curve(labels, np.r_[real, bogus], drop_intermediate=False)
    assert metrics.fpr_at_tpr(real, bogus, rate) == pytest.approx(fpr[tpr >= rate - 1e-12].min())


@settings(deadline=None)
@given(SCORES, SCORES)
def test_auc_counts_ties_one_half(real, bogus):
    pairs = np.sign(real[:, None] - bogus[None, :])
    assert metrics.auc(real, bogus) == pytest.approx((pairs.mean() + 1) / 2)
    labels = np.r_[np.ones(len(real)), np.zeros(len(bogus))]
    assert metrics.auc(real, bogus) == pytest.approx(roc_auc_score(labels, np.r_[real, bogus]))


def test_partial_auc_by_hand():
    # Of 10 bogus, a fraction 0.2 is the two highest, 5 and 4; pairs won: 2 of 2, 1 of 2, 1.5 of 2.
    bogus = np.array([5.0, 4, 3, 2, 1, 0, -1, -2, -3, -4])
    assert metrics.partial_auc(np.array([6.0, 4.5, 5.0]), bogus, 0.2) == pytest.approx(4.5 / 6)
    assert metrics.partial_auc(np.array([6.0, 4.5]), bogus, 1e-9) == pytest.approx(1 / 2)
    # Unless told otherwise a hundredth: of 0 to 99 the highest, which stands above this real.
    assert metrics.partial_auc(np.array([98.5]), np.arange(100.0)) == 0


@settings(deadline=None)
@given(SCORES, SCORES)
def test_partial_auc_of_everything_is_the_auc(real, bogus):
    assert metrics.partial_auc(real, bogus, 1.0) == pytest.approx(metrics.auc(real, bogus))


def test_partial_auc_is_the_area_that_scikit_learn_cuts_off():
    real, bogus = normal_scores(3)
    labels = np.r_[np.ones(len(real)), np.zeros(len(bogus))]
    # scikit-learn gives McClish's standardised area; undone here.
    for beta in (0.01, 0.1, 0.5):
        standard = roc_auc_score(labels, np.r_[real, bogus], max_fpr=beta)
        least = beta**2 / 2
        area = (2 * standard - 1) * (beta - least) + least
        assert metrics.partial_auc(real, bogus, beta) == pytest.approx(area / beta)


@pytest.mark.parametrize("beta", [0, 1.1, float("nan")])
def test_partial_auc_of_no_part_is_refused(beta):
    with pytest.raises(ValueError, match="beta: expected"):
        metrics.partial_auc(np.ones(2), np.zeros(2), beta)


def test_exact_multiples_of_the_rate_are_exact():
    real = np.arange(10.0)
    assert metrics.threshold_at_tpr(real, 0.9) == 1.0
    assert metrics.threshold_at_tpr(np.arange(1000.0), 0.9) == 100.0


def test_fpr_at_tpr_works_along_the_last_axis():
    real, bogus = normal_scores(0)
    stacked = metrics.fpr_at_tpr(np.stack([real, -real]), np.stack([bogus, bogus]))
    np.testing.assert_allclose(
        stacked, [metrics.fpr_at_tpr(real, bogus), metrics.fpr_at_tpr(-real, bogus)]
    )


def test_delong_variance_is_that_of_the_definition():
    real, bogus = (np.round(scores, 1) for scores in normal_scores(1, 40, 60))  # with ties
    psi = (np.sign(real[:, None] - bogus[None, :]) + 1) / 2
    area = psi.mean()
    deviation = np.sqrt(psi.mean(1).var(ddof=1) / 40 + psi.mean(0).var(ddof=1) / 60)
    low, high = metrics.auc_interval(real, bogus)
    # On the logit scale the interval is symmetric, of half-width 1.96 sigma / (A (1 - A)).
    logit = stats.logistic.ppf
    assert (logit(low) + logit(high)) / 2 == pytest.approx(logit(area))
    expected = 1.959964 * deviation / (area * (1 - area))
    assert (logit(high) - logit(low)) / 2 == pytest.approx(expected, rel=1e-5)


def test_delong_interval_agrees_with_a_bootstrap():
    real, bogus = normal_scores(2)
    rng = np.random.default_rng(0)
    resampled = [
        metrics.auc(rng.choice(real, len(real)), rng.choice(bogus, len(bogus))) for _ in range(800)
    ]
    width = np.subtract(*np.quantile(resampled, [0.975, 0.025]))
    low, high = metrics.auc_interval(real, bogus)
    assert high - low == pytest.approx(width, rel=0.15)
    assert low < metrics.auc(real, bogus) < high


def test_delong_interval_covers_as_often_as_it_says():
    truth = stats.norm.cdf(2 / np.sqrt(2))
    intervals = [metrics.auc_interval(*normal_scores(seed, 80, 120)) for seed in range(300)]
    covered = np.mean([low <= truth <= high for low, high in intervals])
    assert 0.91 <= covered <= 0.99


def test_delong_interval_where_the_reals_alone_scatter():
    # Fractions of bogus below: 0, 0, 1, 1, of mean 1/2 and variance 1/3; four reals.
    half = stats.norm.ppf(0.975) * np.sqrt(1 / 3 / 4) / (1 / 2 * 1 / 2)
    found = metrics.auc_interval(np.array([0.0, 0, 2, 2]), np.ones(3))
    assert found == pytest.approx((expit(-half), expit(half)))


def test_auc_interval_without_spread_reaches_the_exact_bound():
    higher, lower = np.array([2, 3, 4]), np.array([0, 1])
    # Clopper-Pearson of two of two: (alpha / 2)^(1/2).
    assert metrics.auc_interval(higher, lower) == pytest.approx((0.025**0.5, 1.0))
    assert metrics.auc_interval(higher, lower, 0.9) == pytest.approx((0.05**0.5, 1.0))
    assert metrics.auc_interval(lower, higher) == pytest.approx((0.0, 1 - 0.025**0.5))
    # Equal scores: Clopper-Pearson of two of four.
    low, high = metrics.auc_interval(np.zeros(4), np.zeros(9))
    exact = stats.binomtest(2, 4).proportion_ci(0.95)
    assert (low, high) == pytest.approx((exact.low, exact.high))


@pytest.mark.parametrize(("real", "bogus"), [([1], [0, 2]), ([1, 3], [0]), ([1], [0])])
def test_of_a_single_stamp_of_a_class_the_auc_says_nothing(real, bogus):
    assert metrics.auc_interval(np.array(real), np.array(bogus)) == (0.0, 1.0)


def test_fpr_interval_of_no_false_positives_reaches_the_exact_bound():
    real, bogus = np.linspace(5, 6, 50), np.linspace(-1, 0, 1000)
    low, high = metrics.fpr_interval(real, bogus, resamples=100)
    assert low == 0
    # Clopper-Pearson with no success: 1 - (alpha / 2)^(1/n).
    assert high == pytest.approx(1 - 0.025 ** (1 / 1000))


def test_fpr_interval_of_many_false_positives_reaches_the_exact_bound():
    low, _ = metrics.fpr_interval(np.zeros(10), np.r_[np.ones(9), -1.0])
    # Clopper-Pearson of nine of ten.
    assert low == pytest.approx(stats.binomtest(9, 10).proportion_ci(0.95).low)


@pytest.mark.parametrize(("reals", "bogus"), [(1, 50), (50, 1)])
def test_fpr_interval_of_a_single_stamp_says_nothing(reals, bogus):
    assert metrics.fpr_interval(np.ones(reals), np.zeros(bogus)) == (0.0, 1.0)


def test_fpr_interval_contains_the_exact_one_and_the_rate():
    real, bogus = normal_scores(3)
    low, high = metrics.fpr_interval(real, bogus, resamples=200)
    rate = metrics.fpr_at_tpr(real, bogus)
    exact = stats.binomtest(round(rate * len(bogus)), len(bogus)).proportion_ci(0.95)
    assert low <= exact.low < rate < exact.high <= high
    assert (low, high) == metrics.fpr_interval(real, bogus, resamples=200)
    assert high < metrics.fpr_interval(real, bogus, resamples=200, confidence=0.999)[1]


def test_fpr_interval_is_that_of_resamples_made_one_by_one():
    real, bogus = (np.round(scores, 1) for scores in normal_scores(4, 80, 300))  # with ties
    found = stats.bootstrap(
        (real, bogus),
        lambda real, bogus, axis=-1: metrics.fpr_at_tpr(real, bogus, 0.9),
        n_resamples=4000,
        vectorized=True,
        method="percentile",
        rng=np.random.default_rng(1),
    ).confidence_interval
    ours = metrics.fpr_interval(real, bogus, resamples=4000)
    # The exact interval at the observed threshold is narrower here, so that it widens nothing.
    assert ours == pytest.approx((found.low, found.high), abs=0.004)


def test_the_highest_of_all_is_that_of_as_many_resamples_as_draw_it():
    ranks = metrics.resampled_ranks(1, 100, 20_000, np.random.default_rng(0))
    assert np.mean(ranks == 0) == pytest.approx(1 - 0.99**100, abs=0.02)


def test_fpr_interval_covers_at_least_as_often_as_it_says():
    truth = stats.norm.sf(2 + stats.norm.ppf(0.1))
    intervals = [
        metrics.fpr_interval(*normal_scores(seed, 60, 150), resamples=100) for seed in range(100)
    ]
    assert np.mean([low <= truth <= high for low, high in intervals]) >= 0.9


STREAMING = [
    (LabelledAUC, metrics.auc),
    (FalsePositiveRateAtTPR, metrics.fpr_at_tpr),
    (
        lambda: FalsePositiveRateAtTPR(tpr=0.5),
        lambda r, b: metrics.fpr_at_tpr(r, b, 0.5),
    ),
    (TruePositiveRateAtFPR, metrics.tpr_at_fpr),
    (
        lambda: TruePositiveRateAtFPR(fpr=0.1),
        lambda r, b: metrics.tpr_at_fpr(r, b, 0.1),
    ),
]


@pytest.mark.parametrize(("make", "exact"), STREAMING)
def test_streaming_metric_is_the_exact_one_of_binned_scores(make, exact):
    rng = np.random.default_rng(7)
    labels = rng.integers(-1, 2, 3000)
    scores = rng.normal(labels, 1.0)
    scores[:20], scores[20:30], scores[30:34] = np.nan, np.inf, 1e6 * rng.normal(size=4)
    metric = make()
    for part in np.array_split(np.arange(3000), 7):
        metric.update_state(labels[part], logits_of(scores[part]))
    known = np.isfinite(scores.astype(np.float32))
    binned = np.floor(np.clip(scores, -32, 31.999) * 128)
    real, bogus = binned[known & (labels == 1)], binned[known & (labels == 0)]
    assert float(metric.result()) == pytest.approx(float(exact(real, bogus)), abs=1e-5)
    # And the bins of 1/128 are fine enough.
    real, bogus = scores[known & (labels == 1)], scores[known & (labels == 0)]
    assert float(metric.result()) == pytest.approx(float(exact(real, bogus)), abs=0.01)


def test_streaming_auc_is_that_of_scikit_learn():
    rng = np.random.default_rng(8)
    labels = rng.integers(0, 2, 1000)
    scores = rng.normal(3 * labels)
    metric = LabelledAUC()
    metric.update_state(labels.reshape(-1, 1), logits_of(scores))
    assert float(metric.result()) == pytest.approx(roc_auc_score(labels, scores), abs=1e-4)


def test_streaming_auc_takes_scores_beyond_all_bins_for_ties():
    metric = LabelledAUC()
    metric.update_state(np.array([1, 0]), logits_of(np.array([40.0, 41.0])))
    assert float(metric.result()) == 0.5


def test_streaming_fpr_reaches_an_exact_multiple_of_its_rate():
    metric = FalsePositiveRateAtTPR(tpr=0.9)
    # Nine of ten reals reach 1, which the bogus does not.
    scores = np.r_[np.arange(10.0), 0.5]
    metric.update_state(np.repeat([1, 0], [10, 1]), logits_of(scores))
    assert float(metric.result()) == 0


def test_streaming_tpr_lets_an_exact_multiple_of_its_rate_pass():
    metric = TruePositiveRateAtFPR(fpr=0.1)
    # One of ten bogus may pass: the one at 9, above the real.
    scores = np.r_[np.arange(10.0), 8.5]
    metric.update_state(np.repeat([0, 1], [10, 1]), logits_of(scores))
    assert float(metric.result()) == 1


@pytest.mark.parametrize("label", [0, 1, -1])
@pytest.mark.parametrize(("make", "exact"), STREAMING)
def test_streaming_metric_of_one_class_is_nan_and_recovers(make, exact, label):
    metric = make()
    metric.update_state(np.full(4, label), logits_of(np.arange(4.0)))
    assert np.isnan(float(metric.result()))
    metric.update_state(np.array([0, 1]), logits_of(np.array([-9.0, 9.0])))
    assert np.isfinite(float(metric.result()))


@pytest.mark.parametrize(("make", "exact"), STREAMING)
def test_reset_forgets(make, exact):
    metric = make()
    metric.update_state(np.array([0, 0, 1, 1]), logits_of(np.array([5.0, 6.0, 1.0, 2.0])))
    metric.reset_state()
    metric.update_state(np.array([0, 0, 1, 1]), logits_of(np.array([1.0, 2.0, 5.0, 6.0])))
    perfect = exact(np.array([5.0, 6.0]), np.array([1.0, 2.0]))
    assert float(metric.result()) == pytest.approx(float(perfect))


def test_accuracy_counts_labelled_samples():
    metric = LabelledAccuracy()
    metric.update_state(np.array([1, 0, 1, -1]), logits_of(np.array([2.0, -1.0, -3.0, 5.0])))
    metric.update_state(np.array([-1]), logits_of(np.array([1.0])))
    assert float(metric.result()) == pytest.approx(2 / 3)
    # A score that is none calls nothing.
    metric.update_state(np.array([0, 1]), logits_of(np.array([np.nan, np.nan])))
    assert float(metric.result()) == pytest.approx(2 / 3)


def test_accuracy_takes_the_sign_of_the_score_and_zero_for_bogus():
    metric = LabelledAccuracy()
    metric.update_state(np.array([1, 0, 1, 0]), logits_of(np.array([0.5, -0.5, 0.25, 0.0])))
    assert float(metric.result()) == 1


METRICS = [
    *default_metrics(),
    FalsePositiveRateAtTPR(tpr=0.8, name="fpr_at_tpr80"),
    TruePositiveRateAtFPR(fpr=0.01, name="tpr_at_fpr1e-2"),
]


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_metrics_survive_serialisation(metric):
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(metric))
    assert type(copy) is type(metric)
    assert copy.get_config() == metric.get_config()
    for rate in ("tpr", "fpr"):
        assert getattr(copy, rate, None) == getattr(metric, rate, None)


def test_rates_out_of_range_are_refused():
    with pytest.raises(ValueError, match=r"tpr: .* got 0"):
        FalsePositiveRateAtTPR(tpr=0)
    with pytest.raises(ValueError, match=r"fpr: .* got 1"):
        TruePositiveRateAtFPR(fpr=1)
    with pytest.raises(ValueError, match=r"tpr: .* got 1\.5"):
        FalsePositiveRateAtTPR(tpr=1.5)


def test_rates_at_the_end_of_their_range_are_accepted():
    assert FalsePositiveRateAtTPR(tpr=1.0).tpr == 1
    assert TruePositiveRateAtFPR(fpr=0.0).fpr == 0


def test_binomial_interval_by_the_rule_of_three():
    low, high = metrics.binomial_interval(np.array([0, 1000]), np.array([1000, 1000]))
    np.testing.assert_allclose(high, [1 - 0.025**0.001, 1])
    np.testing.assert_allclose(low, [0, 0.025**0.001])
