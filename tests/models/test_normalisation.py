import keras
import numpy as np
import pytest
import tensorflow as tf

from rbkeras.models.normalisation import (
    NORMALISATIONS,
    STACKED,
    StampNormalisation,
    arcsinh,
    fill_missing,
)

KINDS = sorted(NORMALISATIONS)


def in_numpy(kind, x):
    """The formulas on one finite channel (H, W), in float64, as a list of channels."""
    span = np.ptp(x)

    def minmax(y):
        return (y - y.min()) / np.ptp(y)

    if span == 0:
        return [np.zeros_like(x)] * (2 if kind in STACKED else 1)
    z = (x - x.mean()) / x.std()
    background = x
    for _ in range(3):
        level, noise = background.mean(), background.std()
        background = x[np.abs(x - level) <= 3 * noise]
    above = (x - background.mean()) / background.std()
    return {
        "noise_asinh": lambda: [np.arcsinh(above / 2)],
        "minmax": lambda: [minmax(x)],
        "zscore_asinh": lambda: [z, np.arcsinh(z / 2)],
        "clipped_zscore": lambda: [np.clip(z, -5, 5)],
        "asinh_minmax": lambda: [minmax(np.arcsinh(x))],
        "minmax_and_asinh": lambda: [minmax(x), np.arcsinh(z / 2)],
    }[kind]()


def draw_stamps(scale=10.0, offset=0.0):
    stamps = np.random.default_rng(0).normal(offset, scale, (4, 7, 9, 2))
    stamps[0, 3, 4, 0] += 40 * scale  # beyond the clip
    stamps[0, 0, 0, 0] += 6 * scale  # beyond it once that one is gone
    return stamps.astype(np.float32)


@pytest.mark.parametrize("offset", [0.0, 100.0, 1e5])
@pytest.mark.parametrize("kind", KINDS)
def test_formulas_against_numpy(kind, offset):
    stamps = draw_stamps(scale=300.0, offset=offset)
    found = StampNormalisation(kind)(stamps).numpy()
    for n, c in np.ndindex(4, 2):
        expected = in_numpy(kind, stamps[n, :, :, c].astype(float))
        for block, channel in enumerate(expected):
            np.testing.assert_allclose(found[n, :, :, c + 2 * block], channel, atol=2e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_shape_is_what_it_says(kind):
    layer = StampNormalisation(kind)
    channels = 6 if kind in STACKED else 3
    assert layer.compute_output_shape((None, 8, 7, 3)) == (None, 8, 7, channels)
    assert layer(np.zeros((2, 8, 7, 3), np.float32)).shape == (2, 8, 7, channels)


@pytest.mark.parametrize("value", [0.0, 0.1, -3.7, 1e5 + 0.3, 1e-20, 3e30])
@pytest.mark.parametrize("missing", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_constant_channel_gives_zeros(kind, value, missing):
    stamps = np.full((1, 29, 29, 1), value, np.float32)
    if missing:
        stamps[0, 3, :5] = np.nan
    assert not StampNormalisation(kind)(stamps).numpy().any()


@pytest.mark.parametrize("value", [0.5, 7.3])
@pytest.mark.parametrize("kind", [kind for kind in KINDS if not kind.startswith("minmax")])
def test_a_last_bit_is_no_contrast(kind, value):
    stamps = np.full((1, 29, 29, 1), value, np.float32)
    stamps[0, ::2] = np.nextafter(np.float32(value), np.float32(8))
    assert not StampNormalisation(kind)(stamps).numpy().any()


@pytest.mark.parametrize("kind", KINDS)
def test_the_largest_numbers_are_numbers(kind):
    stamps = draw_stamps()
    stamps[0, 2, 2, 0], stamps[1, 2, 2, 0], stamps[2] = 3.3e38, -3.3e38, 3.3e38
    stamps[3, 0, 0, 1], stamps[3, 1, 1, 1] = 3.3e38, -3.3e38
    found = StampNormalisation(kind)(stamps).numpy()
    assert np.isfinite(found).all()
    assert not found[2].any()


@pytest.mark.parametrize("kind", KINDS)
def test_huge_pixels_of_both_signs_beside_a_missing_one(kind):
    """Their sum is infinity less infinity."""
    stamps = np.where(np.arange(15 * 15 * 3) % 2, 3e38, -3e38).astype(np.float32)
    stamps = stamps.reshape(1, 15, 15, 3)
    stamps[0, 7, 7] = np.nan
    assert np.isfinite(StampNormalisation(kind)(stamps).numpy()).all()


def test_missing_pixels_become_their_channels_mean():
    planes = np.arange(24, dtype=np.float32).reshape(1, 2, 12)
    planes[0, 0, 0], planes[0, 0, 5], planes[0, 1, 11] = np.nan, np.inf, -np.inf
    filled = fill_missing(planes).numpy()
    for given, found in zip(planes[0], filled[0], strict=True):
        finite = np.isfinite(given)
        np.testing.assert_array_equal(found[finite], given[finite])
        np.testing.assert_allclose(found[~finite], given[finite].mean())


def test_arcsinh_against_numpy():
    sizes = np.concatenate([[0.0], np.geomspace(1e-37, 1.5e38, 1000)])
    values = np.concatenate([-sizes, sizes]).astype(np.float32)
    expected = np.arcsinh(values.astype(float))
    np.testing.assert_allclose(arcsinh(values), expected, rtol=1e-6)
    # As models are trained and exported: TensorFlow rewrites what it recognises in a graph.
    np.testing.assert_allclose(tf.function(arcsinh)(values), expected, rtol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_channel_without_a_finite_pixel_gives_zeros(kind):
    stamps = draw_stamps()
    stamps[1, :, :, 0] = np.nan
    stamps[2, :, :, 1] = np.inf
    found = StampNormalisation(kind)(stamps).numpy()
    assert np.isfinite(found).all()
    assert not found[1, :, :, ::2].any()
    assert not found[2, :, :, 1::2].any()
    assert found[1, :, :, 1].any()


@pytest.mark.parametrize("factor", [1e-25, 1e-3, 1e4, 1e25])
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "asinh_minmax"])
def test_units_of_the_pixels_do_not_matter(kind, factor):
    layer, stamps = StampNormalisation(kind), draw_stamps()
    np.testing.assert_allclose(layer(stamps * np.float32(factor)), layer(stamps), atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_stamps_do_not_depend_on_their_neighbours(kind):
    layer, stamps = StampNormalisation(kind), draw_stamps()
    # Vector and scalar code of one logarithm differ in the last bit.
    np.testing.assert_allclose(layer(stamps)[2:3], layer(stamps[2:3]), atol=1e-7, rtol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_are_finite_whatever_the_stamp(kind):
    stamps = draw_stamps()
    stamps[0, :, :, 0] = 0.1
    stamps[1, :, :, 1] = np.nan
    stamps[2, 0, 0, 0] = np.nan
    layer, pixels = StampNormalisation(kind), tf.constant(stamps)
    with tf.GradientTape() as tape:
        tape.watch(pixels)
        value = tf.reduce_sum(layer(pixels) ** 3)
    gradient = tape.gradient(value, pixels).numpy()
    assert np.isfinite(gradient).all()
    assert np.abs(gradient[3]).max() > 0


def test_zscore_gradient_agrees_with_finite_differences():
    layer = StampNormalisation("clipped_zscore")
    stamps = np.random.default_rng(1).normal(size=(1, 3, 3, 1)).astype(np.float32)
    pixels = tf.constant(stamps)
    with tf.GradientTape() as tape:
        tape.watch(pixels)
        value = tf.reduce_sum(layer(pixels) ** 3)
    gradient = tape.gradient(value, pixels).numpy()
    for index in np.ndindex(*stamps.shape):
        up, down = stamps.copy(), stamps.copy()
        up[index] += 1e-2
        down[index] -= 1e-2
        slope = tf.reduce_sum(layer(up) ** 3 - layer(down) ** 3) / 2e-2
        assert gradient[index] == pytest.approx(float(slope), rel=1e-2, abs=1e-2)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_raw_counts_never_pass_through_half_precision(kind, policy):
    stamps = draw_stamps(scale=1e4, offset=1e5)
    expected = StampNormalisation(kind)(stamps)
    previous = keras.mixed_precision.dtype_policy()
    keras.mixed_precision.set_dtype_policy(policy)
    try:
        found = StampNormalisation(kind)(stamps)
    finally:
        keras.mixed_precision.set_dtype_policy(previous)
    assert found.dtype == tf.float32
    np.testing.assert_array_equal(found, expected)


def test_config_round_trip():
    layer = StampNormalisation("zscore_asinh", name="here")
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert (copy.kind, copy.name, copy.compute_dtype) == ("zscore_asinh", "here", "float32")


def test_unknown_kind_is_named():
    with pytest.raises(ValueError, match=r"kind: expected one of .*'minmax'.*, got 'best'"):
        StampNormalisation("best")
