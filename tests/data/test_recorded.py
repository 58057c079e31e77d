"""Records as something to convert, alone and joined with others."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from detectors import write_detector
from hypothesis import given
from hypothesis import strategies as st

from rbkeras import check, convert
from rbkeras.data.encoding import frame_block
from rbkeras.data.recorded import RecordedStamps, read_recorded
from rbkeras.data.records import open_records
from rbkeras.data.streamed_records import StreamedRecords
from rbkeras.data.survey import read_survey
from rbkeras.data.write_records import convert_survey
from rbkeras.errors import InputError


def run(*arguments):
    return convert.main([str(argument) for argument in arguments])


def files_of(directory):
    return {path.name: path.read_bytes() for path in directory.glob("data*")}


@pytest.fixture
def later(tmp_path, random_stamps):
    """More of detector 2, with a column of its own, and a detector 11."""
    folder = tmp_path / "later"
    write_detector(folder, 2, random_stamps(5, detector=2, seed=1), ["real"] * 5, night=range(5))
    write_detector(folder, 11, random_stamps(3, detector=11), ["bogus", "real", "unlabelled"])
    return folder


@pytest.fixture(scope="module")
def one_file(tmp_path_factory):
    """Nine stamps in a file of records."""
    stamps = np.random.default_rng(3).normal(size=(9, 3, 2, 2)).astype("<f4")
    stamps[4, 1, 1, 0] = np.nan
    path = tmp_path_factory.mktemp("records") / "data7.tfrecord"
    names = ("label", "detector_id", "sample_index", "unique_index")
    path.write_bytes(frame_block(stamps, **dict.fromkeys(names, 1)).tobytes())
    return path, stamps


@given(first=st.none() | st.integers(-12, 12), last=st.none() | st.integers(-12, 12))
def test_slices_are_those_of_the_array(one_file, first, last):
    path, stamps = one_file
    recorded = RecordedStamps(path, *stamps.shape[:1], stamps.shape[1:])
    assert recorded.shape == stamps.shape
    assert len(recorded) == 9
    np.testing.assert_array_equal(recorded[first:last], stamps[first:last])
    assert recorded[first:last].dtype == stamps.dtype


def test_records_have_the_detectors_of_their_survey(survey, tmp_path):
    assert run(survey, tmp_path / "records") == 0
    recorded = list(read_recorded(tmp_path / "records"))
    for one, other in zip(recorded, read_survey(survey), strict=True):
        assert one.detector_id == other.detector_id
        np.testing.assert_array_equal(one.stamps[:], other.stamps)
        np.testing.assert_array_equal(one.labels, other.labels)
        assert one.params.astype(str).to_dict("list") == other.params.astype(str).to_dict("list")


def test_records_in_the_place_of_their_survey_make_the_same(survey, later, tmp_path):
    assert run(survey, tmp_path / "first") == 0
    assert run(survey, later, tmp_path / "expected") == 0
    assert run(tmp_path / "first", later, tmp_path / "found") == 0
    assert files_of(tmp_path / "found") == files_of(tmp_path / "expected")
    found, expected = (open_records(tmp_path / name).samples for name in ("found", "expected"))
    pd.testing.assert_frame_equal(found, expected)


def test_two_records_directories_are_joined(survey, later, tmp_path):
    assert run(survey, tmp_path / "first") == 0
    assert run(later, tmp_path / "second") == 0
    assert run(survey, later, tmp_path / "expected") == 0
    assert run(tmp_path / "first", tmp_path / "second", tmp_path / "found") == 0
    assert files_of(tmp_path / "found") == files_of(tmp_path / "expected")


def test_detectors_come_in_the_order_of_their_names(tmp_path, random_stamps):
    for folder, detectors in (("some", (10, 2)), ("others", (101, 1))):
        for number in detectors:
            stamps = random_stamps(4, detector=number)
            write_detector(tmp_path / folder, number, stamps, ["real", "bogus"] * 2)
    assert run(tmp_path / "some", tmp_path / "records") == 0
    assert run(tmp_path / "records", tmp_path / "others", tmp_path / "out") == 0
    found = [path.name for path in open_records(tmp_path / "out").files]
    assert found == [f"data{number}.tfrecord" for number in (1, 10, 101, 2)]


def test_called_again_nothing_is_written_anew(survey, later, tmp_path):
    assert run(survey, tmp_path / "first") == 0
    assert run(tmp_path / "first", tmp_path / "out") == 0
    state = (tmp_path / "out" / "data1.tfrecord").stat().st_mtime_ns
    assert run(tmp_path / "first", later, tmp_path / "out") == 0
    assert (tmp_path / "out" / "data1.tfrecord").stat().st_mtime_ns == state


def test_labels_and_other_columns_count_to_the_checksums(tmp_path, random_stamps):
    write_detector(tmp_path / "survey", 1, random_stamps(4), ["junk", "star"] * 2)
    found = []
    for name, labels in (("one", ("junk=0", "star=1")), ("other", ("junk=1", "star=0"))):
        assert run(tmp_path / "survey", tmp_path / name, "--labels", *labels) == 0
        found.append(next(read_recorded(tmp_path / name)).checksums())
    assert found[0]["images_sha256"] == found[1]["images_sha256"]
    assert found[0]["params_sha256"] != found[1]["params_sha256"]
    samples = pd.read_parquet(tmp_path / "one" / "samples.parquet").assign(trusted=1)
    samples.to_parquet(tmp_path / "one" / "samples.parquet")
    trusted = next(read_recorded(tmp_path / "one")).checksums()
    assert trusted["params_sha256"] != found[0]["params_sha256"]


def test_names_of_labels_come_with_records(tmp_path, random_stamps, fails_with):
    write_detector(tmp_path / "old", 1, random_stamps(4), ["junk", "star"] * 2)
    write_detector(tmp_path / "new", 2, random_stamps(4, detector=2), ["junk", "real"] * 2)
    assert run(tmp_path / "old", tmp_path / "first", "--labels", "junk=0", "star=1") == 0
    assert run(tmp_path / "first", tmp_path / "new", tmp_path / "out") == 0
    assert open_records(tmp_path / "out").samples["label"].tolist() == [0, 1] * 4
    given = [tmp_path / "first", tmp_path / "new", tmp_path / "b", "--labels", "junk=real"]
    said = fails_with(convert.main, given)
    assert "expected junk to mean real as --labels or other records have it" in said
    assert f"{tmp_path / 'first'}: " in said


def test_nothing_is_written_over_what_is_read(own_records, later, fails_with):
    before = files_of(own_records)
    said = fails_with(convert.main, [own_records, later, own_records, "--overwrite"])
    assert "another directory to write" in said
    assert files_of(own_records) == before


@pytest.mark.parametrize("kind", ["compressed", "original"])
def test_records_that_cannot_be_read_from_the_middle(
    kind, survey, tmp_path, write_original, random_stamps, fails_with
):
    if kind == "compressed":
        assert run(survey, tmp_path / "first", "--compress") == 0
    else:
        write_original(tmp_path / "first", {1: (random_stamps(3), [0, 1, 1])})
    inputs = [tmp_path / "first", survey]
    said = fails_with(convert.main, [*inputs, tmp_path / "out"])
    assert "without --compress" in said
    assert not (tmp_path / "out" / "manifest.json").exists()


def test_compressed_records_are_converted_by_themselves(survey, tmp_path):
    assert run(survey, tmp_path / "expected") == 0
    assert run(survey, tmp_path / "compressed", "--compress") == 0
    assert run(tmp_path / "compressed", tmp_path / "found") == 0
    assert files_of(tmp_path / "found") == files_of(tmp_path / "expected")
    found, expected = (open_records(tmp_path / name).samples for name in ("found", "expected"))
    pd.testing.assert_frame_equal(found, expected, check_dtype=False)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("other", "samples that their table does not have"),
        ("more", "36 of 72 samples are there"),
        ("twice", "a sample stands in them twice"),
    ],
)
def test_a_table_of_other_records_is_told(change, words, survey, tmp_path, monkeypatch):
    assert run(survey, tmp_path / "compressed", "--compress") == 0
    source = StreamedRecords(tmp_path / "compressed")
    if change == "other":
        monkeypatch.setattr(source, "_places", source._places.map(lambda key: (key[0] + 1, key[1])))
    elif change == "more":
        monkeypatch.setattr(source, "_table", pd.concat([source._table] * 2))
    else:
        files = source._records.files
        shutil.copy(files[0], files[1])
    with pytest.raises(InputError, match=words):
        list(source.blocks(0, 10))


def test_labels_stay_as_they_were_converted(survey, tmp_path):
    # Whatever names say by now.
    assert run(survey, tmp_path / "first", "--compress") == 0
    samples = pd.read_parquet(tmp_path / "first" / "samples.parquet")
    samples["object_type"] = "real"
    samples.loc[5:, "object_type"] = None
    samples.to_parquet(tmp_path / "first" / "samples.parquet")
    assert run(tmp_path / "first", tmp_path / "out") == 0
    found = open_records(tmp_path / "out").samples["label"]
    assert found.tolist() == samples["label"].tolist()


def test_records_without_their_manifest_are_converted(own_records, tmp_path):
    expected = files_of(own_records)
    del expected["data_info.csv"]
    (own_records / "manifest.json").unlink()
    assert run(own_records, tmp_path / "out") == 0
    found = files_of(tmp_path / "out")
    assert {name: found[name] for name in expected} == expected


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32])
def test_records_are_not_joined_with_what_they_were_made_of(
    dtype, tmp_path, make_survey, fails_with
):
    survey = make_survey(tmp_path / "survey", dtype=dtype)
    for path in survey.glob("*.npy"):
        # Digits beyond those of float32.
        np.save(path, np.load(path) * np.asarray(1.2345678901234567, dtype))
    assert run(survey, tmp_path / "records") == 0
    said = fails_with(convert.main, [tmp_path / "records", survey, tmp_path / "out"])
    assert "the same 12 at the beginning of both" in said


def test_packets_are_packets_whatever_lies_beside_them(tmp_path, fails_with):
    folder = tmp_path / "night"
    folder.mkdir()
    (folder / "a.avro").write_bytes(b"no packets")
    (folder / "manifest.json").write_text("{}")
    assert "a.avro" in fails_with(convert.main, [folder, tmp_path / "out"])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"labels": {"real": [1]}}, "expected labels"),
        ({"labels": {"foo": 7}}, "expected labels"),
        ({"detectors": {"images_sha256": 5}}, "checksums of each detector"),
        ({"detectors": {"detector_id": 10**30}}, "checksums of each detector"),
        ({"detectors": {"detector_id": -3}}, "checksums of each detector"),
        ({"detectors": {"detector_id": 10}}, "expected each detector once"),
        ({"detectors": {"detector_id": 7}}, "has other detectors than manifest.json"),
    ],
)
def test_odd_manifests_are_told(change, words, own_records, later, tmp_path, fails_with):
    path = own_records / "manifest.json"
    manifest = json.loads(path.read_text())
    if "labels" in change:
        manifest |= change
    else:
        manifest["detectors"][0] |= change["detectors"]
    path.write_text(json.dumps(manifest))
    assert words in fails_with(convert.main, [own_records, later, tmp_path / "out"])
    assert not (tmp_path / "out" / "manifest.json").exists()


def test_the_originals_records_are_converted_by_themselves(
    tmp_path, write_original, random_stamps, read_all, fails_with
):
    labels = {2: [0, 1, -1, 1], 10: [1, 1, 0]}
    stamps = {number: random_stamps(len(own), detector=number) for number, own in labels.items()}
    original = tmp_path / "original"
    write_original(original, {number: (stamps[number], labels[number]) for number in (10, 2)})
    assert run(original, tmp_path / "out") == 0
    records = open_records(tmp_path / "out")
    assert [path.name for path in records.files] == ["data10.tfrecord", "data2.tfrecord"]
    np.testing.assert_array_equal(read_all(records), np.concatenate([stamps[10], stamps[2]]))
    assert records.samples["label"].tolist() == labels[10] + labels[2]
    assert check.main([str(tmp_path / "out")]) == 0
    said = fails_with(convert.main, [original, original, "--overwrite"])
    assert "another directory to write" in said
    cut = original / "data2.tfrecord"
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
    said = fails_with(convert.main, [original, tmp_path / "again"])
    assert "data2.tfrecord" in said
    assert not (tmp_path / "again").exists()


def test_damaged_records_are_told_and_do_no_harm(own_records, later, tmp_path, fails_with):
    path = own_records / "data10.tfrecord"
    content = bytearray(path.read_bytes())
    content[-100] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"corrupted record.*data10\.tfrecord"):
        convert_survey(own_records, tmp_path / "out", more=[later], progress=False)
    with pytest.raises(InputError, match="interrupted"):
        open_records(tmp_path / "out")
    path.write_bytes(content[:-1])
    said = fails_with(convert.main, [own_records, later, tmp_path / "out"])
    assert f"expected {len(content)} bytes, found {len(content) - 1}" in said


def test_a_file_cut_short_since_it_was_opened(own_records):
    detector = next(read_recorded(own_records))
    path = detector.files.images
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputError, match="ends before record 12"):
        detector.stamps[:]
    with pytest.raises(InputError, match="found it changed"):
        detector.require_unchanged()


def test_copied_records_are_as_good(own_records, tmp_path):
    assert run(own_records, tmp_path / "out") == 0
    shutil.rmtree(own_records)
    assert run(tmp_path / "out", tmp_path / "again") == 0
    assert files_of(tmp_path / "out") == files_of(tmp_path / "again")


def test_a_sample_that_stands_in_records_twice_is_told(survey, tmp_path, fails_with):
    records = tmp_path / "compressed"
    assert run(survey, records, "--compress") == 0
    samples = pd.read_parquet(records / "samples.parquet")
    samples.loc[samples["detector_id"] == 10, "sample_index"] = 4
    samples.to_parquet(records / "samples.parquet")
    said = fails_with(convert.main, [records, tmp_path / "out"])
    assert "found sample 4 of detector 10 again" in said


def test_joining_records_needs_no_tensorflow(own_records, later, tmp_path, write_original):
    write_original(tmp_path / "original", {1: (np.zeros((2, 7, 7, 3), np.float32), [0, 1])})
    code = f"""
import sys
from rbkeras import convert, inject
assert convert.main([{str(own_records)!r}, {str(later)!r}, {str(tmp_path / "out")!r}]) == 0
original = {str(tmp_path / "original")!r}
assert convert.main([original, {str(later)!r}, {str(tmp_path / "no")!r}]) == 2
assert inject.main([original, {str(tmp_path / "no")!r}]) == 2
assert 'tensorflow' not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)
