"""Streaming tf.data pipelines over records: select, relabel, shuffle, batch, augment."""

from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from rbkeras.data.labels import SKIP
from rbkeras.data.records import FLOAT_LIST, Records

_PARSE_BATCH = 256
_INTERLEAVED_FILES = 16


def stamp_dataset(
    records: Records,
    targets: np.ndarray,
    *,
    batch_size: int,
    shuffle_buffer: int = 0,
    seed: int = 0,
    augment: bool = False,
    shift: int = 0,
    cache: str | Path | None = None,
    multiple_of: int = 1,
    with_index: bool = False,
) -> tf.data.Dataset:
    """Stream the selected samples of a records directory as batches.

    Memory is the shuffle buffer plus a few batches, whatever the size of the data, unless
    `cache` asks for more.

    Parameters
    ----------
    records
        An opened records directory.
    targets
        int8 (N,), by unique_index: the label to train with (0, 1, -1), or `SKIP` for samples that
        are not selected. So one array both selects and relabels.
    batch_size
        Stamps per batch; the last batch may be smaller.
    shuffle_buffer
        Number of stamps among which the next one is drawn; 0 keeps the files' order. Files are
        then interleaved in a new order every epoch, so that batches mix detectors.
    seed
        Seed of shuffling and augmentation.
    augment
        Apply one of the stamp's symmetries (rotations by 90 degrees and flips), drawn anew for
        every stamp and epoch.
    shift
        With `augment`: also move stamps by up to this many pixels along both axes.
    cache
        None; 'memory'; or a path prefix for cache files on disk.
    multiple_of
        With shuffling: leave out the last stamps, other ones every epoch, beyond a multiple of
        this, so that so many devices get equal shares of every batch.
    with_index
        Yield unique_index, int64 (B,), in place of labels.

    Returns
    -------
    tf.data.Dataset
        Of known cardinality; elements (stamps float32 (B, H, W, C), labels int32 (B,)). Raises
        `tf.errors.DataLossError` when it reads a damaged record.
    """
    targets = np.asarray(targets, dtype=np.int8)
    if targets.shape != (len(records),):
        raise ValueError(f"targets: expected shape ({len(records)},), got {targets.shape}")
    selected = int((targets != SKIP).sum())
    dataset = _serialised(records, shuffle=bool(shuffle_buffer), seed=seed)
    dataset = dataset.map(_parser(records, targets, with_index), num_parallel_calls=2)
    if shuffle_buffer or cache is not None:
        dataset = dataset.unbatch()
        if cache is not None:
            dataset = dataset.cache("" if cache == "memory" else str(cache))
        if shuffle_buffer:
            dataset = dataset.shuffle(shuffle_buffer, seed=seed)
        if multiple_of > 1:
            selected -= selected % multiple_of
            dataset = dataset.take(selected)
        dataset = dataset.batch(batch_size)
    else:
        dataset = dataset.rebatch(batch_size)
    dataset = dataset.apply(tf.data.experimental.assert_cardinality(-(-selected // batch_size)))
    if augment:
        dataset = _augmented(dataset, seed=seed, shift=shift)
    return dataset.prefetch(2).with_options(_options())


def read_stamps(records: Records, indices: np.ndarray) -> np.ndarray:
    """Read the stamps of these unique_index, float32 (n, H, W, C), in one pass over the files."""
    indices = np.asarray(indices, dtype=np.int64)
    targets = np.full(len(records), SKIP, np.int8)
    targets[indices] = 0
    found = {}
    for stamps, index in stamp_dataset(records, targets, batch_size=256, with_index=True):
        found.update(zip(index.numpy().tolist(), stamps.numpy(), strict=True))
    stamps = np.zeros((len(indices), *records.stamp_shape), np.float32)
    for row, index in enumerate(indices.tolist()):
        stamps[row] = found[index]
    return stamps


def array_dataset(stamps: np.ndarray, *, batch_size: int) -> tf.data.Dataset:
    """Stream a (memory-mapped) array (N, H, W, C) of any real type as float32 batches."""

    def batches():
        for first in range(0, len(stamps), batch_size):
            yield np.asarray(stamps[first : first + batch_size], dtype=np.float32)

    signature = tf.TensorSpec((None, *stamps.shape[1:]), tf.float32)
    dataset = tf.data.Dataset.from_generator(batches, output_signature=signature)
    count = -(-len(stamps) // batch_size)
    dataset = dataset.apply(tf.data.experimental.assert_cardinality(count))
    return dataset.prefetch(2).with_options(_options())


def _options() -> tf.data.Options:
    """Switch off tf.data's tuning at run time: every degree of parallelism is stated here.

    The tuner's thread sleeps ever longer between its looks, and the end of an epoch often waits
    for it to wake: see docs/benchmarks.md.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return options


def _serialised(records: Records, *, shuffle: bool, seed: int) -> tf.data.Dataset:
    """Batches of serialised records; interleaved over files when shuffling."""

    def batches(path: tf.Tensor) -> tf.data.Dataset:
        return tf.data.TFRecordDataset(path, records.compression).batch(_PARSE_BATCH)

    files = tf.data.Dataset.from_tensor_slices([str(path) for path in records.files])
    if not shuffle:
        return files.flat_map(batches)
    files = files.shuffle(len(records.files), seed=seed)
    # Interleaving batches costs less than interleaving records; the shuffle buffer mixes them.
    return files.interleave(batches, cycle_length=min(len(records.files), _INTERLEAVED_FILES))


def _parser(records: Records, targets: np.ndarray, with_index: bool):
    """Return a function from serialised records (B,) to the selected stamps and their labels."""
    pixels = int(np.prod(records.stamp_shape))
    is_list = records.encoding == FLOAT_LIST
    features = {
        "image": tf.io.FixedLenFeature(
            [pixels] if is_list else [], tf.float32 if is_list else tf.string
        ),
        "unique_index": tf.io.FixedLenFeature([], tf.int64),
    }
    table = tf.constant(targets)

    def parse(serialised: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        parsed = tf.io.parse_example(serialised, features)
        index = parsed["unique_index"]
        target = tf.gather(table, index)
        selected = tf.where(target != SKIP)[:, 0]
        image = tf.gather(parsed["image"], selected)
        if not is_list:
            # decode_raw would cut or pad a record of another stamp size without a word.
            length = tf.strings.length(image)
            tf.debugging.assert_equal(length, 4 * pixels, message="record of another stamp size")
            image = tf.io.decode_raw(image, tf.float32, fixed_length=4 * pixels)
        image = tf.reshape(image, (-1, *records.stamp_shape))
        second = tf.gather(index if with_index else tf.cast(target, tf.int32), selected)
        return image, second

    return parse


def _augmented(dataset: tf.data.Dataset, *, seed: int, shift: int) -> tf.data.Dataset:
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
