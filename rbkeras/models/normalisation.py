"""Normalisations of a stamp, inside the network, so that a saved model carries its own.

Every function maps float32 planes (N, C, P), P = H W pixels, to (N, C', P) with statistics taken
per stamp and per channel over P. A constant channel gives zeros. Pixels come last here, and
choices are products with 0 and 1 where that is exact, because it is several times faster on a
CPU than the same arithmetic on (N, H, W, C): see docs/benchmarks.md.
"""

import math
from typing import Any

import keras
from keras import ops

from rbkeras.tensors import Tensor

# Beyond it twice the value is no float32.
LARGEST = 1.6e38

# Differences of values up to here have a reciprocal that is not flushed to zero, and an asinh in
# every engine that runs exported models. Larger ones count as this.
LARGEST_COUNT = 4e37


def fill_missing(planes: Tensor) -> Tensor:
    """Replace NaN and infinite pixels by the mean of their channel's finite pixels.

    A channel without a finite pixel becomes 0. The mean is neutral to the z-score and lies inside
    the range of the min-max; training and prediction do the same because it is part of the model.
    Values are limited to `LARGEST_COUNT`.
    """
    finite = ops.isfinite(planes)
    zeros = ops.zeros_like(planes)
    known = ops.where(finite, planes, zeros)
    count = ops.sum(ops.cast(finite, planes.dtype), axis=-1, keepdims=True)
    mean = ops.sum(known, axis=-1, keepdims=True) / ops.maximum(count, 1.0)
    # Huge pixels of both signs have no sum.
    mean = ops.where(ops.isfinite(mean), mean, ops.zeros_like(mean))
    # Rounding can put the mean of equal pixels beside them, which the min-max would blow up.
    infinite = ops.full_like(planes, float("inf"))
    low = ops.min(ops.where(finite, planes, infinite), axis=-1, keepdims=True)
    high = ops.max(ops.where(finite, planes, -infinite), axis=-1, keepdims=True)
    mean = ops.where(count > 0, ops.minimum(ops.maximum(mean, low), high), ops.zeros_like(mean))
    return ops.clip(ops.where(finite, planes, zeros + mean), -LARGEST_COUNT, LARGEST_COUNT)


def arcsinh(planes: Tensor) -> Tensor:
    """Inverse hyperbolic sine of float32; `ops.arcsinh` takes five times as long."""
    size = ops.minimum(ops.abs(planes), LARGEST)
    # Its square would overflow; the ratio is 1 long before that.
    modest = ops.minimum(size, 1e18)
    ratio = modest / (1.0 + ops.sqrt(ops.square(modest) + 1.0))
    above = size * (1.0 + ratio)
    # log1p by way of the logarithm, with what rounding took from the sum put back: not every
    # format of exported models has a log1p, or an exact one. As a sum TensorFlow would take the
    # first two for a log1p, and what is put back would be counted twice.
    total = above - (-1.0)
    return ops.sign(planes) * (ops.log(total) - ((total - 1.0) - above) / total)


def minmax(planes: Tensor) -> Tensor:
    """Map each channel's range to [0, 1]."""
    low = ops.min(planes, axis=-1, keepdims=True)
    span = ops.max(planes, axis=-1, keepdims=True) - low
    return (planes - low) / ops.where(span > 0, span, ops.ones_like(span))


def _to_unit(planes: Tensor) -> tuple[Tensor, Tensor]:
    """Map each channel's range to [0, 1]; also say, by 1 or 0, whether it varies at all.

    What follows loses nothing when pixels in [0, 1] are averaged and squared, however large their
    counts. Shift and factor cancel in it, so no gradient needs to pass through them.
    """
    low = ops.stop_gradient(ops.min(planes, axis=-1, keepdims=True))
    high = ops.stop_gradient(ops.max(planes, axis=-1, keepdims=True))
    varies = _varies(low, high)
    span = (high - low) * varies + (1.0 - varies)
    return (planes - low) * (varies / span), varies


def _varies(low: Tensor, high: Tensor) -> Tensor:
    """1 where a channel between these extremes is more than rounding, or else 0.

    Extremes are the same in every engine that runs a model; sums differ in their last bits.
    """
    level = ops.maximum(ops.abs(low), ops.abs(high))
    return ops.cast(high - low > 1e-6 * level, low.dtype)


def zscore(planes: Tensor) -> Tensor:
    """Subtract each channel's mean and divide by its standard deviation."""
    scaled, varies = _to_unit(planes)
    centred = scaled - _mean(scaled)
    # Ones stand in where a constant channel has zeros: neither 1 / 0 nor the gradient of the
    # square root of 0 is finite.
    variance = _mean(ops.square(centred)) + (1.0 - varies)
    return centred / ops.sqrt(variance)


def _mean(planes: Tensor) -> Tensor:
    """Mean of each plane (N, C, P) as a sum of sums, (N, C, 1).

    Some engines that run exported models add pixel by pixel, and the rounding of one sum over a
    stamp would then show in its score.
    """
    channels, pixels = planes.shape[1:]
    length = next(size for size in range(math.isqrt(pixels), 0, -1) if pixels % size == 0)
    rows = ops.reshape(planes, (-1, channels, pixels // length, length))
    return ops.sum(ops.sum(rows, axis=-1), axis=-1, keepdims=True) / pixels


def zscore_asinh(planes: Tensor) -> Tensor:
    """Stack the z-score and its asinh(x / 2): 2 C channels (the original's `complex`)."""
    z = zscore(planes)
    return ops.concatenate([z, arcsinh(z / 2)], axis=1)


def clipped_zscore(planes: Tensor, limit: float = 5.0) -> Tensor:
    """Z-score clipped to [-limit, limit] (the original's `middle`, bounds the right way round)."""
    return ops.clip(zscore(planes), -limit, limit)


def asinh_minmax(planes: Tensor) -> Tensor:
    """Min-max of the asinh of the pixel values (the original's `norm1`)."""
    # The asinh of equal pixels can differ in the last bit, which the min-max would blow up.
    low, high = ops.min(planes, axis=-1, keepdims=True), ops.max(planes, axis=-1, keepdims=True)
    return minmax(arcsinh(planes)) * _varies(low, high)


def minmax_and_asinh(planes: Tensor) -> Tensor:
    """Stack the min-max and the asinh(z / 2) of the z-score: 2 C channels."""
    return ops.concatenate([minmax(planes), arcsinh(zscore(planes) / 2)], axis=1)


def noise_asinh(planes: Tensor, clip: float = 3.0, iterations: int = 3) -> Tensor:
    """Asinh(x / 2) of each channel in units of its background noise, about its background level.

    Level and noise are the mean and standard deviation after `iterations` rounds of sigma
    clipping. So the height of a source counts in signal-to-noise, where min-max and z-score
    measure it against the brightest thing in the stamp.
    """
    scaled, _ = _to_unit(planes)
    kept = ops.ones_like(scaled)
    for _ in range(iterations):
        level, noise = _moments(scaled, kept)
        kept = ops.cast(ops.abs(scaled - level) <= clip * noise, scaled.dtype)
    level, noise = (ops.stop_gradient(value) for value in _moments(scaled, kept))
    # What is left of a chip edge can be constant: its noise is then rounding.
    varies = noise > 1e-6
    above = (scaled - level) / ops.where(varies, 2 * noise, ops.ones_like(noise))
    return arcsinh(above) * ops.cast(varies, planes.dtype)


def _moments(planes: Tensor, kept: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation over the kept pixels, per stamp and channel."""
    count = ops.maximum(ops.sum(kept, axis=-1, keepdims=True), 1.0)
    level = ops.sum(planes * kept, axis=-1, keepdims=True) / count
    variance = ops.sum(ops.square(planes - level) * kept, axis=-1, keepdims=True) / count
    return level, ops.sqrt(variance)


NORMALISATIONS = {
    "noise_asinh": noise_asinh,
    "minmax": minmax,
    "zscore_asinh": zscore_asinh,
    "clipped_zscore": clipped_zscore,
    "asinh_minmax": asinh_minmax,
    "minmax_and_asinh": minmax_and_asinh,
}
STACKED = ("zscore_asinh", "minmax_and_asinh")


@keras.saving.register_keras_serializable(package="rbkeras")
class StampNormalisation(keras.layers.Layer):
    """Fill missing pixels, then normalise, in float32 whatever the precision policy.

    Raw counts overflow float16, so this layer neither computes nor autocasts in it.

    Parameters
    ----------
    kind
        One of `NORMALISATIONS`.
    """

    def __init__(self, kind: str = "minmax", **kwargs: Any):
        kwargs.setdefault("dtype", "float32")
        super().__init__(**kwargs)
        if kind not in NORMALISATIONS:
            raise ValueError(f"kind: expected one of {sorted(NORMALISATIONS)}, got {kind!r}")
        self.kind = kind

    def call(self, stamps: Tensor) -> Tensor:
        """Normalise stamps (N, H, W, C), NaN allowed, to finite (N, H, W, C or 2 C)."""
        height, width, channels = stamps.shape[1:]
        planes = ops.reshape(ops.transpose(stamps, (0, 3, 1, 2)), (-1, channels, height * width))
        planes = NORMALISATIONS[self.kind](fill_missing(planes))
        normalised = ops.reshape(planes, (-1, planes.shape[1], height, width))
        return ops.transpose(normalised, (0, 2, 3, 1))

    def compute_output_shape(self, input_shape: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return the input's shape, channels doubled by the stacking kinds."""
        channels = input_shape[-1] * (2 if self.kind in STACKED else 1)
        return (*input_shape[:-1], channels)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "kind": self.kind}
