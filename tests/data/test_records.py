import dataclasses
import gzip
import json
import os
import shutil
import threading

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from rbkeras.data import write_records
from rbkeras.data.joined_survey import read_surveys
from rbkeras.data.labels import DEFAULT_LABELS
from rbkeras.data.pipeline import stamp_dataset
from rbkeras.data.records import open_records, reading
from rbkeras.data.write_records import convert_survey
from rbkeras.errors import InputError
from rbkeras.locks import alone

ORDER = (1, 10, 2)  # of file names


def source(survey):
    return np.concatenate([np.load(survey / f"images{i}.npy") for i in ORDER])


def convert(survey, out, **options):
    convert_survey(survey, out, progress=False, **options)
    return open_records(out)


def manifest_of(directory):
    return json.loads((directory / "manifest.json").read_text())


def times(directory):
    return {path.name: path.stat().st_mtime_ns for path in directory.glob("data*.tfrecord")}


def flip(path, position):
    content = bytearray(path.read_bytes())
    content[position] ^= 0x10
    path.write_bytes(content)


class CutShortError(Exception):
    pass


def interrupt_after(monkeypatch, stamps):
    frame_block = write_records.frame_block
    left = iter(range(stamps))

    def limited(*arguments, **keywords):
        if next(left, None) is None:
            raise CutShortError
        return frame_block(*arguments, **keywords)

    monkeypatch.setattr(write_records, "_CHUNK", 1)
    monkeypatch.setattr(write_records, "frame_block", limited)


# --- writing and opening -----------------------------------------------------------------------


def test_stamps_come_back_bit_by_bit_whatever_their_shape(tmp_path, make_survey, shape, read_all):
    survey = make_survey(tmp_path / "survey", shape=shape)
    records = convert(survey, tmp_path / "out")
    assert records.stamp_shape == shape
    assert read_all(records).tobytes() == source(survey).tobytes()


def test_gzip_is_smaller_and_reads_the_same(tmp_path, make_survey, read_all):
    survey = make_survey(tmp_path / "survey")
    plain, packed = convert(survey, tmp_path / "a"), convert(survey, tmp_path / "b", compress=True)
    assert packed.compression == "GZIP"
    assert packed.files[0].read_bytes()[:2] == b"\x1f\x8b"
    assert packed.files[0].stat().st_size < plain.files[0].stat().st_size
    assert read_all(packed).tobytes() == read_all(plain).tobytes()
    assert packed.fingerprint == plain.fingerprint


@pytest.mark.parametrize("kind", [">f4", "f8", "f2", "i2", "u1", "fortran"])
def test_any_kind_of_number_is_stored_as_float32(tmp_path, make_survey, kind, read_all):
    dtype = "f4" if kind == "fortran" else kind
    survey = make_survey(tmp_path / "survey", dtype=dtype)
    if kind == "fortran":
        np.save(survey / "images1.npy", np.asfortranarray(np.load(survey / "images1.npy")))
    stamps = read_all(convert(survey, tmp_path / "out"))
    assert stamps.dtype == np.float32
    np.testing.assert_array_equal(stamps, source(survey).astype(np.float32))


def test_samples_hold_indices_labels_and_riding_columns(records_dir):
    samples = open_records(records_dir).samples
    assert samples["unique_index"].tolist() == list(range(36))
    assert samples["detector_id"].tolist() == [1] * 12 + [10] * 12 + [2] * 12
    assert samples["sample_index"].tolist() == [*range(12)] * 3
    assert samples["label"].tolist() == [0, 1, 1, -1, 0, 1] * 6
    assert samples["label"].dtype == np.int8
    assert samples["object_type"].tolist()[:2] == ["artifact", "galx_artificial_real"]
    assert samples["objectId"].tolist()[12:15] == ["obj10_0", "obj10_0", "obj10_1"]


def test_the_index_lists_detectors_as_the_original_did(records_dir):
    info = pd.read_csv(records_dir / "data_info.csv", index_col=0)
    assert info.to_dict("list") == {
        "detector_id": [1, 10, 2],
        "size": [12, 12, 12],
        "start_index": [0, 12, 24],
    }


def test_a_column_of_text_here_and_numbers_there_or_missing_is_kept(tmp_path, make_survey):
    survey = make_survey(tmp_path / "survey")
    for detector, values in ((1, range(12)), (2, [f"n{i}" for i in range(12)])):
        path = survey / f"params{detector}.csv"
        table = pd.read_csv(path).assign(night=values, flag=True if detector == 1 else 1)
        table.to_csv(path, index=False)
    samples = convert(survey, tmp_path / "out").samples
    assert samples["flag"].dropna().unique().tolist() == ["True", "1"]
    night = samples["night"]
    assert night[0] == "0"
    assert night[12:24].isna().all()
    assert night[35] == "n11"


def test_the_manifest_counts_what_numpy_counts(tmp_path, make_survey):
    survey = make_survey(tmp_path / "survey", n=700)
    stamps = np.load(survey / "images2.npy")
    stamps[5, :, :, 2] = 3
    stamps[600, :, :, 0] = 0
    stamps[601, 1:, :, 0] = 0
    stamps[602, 4, 4] = np.inf
    # All pixels missing: of no value at all.
    stamps[603], stamps[604] = np.inf, np.nan
    np.save(survey / "images2.npy", stamps)
    convert(survey, tmp_path / "out")
    manifest = manifest_of(tmp_path / "out")
    everything = source(survey)
    constant = (everything == everything[:, :1, :1]).all(axis=(1, 2)).any(axis=1)
    constant &= np.isfinite(everything).any(axis=(1, 2, 3))
    labels = open_records(tmp_path / "out").samples["label"]
    assert manifest["size"] == 2100
    assert manifest["missing_pixels"] == (~np.isfinite(everything)).sum()
    assert manifest["stamps_with_missing_pixels"] == 3 * 2 + 3
    assert manifest["stamps_with_constant_channel"] == constant.sum() == 2
    for name, value in (("real", 1), ("bogus", 0), ("unlabelled", -1)):
        assert manifest[name] == (labels == value).sum()
    assert manifest["detectors"][2]["stamps_with_constant_channel"] == 2
    assert manifest["stamp_shape"] == [7, 7, 3]


def test_the_fingerprint_follows_stamps_and_labels(tmp_path, make_survey):
    survey = make_survey(tmp_path / "survey")
    before = convert(survey, tmp_path / "a").fingerprint
    assert convert(survey, tmp_path / "b").fingerprint == before
    relabelled = convert(survey, tmp_path / "c", labels={**write_records.DEFAULT_LABELS, "real": 0})
    assert relabelled.fingerprint != before
    np.save(survey / "images2.npy", np.load(survey / "images2.npy") + 1)
    assert convert(survey, tmp_path / "d").fingerprint != before


def test_the_fingerprint_of_the_originals_records_follows_labels(original):
    directory = original()
    before, relabelled = open_records(directory), open_records(directory)
    relabelled.samples.loc[0, "label"] = 1
    assert before.fingerprint != relabelled.fingerprint
    assert before.fingerprint == open_records(directory).fingerprint


# --- damage ------------------------------------------------------------------------------------


def fault(directory):
    with pytest.raises(InputError) as caught:
        len(open_records(directory).samples)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("longer", [-500, 500])
def test_a_file_of_another_length_is_found_on_opening(own_records, longer):
    path = own_records / "data10.tfrecord"
    content = path.read_bytes()
    size = len(content)
    path.write_bytes((2 * content)[: size + longer])
    expected = f"data10.tfrecord: expected {size} bytes, found {size + longer} bytes"
    assert expected in fault(own_records)


def test_a_missing_file_is_found_on_opening(own_records):
    (own_records / "data10.tfrecord").unlink()
    assert "data10.tfrecord" in fault(own_records)
    assert "no such file" in fault(own_records)


@pytest.mark.parametrize(
    "content",
    ["[]", "{}", '{"format_version": 1}', "{", '{"format_version": 99}', "null"],
)
def test_a_manifest_that_makes_no_sense_is_named(own_records, content):
    (own_records / "manifest.json").write_text(content)
    assert "manifest.json: expected" in fault(own_records)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("detectors", 5),
        ("detectors", []),
        ("stamp_shape", None),
        ("stamp_shape", [7, 7]),
        ("stamp_shape", [7, 7, -3]),
        ("labels", 7),
        ("compression", "ZIP"),
    ],
)
def test_a_manifest_with_a_value_of_another_kind_is_named(own_records, key, value):
    manifest = manifest_of(own_records) | {key: value}
    (own_records / "manifest.json").write_text(json.dumps(manifest))
    assert "manifest.json: expected" in fault(own_records)
    assert key in fault(own_records)


def test_fewer_records_than_the_index_says_are_a_damage(own_records):
    # Cut between two records, which TensorFlow alone takes for the end.
    path = own_records / "data2.tfrecord"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    manifest = manifest_of(own_records)
    for entry in manifest["detectors"]:
        entry["bytes"] = (own_records / entry["file"]).stat().st_size
    (own_records / "manifest.json").write_text(json.dumps(manifest))
    records = open_records(own_records)
    with pytest.raises(InputError, match="records: expected whole records"), reading(own_records):
        list(stamp_dataset(records, np.zeros(len(records), np.int8), batch_size=4))


def test_a_manifest_whose_detectors_lack_keys_is_named(own_records):
    manifest = manifest_of(own_records)
    del manifest["detectors"][1]["bytes"]
    (own_records / "manifest.json").write_text(json.dumps(manifest))
    assert "manifest.json: expected the keys bytes" in fault(own_records)


@pytest.mark.parametrize("file", ["../data1.tfrecord", "", 7])
def test_a_manifest_names_files_of_its_folder_alone(own_records, file):
    shutil.copy(own_records / "data1.tfrecord", own_records.parent)
    manifest = manifest_of(own_records)
    manifest["detectors"][0]["file"] = file
    (own_records / "manifest.json").write_text(json.dumps(manifest))
    assert "manifest.json: expected file, size" in fault(own_records)


@pytest.mark.parametrize("change", ["rows", "columns", "garbage"])
def test_a_table_of_samples_that_does_not_fit_is_named(own_records, change):
    path = own_records / "samples.parquet"
    if change == "garbage":
        path.write_bytes(b"PAR1 no more")
    else:
        table = pd.read_parquet(path)
        (table[3:] if change == "rows" else table.drop(columns="label")).to_parquet(path)
    assert "samples.parquet: expected" in fault(own_records)


@pytest.mark.parametrize("label", [2, 300, 254, -2])
def test_labels_that_are_none_are_named(own_records, original, label):
    samples = pd.read_parquet(own_records / "samples.parquet").astype({"label": int})
    samples.loc[5, "label"] = label
    samples.to_parquet(own_records / "samples.parquet")
    with pytest.raises(InputError, match=rf"samples.parquet: expected labels .*found {label}$"):
        _ = open_records(own_records).samples
    # Without a table the records themselves are asked.
    directory = original(label=label)
    with pytest.raises(InputError, match=rf"tfrecord: expected labels 0, 1 .*found {label}$"):
        _ = open_records(directory).samples


def test_a_survey_in_place_of_records_is_recognised(survey):
    assert "looks like a survey directory: run rbkeras.convert" in fault(survey)


def test_no_directory_and_an_empty_one(tmp_path):
    assert "expected manifest.json or data_info.csv" in fault(tmp_path)
    assert "expected a records directory, found none" in fault(tmp_path / "nowhere")


@pytest.mark.parametrize("compress", [False, True])
def test_a_flipped_bit_is_found_when_it_is_read(tmp_path, make_survey, compress):
    records = convert(make_survey(tmp_path / "survey"), tmp_path / "out", compress=compress)
    flip(records.files[1], 3000)
    with pytest.raises(InputError, match="expected whole records") as caught, reading(tmp_path):
        list(stamp_dataset(records, np.zeros(36), batch_size=5))
    assert "rbkeras.check" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("shape", [(7, 6, 3), (7, 7, 4), (7, 7, 6)])
def test_records_of_another_stamp_size_are_an_error_not_a_mixture(records_dir, shape):
    records = dataclasses.replace(open_records(records_dir), stamp_shape=shape)
    with pytest.raises(InputError, match="another stamp size"), reading(records_dir):
        list(stamp_dataset(records, np.zeros(36), batch_size=5))


def test_reading_lets_errors_of_the_program_through(records_dir):
    with pytest.raises(tf.errors.InvalidArgumentError), reading(records_dir):
        tf.reshape(tf.zeros(3), (2, 2))


# --- interruption ------------------------------------------------------------------------------


def test_an_interrupted_conversion_goes_on_where_it_stopped(
    survey, tmp_path, monkeypatch, read_all
):
    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        interrupt_after(patch, 12 + 5)
        with pytest.raises(CutShortError):
            convert(survey, out)
    assert {path.name for path in out.iterdir()} == {"data1.tfrecord", "manifest.json"}
    assert "expected a finished conversion, found an interrupted one" in fault(out)
    before = times(out)
    records = convert(survey, out)
    assert times(out)["data1.tfrecord"] == before["data1.tfrecord"]
    assert read_all(records).tobytes() == source(survey).tobytes()


def test_a_repeated_conversion_rewrites_no_records(survey, tmp_path):
    convert(survey, tmp_path / "out")
    before = times(tmp_path / "out")
    convert(survey, tmp_path / "out")
    assert times(tmp_path / "out") == before


@pytest.mark.parametrize("kind", ["images", "params"])
def test_only_the_detector_whose_source_changed_is_converted_again(
    survey, tmp_path, kind, read_all
):
    before = convert(survey, tmp_path / "out")
    old, old_times = read_all(before), times(tmp_path / "out")
    old_labels, old_fingerprint = before.samples["label"], before.fingerprint
    if kind == "images":
        np.save(survey / "images10.npy", np.load(survey / "images10.npy") + 1)
    else:
        table = pd.read_csv(survey / "params10.csv").replace("real", "bogus")
        table.to_csv(survey / "params10.csv", index=False)
    after = convert(survey, tmp_path / "out")
    changed = {name for name, time in times(tmp_path / "out").items() if time != old_times[name]}
    assert changed == {"data10.tfrecord"}
    assert (read_all(after).tobytes() != old.tobytes()) == (kind == "images")
    assert (after.samples["label"] != old_labels).any() == (kind == "params")
    assert after.fingerprint != old_fingerprint


def test_records_of_another_survey_are_replaced_only_when_asked(
    survey, tmp_path, make_survey, read_all
):
    out = tmp_path / "out"
    old = read_all(convert(survey, out)).tobytes()
    other = make_survey(tmp_path / "other", detectors=(3, 4))
    with pytest.raises(InputError, match=r"found those of another survey.*--overwrite"):
        convert(other, out)
    assert read_all(open_records(out)).tobytes() == old
    # Nor does it matter where the same survey lies, or that all of it has changed in its place.
    moved = survey.rename(tmp_path / "moved")
    convert(moved, out)
    for path in moved.glob("images*.npy"):
        np.save(path, np.load(path) + 1)
    assert read_all(convert(moved, out)).tobytes() != old
    convert_survey(other, out, overwrite=True, progress=False)
    assert set(open_records(out).samples["detector_id"]) == {3, 4}


def test_files_of_dropped_detectors_go(survey, tmp_path):
    out = tmp_path / "records"
    convert_survey(survey, out, progress=False)
    (out / "data.tfrecord").write_bytes(b"somebody's")
    (survey / "images10.npy").unlink()
    (survey / "params10.csv").unlink()
    convert_survey(survey, out, overwrite=True, progress=False)
    found = sorted(path.name for path in out.glob("data*.tfrecord"))
    assert found == ["data.tfrecord", "data1.tfrecord", "data2.tfrecord"]


def test_stamps_are_dropped_only_when_asked(survey, tmp_path, make_survey):
    out = tmp_path / "out"
    convert(survey, out)
    for path in survey.iterdir():
        path.unlink()
    make_survey(survey, detectors=(1, 11))
    with pytest.raises(InputError, match=r"12 stamps of detector (2|10) .*name earlier data too"):
        convert(survey, out)
    assert len(open_records(out)) == 36
    convert_survey(survey, out, overwrite=True, progress=False)
    assert len(open_records(out)) == 24


def test_a_second_conversion_waits_for_the_first(survey, tmp_path):
    out, order = tmp_path / "out", []

    def second():
        convert(survey, out)
        order.append("second")

    with alone(out):
        thread = threading.Thread(target=second)
        thread.start()
        thread.join(0.3)
        assert not out.exists()
        order.append("first")
    thread.join()
    assert order == ["first", "second"]


def test_a_detector_more_moves_the_indices_of_those_after_it(
    survey, tmp_path, make_survey, read_all
):
    convert(survey, tmp_path / "out")
    before = times(tmp_path / "out")
    make_survey(survey, detectors=(11,))
    records = convert(survey, tmp_path / "out")
    assert read_all(records)[:, 0, 0, 0].astype(int).tolist() == [
        1000 * detector + row for detector in (1, 10, 11, 2) for row in range(12)
    ]
    after = times(tmp_path / "out")
    assert [name for name in before if before[name] == after[name]] != list(before)
    assert after["data1.tfrecord"] == before["data1.tfrecord"]


def test_records_half_converted_anew_are_never_taken_for_whole(survey, tmp_path, monkeypatch):
    out = tmp_path / "out"
    convert(survey, out)
    for detector in (1, 2):
        path = survey / f"images{detector}.npy"
        np.save(path, np.load(path) + 1)
    with monkeypatch.context() as patch:
        interrupt_after(patch, 12 + 5)
        with pytest.raises(CutShortError):
            convert(survey, out)
    assert "found an interrupted one" in fault(out)


def test_a_file_changed_just_before_a_crash_is_not_taken_for_the_earlier_one(
    survey, tmp_path, monkeypatch, read_all
):
    out = tmp_path / "out"
    convert(survey, out)
    wanted = source(survey)
    np.save(survey / "images1.npy", wanted[:12] + 1)
    write_json = write_records.write_json

    def crash(path, content):
        if len(content["detectors"]) == 3:
            raise CutShortError
        write_json(path, content)

    with monkeypatch.context() as patch:
        patch.setattr(write_records, "write_json", crash)
        with pytest.raises(CutShortError):
            convert(survey, out)
    np.save(survey / "images1.npy", wanted[:12])
    assert read_all(convert(survey, out)).tobytes() == wanted.tobytes()


@pytest.mark.parametrize("name", ["images10.npy", "params10.csv"])
@pytest.mark.parametrize("moment", ["before", "while"])
def test_a_source_that_is_replaced_meanwhile_is_not_taken_for_the_one_that_was_read(
    survey, tmp_path, monkeypatch, read_all, name, moment
):
    path = survey / name
    stamps = np.load(survey / "images10.npy")[::-1].copy()
    table = pd.read_csv(survey / "params10.csv")[::-1]

    def replace(*_):
        if name.endswith("npy"):
            np.save(tmp_path / "new.npy", stamps)
            os.replace(tmp_path / "new.npy", path)
        else:
            table.to_csv(path, index=False)

    detectors = list(read_surveys([survey]))
    if moment == "before":
        replace()
    else:
        counts = write_records._Counts.add

        def counting(self, chunk):
            replace()
            return counts(self, chunk)

        monkeypatch.setattr(write_records._Counts, "add", counting)
    with pytest.raises(InputError, match=f"{name}: expected it to stay as it was"):
        write_records.write_records(
            detectors, tmp_path / "out", source=survey, labels=DEFAULT_LABELS, progress=False
        )
    monkeypatch.undo()
    convert_survey(survey, tmp_path / "out", progress=False)
    convert_survey(survey, tmp_path / "anew", progress=False)
    ours, anew = (open_records(tmp_path / one) for one in ("out", "anew"))
    assert np.array_equal(read_all(ours), read_all(anew), equal_nan=True)
    assert ours.samples.equals(anew.samples)


def test_an_interrupted_repetition_forgets_no_finished_detector(survey, tmp_path, monkeypatch):
    out = tmp_path / "out"
    convert(survey, out)
    before = times(out)
    np.save(survey / "images1.npy", np.load(survey / "images1.npy") + 1)
    with monkeypatch.context() as patch:
        interrupt_after(patch, 5)
        with pytest.raises(CutShortError):
            convert(survey, out)
    convert(survey, out)
    assert {name for name in before if times(out)[name] == before[name]} == {
        "data10.tfrecord",
        "data2.tfrecord",
    }


# --- the original's format ---------------------------------------------------------------------


@pytest.fixture
def original(tmp_path, write_original, random_stamps):
    """The usual survey's stamps and labels as the original wrote them."""

    def write(shape=(7, 7, 3), *, label=0):
        detectors = {}
        for detector in ORDER:
            stamps = random_stamps(12, shape, detector)
            stamps[3, 2, 1, 0] = np.nan
            if shape[-1] > 1:
                stamps[7, 1:3, :, -1] = np.nan
            detectors[detector] = (stamps, [label, 1, 1, -1, 0, 1] * 2)
        return write_original(tmp_path / "original", detectors)

    return write


@pytest.mark.parametrize("rows", [[0, 1, 2], [2, 0, 1]])
def test_the_originals_records_give_the_same_tensors_as_ours(original, records_dir, read_all, rows):
    info = original() / "data_info.csv"
    pd.read_csv(info, index_col=0).iloc[rows].to_csv(info)
    theirs, ours = open_records(info.parent), open_records(records_dir)
    assert (theirs.encoding, theirs.compression) == ("float_list", "GZIP")
    assert read_all(theirs).tobytes() == read_all(ours).tobytes()
    columns = ["unique_index", "detector_id", "sample_index", "label"]
    pd.testing.assert_frame_equal(theirs.samples[columns], ours.samples[columns])
    for one, other in zip(
        *(stamp_dataset(r, r.samples["label"], batch_size=7) for r in (theirs, ours)), strict=True
    ):
        assert one[0].numpy().tobytes() == other[0].numpy().tobytes()
        assert one[1].numpy().tolist() == other[1].numpy().tolist()


def test_the_originals_records_of_one_channel(original):
    assert open_records(original((8, 8, 1))).stamp_shape == (8, 8, 1)


def test_a_length_that_is_no_square_stamp_is_named(original):
    directory = original((9, 5, 2))
    with pytest.raises(InputError, match=r"data1\.tfrecord: expected square stamps.*90 pixels"):
        open_records(directory)


def test_an_original_file_that_is_missing_or_cut_or_miscounted_is_named(original):
    directory = original()
    path = directory / "data10.tfrecord"
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    assert "data10.tfrecord: expected whole records" in fault(directory)
    path.unlink()
    assert "data10.tfrecord: expected the file that data_info.csv lists" in fault(directory)
    path.write_bytes(content)
    info = pd.read_csv(directory / "data_info.csv", index_col=0)
    info.assign(size=[12, 11, 12]).to_csv(directory / "data_info.csv")
    assert "data10.tfrecord: expected 11 records, found 12" in fault(directory)


@pytest.mark.parametrize("number", [0, 5])
@pytest.mark.parametrize("compressed", [False, True])
def test_a_record_longer_than_any_stamp_is_named(original, number, compressed):
    """TensorFlow would take the room for it, and the process would die."""
    directory = original()
    path = directory / "data1.tfrecord"
    content = bytearray(gzip.decompress(path.read_bytes()))
    start = 0
    for _ in range(number):
        start += 16 + int.from_bytes(content[start : start + 8], "little")
    content[start : start + 8] = (2**40).to_bytes(8, "little")
    path.write_bytes(gzip.compress(content) if compressed else content)
    said = "data1.tfrecord: expected a stamp per record, found one of 1,099,511,627,776 bytes"
    assert said in fault(directory)


def test_an_index_that_is_no_index_is_named(original):
    directory = original()
    for content in ("", "a,b\n1,2\n", ",detector_id,size,start_index\n0,1,x,0\n", '"'):
        (directory / "data_info.csv").write_text(content)
        assert "data_info.csv: expected" in fault(directory)
