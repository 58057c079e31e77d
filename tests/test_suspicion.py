"""Rules and scores against numbers made by hand, loops, and cleanlab's implementation."""

import numpy as np
import pytest
from cleanlab.count import compute_confident_joint
from cleanlab.filter import find_label_issues
from cleanlab.rank import get_label_quality_scores
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit

from rbkeras.suspicion import (
    RULES,
    adjusted_confidence,
    class_thresholds,
    confident_classes,
    confident_joint,
    corrected_probability,
    error_counts,
    error_probability,
    find_suspects,
    noise_rates,
    self_confidence,
)

# Mean probability of the given label: 0.7 of the reals, 0.75 of the bogus.
LABELS = np.array([1, 1, 1, 1, 0, 0, 0, 0])
PROBABILITY = np.array([0.9, 0.9, 0.9, 0.1, 0.1, 0.05, 0.05, 0.8])


def survey(seed, *, size=500, real=0.5, errors=0.1, spread=2.0):
    """Labels of which some are wrong, and the scores of a network of middling skill."""
    rng = np.random.default_rng(seed)
    truth = (rng.random(size) < real).astype(int)
    labels = np.where(rng.random(size) < errors, 1 - truth, truth)
    score = np.where(truth == 1, 3.0, -3.0) + rng.normal(0, spread, size)
    labels[:2], score[:2] = (0, 1), (-5.0, 5.0)
    return labels, score


SURVEYS = [
    survey(0),
    survey(1, errors=0.3),
    survey(2, real=0.1, errors=0.05),
    survey(3, real=0.9, spread=6.0),
    survey(4, spread=0.1, errors=0.0),
    survey(5, size=40, spread=4.0),
]


def columns(score):
    return np.stack([expit(-score), expit(score)], axis=1)


# --- confident learning ---------------------------------------------------------------------------


def test_confident_joint_by_hand():
    assert class_thresholds(LABELS, PROBABILITY) == pytest.approx((0.75, 0.7))
    assert confident_classes(LABELS, PROBABILITY).tolist() == [1, 1, 1, 0, 0, 0, 0, 1]
    assert confident_joint(LABELS, PROBABILITY).tolist() == [[3, 1], [1, 3]]
    assert error_counts(LABELS, PROBABILITY) == (1, 1)


def test_between_the_thresholds_nothing_is_confident():
    labels, probability = np.array([1, 1, 0, 0]), np.array([0.9, 0.6, 0.1, 0.4])
    assert confident_classes(labels, probability).tolist() == [1, -1, 0, -1]


def test_of_two_confident_classes_the_more_probable_one_counts():
    # Thresholds below 1/2: the second and the fourth sample reach both.
    labels, probability = np.array([1, 1, 0, 0]), np.array([0.2, 0.52, 0.9, 0.48])
    assert class_thresholds(labels, probability) == pytest.approx((0.31, 0.36))
    assert confident_classes(labels, probability).tolist() == [0, 1, 1, 0]


def test_a_class_reached_alone_counts_also_where_it_is_the_less_probable_one():
    labels, probability = np.array([1, 1, 0, 0]), np.array([0.3, 0.45, 0.1, 0.1])
    # Of the reals 0.45 reaches their mean; neither of them is as surely bogus as the bogus are.
    assert class_thresholds(labels, probability) == pytest.approx((0.9, 0.375))
    assert confident_classes(labels, probability).tolist() == [-1, 1, 0, 0]


def test_even_chances_are_confidently_bogus():
    labels, probability = np.array([1, 0]), np.array([0.5, 0.5])
    assert confident_classes(labels, probability).tolist() == [0, 0]
    # One of the two is labelled real: 1/2, of which the bound leaves 0.49.
    assert noise_rates(labels, probability) == (0.49, 0.001)


def test_a_class_of_equal_probabilities_reaches_its_mean():
    labels, probability = np.r_[np.ones(7, int), np.zeros(7, int)], np.r_[[0.7] * 7, [0.1] * 7]
    assert confident_classes(labels, probability).tolist() == labels.tolist()


def test_error_counts_stretch_the_confident_to_all():
    # Of 6 labelled real, two are confidently bogus and two confidently real: half of them wrong.
    labels = np.array([1] * 6 + [0] * 4)
    probability = np.array([0.95, 0.95, 0.52, 0.52, 0.01, 0.01, 0.05, 0.05, 0.05, 0.05])
    assert confident_joint(labels, probability).tolist() == [[4, 0], [2, 4]]
    assert error_counts(labels, probability) == (0, 2)
    labels = np.array([1] * 6 + [0] * 4)
    probability[2:4] = 0.4
    assert confident_joint(labels, probability).tolist() == [[4, 0], [2, 2]]
    assert error_counts(labels, probability) == (0, 3)


def test_where_every_label_is_contradicted_one_of_each_class_counts_as_right():
    labels, probability = np.repeat([1, 0], 10), np.repeat([0.1, 0.9], 10)
    assert confident_joint(labels, probability).tolist() == [[0, 10], [10, 0]]
    # Ten wrong beside one right, stretched to the ten that there are: 10 x 10 / 11.
    assert error_counts(labels, probability) == (9, 9)


@pytest.mark.parametrize("number", range(len(SURVEYS)))
def test_confident_learning_is_that_of_cleanlab(number):
    labels, score = SURVEYS[number]
    probability, both = expit(score), columns(score)
    joint = compute_confident_joint(labels, both, calibrate=False)
    np.testing.assert_array_equal(confident_joint(labels, probability), joint)
    calibrated = compute_confident_joint(labels, both, calibrate=True)
    assert error_counts(labels, probability) == (calibrated[0, 1], calibrated[1, 0])


@pytest.mark.parametrize("number", range(len(SURVEYS)))
@pytest.mark.parametrize(
    ("rule", "theirs"),
    [
        ("argmax", "predicted_neq_given"),
        ("confident", "confident_learning"),
        ("prune", "prune_by_noise_rate"),
    ],
)
def test_rules_are_those_of_cleanlab(number, rule, theirs):
    labels, score = SURVEYS[number]
    ours = find_suspects(labels, score, expit(score), rule=rule)
    expected = find_label_issues(labels, columns(score), filter_by=theirs, n_jobs=1)
    np.testing.assert_array_equal(ours, expected)


@pytest.mark.parametrize("number", range(len(SURVEYS)))
def test_scores_rank_as_cleanlab_s_do(number):
    labels, score = SURVEYS[number]
    probability, both = expit(score), columns(score)
    own = self_confidence(labels, probability)
    for method in ("self_confidence", "normalized_margin"):
        theirs = get_label_quality_scores(labels, both, method=method)
        np.testing.assert_allclose(own, theirs, atol=1e-12)
    theirs = get_label_quality_scores(
        labels, both, method="self_confidence", adjust_pred_probs=True
    )
    ours = adjusted_confidence(labels, probability)
    # Theirs is ours on another scale.
    assert np.corrcoef(ours, theirs)[0, 1] == pytest.approx(1)
    assert (np.diff(theirs[np.argsort(ours)]) >= -1e-12).all()


# --- noise rates and the posterior ----------------------------------------------------------------


def test_noise_rates_by_hand():
    # Confidently bogus: one real and three bogus; confidently real: three reals and one bogus.
    assert noise_rates(LABELS, PROBABILITY) == (0.25, 0.25)


def test_ambiguous_samples_are_no_noise():
    # Either threshold is 2.2 / 3: the real at 0.4 and the bogus at 0.6 reach neither.
    labels = np.array([1, 1, 1, 0, 0, 0])
    probability = np.array([0.9, 0.9, 0.4, 0.1, 0.1, 0.6])
    assert noise_rates(labels, probability) == (0.001, 0.001)


def test_noise_rates_stay_within_bounds():
    labels = np.array([1, 1, 0, 0])
    assert noise_rates(labels, np.array([0.9, 0.9, 0.1, 0.1])) == (0.001, 0.001)
    as_real, as_bogus = noise_rates(labels, np.array([0.1, 0.1, 0.9, 0.9]))
    assert as_real == as_bogus == 0.49


@pytest.mark.parametrize("size", [20, 30, 40, 60])
def test_rounding_of_equal_probabilities_says_nothing_of_the_noise(size):
    """A mean of equal numbers comes out above or below them, by how many they are."""
    labels = np.repeat([0, 1], size)
    assert noise_rates(labels, np.full(2 * size, 0.8)) == (0.001, 0.49)


def test_error_probability_is_that_of_bayes():
    # A stamp that is real with probability q, its label flipped at rates a and b, and counted.
    (a, b), q = (0.1, 0.2), np.array([0.0, 0.3, 0.5, 1.0])
    joint = {"real_real": (1 - b) * q, "bogus_real": a * (1 - q), "real_bogus": b * q}
    p = joint["real_real"] + joint["bogus_real"]
    found_real = error_probability(np.ones(4), p, rates=(a, b))
    found_bogus = error_probability(np.zeros(4), p, rates=(a, b))
    np.testing.assert_allclose(found_real, joint["bogus_real"] / p)
    np.testing.assert_allclose(found_bogus, joint["real_bogus"] / (1 - p))
    # Probabilities that no q explains are clipped, and nothing is divided by 0.
    extreme = error_probability(np.array([1, 0, 1, 0]), np.array([0, 0, 1, 1]), rates=(a, b))
    np.testing.assert_allclose(extreme, [1, 0, 0, 1])


# --- rules ----------------------------------------------------------------------------------------


def test_rules_by_hand():
    found = {rule: find_suspects(LABELS, *_scores(), rule=rule).nonzero()[0] for rule in RULES}
    assert all(indices.tolist() == [3, 7] for indices in found.values())


def _scores():
    return np.log(PROBABILITY / (1 - PROBABILITY)), PROBABILITY


@settings(deadline=None, max_examples=50)
@given(
    samples=st.lists(st.tuples(st.integers(0, 1), st.floats(-800, 800)), max_size=30),
    rule=st.sampled_from(RULES),
)
def test_no_rule_suspects_a_label_that_is_confirmed(samples, rule):
    labels = np.array([0, 1] + [label for label, _ in samples])
    score = np.array([-1.0, 1.0] + [score for _, score in samples])
    suspect = find_suspects(labels, score, expit(score), rule=rule)
    assert suspect.dtype == bool
    assert not (suspect & ((score > 0) == (labels == 1))).any()


def test_a_higher_threshold_suspects_fewer():
    labels, score = SURVEYS[1]
    counts = [
        find_suspects(labels, score, expit(score), threshold=t).sum()
        for t in (0.05, 0.3, 0.6, 0.95)
    ]
    assert counts == sorted(counts, reverse=True)
    assert counts[0] > counts[-1]


def test_certainty_spares_the_ambiguous_where_errors_are_many():
    labels, score = SURVEYS[1]
    probability = expit(score)
    argmax = find_suspects(labels, score, probability, rule="argmax")
    # At a rate of 0.3 every contradicted label reaches the threshold.
    posterior = find_suspects(labels, score, probability, threshold=0.2)
    np.testing.assert_array_equal(posterior, argmax)
    sure = find_suspects(labels, score, probability, threshold=0.2, certainty=2 / 3)
    real = corrected_probability(probability, rates=noise_rates(labels, probability))
    other = np.where(labels == 1, 1 - real, real)
    np.testing.assert_array_equal(sure, argmax & (other >= 2 / 3))
    assert 0 < sure.sum() < argmax.sum()


def test_corrected_probability_undoes_the_flips():
    q = np.array([0.0, 0.3, 1.0])
    np.testing.assert_allclose(
        corrected_probability(0.8 * q + 0.1 * (1 - q), rates=(0.1, 0.2)), q, atol=1e-15
    )
    assert corrected_probability(np.array([0.0, 1.0]), rates=(0.1, 0.2)).tolist() == [0, 1]


def test_adjusted_confidence_puts_the_rarer_class_on_a_par():
    # Reals are believed less throughout; the third sample is a typical real, the sixth no bogus.
    labels = np.array([1, 1, 1, 0, 0, 0])
    probability = np.array([0.6, 0.65, 0.55, 0.01, 0.02, 0.4])
    assert self_confidence(labels, probability).argmin() == 2
    assert adjusted_confidence(labels, probability).argmin() == 5
