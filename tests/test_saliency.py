import keras
import numpy as np
import pytest
import tensorflow as tf

from rbkeras.models.classifier import build_classifier
from rbkeras.saliency import saliency

SHAPE = (13, 13, 2)


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    return build_classifier(SHAPE, network="simple", width=0.25, padding="same", dropout=0.0)


@pytest.fixture(scope="module")
def stamps():
    return np.random.default_rng(0).normal(100, 10, (5, *SHAPE)).astype(np.float32)


def test_without_noise_it_is_the_gradient(model, stamps):
    base = model.get_layer("normalisation")(stamps[:1])
    with tf.GradientTape() as tape:
        tape.watch(base)
        logits = model.get_layer("backbone")(base)
        score = logits[:, 1] - logits[:, 0]
    expected = np.abs(tape.gradient(score, base)).sum(axis=-1)
    found = saliency(model, stamps[:1], samples=1, noise=0)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert found.max() > 0


def test_stamps_do_not_mix_and_batches_do_not_matter(model, stamps):
    whole = saliency(model, stamps, samples=1, noise=0)
    pairs = saliency(model, stamps, samples=1, noise=0, batch_size=2)
    np.testing.assert_allclose(pairs, whole, rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(
        saliency(model, stamps[3:4], samples=1, noise=0)[0], whole[3], rtol=1e-4, atol=1e-7
    )


def test_it_is_high_where_the_network_looks(model, stamps):
    """A network whose first kernels see one corner pixel alone looks there."""
    deaf = keras.models.clone_model(model)
    kernel, *others = deaf.get_layer("backbone").get_layer("dense0").get_weights()
    blind = np.zeros_like(kernel).reshape(3, 3, -1, kernel.shape[1])
    blind[0, 0] = 0.1
    deaf.get_layer("backbone").get_layer("dense0").set_weights(
        [blind.reshape(kernel.shape), *others]
    )
    maps = saliency(deaf, stamps)
    assert maps[:, :9, :9].sum() > 0
    assert maps[:, 9:, 9:].sum() == 0


def test_the_seed_decides(model, stamps):
    np.testing.assert_array_equal(saliency(model, stamps, seed=1), saliency(model, stamps, seed=1))
    assert not np.array_equal(saliency(model, stamps, seed=1), saliency(model, stamps, seed=2))


def test_missing_pixels_and_no_stamps(model, stamps):
    broken = stamps.copy()
    broken[0, 3:5] = np.nan
    assert np.isfinite(saliency(model, broken)).all()
    assert saliency(model, stamps[:0]).shape == (0, 13, 13)
