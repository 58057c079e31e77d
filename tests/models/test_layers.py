import keras
import numpy as np
import pytest

from rbkeras.models.layers import (
    FilterResponseNormalisation,
    channel_excitation,
    concurrent_excitation,
)


def draw(*shape, scale=1.0):
    return np.random.default_rng(0).normal(scale=scale, size=shape).astype(np.float32)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def excited_channels(x, first, second):
    """Hu et al. 2018, one stamp (H, W, C)."""
    hidden = np.maximum(x.mean(axis=(0, 1)) @ first[0] + first[1], 0)
    return x * sigmoid(hidden @ second[0] + second[1])


def randomised(model):
    rng = np.random.default_rng(1)
    model.set_weights([rng.normal(size=w.shape) for w in model.get_weights()])
    return model


def test_frn_against_a_loop():
    x = draw(2, 4, 5, 3)
    layer = FilterResponseNormalisation(epsilon=0.1)
    layer.build(x.shape)
    gamma, beta, tau = [0.5, -2.0, 1.0], [0.1, 0.2, -0.3], [-0.5, 0.0, 0.4]
    layer.set_weights([np.array(gamma), np.array(beta), np.array(tau)])
    expected = np.empty_like(x)
    for n, c in np.ndindex(2, 3):
        power = sum(value**2 for value in x[n, :, :, c].ravel()) / 20
        y = gamma[c] * x[n, :, :, c] / np.sqrt(power + 0.1) + beta[c]
        expected[n, :, :, c] = np.maximum(y, tau[c])
    np.testing.assert_allclose(layer(x), expected, atol=1e-5)


def test_frn_starts_as_a_rectified_unit_power():
    x = draw(2, 6, 6, 3, scale=7.0)
    y = FilterResponseNormalisation()(x).numpy()
    np.testing.assert_array_equal(y > 0, x > 0)
    unrectified = x / np.sqrt((x**2).mean(axis=(1, 2), keepdims=True))
    np.testing.assert_allclose(y, np.maximum(unrectified, 0), rtol=1e-4)


def test_frn_of_zeros_is_finite_forwards_and_backwards():
    import tensorflow as tf

    x, layer = tf.zeros((1, 3, 3, 2)), FilterResponseNormalisation()
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = tf.reduce_sum(layer(x))
    assert float(y) == 0
    assert np.isfinite(tape.gradient(y, x)).all()


def test_frn_does_not_overflow_in_half_precision():
    x = draw(1, 5, 5, 2, scale=1000.0)
    expected = FilterResponseNormalisation()(x)
    layer = FilterResponseNormalisation(dtype="mixed_float16")
    found = layer(x.astype(np.float16))
    assert found.dtype == "float16"
    np.testing.assert_allclose(found, expected, atol=1e-2)


def test_frn_config_round_trip():
    layer = FilterResponseNormalisation(epsilon=1e-3, name="frn")
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert type(copy) is FilterResponseNormalisation
    assert copy.get_config() == layer.get_config()
    assert copy.epsilon == 1e-3


def test_frn_refuses_an_epsilon_of_zero():
    with pytest.raises(ValueError, match=r"epsilon: .* got 0"):
        FilterResponseNormalisation(epsilon=0)


@pytest.mark.parametrize(("ratio", "hidden"), [(4, 2), (16, 1)])
def test_channel_excitation_against_numpy(ratio, hidden):
    inputs = keras.Input((4, 5, 8))
    model = randomised(keras.Model(inputs, channel_excitation(inputs, ratio=ratio, name="se")))
    x = draw(2, 4, 5, 8)
    first, second = (model.get_layer(name).get_weights() for name in ("se_1", "se_2"))
    assert first[0].shape == (8, hidden)
    expected = [excited_channels(stamp, first, second) for stamp in x]
    np.testing.assert_allclose(model(x), expected, atol=1e-5)


def test_concurrent_excitation_against_numpy():
    inputs = keras.Input((4, 5, 6))
    model = randomised(keras.Model(inputs, concurrent_excitation(inputs, name="scse")))
    x = draw(2, 4, 5, 6)
    names = ("scse_channel_1", "scse_channel_2", "scse_spatial")
    first, second, (kernel, bias) = (model.get_layer(name).get_weights() for name in names)
    assert first[0].shape == (6, 3)
    where = sigmoid(x @ kernel[0, 0] + bias)
    assert where.shape == (2, 4, 5, 1)
    expected = x * where + np.array([excited_channels(stamp, first, second) for stamp in x])
    np.testing.assert_allclose(model(x), expected, atol=1e-5)
