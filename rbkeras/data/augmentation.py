"""Symmetries of stamps at random, for training."""

from typing import Any

import tensorflow as tf


def augmented(dataset: tf.data.Dataset, *, seed: int, shift: int) -> tf.data.Dataset:
    """Move every stamp of a dataset of batches at random, anew every epoch."""
    seeds = tf.data.Dataset.random(seed=seed, rerandomize_each_iteration=True).batch(2)

    def transform(data: tuple[tf.Tensor, tf.Tensor], seed: tf.Tensor) -> Any:
        stamps, labels = data
        return random_symmetry(stamps, tf.cast(seed, tf.int32), shift=shift), labels

    return tf.data.Dataset.zip(dataset, seeds).map(transform, num_parallel_calls=2)


def random_symmetry(stamps: tf.Tensor, seed: tf.Tensor, *, shift: int = 0) -> tf.Tensor:
    """Apply one symmetry of the stamp's outline, uniform, to each stamp (N, H, W, C).

    The eight of the square, or the four of a rectangle that is none, each followed by a shift of
    up to `shift` pixels along both axes, where the edge's pixels are repeated. `seed` is an
    integer tensor of shape (2,).
    """
    _, height, width, channels = stamps.shape
    symmetries, steps = 8 if height == width else 4, 2 * shift + 1
    choice = tf.random.stateless_uniform(
        (tf.shape(stamps)[0], 1), seed, maxval=symmetries * steps**2, dtype=tf.int32
    )
    symmetry, step = choice // steps**2, choice % steps**2
    rows = _moved(height, step // steps - shift, flipped=symmetry % 2 == 1)
    columns = _moved(width, step % steps - shift, flipped=symmetry // 2 % 2 == 1)
    # Source pixels, counted row by row; along columns where the stamp is transposed.
    transposed = symmetry >= 4
    rows *= tf.where(transposed, 1, width)
    columns *= tf.where(transposed, width, 1)
    sources = tf.reshape(rows[:, :, tf.newaxis] + columns[:, tf.newaxis], (-1, height * width))
    # One gather of whole pixels is several times faster than flipping under masks.
    flat = tf.reshape(stamps, (-1, height * width, channels))
    return tf.reshape(tf.gather(flat, sources, batch_dims=1), (-1, height, width, channels))


def _moved(size: int, step: tf.Tensor, *, flipped: tf.Tensor) -> tf.Tensor:
    """Source positions along an axis, int32 (N, size), for steps and flips (N, 1)."""
    shifted = tf.clip_by_value(tf.range(size) + step, 0, size - 1)
    return tf.where(flipped, size - 1 - shifted, shifted)
