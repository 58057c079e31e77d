"""Streaming tf.data pipelines over records: select, relabel, shuffle, batch, augment."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import tensorflow as tf

from rbkeras.data.augmentation import augmented
from rbkeras.data.blocks import (
    Block,
    ShuffledBlocks,
    count_selected_blocks,
    has_blocks,
    selected_blocks,
)
from rbkeras.data.drawn import drawn, stated_parallelism
from rbkeras.data.labels import SKIP
from rbkeras.data.parsing import Batches, parsed_batches
from rbkeras.data.records import Records


def stamp_dataset(
    records: Records,
    targets: np.ndarray,
    *,
    batch_size: int,
    shuffle_buffer: int = 0,
    reshuffle: bool = True,
    seed: int = 0,
    augment: bool = False,
    shift: int = 0,
    cache: str | Path | None = None,
    samples: int | None = None,
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
        Number of stamps among which the next one is drawn; 0 keeps the files' order. Blocks or
        files are then read in a new order every epoch, so that batches mix detectors.
    reshuffle
        Draw another order every epoch; False keeps the first one.
    seed
        Seed of shuffling and augmentation.
    augment
        Apply one of the stamp's symmetries (rotations by 90 degrees and flips), drawn anew for
        every stamp and epoch.
    shift
        With `augment`: also move stamps by up to this many pixels along both axes.
    cache
        None; 'memory'; or a path prefix for cache files on disk.
    samples
        With shuffling: stamps of an epoch, in place of all that are selected. Where it is fewer,
        others are left out every epoch; where it is more, all come before one comes again, and are
        kept in memory if they fit into the shuffle buffer.
    with_index
        Yield unique_index, int64 (B,), in place of labels.

    Returns
    -------
    tf.data.Dataset
        Of known cardinality; elements (stamps float32 (B, H, W, C), labels int32 (B,)). What it
        raises when it reads a damaged record, `rbkeras.data.records.reading` turns into a sentence.

    Raises
    ------
    ValueError
        When `targets` has another shape, or `samples` asks for what cannot be.
    """
    targets = np.asarray(targets, dtype=np.int8)
    if targets.shape != (len(records),):
        raise ValueError(f"targets: expected shape ({len(records)},), got {targets.shape}")
    selected = int((targets != SKIP).sum())
    if samples is None:
        samples = selected
    elif not shuffle_buffer:
        raise ValueError("samples: expected shuffle_buffer with it, got none")
    elif samples and not selected:
        raise ValueError(f"samples: expected targets that select some, got {samples} of none")
    batches = Batches(
        count=samples,
        size=batch_size,
        shuffle_buffer=shuffle_buffer,
        reshuffle=reshuffle,
        seed=seed,
        with_index=with_index,
    )
    if cache is None and has_blocks(records):
        dataset = _from_blocks(records, targets, batches)
    else:
        dataset = parsed_batches(records, targets, batches, cache=cache)
    dataset = dataset.apply(tf.data.experimental.assert_cardinality(-(-samples // batch_size)))
    if augment:
        dataset = augmented(dataset, seed=seed, shift=shift)
    return dataset.prefetch(2).with_options(stated_parallelism())


def read_stamps(records: Records, indices: np.ndarray) -> np.ndarray:
    """Read the stamps of these unique_index, float32 (n, H, W, C), in one pass over the files."""
    indices = np.asarray(indices, dtype=np.int64)
    targets = np.full(len(records), SKIP, np.int8)
    targets[indices] = 0
    found: dict[int, np.ndarray] = {}
    for stamps, index in stamp_dataset(records, targets, batch_size=256, with_index=True):
        found.update(zip(index.numpy().tolist(), stamps.numpy(), strict=True))
    stamps = np.zeros((len(indices), *records.stamp_shape), np.float32)
    for row, index in enumerate(indices.tolist()):
        stamps[row] = found[index]
    return stamps


def array_dataset(stamps: np.ndarray, *, batch_size: int) -> tf.data.Dataset:
    """Stream a (memory-mapped) array (N, H, W, C) of any real type as float32 batches."""

    def batches() -> Iterator[np.ndarray]:
        for first in range(0, len(stamps), batch_size):
            yield np.asarray(stamps[first : first + batch_size], dtype=np.float32)

    signature = tf.TensorSpec((None, *stamps.shape[1:]), tf.float32)
    dataset = tf.data.Dataset.from_generator(batches, output_signature=signature)
    count = -(-len(stamps) // batch_size)
    dataset = dataset.apply(tf.data.experimental.assert_cardinality(count))
    return dataset.prefetch(2).with_options(stated_parallelism())


def _from_blocks(records: Records, targets: np.ndarray, batches: Batches) -> tf.data.Dataset:
    """Batches of the first stamps of one pass, or of several; see `rbkeras.data.blocks`."""
    count, with_index = batches.count, batches.with_index
    blocks: Callable[[], Iterator[Block]]
    if batches.shuffle_buffer:
        blocks = shuffled = ShuffledBlocks(
            records,
            targets,
            pool_size=batches.shuffle_buffer,
            seed=batches.seed,
            reshuffle=batches.reshuffle,
            keep=count > np.sum(targets != SKIP),
        )
        number = shuffled.count(samples=count)
    else:
        blocks = partial(selected_blocks, records, targets)
        number = count_selected_blocks(records, targets, samples=count)

    def elements() -> Iterator[Block]:
        left = count
        while left:
            for stamps, index in blocks():
                stamps, index = stamps[:left], index[:left]
                left -= len(index)
                yield stamps, index if with_index else targets[index].astype(np.int32)
                if not left:
                    break

    signature = (
        tf.TensorSpec((None, *records.stamp_shape), tf.float32),
        tf.TensorSpec((None,), tf.int64 if with_index else tf.int32),
    )
    return drawn(elements, count=number, signature=signature).rebatch(batches.size)
