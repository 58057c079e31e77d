"""Normalisations of a stamp, inside the network, so that a saved model carries its own.

Every function maps float32 stamps (N, H, W, C) to (N, H, W, C') with statistics taken per stamp
and per channel over H and W. A constant channel gives zeros.
"""

from typing import Any

import keras
from keras import ops

PIXELS = (1, 2)


def fill_missing(stamps):
    """Replace NaN and infinite pixels by the mean of their channel's finite pixels.

    A channel without a finite pixel becomes 0. The mean is neutral to the z-score and lies inside
    the range of the min-max; training and prediction do the same because it is part of the model.
    """
    finite = ops.isfinite(stamps)
    known = ops.where(finite, stamps, 0.0)
    count = ops.sum(ops.cast(finite, stamps.dtype), axis=PIXELS, keepdims=True)
    mean = ops.sum(known, axis=PIXELS, keepdims=True) / ops.maximum(count, 1.0)
    # Rounding can put the mean of equal pixels beside them, which the min-max would blow up.
    low = ops.min(ops.where(finite, stamps, float("inf")), axis=PIXELS, keepdims=True)
    high = ops.max(ops.where(finite, stamps, float("-inf")), axis=PIXELS, keepdims=True)
    mean = ops.where(count > 0, ops.minimum(ops.maximum(mean, low), high), 0.0)
    return ops.where(finite, stamps, mean)


def minmax(stamps):
    """Map each channel's range to [0, 1]."""
    low = ops.min(stamps, axis=PIXELS, keepdims=True)
    span = ops.max(stamps, axis=PIXELS, keepdims=True) - low
    return (stamps - low) / ops.where(span > 0, span, 1.0)


def zscore(stamps):
    """Subtract each channel's mean and divide by its standard deviation."""
    centred = stamps - ops.mean(stamps, axis=PIXELS, keepdims=True)
    # Dividing by the largest deviation first keeps the squares inside float32's range. It cancels,
    # so no gradient needs to pass through it.
    largest = ops.stop_gradient(ops.max(ops.abs(centred), axis=PIXELS, keepdims=True))
    # Rounding leaves a constant channel with deviations of some 1e-7 of its value: noise.
    level = ops.max(ops.abs(stamps), axis=PIXELS, keepdims=True)
    varies = largest > 1e-6 * level
    # Ones in place of a constant channel: the square root of 0 has no finite gradient.
    scaled = ops.where(varies, centred / ops.where(varies, largest, 1.0), 1.0)
    deviation = ops.sqrt(ops.mean(ops.square(scaled), axis=PIXELS, keepdims=True))
    return ops.where(varies, scaled / deviation, 0.0)


def zscore_asinh(stamps):
    """Stack the z-score and its asinh(x / 2): 2 C channels (the original's `complex`)."""
    z = zscore(stamps)
    return ops.concatenate([z, ops.arcsinh(z / 2)], axis=-1)


def clipped_zscore(stamps, limit: float = 5.0):
    """Z-score clipped to [-limit, limit] (the original's `middle`, bounds the right way round)."""
    return ops.clip(zscore(stamps), -limit, limit)


def asinh_minmax(stamps):
    """Min-max of the asinh of the pixel values (the original's `norm1`)."""
    return minmax(ops.arcsinh(stamps))


def minmax_and_asinh(stamps):
    """Stack the min-max and the asinh(z / 2) of the z-score: 2 C channels."""
    return ops.concatenate([minmax(stamps), ops.arcsinh(zscore(stamps) / 2)], axis=-1)


def noise_asinh(stamps, clip: float = 3.0, iterations: int = 3):
    """Asinh(x / 2) of the stamp in units of its background noise, about its background level.

    Level and noise are the mean and standard deviation after `iterations` rounds of sigma
    clipping. So the height of a source counts in signal-to-noise, where min-max and z-score
    measure it against the brightest thing in the stamp.
    """
    peak = ops.stop_gradient(ops.max(ops.abs(stamps), axis=PIXELS, keepdims=True))
    scaled = stamps / ops.where(peak > 0, peak, 1.0)
    kept = ops.ones_like(scaled)
    for _ in range(iterations):
        level, noise = _moments(scaled, kept)
        kept = ops.cast(ops.abs(scaled - level) <= clip * noise, scaled.dtype)
    level, noise = (ops.stop_gradient(value) for value in _moments(scaled, kept))
    # What is left of a chip edge can be constant: its noise is then rounding.
    varies = noise > 1e-6
    return ops.where(varies, ops.arcsinh((scaled - level) / ops.where(varies, 2 * noise, 1.0)), 0.0)


def _moments(stamps, kept):
    """Mean and standard deviation over the kept pixels, per stamp and channel."""
    count = ops.maximum(ops.sum(kept, axis=PIXELS, keepdims=True), 1.0)
    level = ops.sum(stamps * kept, axis=PIXELS, keepdims=True) / count
    variance = ops.sum(ops.square(stamps - level) * kept, axis=PIXELS, keepdims=True) / count
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

    def call(self, stamps):
        """Normalise stamps (N, H, W, C), NaN allowed, to finite (N, H, W, C or 2 C)."""
        return NORMALISATIONS[self.kind](fill_missing(stamps))

    def compute_output_shape(self, input_shape):
        """Return the input's shape, channels doubled by the stacking kinds."""
        channels = input_shape[-1] * (2 if self.kind in STACKED else 1)
        return (*input_shape[:-1], channels)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "kind": self.kind}
