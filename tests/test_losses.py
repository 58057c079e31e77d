import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import log_loss

from rbkeras.losses import RealBogusLoss, auc_hinge, cross_entropy, score

LABELS = st.lists(st.sampled_from([-1, 0, 1]), min_size=1, max_size=12)
SEEDS = st.integers(0, 2**31)


def draw_logits(seed, count, scale=3.0):
    return np.random.default_rng(seed).normal(scale=scale, size=(count, 2)).astype(np.float32)


def looped_hinge(labels, logits, margin, beta):
    scores = logits[:, 1].astype(float) - logits[:, 0]
    reals = [s for s, label in zip(scores, labels, strict=True) if label == 1]
    bogus = sorted((s for s, label in zip(scores, labels, strict=True) if label == 0), reverse=True)
    bogus = bogus[: int(np.ceil(round(beta * len(bogus), 9)))]
    costs = [np.exp(min(max(b - r + margin, 0), 6)) - 1 for r in reals for b in bogus]
    return np.mean(costs) if costs else 0.0


def gradient(function, labels, logits, **settings):
    logits = tf.constant(logits)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        value = function(labels, logits, **settings)
    return tape.gradient(value, logits).numpy()


def test_score_is_log_odds_of_real():
    np.testing.assert_allclose(score(np.array([[1.0, 3.0], [2.0, -1.0]])), [2, -3])


def test_cross_entropy_by_hand():
    # Scores ln 3 and 0: probabilities of the labels 3/4 and 1/2.
    logits = np.array([[0, np.log(3)], [1, 1], [9, -9]], np.float32)
    expected = (np.log(4 / 3) + np.log(2)) / 2
    assert float(cross_entropy([1, 0, -1], logits)) == pytest.approx(expected, rel=1e-6)


@settings(deadline=None, max_examples=25)
@given(LABELS, SEEDS)
def test_cross_entropy_is_that_of_scikit_learn(labels, seed):
    labels, logits = np.array(labels), draw_logits(seed, len(labels))
    known = labels >= 0
    expected = 0.0
    if known.any():
        probabilities = keras.ops.softmax(logits.astype(np.float64)).numpy()
        expected = log_loss(labels[known], probabilities[known], labels=[0, 1])
    assert float(cross_entropy(labels, logits)) == pytest.approx(expected, rel=1e-4, abs=1e-6)


def test_cross_entropy_of_hopeless_scores_is_finite():
    logits = np.array([[3e4, -3e4], [-3e4, 3e4]], np.float32)
    assert float(cross_entropy([1, 1], logits)) == pytest.approx(3e4)
    assert np.isfinite(gradient(cross_entropy, [1, 1], logits)).all()


def test_auc_hinge_by_hand():
    # Gaps + 0.25: bogus at 0 against reals at 1 and 0 give -0.75 (free) and 0.25.
    logits = np.array([[0, 1], [0, 0], [0, 0]], np.float32)
    expected = (0 + np.expm1(0.25)) / 2
    assert float(auc_hinge([1, 1, 0], logits)) == pytest.approx(expected, rel=1e-6)


@settings(deadline=None, max_examples=40)
@given(LABELS, SEEDS, st.sampled_from([1.0, 0.5, 0.3, 0.1]), st.sampled_from([0.0, 0.25, 2.0]))
def test_auc_hinge_is_the_mean_over_pairs(labels, seed, beta, margin):
    logits = draw_logits(seed, len(labels))
    expected = looped_hinge(labels, logits, margin, beta)
    actual = float(auc_hinge(np.array(labels), logits, margin=margin, beta=beta))
    assert actual == pytest.approx(expected, rel=1e-4, abs=1e-6)


@pytest.mark.parametrize(("gap", "argument"), [(5.0, 5.25), (5.75, 6.0), (50.0, 6.0)])
def test_auc_hinge_is_flat_beyond_six(gap, argument):
    logits = np.array([[0, -gap], [0, 0]], np.float32)
    assert float(auc_hinge([1, 0], logits)) == pytest.approx(np.expm1(argument), rel=1e-5)


def test_partial_auc_keeps_exactly_a_tenth_of_ten_bogus():
    scores = np.arange(11, dtype=np.float32) / 10
    logits = np.stack([np.zeros(11, np.float32), scores], axis=1)
    labels = np.array([0] * 10 + [1])
    # Only the highest bogus, 0.9, meets the real at 1.0.
    expected = np.expm1(0.9 - 1.0 + 0.25)
    assert float(auc_hinge(labels, logits, beta=0.1)) == pytest.approx(expected, rel=1e-5)


def test_partial_auc_of_a_tiny_fraction_keeps_one_bogus():
    logits = np.array([[0, 1], [0, 0], [0, 0.5]], np.float32)
    value = float(auc_hinge([1, 0, 0], logits, margin=1.0, beta=1e-6))
    assert value == pytest.approx(np.expm1(0.5), rel=1e-5)


def test_partial_auc_keeps_the_highest_bogus_in_whatever_order_they_are():
    scores = np.array([1.0, 0.0, 0.5, 0.75, -1.0], np.float32)
    logits = np.stack([np.zeros(5, np.float32), scores], axis=1)
    # Half of four bogus: 0.75 and 0.5 meet the real at 1 and a margin of 1.
    expected = (np.expm1(0.75) + np.expm1(0.5)) / 2
    value = float(auc_hinge([1, 0, 0, 0, 0], logits, margin=1.0, beta=0.5))
    assert value == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("labels", [[1, 1, -1], [0, 0, 0], [-1, -1, -1]])
@pytest.mark.parametrize("beta", [1.0, 0.5])
def test_auc_hinge_without_a_class_is_zero_and_pulls_nowhere(labels, beta):
    logits = draw_logits(0, 3)
    assert float(auc_hinge(labels, logits, beta=beta)) == 0
    assert not gradient(auc_hinge, labels, logits, beta=beta).any()


@pytest.mark.parametrize(
    ("function", "options"), [(cross_entropy, {}), (auc_hinge, {}), (auc_hinge, {"beta": 0.5})]
)
def test_unlabelled_rows_pull_nowhere_whatever_they_hold(function, options):
    logits = draw_logits(1, 6, scale=1.0)
    labels = np.array([1, 0, -1, -1, 1, 0])
    clean_value = float(function(labels, logits, **options))
    clean = gradient(function, labels, logits, **options)
    logits[2], logits[3] = np.nan, [np.inf, -np.inf]
    assert float(function(labels, logits, **options)) == pytest.approx(clean_value)
    dirty = gradient(function, labels, logits, **options)
    assert not dirty[labels < 0].any()
    np.testing.assert_allclose(dirty, clean, rtol=1e-6)
    assert np.abs(clean[labels >= 0]).sum() > 0


@pytest.mark.parametrize("function", [cross_entropy, auc_hinge])
def test_gradient_agrees_with_finite_differences(function):
    labels, logits = np.array([1, 0, 1, -1]), draw_logits(4, 4, scale=0.5)
    found, step = gradient(function, labels, logits), 1e-2
    for index in np.ndindex(logits.shape):
        up, down = logits.copy(), logits.copy()
        up[index] += step
        down[index] -= step
        slope = (float(function(labels, up)) - float(function(labels, down))) / (2 * step)
        assert found[index] == pytest.approx(slope, abs=5e-3)


def test_every_weight_multiplies_its_own_term():
    loss = RealBogusLoss(lambda_ce=2, lambda_auc=3, lambda_vat=5)
    assert loss.total(ce=1, auc_hinge=0, vat=0) == 2
    assert loss.total(ce=0, auc_hinge=1, vat=0) == 3
    assert loss.total(ce=0, auc_hinge=0, vat=1) == 5


def test_called_as_a_keras_loss_it_is_the_labelled_part():
    labels, logits = np.array([1, 0, -1, 0]), draw_logits(5, 4)
    settings = {"lambda_ce": 0.1, "lambda_auc": 2.0, "lambda_vat": 7.0}
    loss = RealBogusLoss(**settings, auc_margin=0.5, auc_beta=0.5)
    hinge = auc_hinge(labels, logits, margin=0.5, beta=0.5)
    expected = 0.1 * cross_entropy(labels, logits) + 2 * hinge
    assert float(loss(labels, logits)) == pytest.approx(float(expected), rel=1e-6)


def test_terms_of_weight_zero_are_not_computed():
    labels, logits = np.array([1, 0]), np.zeros((2, 2), np.float32)
    terms = RealBogusLoss(lambda_ce=0, lambda_auc=0).labelled_terms(labels, logits)
    assert {name: float(value) for name, value in terms.items()} == {"ce": 0, "auc_hinge": 0}


def test_config_round_trip_keeps_every_setting():
    settings = {
        "lambda_ce": 0.1,
        "lambda_auc": 0.2,
        "lambda_vat": 0.3,
        "auc_margin": 0.4,
        "auc_beta": 0.5,
        "vat_epsilon": 0.6,
        "vat_xi": 0.7,
        "vat_iterations": 8,
        "vat_space": "input",
        "vat_share": 0.9,
    }
    written = keras.saving.serialize_keras_object(RealBogusLoss(**settings))
    read = keras.saving.deserialize_keras_object(written)
    assert type(read) is RealBogusLoss
    assert {name: getattr(read, name) for name in settings} == settings


def test_unless_told_otherwise_the_loss_is_cross_entropy_alone():
    config = RealBogusLoss().get_config()
    assert {name: config[name] for name in config if name.startswith("lambda")} == {
        "lambda_ce": 1,
        "lambda_auc": 0,
        "lambda_vat": 0,
    }


def test_settings_of_the_terms_that_nobody_chose():
    config = RealBogusLoss().get_config()
    assert {name: config[name] for name in config if name.startswith(("auc", "vat"))} == {
        "auc_margin": 0.25,
        "auc_beta": 1,
        "vat_epsilon": 1,
        "vat_xi": 1,
        "vat_iterations": 1,
        "vat_space": "normalised",
        "vat_share": 1,
    }


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("lambda_ce", -1),
        ("lambda_auc", -0.1),
        ("lambda_vat", float("nan")),
        ("auc_beta", 0),
        ("auc_beta", 1.5),
        ("vat_epsilon", 0),
        ("vat_xi", -1),
        ("vat_iterations", 0),
        ("vat_space", "pixels"),
        ("vat_share", 0),
        ("vat_share", 1.1),
    ],
)
def test_bad_arguments_are_named(name, value):
    with pytest.raises(ValueError, match=f"{name}: expected .*, got .?{value}"):
        RealBogusLoss(**{name: value})
