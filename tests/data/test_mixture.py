import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from rbkeras.data.labels import SKIP
from rbkeras.data.mixture import find_mixture, mixed_batches, shares_that_apply


def targets_of(real, bogus, unlabelled):
    return np.repeat(np.array([1, 0, -1, SKIP], np.int8), [real, bogus, unlabelled, 7])


def mixture(*counts, labelled_share=0.5, minority_share=0.0, **options):
    shares = {"labelled_share": labelled_share, "minority_share": minority_share}
    return find_mixture(targets_of(*counts), **shares, **options)


def sizes(found):
    return None if found is None else {part.name: part.size for part in found.parts}


@pytest.mark.parametrize(
    ("labelled", "unlabelled", "share", "devices", "expected"),
    [
        (600, 5400, 0.5, 1, 32),
        (600, 5400, 0.25, 1, 16),
        (600, 5400, 0.5, 4, 32),
        # As many as asked for have labels without it.
        (600, 600, 0.5, 1, None),
        (600, 602, 0.5, 1, 32),
        (600, 5400, 0.1, 1, None),
        (600, 5400, 0.0, 1, None),
        # Nothing to mix.
        (600, 0, 0.99, 1, None),
        (0, 600, 0.5, 1, None),
        # Neither kind is left out, of no device.
        (2, 10**6, 1e-5, 1, 1),
        (600, 5400, 0.999, 1, 63),
        (600, 5400, 0.999, 8, 56),
        (600, 5400, 0.5, 64, None),
    ],
)
def test_labelled_stamps_of_a_batch_of_64(labelled, unlabelled, share, devices, expected):
    half = labelled // 2
    found = mixture(half, half, unlabelled, labelled_share=share, batch_size=64, devices=devices)
    if expected is None:
        assert found is None
    else:
        assert sizes(found) == {"real or bogus": expected, "unlabelled": 64 - expected}
        assert found.prevalence is None


@pytest.mark.parametrize(
    ("counts", "shares", "devices", "expected", "prevalence"),
    [
        ((600, 5400, 0), (0.5, 0.25), 1, {"real": 16, "bogus": 48}, 1 / 4),
        ((5400, 600, 0), (0.5, 0.25), 1, {"bogus": 16, "real": 48}, 3 / 4),
        ((600, 5400, 0), (0.5, 0.5), 4, {"real": 32, "bogus": 32}, 1 / 2),
        # As many as asked for are there without it.
        ((600, 1800, 0), (0.5, 0.25), 1, None, None),
        ((600, 1801, 0), (0.5, 0.25), 1, {"real": 16, "bogus": 48}, 1 / 4),
        ((600, 5400, 0), (0.5, 0.0), 1, None, None),
        ((0, 5400, 0), (0.5, 0.5), 1, None, None),
        # A few without a label come as they come, with the larger class: eight of nine have one.
        ((300, 4800, 600), (0.5, 0.25), 1, {"real": 15, "bogus or unlabelled": 49}, 0.2562),
        ((600, 5400, 3), (0.5, 0.25), 8, {"real": 16, "bogus or unlabelled": 48}, 0.2501),
        # Many get the share that they are left.
        ((100, 900, 5000), (0.5, 0.25), 1, {"real": 8, "bogus": 24, "unlabelled": 32}, 1 / 4),
        ((100, 900, 5000), (0.0, 0.25), 1, {"real": 3, "bogus or unlabelled": 61}, 0.2438),
        # No part is left out, of no device.
        ((1, 10**6, 1), (0.5, 1e-5), 1, {"real": 1, "bogus or unlabelled": 63}, 1 / 64),
        ((1, 9, 30), (0.5, 0.5), 16, {"real": 16, "bogus": 16, "unlabelled": 32}, 1 / 2),
        # One of two would be more than there shall be, and two of eight fewer than there are.
        ((1, 9, 0), (0.5, 0.3), 32, {"real": 32, "bogus": 32}, 1 / 2),
        ((1, 9, 0), (0.5, 0.3), 64, None, None),
        ((28, 72, 0), (0.5, 0.3), 8, None, None),
        # Of a device's eight stamps four have labels, of which one real would be fewer too.
        ((28, 72, 5000), (0.45, 0.3), 8, {"real or bogus": 32, "unlabelled": 32}, None),
    ],
)
def test_classes_of_a_batch_of_64(counts, shares, devices, expected, prevalence):
    labelled_share, minority_share = shares
    found = mixture(
        *counts,
        labelled_share=labelled_share,
        minority_share=minority_share,
        batch_size=64,
        devices=devices,
    )
    assert sizes(found) == expected
    if expected is not None:
        assert found.prevalence == pytest.approx(prevalence, abs=1e-4)


def test_the_rarer_class_does_not_outnumber_the_labelled_of_the_other():
    # Half of the other stamps are labelled: 3 of 8 would face 2.5, but 2 face 3.
    found = mixture(10, 100, 100, labelled_share=0.0, minority_share=0.5, batch_size=8)
    assert sizes(found) == {"real": 2, "bogus or unlabelled": 6}
    assert found.prevalence == pytest.approx(2 / 5)


def test_a_mixture_says_what_a_batch_is_made_of():
    found = mixture(10, 100, 100, labelled_share=0.0, minority_share=0.5, batch_size=8)
    assert str(found) == "2 real, 6 bogus or unlabelled"


def test_a_share_that_is_there_exactly_does_not_apply():
    # 600 of 2400 are a quarter.
    targets = targets_of(600, 1800, 0)
    assert shares_that_apply(targets, labelled_share=0.5, minority_share=0.25) == {}


def test_a_class_of_many_stamps_is_not_rare():
    shares = {"labelled_share": 0.0, "minority_share": 0.25}
    few, many = targets_of(100, 1000, 0), targets_of(101, 1000, 0)
    assert shares_that_apply(few, largest=100, **shares) == {"minority_share": 0.25}
    assert shares_that_apply(many, largest=100, **shares) == {}
    assert find_mixture(many, batch_size=64, largest=100, **shares) is None


@given(
    st.tuples(*[st.integers(0, 50)] * 3),
    st.floats(0, 1, exclude_max=True),
    st.floats(0, 0.5),
    st.integers(1, 20),
    st.integers(1, 4),
)
def test_any_batch_is_whole_and_has_some_of_all(
    counts, labelled_share, minority_share, each, devices
):
    shares = {"labelled_share": labelled_share, "minority_share": minority_share}
    found = mixture(*counts, **shares, batch_size=each * devices, devices=devices)
    applied = shares_that_apply(targets_of(*counts), **shares)
    if not applied:
        assert found is None
    if found is None:
        return
    assert sum(sizes(found).values()) == each * devices
    assert all(part.size % devices == 0 and part.size > 0 for part in found.parts)
    kinds = [kind for part in found.parts for kind in part.kinds]
    present = [kind for kind, count in zip((1, 0, -1), counts, strict=True) if count]
    assert set(present) <= set(kinds) <= {1, 0, -1}
    assert len(kinds) == len(set(kinds))
    real, bogus, _ = counts
    if "labelled_share" in applied:
        own = each - sizes(found)["unlabelled"] / devices
        assert abs(own - labelled_share * each) <= 1 or own == len(applied)
    if found.prevalence is not None:
        assert "minority_share" in applied
        rare = min(found.prevalence, 1 - found.prevalence)
        assert min(real, bogus) / (real + bogus) < rare <= 0.5
        assert (found.prevalence < 0.5) <= (real < bogus)


def test_parts_are_disjoint_and_cover_what_is_selected():
    targets = np.array([1, 0, -1, SKIP, 0, 1, 0, 0], np.int8)
    found = find_mixture(targets, batch_size=8, labelled_share=0.0, minority_share=0.5)
    chosen = [np.flatnonzero(part.select(targets) != SKIP).tolist() for part in found.parts]
    assert chosen == [[0, 5], [1, 2, 4, 6, 7]]
    assert found.parts[1].select(targets)[[1, 2]].tolist() == [0, -1]


@pytest.mark.parametrize("devices", [1, 2])
def test_every_device_gets_its_share_of_both(devices):
    def part(label, size):
        stamps = np.arange(3 * size, dtype=np.float32) + (100 if label < 0 else 0)
        stamps = np.broadcast_to(stamps[:, None, None, None], (3 * size, 3, 4, 2))
        labels = np.full(3 * size, label, np.int32)
        return tf.data.Dataset.from_tensor_slices((stamps, labels)).batch(size)

    mixed = mixed_batches(part(1, 2), part(-1, 4), devices=devices)
    assert int(mixed.cardinality()) == 3
    assert mixed.element_spec[0].shape.as_list() == [None, 3, 4, 2]
    stamps, labels = next(iter(mixed.skip(1)))
    expected = {
        1: [2, 3, 104, 105, 106, 107],
        2: [2, 104, 105, 3, 106, 107],
    }[devices]
    assert stamps.shape == (6, 3, 4, 2)
    assert (stamps.numpy() == np.array(expected)[:, None, None, None]).all()
    assert labels.numpy().tolist() == [1 if number < 100 else -1 for number in expected]
