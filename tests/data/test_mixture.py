import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from rbkeras.data.mixture import labelled_per_batch, mixed_batches


@pytest.mark.parametrize(
    ("labelled", "unlabelled", "share", "devices", "expected"),
    [
        (600, 5400, 0.5, 1, 32),
        (600, 5400, 0.25, 1, 16),
        (600, 5400, 0.5, 4, 32),
        # As many as asked for have labels without it.
        (600, 600, 0.5, 1, None),
        (599, 601, 0.5, 1, 32),
        (600, 5400, 0.1, 1, None),
        (600, 5400, 0.0, 1, None),
        # Nothing to mix.
        (600, 0, 0.99, 1, None),
        (0, 600, 0.5, 1, None),
        # Neither kind is left out, of no device.
        (1, 10**6, 1e-5, 1, 1),
        (600, 5400, 0.999, 1, 63),
        (600, 5400, 0.999, 8, 56),
        (600, 5400, 0.5, 64, None),
    ],
)
def test_labelled_stamps_of_a_batch_of_64(labelled, unlabelled, share, devices, expected):
    found = labelled_per_batch(labelled, unlabelled, share=share, batch_size=64, devices=devices)
    assert found == expected


@given(
    st.integers(0, 50),
    st.integers(0, 50),
    st.floats(0, 1, exclude_max=True),
    st.integers(1, 20),
    st.integers(1, 4),
)
def test_labelled_stamps_of_any_batch(labelled, unlabelled, share, each, devices):
    options = {"batch_size": each * devices, "devices": devices}
    found = labelled_per_batch(labelled, unlabelled, share=share, **options)
    if found is not None:
        assert labelled < share * (labelled + unlabelled)
        assert found % devices == 0
        assert 0 < found < each * devices
        assert abs(found / devices - share * each) <= 1


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
