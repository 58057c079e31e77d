"""Sources: blocks from any start, whatever the kind, and faults that are named."""

import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from rbkeras.data.records import open_records
from rbkeras.data.sources import open_source, require_stamp_shape
from rbkeras.errors import InputError


def test_astropy_is_loaded_for_fits_files_alone():
    code = "import sys, rbkeras.data.sources; assert 'astropy' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def read(source, start=0, size=5):
    """All blocks joined, and their lengths."""
    blocks = list(source.blocks(start, size))
    identity = pd.concat([table for table, _ in blocks], ignore_index=True)
    stamps = np.concatenate([stamps for _, stamps in blocks])
    assert all(len(table) == len(stamps) for table, stamps in blocks)
    return identity, stamps, [len(stamps) for _, stamps in blocks]


@pytest.mark.parametrize("start", [0, 5, 7, 11])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", [np.float32, ">f4", np.float64, np.uint8])
def test_arrays_are_read_from_any_start(tmp_path, random_stamps, dtype, order, start):
    stamps = np.abs(10 * random_stamps(12)).astype(dtype, order=order)
    np.save(tmp_path / "night.npy", stamps)
    source = open_source(tmp_path / "night.npy")
    assert (len(source), source.stamp_shape) == (12, (7, 7, 3))
    identity, found, lengths = read(source, start)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, stamps[start:].astype(np.float32))
    assert identity["sample_index"].tolist() == list(range(start, 12))
    assert lengths == [5] * ((12 - start) // 5) + [(12 - start) % 5] * ((12 - start) % 5 > 0)


def test_an_array_of_no_stamps_is_no_fault(tmp_path):
    np.save(tmp_path / "night.npy", np.zeros((0, 7, 7, 3), np.float32))
    source = open_source(tmp_path / "night.npy")
    assert (len(source), source.stamp_shape) == (0, (7, 7, 3))
    assert list(source.blocks(0, 5)) == []


def test_hostile_pixels_arrive_as_they_are(tmp_path):
    stamps = np.zeros((3, 7, 7, 1))
    stamps[:, 0, 0, 0] = np.nan, -np.inf, 1e300
    np.save(tmp_path / "night.npy", stamps)
    _, found, _ = read(open_source(tmp_path / "night.npy"))
    np.testing.assert_array_equal(found[:, 0, 0, 0], [np.nan, -np.inf, np.inf])


@pytest.mark.parametrize("order", ["C", "F"])
def test_an_array_cut_short_after_it_was_opened_is_named(tmp_path, random_stamps, order):
    path = tmp_path / "night.npy"
    np.save(path, np.asarray(random_stamps(12), order=order))
    source = open_source(path)
    blocks = source.blocks(0, 5)
    next(blocks)
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - 3 * 7 * 7 * 3 * 4)
    with pytest.raises(InputError, match=r"night\.npy: expected"):
        list(blocks)


# 12 records in each of three files: starts within a file, at its edge, and across files.
@pytest.mark.parametrize("start", [0, 5, 12, 23, 24, 35])
def test_records_are_read_from_any_start(records_dir, read_all, start):
    source = open_source(records_dir)
    records = open_records(records_dir)
    assert (len(source), source.stamp_shape) == (36, (7, 7, 3))
    identity, found, lengths = read(source, start)
    np.testing.assert_array_equal(found, read_all(records)[start:])
    expected = records.samples[["detector_id", "sample_index"]].iloc[start:]
    pd.testing.assert_frame_equal(identity, expected.reset_index(drop=True))
    assert set(lengths[:-1]) <= {5}


def test_the_original_s_records_are_read_too(tmp_path, write_original, random_stamps):
    detectors = {i: (random_stamps(6, detector=i), [0, 1, 0, 0, 1, 0]) for i in (1, 2)}
    source = open_source(write_original(tmp_path / "records", detectors))
    identity, found, _ = read(source, 4, 3)
    np.testing.assert_array_equal(found, np.concatenate([detectors[1][0], detectors[2][0]])[4:])
    assert identity["detector_id"].tolist() == [1] * 2 + [2] * 6
    assert identity["sample_index"].tolist() == [4, 5, *range(6)]


def test_records_of_raw_bytes_without_a_manifest_are_read(own_records):
    whole, expected, _ = read(open_source(own_records), 2)
    (own_records / "manifest.json").unlink()
    identity, stamps, _ = read(open_source(own_records), 2)
    np.testing.assert_array_equal(stamps, expected)
    pd.testing.assert_frame_equal(identity, whole, check_dtype=False)


def test_damage_inside_records_is_found_where_it_is(own_records):
    path = own_records / "data2.tfrecord"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    blocks = open_source(own_records).blocks(0, 4)
    assert len([next(blocks) for _ in range(3)]) == 3
    with pytest.raises(InputError, match="records: expected whole records"):
        list(blocks)


@pytest.mark.parametrize("name", ["none.npy", "empty"])
def test_what_is_no_source_is_refused(tmp_path, name):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=name):
        open_source(tmp_path / name)


def test_another_shape_names_source_and_both_shapes():
    require_stamp_shape((7, 7, 3), (7, 7, 3), source="night.npy")
    with pytest.raises(InputError, match=r"night\.npy: .*\(7, 7, 3\).* found \(7, 7, 2\)"):
        require_stamp_shape((7, 7, 2), (7, 7, 3), source="night.npy")


def test_reading_records_needs_no_table_of_all_of_them(own_records):
    whole = read(open_source(own_records), 5)
    (own_records / "samples.parquet").unlink()
    identity, stamps, _ = read(open_source(own_records), 5)
    pd.testing.assert_frame_equal(identity, whole[0])
    assert (stamps[:, 0, 0, 0] == 1000 * identity["detector_id"] + identity["sample_index"]).all()


def test_a_pipe_is_refused_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "night.npy")
    with pytest.raises(InputError, match=r"night\.npy: expected a \.npy file .* found a pipe"):
        open_source(tmp_path / "night.npy")
