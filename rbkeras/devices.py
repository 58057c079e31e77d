"""Several devices of one machine that share each batch: `MirroredStrategy` and what it needs."""

from typing import Literal

import tensorflow as tf

from rbkeras.errors import InputError


def find_strategy(devices: int | Literal["all"] | None) -> tf.distribute.Strategy:
    """Give the strategy for so many devices: GPUs where there are any, otherwise processors.

    Parameters
    ----------
    devices
        How many, at least 1; 'all' there are; None is one, and leaves it to TensorFlow which.

    Raises
    ------
    InputError
        When there are fewer.
    """
    if devices in (None, 1):
        return tf.distribute.get_strategy()
    kind = "GPU" if tf.config.list_logical_devices("GPU") else "CPU"
    found = [device.name for device in tf.config.list_logical_devices(kind)]
    count = len(found) if devices == "all" else devices
    if count > len(found):
        kinds = f"{kind} devices" if len(found) > 1 else f"{kind} device"
        raise InputError(
            f"--training.devices: expected at most {len(found)}, since TensorFlow finds "
            f"{len(found)} {kinds}, got {devices}"
        )
    if count == 1:
        return tf.distribute.get_strategy()
    return tf.distribute.MirroredStrategy(found[:count])


def padded_batches(dataset: tf.data.Dataset, multiple: int) -> tf.data.Dataset:
    """Fill up each batch of (stamps, labels) with unlabelled empty stamps to such a multiple.

    So every device gets as many, none of them nothing, which convolutions refuse; what is measured
    on labelled stamps stays the same.
    """

    def padded(stamps: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        lacking = -tf.shape(labels)[0] % multiple
        return (
            tf.pad(stamps, [[0, lacking], [0, 0], [0, 0], [0, 0]]),
            tf.pad(labels, [[0, lacking]], constant_values=-1),
        )

    return dataset.map(padded, num_parallel_calls=2)
