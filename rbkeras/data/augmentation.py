"""Symmetries of stamps at random, for training."""

from typing import Any

import tensorflow as tf

from rbkeras.data.symmetries import moves


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
    sources = moves(height, width, shift=shift)
    choice = tf.random.stateless_uniform(
        (tf.shape(stamps)[0],), seed, maxval=len(sources), dtype=tf.int32
    )
    # One gather of whole pixels is several times faster than flipping under masks.
    flat = tf.reshape(stamps, (-1, height * width, channels))
    moved = tf.gather(flat, tf.gather(sources, choice), batch_dims=1)
    return tf.reshape(moved, (-1, height, width, channels))
