import numpy as np
import pytest

from rbkeras.models.classifier import build_classifier
from tuning.cost import multiply_adds, pareto_front, stamps_per_second


def test_simple_against_a_count_by_hand():
    # conv5x5-32 valid on 29: 25; pool 12; conv3x3-64: 10; pool 5; dense 128, 64, 2.
    by_hand = 25 * 25 * 32 * (5 * 5 * 3) + 10 * 10 * 64 * (3 * 3 * 32)
    by_hand += (5 * 5 * 64) * 128 + 128 * 64 + 64 * 2
    assert multiply_adds(build_classifier((29, 29, 3), network="simple")) == by_hand


def test_complex_is_what_the_original_was_measured_to_cost():
    counted = 2 * multiply_adds(build_classifier((29, 29, 3), network="complex"))
    assert counted == pytest.approx(216e6, rel=0.03)


def test_stamps_per_second():
    model = build_classifier((11, 11, 3), network="simple", width=0.2, padding="same")
    assert stamps_per_second(model, batch_size=8, repeats=1) > 0


def test_the_front_is_what_nothing_beats():
    cost = np.array([1, 2, 2, 3, 4, np.nan, 1])
    loss = np.array([0.5, 0.4, 0.6, 0.4, 0.1, 0.0, 0.5])
    assert pareto_front(cost, loss).tolist() == [True, True, False, False, True, False, True]
