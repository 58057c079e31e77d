import keras
import numpy as np
import pytest
import tensorflow as tf

from rbkeras import vat

SHAPE = (4, 5, 3)


@pytest.fixture(scope="module")
def net():
    keras.utils.set_random_seed(3)
    inputs = keras.Input(SHAPE)
    x = keras.layers.Conv2D(6, 3, activation="tanh")(inputs)
    return keras.Model(inputs, keras.layers.Dense(2)(keras.layers.Flatten()(x)))


@pytest.fixture
def stamps():
    return np.random.default_rng(0).normal(size=(6, *SHAPE)).astype(np.float32)


def start_for(stamps, seed=1):
    return tf.constant(np.random.default_rng(seed).normal(size=stamps.shape).astype(np.float32))


def norms(direction):
    return np.sqrt((np.asarray(direction, float) ** 2).sum(axis=(1, 2, 3)))


def direction_of(net, stamps, start, *, xi=1.0, iterations=1):
    return vat.adversarial_direction(net, stamps, net(stamps), start, xi=xi, iterations=iterations)


def test_unit_per_stamp_scales_every_stamp_by_itself():
    raw = np.random.default_rng(0).normal(size=(3, *SHAPE)).astype(np.float32)
    scales = np.array([1e-30, 1, 1e25], np.float32).reshape(3, 1, 1, 1)
    unit = vat.unit_per_stamp(tf.constant(raw * scales)).numpy()
    np.testing.assert_allclose(unit, raw / norms(raw).reshape(3, 1, 1, 1), rtol=1e-5)


def test_unit_per_stamp_of_zero_is_zero():
    assert not vat.unit_per_stamp(tf.zeros((2, *SHAPE))).numpy().any()


def test_soft_cross_entropy_by_hand():
    target = tf.constant([[0.25, 0.75]])
    logits = tf.constant([[0.0, np.log(3.0)]], tf.float32)
    expected = -(0.25 * np.log(0.25) + 0.75 * np.log(0.75))
    np.testing.assert_allclose(vat.soft_cross_entropy(target, logits), [expected], rtol=1e-6)


@pytest.mark.parametrize("bias", [0.0, 40.0])
def test_direction_of_a_linear_network_is_the_difference_of_its_weights(stamps, bias):
    weights = np.random.default_rng(5).normal(size=(60, 2)).astype(np.float32)

    def linear(x):
        return tf.reshape(x, (-1, 60)) @ weights + tf.constant([0.0, bias])

    found = direction_of(linear, stamps, start_for(stamps)).numpy().reshape(-1, 60)
    difference = weights[:, 1] - weights[:, 0]
    # It goes on the way the first direction went.
    sign = np.sign(start_for(stamps).numpy().reshape(-1, 60) @ difference)
    cosine = found @ difference / np.linalg.norm(difference)
    np.testing.assert_allclose(cosine, sign, atol=1e-4)


@pytest.mark.parametrize("iterations", [1, 2])
def test_directions_are_of_unit_length(net, stamps, iterations):
    direction = direction_of(net, stamps, start_for(stamps), iterations=iterations)
    np.testing.assert_allclose(norms(direction), 1, rtol=1e-5)


def test_direction_is_the_gradient_by_finite_differences(net, stamps):
    stamp, start, xi = stamps[:1], start_for(stamps[:1]), 0.7
    target = tf.nn.softmax(net(stamp)).numpy().astype(float)
    first = start.numpy() / norms(start.numpy())

    def change(perturbation):
        z = net((stamp + perturbation).astype(np.float32)).numpy().astype(float)
        return -(target * (z - np.log(np.exp(z).sum(axis=1, keepdims=True)))).sum()

    gradient = np.zeros(stamp.shape)
    for index in np.ndindex(*stamp.shape):
        nudge = np.zeros(stamp.shape)
        nudge[index] = 1e-2
        gradient[index] = change(xi * first + nudge) - change(xi * first - nudge)
    expected = gradient / norms(gradient)
    found = direction_of(net, stamp, start, xi=xi).numpy()
    assert (found * expected).sum() == pytest.approx(1, abs=1e-3)


def test_a_second_power_iteration_starts_from_the_first(net, stamps):
    once = direction_of(net, stamps, start_for(stamps))
    again = direction_of(net, stamps, once)
    twice = direction_of(net, stamps, start_for(stamps), iterations=2)
    np.testing.assert_allclose(twice, again, atol=1e-5)
    assert np.abs(twice - once).max() > 1e-4


def test_direction_changes_the_answer_more_than_random_ones(net, stamps):
    clean = net(stamps)
    target = tf.nn.softmax(clean)

    def change(direction):
        perturbed = net(stamps + 0.5 * direction)
        return vat.soft_cross_entropy(target, perturbed).numpy()

    adversarial = change(direction_of(net, stamps, start_for(stamps), iterations=2))
    random = [change(vat.unit_per_stamp(start_for(stamps, seed))) for seed in range(20)]
    assert (adversarial > np.max(random, axis=0)).all()


def test_a_stamps_direction_does_not_depend_on_its_batch(net, stamps):
    start = start_for(stamps)
    together = direction_of(net, stamps, start)
    alone = direction_of(net, stamps[2:3], start[2:3])
    np.testing.assert_allclose(together[2:3], alone, atol=1e-5)


def test_a_network_that_does_not_react_has_no_direction(stamps):
    def constant(x):
        return tf.zeros((len(x), 2)) * tf.reduce_sum(x, axis=(1, 2, 3))[:, None]

    assert not direction_of(constant, stamps, start_for(stamps)).numpy().any()


def test_confident_stamps_keep_their_direction_in_half_precision(stamps):
    weights = np.random.default_rng(5).normal(size=(60, 2))
    scale = 1e-2  # of the gradient inside the network, as behind an average over pixels

    def half(x):
        hidden = tf.cast(tf.reshape(x, (-1, 60)), tf.float16) * tf.constant(scale, tf.float16)
        hidden = hidden @ tf.constant(weights, tf.float16)
        return tf.cast(hidden, tf.float32) + tf.constant([0.0, 12.0])

    found = direction_of(half, stamps, start_for(stamps), xi=10.0).numpy().reshape(-1, 60)
    difference = weights[:, 1] - weights[:, 0]
    cosine = found @ difference / np.linalg.norm(difference)
    np.testing.assert_allclose(np.abs(cosine), 1, atol=1e-2)


def test_loss_by_hand(stamps):
    weights = np.random.default_rng(5).normal(size=(60, 2)).astype(np.float32)

    def linear(x):
        return tf.reshape(x, (-1, 60)) @ weights

    direction = vat.unit_per_stamp(start_for(stamps)).numpy()
    clean = stamps.reshape(-1, 60).astype(float) @ weights
    perturbed = (stamps + 0.3 * direction).reshape(-1, 60).astype(float) @ weights
    p = np.exp(clean) / np.exp(clean).sum(axis=1, keepdims=True)
    log_q = perturbed - np.log(np.exp(perturbed).sum(axis=1, keepdims=True))
    expected = -(p * log_q).sum(axis=1).mean()
    found = vat.vat_loss(linear, stamps, linear(stamps), direction, epsilon=0.3)
    assert float(found) == pytest.approx(expected, rel=1e-4)


def test_the_clean_answer_is_a_constant_target(net, stamps):
    clean = tf.constant(net(stamps).numpy())
    direction = vat.unit_per_stamp(start_for(stamps))
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(clean)
        loss = vat.vat_loss(net, stamps, clean, direction, epsilon=1.0)
    assert tape.gradient(loss, clean) is None
    assert all(np.abs(g).max() > 0 for g in tape.gradient(loss, net.trainable_variables))


@pytest.mark.parametrize(("share", "expected"), [(0.1, 1), (0.25, 3), (0.5, 5), (1.0, 10)])
def test_share_of_a_batch_is_rounded_up(share, expected):
    chosen = vat.choose_share(tf.zeros(10, tf.int32), share).numpy()
    assert len(set(chosen)) == len(chosen) == expected


def test_share_takes_unlabelled_stamps_first():
    labels = tf.constant([0, -1, 1, 1, -1, 0, 0, 1])
    drawn = [frozenset(vat.choose_share(labels, 0.5).numpy()) for _ in range(40)]
    assert all({1, 4} <= chosen for chosen in drawn)
    # The rest is drawn among the labelled, all of them in the end.
    assert frozenset.union(*drawn) == set(range(8))


def test_share_smaller_than_the_unlabelled_draws_among_them():
    drawn = {int(vat.choose_share(tf.constant([-1, 0, -1, 1]), 0.25)[0]) for _ in range(40)}
    assert drawn == {0, 2}
