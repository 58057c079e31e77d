"""Symmetries of stamps: at random, for training, and all of them, for prediction."""

from typing import Any

import numpy as np
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
    moves = _moves(height, width, shift)
    choice = tf.random.stateless_uniform(
        (tf.shape(stamps)[0],), seed, maxval=len(moves), dtype=tf.int32
    )
    # One gather of whole pixels is several times faster than flipping under masks.
    flat = tf.reshape(stamps, (-1, height * width, channels))
    moved = tf.gather(flat, tf.gather(moves, choice), batch_dims=1)
    return tf.reshape(moved, (-1, height, width, channels))


def symmetric_views(stamps: tf.Tensor) -> list[tf.Tensor]:
    """Give stamps (N, H, W, C) in every symmetry of their outline, the first as they are."""
    _, height, width, channels = stamps.shape
    flat = tf.reshape(stamps, (-1, height * width, channels))
    return [
        tf.reshape(tf.gather(flat, move, axis=1), (-1, height, width, channels))
        for move in _moves(height, width, 0)
    ]


def _moves(height: int, width: int, shift: int) -> np.ndarray:
    """Source pixel of each pixel, int32 (moves, H W), for every symmetry and shift."""
    grid = np.arange(height * width, dtype=np.int32).reshape(height, width)
    grids = [grid, grid.T] if height == width else [grid]
    flipped = [f for g in grids for f in (g, g[::-1], g[:, ::-1], g[::-1, ::-1])]
    steps = range(-shift, shift + 1)
    rows = [np.clip(np.arange(height) + step, 0, height - 1) for step in steps]
    columns = [np.clip(np.arange(width) + step, 0, width - 1) for step in steps]
    return np.stack([f[np.ix_(r, c)].ravel() for f in flipped for r in rows for c in columns])
