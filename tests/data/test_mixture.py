import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from rbkeras.data.labels import SKIP
from rbkeras.data.mixture import find_mixture, mixed_batches


def mixture(real, bogus, unlabelled, *, labelled_share=0.5, minority_share=0.0, **options):
    targets = np.repeat(np.array([1, 0, -1, SKIP], np.int8), [real, bogus, unlabelled, 7])
    return find_mixture(
        targets, labelled_share=labelled_share, minority_share=minority_share, **options
    )


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
        assert found.sizes == {"labelled": expected, "unlabelled": 64 - expected}
        assert found.labelled == expected
        assert found.prevalence is None


@pytest.mark.parametrize(
    ("counts", "shares", "devices", "expected"),
    [
        ((600, 5400, 0), (0.5, 0.25), 1, {"real": 16, "bogus": 48}),
        ((5400, 600, 0), (0.5, 0.25), 1, {"real": 48, "bogus": 16}),
        ((600, 5400, 0), (0.5, 0.5), 4, {"real": 32, "bogus": 32}),
        # As many as asked for are there without it.
        ((600, 1800, 0), (0.5, 0.25), 1, None),
        ((600, 1801, 0), (0.5, 0.25), 1, {"real": 16, "bogus": 48}),
        ((600, 5400, 0), (0.5, 0.0), 1, None),
        ((0, 5400, 0), (0.5, 0.5), 1, None),
        # The unlabelled keep the share that they have, or that which is asked for.
        ((300, 5400, 300), (0.5, 0.25), 1, {"real": 15, "bogus": 46, "unlabelled": 3}),
        ((100, 900, 5000), (0.5, 0.25), 1, {"real": 8, "bogus": 24, "unlabelled": 32}),
        ((100, 900, 5000), (0.0, 0.25), 1, {"real": 3, "bogus": 8, "unlabelled": 53}),
        # None of the three is left out, of no device.
        ((1, 10**6, 1), (0.5, 1e-5), 1, {"real": 1, "bogus": 62, "unlabelled": 1}),
        ((1, 9, 1), (0.5, 0.5), 16, {"real": 16, "bogus": 32, "unlabelled": 16}),
        ((1, 9, 1), (0.5, 0.5), 32, None),
    ],
)
def test_classes_of_a_batch_of_64(counts, shares, devices, expected):
    labelled_share, minority_share = shares
    found = mixture(
        *counts,
        labelled_share=labelled_share,
        minority_share=minority_share,
        batch_size=64,
        devices=devices,
    )
    if expected is None:
        assert found is None
    else:
        assert found.sizes == expected
        assert found.prevalence == expected["real"] / (expected["real"] + expected["bogus"])


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
    found = mixture(
        *counts,
        labelled_share=labelled_share,
        minority_share=minority_share,
        batch_size=each * devices,
        devices=devices,
    )
    if found is None:
        return
    assert found.batch_size == each * devices
    assert all(size % devices == 0 and size > 0 for size in found.sizes.values())
    real, bogus, unlabelled = counts
    assert ("unlabelled" in found.sizes) == (unlabelled > 0)
    if found.prevalence is None:
        assert real + bogus < labelled_share * sum(counts)
        assert abs(found.labelled / devices - labelled_share * each) <= 1
    else:
        rare = min(found.prevalence, 1 - found.prevalence)
        assert min(real, bogus) < minority_share * (real + bogus)
        assert abs(rare - minority_share) * found.labelled / devices <= 1


def test_parts_are_disjoint_and_cover_what_is_selected():
    targets = np.array([1, 0, -1, SKIP, 0, 1, 0, 0], np.int8)
    options = {"batch_size": 8, "labelled_share": 0.0}
    parts = find_mixture(targets, minority_share=0.5, **options).parts(targets)
    assert list(parts) == ["real", "bogus", "unlabelled"]
    assert [np.flatnonzero(part != SKIP).tolist() for part in parts.values()] == [
        [0, 5],
        [1, 4, 6, 7],
        [2],
    ]


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
