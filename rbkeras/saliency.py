"""Where a network looks: which pixels its score depends on."""

import keras
import numpy as np
import tensorflow as tf

from rbkeras.losses import score
from rbkeras.models.classifier import BACKBONE_LAYER, NORMALISATION_LAYER


def saliency(
    model: keras.Model,
    stamps: np.ndarray,
    *,
    samples: int = 8,
    noise: float = 0.1,
    seed: int = 0,
    batch_size: int = 64,
) -> np.ndarray:
    """Absolute gradient of the score with respect to the normalised stamp, summed over channels.

    The gradient is averaged over noisy copies of the stamp (SmoothGrad): at a single point it
    fluctuates from pixel to pixel more than what the network responds to.

    Parameters
    ----------
    model
        A `RealBogusClassifier`.
    stamps
        Raw stamps, (N, H, W, C), NaN allowed.
    samples
        Noisy copies; 1 with `noise` 0 is the plain gradient.
    noise
        Standard deviation of the noise in units of each normalised stamp's range.
    seed
        Seed of the noise.
    batch_size
        Stamps at once.

    Returns
    -------
    numpy.ndarray
        float32 (N, H, W), not negative; its scale differs from stamp to stamp.

    References
    ----------
    Simonyan, Vedaldi & Zisserman 2014, ICLR workshop, arXiv:1312.6034 (gradient);
    Smilkov et al. 2017, arXiv:1706.03825 (average over noise).
    """
    if samples < 1:
        raise ValueError(f"samples: expected at least 1, got {samples}")
    normalisation = model.get_layer(NORMALISATION_LAYER)
    backbone = model.get_layer(BACKBONE_LAYER)
    random = tf.random.Generator.from_seed(seed)
    maps = [np.zeros((0, *stamps.shape[1:3]), np.float32)]
    for first in range(0, len(stamps), batch_size):
        part = np.asarray(stamps[first : first + batch_size], np.float32)
        base = tf.cast(normalisation(part), tf.float32)
        axes = (1, 2, 3)
        spread = tf.reduce_max(base, axes, keepdims=True) - tf.reduce_min(base, axes, keepdims=True)
        total = tf.zeros_like(base)
        for _ in range(samples):
            noisy = base + noise * spread * random.normal(tf.shape(base))
            with tf.GradientTape() as tape:
                tape.watch(noisy)
                scores = score(backbone(noisy, training=False))
            # Stamps do not mix, so the gradient of the sum is each one's own.
            total += tf.cast(tape.gradient(scores, noisy), tf.float32)
        maps.append(tf.reduce_sum(tf.abs(total / samples), axis=-1).numpy())
    return np.concatenate(maps)
