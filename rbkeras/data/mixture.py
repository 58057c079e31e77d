"""Batches in which labelled stamps have a share of their own, where few stamps have a label."""

import tensorflow as tf


def labelled_per_batch(
    labelled: int, unlabelled: int, *, share: float, batch_size: int, devices: int = 1
) -> int | None:
    """Give the labelled stamps of each batch; None where batches can be left as they come.

    They can where no stamp lacks its label, or as large a share as asked for has one.

    Parameters
    ----------
    labelled, unlabelled
        Stamps of the training set.
    share
        Fraction of a batch that shall have labels, 0 to 1.
    batch_size
        Stamps of a batch, a multiple of `devices`.
    devices
        Devices that share each batch. Each gets as many labelled stamps, and one of each kind at
        least where it gets two stamps or more.
    """
    if not (labelled and unlabelled) or labelled >= share * (labelled + unlabelled):
        return None
    each = batch_size // devices
    if each < 2:
        return None
    return devices * min(max(round(share * each), 1), each - 1)


def mixed_batches(
    labelled: tf.data.Dataset, unlabelled: tf.data.Dataset, *, devices: int = 1
) -> tf.data.Dataset:
    """Join batches of (stamps, labels) of two datasets of one length.

    Each of so many devices takes the next equal part of a batch, so each part gets its share of
    both; both sizes are multiples of `devices`.
    """

    def joined(one: tf.Tensor, other: tf.Tensor) -> tf.Tensor:
        parts = [
            tf.reshape(x, tf.concat([(devices, -1), tf.shape(x)[1:]], 0)) for x in (one, other)
        ]
        whole = tf.concat(parts, axis=1)
        return tf.reshape(whole, tf.concat([(-1,), tf.shape(whole)[2:]], 0))

    def join(
        one: tuple[tf.Tensor, tf.Tensor], other: tuple[tf.Tensor, tf.Tensor]
    ) -> tuple[tf.Tensor, tf.Tensor]:
        stamps, labels = (joined(*pair) for pair in zip(one, other, strict=True))
        return tf.ensure_shape(stamps, (None, *one[0].shape[1:])), labels

    return tf.data.Dataset.zip(labelled, unlabelled).map(join, num_parallel_calls=2)
