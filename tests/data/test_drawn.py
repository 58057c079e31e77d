"""Datasets of what Python draws: every pass is one of its own, and nothing stays of it."""

import gc
import itertools
import weakref

import numpy as np
import pytest
import tensorflow as tf

from rbkeras.data.drawn import drawn

SIGNATURE = (tf.TensorSpec((None, 2), tf.float32), tf.TensorSpec((), tf.int64))


def elements(count=5):
    for number in range(count):
        yield np.full((number + 1, 2), number, np.float32), np.int64(number)


def numbers(dataset):
    return [int(number) for _, number in dataset]


def test_elements_come_in_order_with_their_shapes_in_every_pass():
    dataset = drawn(elements, count=5, signature=SIGNATURE)
    assert dataset.element_spec == SIGNATURE
    assert int(dataset.cardinality()) == 5
    for _ in range(2):
        for expected, (pixels, number) in enumerate(dataset):
            assert pixels.shape == (expected + 1, 2)
            assert (pixels.numpy() == expected).all()
            assert int(number) == expected


def test_no_more_is_drawn_than_was_asked_for():
    assert numbers(drawn(itertools.count, count=0, signature=SIGNATURE)) == []
    assert numbers(drawn(lambda: elements(1000), count=3, signature=SIGNATURE)) == [0, 1, 2]


def test_passes_at_once_are_apart_until_there_are_too_many():
    dataset = drawn(elements, count=5, signature=SIGNATURE)
    # Nothing may be drawn ahead, as tf.data does where it tunes itself.
    options = tf.data.Options()
    options.autotune.enabled = False
    dataset = dataset.with_options(options)
    passes = [iter(dataset) for _ in range(4)]
    for expected in range(3):
        assert [int(next(one)[1]) for one in passes] == [expected] * 4
    fifth = iter(dataset)
    assert int(next(fifth)[1]) == 0
    assert int(next(passes[1])[1]) == 3
    with pytest.raises(tf.errors.OpError, match="at most 4 passes"):
        next(passes[0])


def test_an_error_keeps_its_text_and_the_next_pass_is_whole():
    failing = iter([True, False])

    def make():
        yield from elements(2)
        if next(failing):
            raise ValueError("truncated record at x")
        yield from itertools.islice(elements(), 2, 5)

    dataset = drawn(make, count=5, signature=SIGNATURE)
    with pytest.raises(tf.errors.InvalidArgumentError, match="truncated record at x"):
        numbers(dataset)
    assert numbers(dataset) == [0, 1, 2, 3, 4]


def test_too_few_elements_are_no_silent_end():
    with pytest.raises(tf.errors.OpError, match=r"StopIteration|out of range|End of sequence"):
        numbers(drawn(lambda: elements(2), count=3, signature=SIGNATURE))


@pytest.mark.parametrize("fails", [False, True])
def test_nothing_stays_of_a_pass_that_has_ended(fails):
    class Held:
        pass

    kept = []

    def make():
        held = Held()
        kept.append(weakref.ref(held))
        for number, element in enumerate(elements()):
            if fails and number == 3:
                raise ValueError("damaged")
            yield element
        del held

    dataset = drawn(make, count=5, signature=SIGNATURE)
    if fails:
        with pytest.raises(tf.errors.InvalidArgumentError, match="damaged"):
            numbers(dataset)
    else:
        numbers(dataset)
    gc.collect()
    assert kept[0]() is None


def test_passes_inside_a_graph_are_fresh_too():
    dataset = drawn(elements, count=5, signature=SIGNATURE)

    @tf.function
    def total():
        return dataset.reduce(tf.constant(0, tf.int64), lambda sum_, element: sum_ + element[1])

    assert [int(total()) for _ in range(3)] == [10, 10, 10]
