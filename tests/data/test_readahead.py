"""Reading ahead: the same items in the same order, a bounded number of them in advance."""

import threading
import time

import pytest

from rbkeras.data.readahead import read_ahead


@pytest.mark.parametrize("depth", [1, 2, 5])
@pytest.mark.parametrize("count", [0, 1, 3, 50])
def test_items_come_in_order(count, depth):
    assert list(read_ahead(range(count), depth=depth)) == list(range(count))


def test_no_more_than_depth_items_are_drawn_in_advance():
    drawn = []
    items = read_ahead((drawn.append(i) or i for i in range(20)), depth=2)
    for position in range(5):
        assert next(items) == position
        time.sleep(0.02)
        assert len(drawn) <= position + 3
    assert len(drawn) >= 6


def test_items_are_drawn_while_the_consumer_works():
    there = threading.Event()

    def items():
        yield 0
        there.set()
        yield 1

    reading = read_ahead(items())
    assert next(reading) == 0
    assert there.wait(5)


def test_errors_come_in_their_place():
    def items():
        yield from range(3)
        raise KeyError("three")

    reading = read_ahead(items())
    assert [next(reading) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(KeyError, match="three"):
        next(reading)


def test_closing_ends_the_thread():
    before = threading.active_count()
    reading = read_ahead(iter(range(1000)))
    next(reading)
    assert threading.active_count() == before + 1
    reading.close()
    assert threading.active_count() == before
