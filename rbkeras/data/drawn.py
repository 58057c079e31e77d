"""What every dataset here needs of tf.data: elements that Python draws, and nothing tuned."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

#: Passes over a dataset that may be under way at once: one that is never ended would keep what it
#: holds in memory for good.
_AT_ONCE = 4


def drawn(
    make_iterator: Callable[[], Iterator[tuple[np.ndarray, ...]]],
    *,
    count: int,
    signature: Sequence[tf.TensorSpec],
) -> tf.data.Dataset:
    """Make a dataset of what an iterator yields, a fresh one for every pass.

    `tf.data.Dataset.from_generator` needs no `count`, but has three functions to prepare at the
    beginning of every pass, and two to go through for every element, where this has one; see
    docs/benchmarks.md.

    Parameters
    ----------
    make_iterator
        Called at the beginning of a pass. A `ValueError` of the iterator becomes a
        `tf.errors.InvalidArgumentError` with its text.
    count
        Elements that are drawn of each iterator.
    signature
        Of the arrays of an element.
    """
    under_way: dict[int, Iterator[tuple[np.ndarray, ...]]] = {}
    numbers = itertools.count()

    def draw(known: np.ndarray, left: np.ndarray) -> tuple[Any, ...]:
        number = int(known)
        if number < 0:
            number = next(numbers)
            under_way[number] = make_iterator()
            if len(under_way) > _AT_ONCE:
                del under_way[min(under_way)]
        if number not in under_way:
            raise RuntimeError(f"expected at most {_AT_ONCE} passes over a dataset at once")
        # Out of the dictionary meanwhile, so that nothing stays of a pass that fails.
        iterator = under_way.pop(number)
        element = next(iterator)
        if left:
            under_way[number] = iterator
        return np.int64(number), *element

    def step(number: tf.Tensor, left: tf.Tensor) -> tuple[tf.Tensor, tuple[tf.Tensor, ...]]:
        types = [tf.int64, *(spec.dtype for spec in signature)]
        number, *element = tf.numpy_function(draw, [number, left], types)
        number.set_shape(())
        for tensor, spec in zip(element, signature, strict=True):
            tensor.set_shape(spec.shape)
        return number, tuple(element)

    return tf.data.Dataset.range(count - 1, -1, -1).scan(np.int64(-1), step)


def stated_parallelism() -> tf.data.Options:
    """Switch off tf.data's tuning at run time: every degree of parallelism is stated here.

    The tuner's thread sleeps ever longer between its looks, and the end of an epoch often waits
    for it to wake: see docs/benchmarks.md.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return options
