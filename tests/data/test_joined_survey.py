"""Several survey directories as one."""

import os

import numpy as np
import pandas as pd
import pytest
from detectors import write_detector
from hypothesis import given
from hypothesis import strategies as st

from rbkeras import convert
from rbkeras.data.joined_survey import JoinedStamps, read_surveys
from rbkeras.data.records import open_records
from rbkeras.data.survey import read_survey
from rbkeras.errors import InputError


@pytest.fixture
def months(tmp_path, survey, random_stamps):
    """Detectors 1, 10 and 2; and a month later more of 2, with another column, and detector 11."""
    later = tmp_path / "later"
    write_detector(later, 2, random_stamps(5, detector=2, seed=1), ["real"] * 5, night=range(5))
    write_detector(later, 11, random_stamps(3, detector=11), ["bogus", "real", "unlabelled"])
    return survey, later


def run(*arguments):
    return convert.main([str(argument) for argument in arguments])


@given(
    st.lists(st.integers(1, 5), min_size=1, max_size=4),
    st.integers(-3, 25),
    st.integers(-3, 25),
)
def test_slices_are_those_of_the_joined_array(sizes, first, last):
    start, arrays = 0, []
    for size in sizes:
        numbers = np.arange(start, start + size, dtype=np.float32)
        arrays.append(np.broadcast_to(numbers[:, None, None, None], (size, 2, 3, 1)))
        start += size
    joined, expected = JoinedStamps(arrays), np.concatenate(arrays)
    assert joined.shape == expected.shape
    assert len(joined) == len(expected)
    np.testing.assert_array_equal(joined[first:last], expected[first:last])
    np.testing.assert_array_equal(joined[:], expected)


def test_numbers_do_not_depend_on_where_a_slice_ends():
    arrays = [np.ones((2, 1, 1, 1), np.float32), np.full((2, 1, 1, 1), 1 / 3)]
    assert JoinedStamps(arrays)[:1].dtype == JoinedStamps(arrays)[2:].dtype == np.float64
    with pytest.raises(ValueError, match="without gaps"):
        JoinedStamps(arrays)[::2]


def test_stamps_of_a_detector_follow_one_another(months, tmp_path, read_all):
    assert run(*months, tmp_path / "out") == 0
    records = open_records(tmp_path / "out")
    survey, later = months
    expected = [
        np.load(folder / f"images{number}.npy")
        for folder, number in ((survey, 1), (survey, 10), (later, 11), (survey, 2), (later, 2))
    ]
    np.testing.assert_array_equal(read_all(records), np.concatenate(expected))
    samples = records.samples
    assert records.sizes == (12, 12, 3, 17)
    second = samples[samples["detector_id"] == 2]
    assert second["sample_index"].tolist() == list(range(17))
    assert second["label"].tolist() == [0, 1, 1, -1, 0, 1] * 2 + [1] * 5
    assert second["night"].tolist()[12:] == list(range(5))
    assert second["night"].iloc[:12].isna().all()
    assert second["objectId"].iloc[12:].isna().all()


def test_a_month_is_added_without_writing_the_others_anew(months, tmp_path):
    survey, later = months
    assert run(survey, tmp_path / "out") == 0
    first = tmp_path / "out" / "data1.tfrecord"
    written = first.stat().st_mtime_ns
    assert run(survey, later, tmp_path / "out") == 0
    assert first.stat().st_mtime_ns == written
    once = {path.name: path.read_bytes() for path in (tmp_path / "out").glob("data*")}
    assert run(survey, later, tmp_path / "anew") == 0
    assert once == {path.name: path.read_bytes() for path in (tmp_path / "anew").glob("data*")}


def test_the_earlier_months_are_not_dropped(months, tmp_path, fails_with):
    assert run(*months, tmp_path / "out") == 0
    for path in months[1].glob("*11.*"):
        path.unlink()
    assert run(*months, tmp_path / "without") == 0
    for out, lost in (("out", "3 stamps of detector 11"), ("without", "17 stamps of detector 2")):
        assert lost in fails_with(convert.main, [months[0], tmp_path / out])


def test_an_archive_that_has_moved_is_no_other_survey(months, tmp_path):
    survey, later = months
    for number in (1, 10):
        (survey / f"images{number}.npy").unlink()
        (survey / f"params{number}.csv").unlink()
    assert run(survey, tmp_path / "out") == 0
    moved = survey.rename(tmp_path / "moved")
    assert run(moved, later, tmp_path / "out") == 0
    assert open_records(tmp_path / "out").sizes == (3, 17)


def test_records_are_not_written_into_a_survey(months, tmp_path, fails_with):
    survey, later = months
    before = sorted(later.iterdir())
    assert "named last" in fails_with(convert.main, [survey, later])
    assert sorted(later.iterdir()) == before
    for name in ("stamps.csv", "night.avro"):
        folder = tmp_path / name.partition(".")[0]
        folder.mkdir()
        (folder / name).touch()
        assert "named last" in fails_with(convert.main, [survey, folder])
        assert [path.name for path in folder.iterdir()] == [name]


def test_as_many_files_as_the_system_permits(months, tmp_path, random_stamps):
    import resource

    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    for number in range(20, 60):
        write_detector(months[1], number, random_stamps(1, detector=number), ["real"])
    try:
        resource.setrlimit(
            resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) + 20, limits[1])
        )
        with pytest.raises(OSError, match="Too many open files"):
            list(read_surveys(months))
        assert run(*months, tmp_path / "out") == 0
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_one_folder_alone_is_what_it_was(survey):
    alone = [detector.checksums() for detector in read_survey(survey)]
    assert [detector.checksums() for detector in read_surveys([survey])] == alone


def test_checksums_tell_of_order_and_of_every_table(months):
    def second(*folders):
        return next(one for one in read_surveys(folders) if one.detector_id == 2).checksums()

    before = second(*months)
    assert second(*reversed(months))["images_sha256"] != before["images_sha256"]
    table = pd.read_csv(months[1] / "params2.csv").replace("real", "bogus")
    table.to_csv(months[1] / "params2.csv", index=False)
    assert second(*months)["params_sha256"] != before["params_sha256"]
    assert second(*months)["images_sha256"] == before["images_sha256"]


def test_the_same_stamps_are_not_taken_twice(months, tmp_path, fails_with):
    survey, later = months
    grown = np.concatenate([np.load(folder / "images2.npy") for folder in (survey, later)])
    write_detector(later, 2, grown, ["real"] * 17)
    said = fails_with(convert.main, [survey, later, tmp_path / "out"])
    assert "the same 12 at the beginning of both" in said
    assert str(later / "images2.npy") in said
    assert not (tmp_path / "out" / "manifest.json").exists()


def test_other_shapes_name_the_folder(months, random_stamps):
    write_detector(months[1], 11, random_stamps(3, (9, 9, 3), 11), ["bogus"] * 3)
    write_detector(months[1], 2, random_stamps(3, (9, 9, 3), 2), ["bogus"] * 3)
    with pytest.raises(InputError, match=r"later.images11.npy: expected stamps of shape \(7, 7, 3"):
        list(read_surveys(months))


def test_a_folder_that_is_no_survey_is_named(months, tmp_path, fails_with):
    (tmp_path / "empty").mkdir()
    said = fails_with(convert.main, [*months, tmp_path / "empty", tmp_path / "out"])
    assert "empty: expected images<ID>.npy files" in said
