import io
import itertools

import numpy as np
import pytest
import tensorflow as tf

from rbkeras.data import blocks
from rbkeras.data.blocks import (
    ShuffledBlocks,
    count_selected_blocks,
    has_blocks,
    ordered_blocks,
    selected_blocks,
)
from rbkeras.data.drawn import drawn
from rbkeras.data.labels import SKIP
from rbkeras.data.pipeline import stamp_dataset
from rbkeras.data.records import open_records
from rbkeras.data.write_records import convert_survey

SIZES = (70, 1, 40)


@pytest.fixture(scope="module")
def survey(tmp_path_factory):
    """Stamps whose every pixel is their unique_index."""
    folder = tmp_path_factory.mktemp("blocks") / "survey"
    folder.mkdir()
    start = 0
    for detector, size in zip((1, 2, 3), SIZES, strict=True):
        numbers = np.arange(start, start + size, dtype=np.float32)
        images = np.broadcast_to(numbers[:, None, None, None], (size, 5, 4, 3))
        np.save(folder / f"images{detector}.npy", images)
        names = "\n".join(["object_type", *["real", "bogus"] * size][: size + 1])
        (folder / f"params{detector}.csv").write_text(names + "\n")
        start += size
    return folder


@pytest.fixture
def records(survey, tmp_path, monkeypatch):
    monkeypatch.setattr(blocks, "BLOCK", 16)
    monkeypatch.setattr(blocks, "SHUFFLED_BLOCK", 8)
    convert_survey(survey, tmp_path / "records", progress=False)
    return open_records(tmp_path / "records")


def targets_of(selected):
    targets = np.full(sum(SIZES), SKIP, np.int8)
    targets[list(selected)] = 1
    return targets


def shuffled(records, targets, *, pool_size=1000, seed=0):
    return ShuffledBlocks(records, targets, pool_size=pool_size, seed=seed)


@pytest.mark.parametrize("selected", [range(111), [0], [69, 70, 71], range(0, 111, 7), []])
def test_blocks_hold_the_selected_stamps_in_the_files_order(records, selected):
    found = list(selected_blocks(records, targets_of(selected)))
    index = [int(i) for _, block in found for i in block]
    assert index == list(selected)
    for stamps, block in found:
        assert stamps.dtype == np.float32
        assert stamps.shape == (len(block), 5, 4, 3)
        assert (stamps == block[:, None, None, None]).all()


def blocks_until(blocks, samples):
    """Count the blocks in which the first so many samples lie, by looking."""
    count = 0
    for _, index in blocks:
        if samples <= 0:
            break
        samples -= len(index)
        count += 1
    return count


@pytest.mark.parametrize("samples", [0, 1, 7, 8, 9, 16, 30, 87, 88, 89, 200, 264])
@pytest.mark.parametrize("pool_size", [3, 8, 30, 1000])
def test_blocks_are_counted_without_reading(records, samples, pool_size):
    targets = targets_of(i for i in range(111) if i % 5)
    given = shuffled(records, targets, pool_size=pool_size)
    three = itertools.chain.from_iterable(given() for _ in range(3))
    assert given.count(samples=samples) == blocks_until(three, samples)
    if samples <= 88:
        counted = count_selected_blocks(records, targets, samples=samples)
        assert counted == blocks_until(selected_blocks(records, targets), samples)


@pytest.mark.parametrize("size", [1, 7, 16, 50, 500])
@pytest.mark.parametrize("start", [0, 1, 69, 110, 111])
def test_ordered_blocks_have_one_size_whatever_the_files(records, start, size):
    found = list(ordered_blocks(records, start=start, size=size))
    assert [int(i) for _, index in found for i in index] == list(range(start, 111))
    assert all(len(index) == size for _, index in found[:-1])
    assert all((stamps[:, 0, 0, 0] == index).all() for stamps, index in found)


def test_large_ordered_blocks_are_joined_once(records, monkeypatch):
    joined = []

    def counting(kept, join=blocks._joined):
        joined.append(sum(len(index) for _, index in kept))
        return join(kept)

    monkeypatch.setattr(blocks, "_joined", counting)
    assert len(list(ordered_blocks(records, start=0, size=500))) == 1
    assert joined == [111]


@pytest.mark.parametrize("pool_size", [1, 8, 30, 1000])
def test_every_epoch_has_each_selected_stamp_once_in_another_order(records, pool_size):
    selected = [i for i in range(111) if i % 5]
    given = shuffled(records, targets_of(selected), pool_size=pool_size)
    orders = []
    for _ in range(3):
        epoch = [(stamps[:, 0, 0, 0].astype(int), index) for stamps, index in given()]
        assert all(0 < len(index) <= min(8, pool_size) for _, index in epoch)
        assert all((pixels == index).all() for pixels, index in epoch)
        orders.append(np.concatenate([index for _, index in epoch]).tolist())
        assert sorted(orders[-1]) == selected
    assert len({tuple(order) for order in orders}) == 3


def test_the_seed_settles_the_order(records):
    def orders(seed):
        given = shuffled(records, targets_of(range(111)), seed=seed)
        return [[index.tolist() for _, index in given()] for _ in range(2)]

    assert orders(3) == orders(3) != orders(4)


def test_a_pool_of_everything_mixes_all_files(records):
    """Any stamp may come anywhere: the mean place of each, over epochs, is the middle."""
    given = shuffled(records, targets_of(range(111)))
    orders = [np.concatenate([index for _, index in given()]) for _ in range(400)]
    places = np.stack([np.argsort(order) for order in orders])
    # The mean of 400 uniform places of 0 to 110 has a standard deviation of 1.6.
    assert np.abs(places.mean(axis=0) - 55).max() < 8


def test_blocks_kept_for_later_do_not_change(records):
    """tf.data may hold on to an array that it was given; the pool is written again meanwhile."""
    given = shuffled(records, targets_of(range(111)), pool_size=8)
    signature = (tf.TensorSpec((None, 5, 4, 3), tf.float32), tf.TensorSpec((None,), tf.int64))
    dataset = drawn(given, count=given.count(samples=111), signature=signature).prefetch(20)
    for stamps, index in list(dataset) + list(dataset):
        assert (stamps.numpy()[:, 0, 0, 0] == index.numpy()).all()


def test_two_epochs_at_once_do_not_disturb_each_other(records):
    given = shuffled(records, targets_of(range(111)), pool_size=16)
    for pair in itertools.zip_longest(given(), given()):
        for stamps, index in pair:
            assert (stamps[:, 0, 0, 0] == index).all()


@pytest.mark.parametrize("shuffle_buffer", [0, 50])
@pytest.mark.parametrize("place", [0.0, 0.3, 0.999])
def test_damage_inside_a_record_is_found_when_it_is_read(records, shuffle_buffer, place):
    path, bad = records.files[0], 35
    content = bytearray(path.read_bytes())
    content[int((bad + place) * len(content) / SIZES[0])] ^= 1
    path.write_bytes(content)
    said = rf"corrupted record: .*, in {path.name}, \d+ or later"
    with pytest.raises(tf.errors.InvalidArgumentError, match=said):
        list(stamp_dataset(records, targets_of([bad]), batch_size=4, shuffle_buffer=shuffle_buffer))
    others = targets_of(i for i in range(111) if i != bad)
    assert list(stamp_dataset(records, others, batch_size=4, shuffle_buffer=shuffle_buffer))


def test_a_file_cut_short_after_it_was_opened_is_found(records):
    dataset = stamp_dataset(records, targets_of(range(111)), batch_size=4)
    content = records.files[0].read_bytes()
    records.files[0].write_bytes(content[:-10])
    with pytest.raises(tf.errors.InvalidArgumentError, match="truncated record"):
        list(dataset)


def test_short_reads_are_no_end_of_a_file(records, monkeypatch):
    class Slow(io.FileIO):
        def readinto(self, buffer):
            return super().readinto(memoryview(buffer).cast("B")[:1000])

    monkeypatch.setattr("pathlib.Path.open", lambda path, *_, **__: Slow(path))
    found = list(selected_blocks(records, targets_of(range(111))))
    assert sum(len(index) for _, index in found) == 111
    assert all((stamps == index[:, None, None, None]).all() for stamps, index in found)


def test_only_records_of_our_layout_have_blocks(survey, records, tmp_path):
    assert has_blocks(records)
    convert_survey(survey, tmp_path / "packed", compress=True, progress=False)
    assert not has_blocks(open_records(tmp_path / "packed"))
