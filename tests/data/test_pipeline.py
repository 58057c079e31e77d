import numpy as np
import pytest
import tensorflow as tf

from rbkeras.data import parsing, pipeline
from rbkeras.data.labels import SKIP
from rbkeras.data.pipeline import array_dataset, stamp_dataset
from rbkeras.data.records import open_records, reading
from rbkeras.data.splits import stratified_folds, validation_mask
from rbkeras.data.write_records import convert_survey
from rbkeras.errors import InputError

EVERYONE = [1000 * detector + row for detector in (1, 10, 2) for row in range(12)]
ALL = np.zeros(36, np.int8)


@pytest.fixture(scope="module")
def records(records_dir):
    return open_records(records_dir)


def who(stamps):
    """Which stamps these are, by what their first pixel says."""
    return stamps[:, 0, 0, 0].astype(int).tolist()


def yielded(dataset):
    """Identities and labels of one epoch, in order."""
    batches = list(dataset.as_numpy_iterator())
    return (
        [one for stamps, _ in batches for one in who(stamps)],
        [int(label) for _, labels in batches for label in labels],
    )


# --- selection and relabelling -----------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"shuffle_buffer": 20}, {"cache": "memory"}])
def test_training_and_validation_tensors_are_disjoint_and_cover_everything(records, options):
    labels = records.samples["label"].to_numpy()
    held_out = validation_mask(labels, records.samples["detector_id"], fraction=0.2, seed=0)
    training, _ = yielded(
        stamp_dataset(records, np.where(held_out, SKIP, labels), batch_size=4, **options)
    )
    validation, _ = yielded(
        stamp_dataset(records, np.where(held_out, labels, SKIP), batch_size=4, **options)
    )
    assert set(training).isdisjoint(validation)
    assert sorted(training + validation) == sorted(EVERYONE)
    assert len(validation) == held_out.sum() > 0


def test_every_stamp_is_held_out_by_exactly_one_fold(records):
    samples = records.samples
    fold_of = stratified_folds(samples["label"], samples["detector_id"], folds=5, seed=0)
    seen = []
    for fold in range(5):
        parts = [
            yielded(stamp_dataset(records, np.where(mask, 0, SKIP), batch_size=4))[0]
            for mask in (fold_of == fold, fold_of != fold)
        ]
        assert sorted(parts[0] + parts[1]) == sorted(EVERYONE)
        seen += parts[0]
    assert sorted(seen) == sorted(EVERYONE)


@pytest.mark.parametrize("shuffle_buffer", [0, 36])
def test_targets_relabel_the_stamps_they_belong_to(records, shuffle_buffer):
    targets = np.random.default_rng(0).choice([SKIP, -1, 0, 1], 36)
    expected = {one: t for one, t in zip(EVERYONE, targets, strict=True) if t != SKIP}
    dataset = stamp_dataset(records, targets, batch_size=5, shuffle_buffer=shuffle_buffer)
    identities, labels = yielded(dataset)
    assert dict(zip(identities, labels, strict=True)) == expected
    assert len(identities) == len(expected)
    assert dataset.element_spec[1].dtype == tf.int32


def test_the_files_order_is_kept_without_shuffling(records):
    assert yielded(stamp_dataset(records, ALL, batch_size=7))[0] == EVERYONE


def test_unique_index_comes_in_place_of_labels(records):
    targets = np.where(np.arange(36) % 3, SKIP, 1)
    identities, index = yielded(stamp_dataset(records, targets, batch_size=7, with_index=True))
    assert index == list(range(0, 36, 3))
    assert identities == EVERYONE[::3]


def test_stamps_in_the_files_order_are_moved_by_the_seed(records):
    def batches(seed):
        dataset = stamp_dataset(records, ALL, batch_size=12, augment=True, seed=seed)
        return [stamps.tobytes() for stamps, _ in dataset.as_numpy_iterator()]

    assert batches(1) == batches(1)
    assert set(batches(1)).isdisjoint(batches(2))


def test_targets_of_another_length_are_refused(records):
    with pytest.raises(ValueError, match=r"expected shape \(36,\), got \(35,\)"):
        stamp_dataset(records, np.zeros(35), batch_size=4)


# --- batches -----------------------------------------------------------------------------------


@pytest.mark.parametrize("batch_size", [1, 5, 36, 100])
@pytest.mark.parametrize("selected", [36, 25, 1, 0])
@pytest.mark.parametrize("options", [{}, {"shuffle_buffer": 9, "augment": True}])
def test_cardinality_is_the_number_of_batches(records, batch_size, selected, options):
    targets = np.full(36, SKIP)
    targets[np.random.default_rng(1).permutation(36)[:selected]] = 1
    dataset = stamp_dataset(records, targets, batch_size=batch_size, **options)
    sizes = [len(stamps) for stamps, _ in dataset]
    assert len(sizes) == int(dataset.cardinality()) == -(-selected // batch_size)
    assert sum(sizes) == selected
    assert all(size == batch_size for size in sizes[:-1])


def test_stamps_of_any_shape_keep_every_bit(tmp_path, make_survey, shape):
    convert_survey(make_survey(tmp_path / "survey", shape=shape), tmp_path / "r", progress=False)
    records = open_records(tmp_path / "r")
    dataset = stamp_dataset(records, ALL, batch_size=10)
    expected = [np.load(tmp_path / "survey" / f"images{i}.npy") for i in (1, 10, 2)]
    stamps = np.concatenate([stamps for stamps, _ in dataset.as_numpy_iterator()])
    assert stamps.tobytes() == np.concatenate(expected).tobytes()
    assert dataset.element_spec[0].shape.as_list() == [None, *shape]


# --- shuffling and caching ---------------------------------------------------------------------


@pytest.mark.parametrize("cache", [None, "memory"])
def test_each_epoch_has_all_stamps_in_another_order(records, cache):
    dataset = stamp_dataset(records, ALL, batch_size=5, shuffle_buffer=36, cache=cache)
    first, second = yielded(dataset)[0], yielded(dataset)[0]
    assert sorted(first) == sorted(second) == sorted(EVERYONE)
    assert first != second
    assert EVERYONE not in (first, second)


def test_each_epoch_has_the_files_in_another_order(records, monkeypatch):
    monkeypatch.setattr(parsing, "_INTERLEAVED_FILES", 1)
    monkeypatch.setattr(pipeline, "has_blocks", lambda _: False)
    dataset = stamp_dataset(records, ALL, batch_size=12, shuffle_buffer=1)
    orders = {tuple(one // 1000 for one in yielded(dataset)[0][::12]) for _ in range(8)}
    assert len(orders) > 1
    assert all(sorted(order) == [1, 2, 10] for order in orders)


@pytest.mark.parametrize("cache", [None, "memory"])
def test_one_shuffled_order_can_be_kept(records, cache):
    dataset = stamp_dataset(
        records, ALL, batch_size=5, shuffle_buffer=36, reshuffle=False, cache=cache
    )
    first, second = yielded(dataset)[0], yielded(dataset)[0]
    assert first == second != EVERYONE
    assert sorted(first) == sorted(EVERYONE)


@pytest.mark.parametrize("cache", [None, "memory"])
def test_a_seed_gives_the_same_epochs_again_and_another_seed_others(records, cache):
    def epochs(seed):
        dataset = stamp_dataset(
            records, ALL, batch_size=5, shuffle_buffer=20, seed=seed, augment=True, cache=cache
        )
        return [batch.tobytes() for _ in range(2) for batch, _ in dataset.as_numpy_iterator()]

    tf.random.set_seed(7)
    first, again, other = epochs(1), epochs(1), epochs(2)
    assert first == again
    assert set(first).isdisjoint(other)


@pytest.mark.parametrize("cache", [None, "memory"])
@pytest.mark.parametrize("samples", [0, 7, 36, 50, 108])
def test_an_epoch_may_have_fewer_stamps_or_more(records, cache, samples):
    options = {"batch_size": 8, "shuffle_buffer": 20, "samples": samples, "cache": cache}
    datasets = [stamp_dataset(records, ALL, **options) for _ in range(2)]
    epochs = [[yielded(dataset)[0] for dataset in datasets] for _ in range(3)]
    assert int(datasets[0].cardinality()) == -(-samples // 8)
    for epoch, again in epochs:
        assert epoch == again
        assert len(epoch) == samples
        for first in range(0, samples, 36):
            once = epoch[first : first + 36]
            assert len(set(once)) == len(once)
    if samples:
        assert epochs[0] != epochs[1] != epochs[2]


def test_more_stamps_than_none_are_refused(records):
    nobody = np.full(36, SKIP)
    with pytest.raises(ValueError, match="expected targets that select some, got 5 of none"):
        stamp_dataset(records, nobody, batch_size=4, shuffle_buffer=9, samples=5)
    with pytest.raises(ValueError, match="expected shuffle_buffer with it"):
        stamp_dataset(records, ALL, batch_size=4, samples=5)


@pytest.mark.parametrize("cache", [None, "memory"])
def test_shuffled_batches_mix_detectors(records, cache):
    dataset = stamp_dataset(records, ALL, batch_size=12, shuffle_buffer=36, cache=cache)
    for stamps, _ in dataset.as_numpy_iterator():
        assert len({one // 1000 for one in who(stamps)}) > 1


@pytest.mark.parametrize("kind", ["memory", "disk"])
def test_a_cache_is_whole_after_an_epoch_of_fewer_stamps(own_records, tmp_path, kind):
    records = open_records(own_records)
    cache = "memory" if kind == "memory" else tmp_path / "cache"
    options = {"batch_size": 4, "shuffle_buffer": 2, "samples": 9, "cache": cache}
    dataset = stamp_dataset(records, ALL, **options)
    for epoch in range(3):
        # As Keras does, which asks for no element after the last.
        iterator = iter(dataset)
        found = [one for _ in range(3) for one in who(next(iterator)[0].numpy())]
        assert len(set(found)) == len(found) == 9
        if epoch == 0:
            for path in records.files:
                path.unlink()


@pytest.mark.parametrize("compress", [False, True])
def test_few_stamps_that_come_often_are_read_once(survey, tmp_path, compress):
    convert_survey(survey, tmp_path / "r", compress=compress, progress=False)
    records = open_records(tmp_path / "r")
    targets = np.where(np.arange(36) % 9, SKIP, 1)
    dataset = stamp_dataset(records, targets, batch_size=4, shuffle_buffer=9, samples=10)
    epochs = []
    for _ in range(3):
        iterator = iter(dataset)
        batches = [next(iterator) for _ in range(3)]
        epochs.append([one for stamps, _ in batches for one in who(stamps.numpy())])
        for path in records.files:
            path.unlink(missing_ok=True)
    for epoch in epochs:
        assert sorted(epoch[:4]) == sorted(epoch[4:8]) == sorted(EVERYONE[::9])
        assert len(set(epoch[8:])) == 2
    assert len({tuple(epoch) for epoch in epochs}) == 3


@pytest.mark.parametrize("kind", ["memory", "disk"])
def test_cached_stamps_equal_streamed_ones_and_are_read_only_once(own_records, tmp_path, kind):
    records = open_records(own_records)
    targets = np.where(np.arange(36) % 2, SKIP, 1)
    cache = "memory" if kind == "memory" else tmp_path / "cache"
    plain = stamp_dataset(records, targets, batch_size=5)
    cached = stamp_dataset(records, targets, batch_size=5, cache=cache)
    expected = [batch.tobytes() for batch, _ in plain.as_numpy_iterator()]
    for epoch in range(2):
        assert [batch.tobytes() for batch, _ in cached.as_numpy_iterator()] == expected
        if epoch == 0:
            for path in records.files:
                path.unlink()
    missing = pytest.raises(
        InputError, match=r"unreadable record at data\d+.tfrecord: No such file"
    )
    with missing, reading(records.directory):
        list(plain)


# --- arrays ------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["f4", ">f8", "i2"])
@pytest.mark.parametrize("size", [0, 1, 10, 11])
def test_an_array_is_streamed_as_float32_batches(dtype, size):
    stamps = (100 * np.random.default_rng(0).normal(size=(size, 4, 5, 2))).astype(dtype)
    dataset = array_dataset(stamps, batch_size=5)
    batches = list(dataset.as_numpy_iterator())
    assert len(batches) == int(dataset.cardinality())
    assert all(batch.dtype == np.float32 for batch in batches)
    if size:
        np.testing.assert_array_equal(np.concatenate(batches), stamps.astype(np.float32))
