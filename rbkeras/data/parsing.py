"""Records that TensorFlow parses: into batches to train on, and in the order of their files.

Those that rbkeras wrote are mostly read by `rbkeras.data.blocks` in place of this.
"""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import tensorflow as tf

from rbkeras.data.drawn import stated_parallelism
from rbkeras.data.labels import SKIP
from rbkeras.data.records import FLOAT_LIST, Records, reading

_PARSE_BATCH = 256
_INTERLEAVED_FILES = 16


@dataclass(frozen=True, kw_only=True)
class Batches:
    """How selected stamps come; see `rbkeras.data.pipeline.stamp_dataset`, whose options they are.

    Attributes
    ----------
    count
        Stamps of an epoch.
    size
        Of a batch.
    shuffle_buffer, reshuffle, seed
        Order; 0 keeps that of the files.
    with_index
        Whether unique_index comes in place of labels.
    """

    count: int
    size: int
    shuffle_buffer: int
    reshuffle: bool
    seed: int
    with_index: bool


def parsed_batches(
    records: Records, targets: np.ndarray, batches: Batches, *, cache: str | Path | None
) -> tf.data.Dataset:
    """Batches of records that have no layout of ours, or are kept once they are parsed."""
    count, shuffle_buffer = batches.count, batches.shuffle_buffer
    selected = int((targets != SKIP).sum())
    passes = -(-count // selected) if count else 1
    order = {"seed": batches.seed, "reshuffle_each_iteration": batches.reshuffle}
    dataset = _serialised(records, order=order if shuffle_buffer else None)
    dataset = dataset.map(_parser(records, targets, batches.with_index), num_parallel_calls=2)
    if not shuffle_buffer and cache is None:
        return dataset.rebatch(batches.size)
    dataset = dataset.unbatch()
    if cache is None and passes > 1 and selected <= shuffle_buffer:
        # Few stamps that come often are not read each time.
        cache = "memory"
    if cache is not None:
        dataset = dataset.cache("" if cache == "memory" else str(cache))
        if count < selected:
            # No epoch comes to the end of the stamps, without which no cache is whole.
            deque(dataset, maxlen=0)
    if shuffle_buffer:
        dataset = dataset.shuffle(shuffle_buffer, **order)
    if count != selected:
        # No pass more than are needed, since every pass begun draws a new order.
        dataset = dataset.repeat(passes).take(count)
    return dataset.batch(batches.size)


def identified_stamps(
    records: Records, *, start: int, batch_size: int
) -> Iterator[tuple[pd.DataFrame, np.ndarray]]:
    """Read records in the order of their files, from the `start`-th one on, in batches.

    Yields
    ------
    identity, stamps
        detector_id and sample_index (int64), and float32 (B, H, W, C).

    Raises
    ------
    InputError
        When it reads a damaged record.
    """
    names = ("detector_id", "sample_index")
    integer = tf.io.FixedLenFeature([], tf.int64)
    features = {"image": _image_feature(records)} | dict.fromkeys(names, integer)
    # Whole files are passed over unread.
    ends = np.cumsum(records.sizes)
    first = int(np.searchsorted(ends, start, side="right"))
    dataset = tf.data.TFRecordDataset(
        [str(path) for path in records.files[first:]], records.compression
    )
    dataset = dataset.skip(start - int(ends[first - 1] if first else 0)).batch(batch_size)

    def parse(serialised: tf.Tensor) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        parsed = tf.io.parse_example(serialised, features)
        return _stamps_of(parsed["image"], records), {name: parsed[name] for name in names}

    dataset = dataset.map(parse).prefetch(1).with_options(stated_parallelism())
    with reading(records.directory):
        for stamps, identity in dataset.as_numpy_iterator():
            yield pd.DataFrame(identity), stamps


def _serialised(records: Records, *, order: dict[str, Any] | None) -> tf.data.Dataset:
    """Batches of serialised records; interleaved over files when shuffling, in that order."""

    def batches(path: tf.Tensor) -> tf.data.Dataset:
        return tf.data.TFRecordDataset(path, records.compression).batch(_PARSE_BATCH)

    files = tf.data.Dataset.from_tensor_slices([str(path) for path in records.files])
    if order is None:
        return files.flat_map(batches)
    files = files.shuffle(len(records.files), **order)
    # Interleaving batches costs less than interleaving records; the shuffle buffer mixes them.
    return files.interleave(batches, cycle_length=min(len(records.files), _INTERLEAVED_FILES))


def _parser(
    records: Records, targets: np.ndarray, with_index: bool
) -> Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]:
    """Return a function from serialised records (B,) to the selected stamps and their labels."""
    features = {
        "image": _image_feature(records),
        "unique_index": tf.io.FixedLenFeature([], tf.int64),
    }
    table = tf.constant(targets)

    def parse(serialised: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        parsed = tf.io.parse_example(serialised, features)
        index = parsed["unique_index"]
        target = tf.gather(table, index)
        selected = tf.where(target != SKIP)[:, 0]
        image = _stamps_of(tf.gather(parsed["image"], selected), records)
        second = tf.gather(index if with_index else tf.cast(target, tf.int32), selected)
        return image, second

    return parse


def _image_feature(records: Records) -> tf.io.FixedLenFeature:
    if records.encoding == FLOAT_LIST:
        return tf.io.FixedLenFeature([int(np.prod(records.stamp_shape))], tf.float32)
    return tf.io.FixedLenFeature([], tf.string)


def _stamps_of(image: tf.Tensor, records: Records) -> tf.Tensor:
    """Stamps (B, H, W, C) of the parsed feature `image` of B records."""
    if records.encoding != FLOAT_LIST:
        pixels = int(np.prod(records.stamp_shape))
        # decode_raw would cut or pad a record of another stamp size without a word.
        length = tf.strings.length(image)
        tf.debugging.assert_equal(length, 4 * pixels, message="record of another stamp size")
        image = tf.io.decode_raw(image, tf.float32, fixed_length=4 * pixels)
    return tf.reshape(image, (-1, *records.stamp_shape))
