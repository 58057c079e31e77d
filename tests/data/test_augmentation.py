import numpy as np
import pytest
import tensorflow as tf

from rbkeras.data.augmentation import random_symmetry
from rbkeras.data.pipeline import stamp_dataset
from rbkeras.data.records import open_records
from rbkeras.data.write_records import convert_survey

ALL = np.zeros(36, np.int8)


@pytest.fixture(scope="module")
def records(records_dir):
    return open_records(records_dir)


def symmetries(stamp):
    """The symmetries of a stamp's outline: first flips, then those that swap the axes."""
    flips = [stamp, stamp[::-1], stamp[:, ::-1], stamp[::-1, ::-1]]
    if stamp.shape[0] != stamp.shape[1]:
        return flips
    return [*flips, np.rot90(stamp), np.rot90(stamp, 3), *(np.rot90(s) for s in flips[1:3])]


def moves_seen(dataset, originals, epochs):
    """Count which symmetry of its own original each stamp is; every stamp has to be one."""
    counts = np.zeros(len(symmetries(originals[0])), int)
    known = [[s.tobytes() for s in symmetries(original)] for original in originals]
    for _ in range(epochs):
        for stamps, index in dataset.as_numpy_iterator():
            for stamp, i in zip(stamps, index, strict=True):
                counts[known[i].index(stamp.tobytes())] += 1
    return counts


@pytest.mark.parametrize(("shape", "expected"), [((7, 7, 3), 8), ((9, 6, 2), 4), ((6, 6, 1), 8)])
def test_augmentation_draws_every_symmetry_equally_often_and_mixes_no_stamps(
    tmp_path, make_survey, shape, expected
):
    convert_survey(make_survey(tmp_path / "survey", shape=shape), tmp_path / "r", progress=False)
    records = open_records(tmp_path / "r")
    originals = np.concatenate(
        [np.load(tmp_path / "survey" / f"images{i}.npy") for i in (1, 10, 2)]
    )
    dataset = stamp_dataset(
        records, ALL, batch_size=10, augment=True, with_index=True, shuffle_buffer=36
    )
    counts = moves_seen(dataset, originals, epochs=8)
    assert len(counts) == expected
    chi_square = ((counts - counts.mean()) ** 2 / counts.mean()).sum()
    assert chi_square < 40  # exceeded once in a million by chance


def test_stamps_of_one_batch_are_moved_independently():
    stamp = np.arange(25, dtype=np.float32).reshape(1, 5, 5, 1)
    moved = random_symmetry(tf.repeat(stamp, 200, axis=0), tf.constant([1, 2])).numpy()
    assert len({one.tobytes() for one in moved}) == 8


def test_shifted_stamps_are_symmetries_with_repeated_edges():
    stamp = np.random.default_rng(0).normal(size=(7, 7, 2)).astype(np.float32)
    expected = set()
    for image in symmetries(stamp):
        padded = np.pad(image, ((2, 2), (2, 2), (0, 0)), mode="edge")
        expected |= {padded[i : i + 7, j : j + 7].tobytes() for i in range(5) for j in range(5)}
    batch = tf.repeat(stamp[np.newaxis], 4000, axis=0)
    moved = random_symmetry(batch, tf.constant([1, 2]), shift=2).numpy()
    assert {one.tobytes() for one in moved} == expected
    assert len(expected) == 8 * 25


def test_augmentation_differs_between_epochs(records):
    dataset = stamp_dataset(records, ALL, batch_size=36, augment=True)
    first, second = (next(dataset.as_numpy_iterator())[0] for _ in range(2))
    assert first.tobytes() != second.tobytes()


def test_without_augmentation_no_stamp_moves(records, read_all):
    first, second = read_all(records), read_all(records, shuffle_buffer=36)
    assert first.tobytes() == second.tobytes()
