import json
import os

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from detectors import write_detector

from rbkeras import check
from rbkeras.data.checking import check_records, check_survey
from rbkeras.data.encoding import FOOTER_BYTES, HEADER_BYTES, frame_block
from rbkeras.data.write_records import convert_survey


def problem(report, *words):
    """The one problem that has all these words."""
    found = [text for text in report.problems if all(word in text for word in words)]
    assert len(found) == 1, report.problems
    assert "\n" not in found[0]
    return found[0]


def flip(path, position):
    content = bytearray(path.read_bytes())
    content[position] ^= 0x10
    path.write_bytes(content)


def rewrite(directory, file, change):
    """Write a file of records anew, whole and consistent, with what `change` makes of each."""
    path = directory / file
    examples = [
        tf.train.Example.FromString(r)
        for r in tf.data.TFRecordDataset(str(path)).as_numpy_iterator()
    ]
    with tf.io.TFRecordWriter(str(path)) as writer:
        for row, example in enumerate(examples):
            feature = example.features.feature
            names = ("label", "detector_id", "sample_index", "unique_index")
            values = {name: feature[name].int64_list.value[0] for name in names}
            image = feature["image"].bytes_list.value[0]
            values["stamp"] = np.frombuffer(image, "<f4").reshape(7, 7, 3)
            values = change(row, values)
            if values is not None:
                frame = frame_block(values.pop("stamp")[np.newaxis], **values)[0]
                writer.write(frame[HEADER_BYTES:-FOOTER_BYTES].tobytes())
    manifest = json.loads((directory / "manifest.json").read_text())
    for entry in manifest["detectors"]:
        entry["bytes"] = (directory / entry["file"]).stat().st_size
    (directory / "manifest.json").write_text(json.dumps(manifest))


# --- sound -------------------------------------------------------------------------------------

TABLE = {
    "detectors": "3",
    "stamps": "36",
    "real": "18",
    "bogus": "12",
    "unlabelled": "6",
    "stamps with missing pixels": "6",
    "stamp shape": "7 x 7 x 3",
}


def table_of(text):
    rows = [line.strip().rsplit("  ", 1) for line in text.splitlines()[1:]]
    return {name.strip(): value.strip() for name, value in rows}


def test_what_is_seldom_meant_is_noted(tmp_path, capsys):
    stamps = np.random.default_rng(0).normal(size=(4, 3, 29, 29)).astype(np.float32)
    stamps[1] = np.nan
    write_detector(tmp_path, 1, stamps, ["real"] * 4)
    assert check.main([str(tmp_path)]) == 0
    notes = [line for line in capsys.readouterr().out.splitlines() if "note: " in line]
    for note, words in zip(
        notes, ("no stamp is labelled bogus", "all pixels", "have 29 channels"), strict=True
    ):
        assert words in note


@pytest.mark.parametrize("kind", ["survey", "records"])
def test_a_sound_directory_is_summed_up(kind, survey, records_dir, capsys):
    assert check.main([str(survey if kind == "survey" else records_dir)]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert f"sound {kind}" in out.splitlines()[0]
    assert table_of(out) == TABLE


@pytest.mark.parametrize("compress", [False, True])
def test_records_of_any_shape_and_compression(tmp_path, make_survey, shape, compress):
    convert_survey(
        make_survey(tmp_path / "survey", shape=shape),
        tmp_path / "out",
        compress=compress,
        progress=False,
    )
    report = check_records(tmp_path / "out")
    assert report.problems == []
    assert report.summary["stamps with missing pixels"] == 6


def test_label_names_can_be_given(survey, capsys):
    table = pd.read_csv(survey / "params1.csv").replace("real", "nova")
    table.to_csv(survey / "params1.csv", index=False)
    assert check.main([str(survey)]) == 2
    assert "'nova'" in capsys.readouterr().out
    assert check.main([str(survey), "--labels", "nova=1"]) == 0


def test_pixels_beyond_float32_are_missing_as_in_records(tmp_path, make_survey):
    survey = make_survey(tmp_path / "raw", detectors=(1,), dtype=np.float64)
    stamps = np.load(survey / "images1.npy")
    stamps[4, 0, 0, 0] = 1e39
    np.save(survey / "images1.npy", stamps)
    convert_survey(survey, tmp_path / "records", progress=False)
    for report in (check_survey(survey), check_records(tmp_path / "records")):
        assert report.summary["stamps with missing pixels"] == 3


def test_neither_survey_nor_records(tmp_path, fails_with):
    assert "found none of them" in fails_with(check.main, [tmp_path])
    assert "nowhere: expected a survey or records directory" in (
        line := fails_with(check.main, [tmp_path / "nowhere"])
    )
    assert "found nothing there" in line


# --- surveys -----------------------------------------------------------------------------------


def test_every_problem_of_a_survey_is_listed(survey, make_survey, capsys):
    make_survey(survey, detectors=(3, 4, 5, 6, 7))
    (survey / "params1.csv").unlink()
    (survey / "images2.npy").write_bytes((survey / "images2.npy").read_bytes()[:500])
    np.save(survey / "images3.npy", np.zeros((5, 7, 7, 3)))
    pd.read_csv(survey / "params4.csv").drop(columns="object_type").to_csv(survey / "params4.csv")
    pd.read_csv(survey / "params5.csv").replace("real", "nova").to_csv(survey / "params5.csv")
    np.save(survey / "images6.npy", np.full((12, 7, 7, 3), None))
    np.save(survey / "images7.npy", np.zeros((12, 9, 9, 3)))
    np.save(survey / "imagesX.npy", np.zeros((12, 7, 7, 3)))
    (survey / "params99.csv").write_text("object_type\nreal\n")
    report = check_survey(survey)
    problem(report, "images1.npy", "params1.csv")
    problem(report, "images2.npy", "whole .npy")
    problem(report, "params3.csv", "5 rows", "found 12")
    problem(report, "params4.csv", "columns object_type")
    problem(report, "params5.csv", "'nova'")
    problem(report, "images6.npy", "whole .npy")
    problem(report, "images7.npy", "(9, 9, 3)")
    problem(report, "imagesX.npy", "integer")
    problem(report, "params99.csv", "images<ID>.npy")
    assert len(report.problems) == 9
    assert check.main([str(survey)]) == 2
    out, err = capsys.readouterr()
    assert out.splitlines() == report.problems
    assert err.splitlines() == [f"error: {survey}: expected a sound directory, found 9 problems"]


# --- records -----------------------------------------------------------------------------------


@pytest.mark.parametrize("row", [0, 4, 11])
def test_a_flipped_bit_is_found_with_its_file_and_record(own_records, row):
    path = own_records / "data10.tfrecord"
    length = path.stat().st_size // 12
    flip(path, length * row + length // 2)
    text = problem(check_records(own_records), "data10.tfrecord")
    assert f"record {row + 1} of 12 cannot be read (corrupted record at " in text


def test_damage_in_a_compressed_file_is_found(tmp_path, make_survey):
    convert_survey(
        make_survey(tmp_path / "survey"), tmp_path / "out", compress=True, progress=False
    )
    flip(tmp_path / "out" / "data10.tfrecord", 3000)
    report = check_records(tmp_path / "out")
    assert "cannot be read (" in problem(report, "data10.tfrecord")
    assert len(report.problems) == 1


def test_every_problem_of_records_is_listed(own_records, fails_with):
    flip(own_records / "data1.tfrecord", 2000)
    (own_records / "data10.tfrecord").unlink()
    path = own_records / "data2.tfrecord"
    whole = path.stat().st_size
    os.truncate(path, whole - 100)
    (own_records / "samples.parquet").unlink()
    pd.read_csv(own_records / "data_info.csv", index_col=0)[:2].to_csv(
        own_records / "data_info.csv"
    )
    report = check_records(own_records)
    problem(report, "data1.tfrecord", "record 3 of 12")
    problem(report, "data10.tfrecord", "no such file")
    problem(report, "data2.tfrecord", f"expected {whole} bytes, found {whole - 100}")
    problem(report, "data2.tfrecord", "record 12 of 12")
    problem(report, "samples.parquet")
    problem(report, "data_info.csv")
    assert "6 problems" in fails_with(check.main, [own_records])


def test_a_file_cut_between_two_records_is_found(own_records):
    rewrite(own_records, "data2.tfrecord", lambda row, v: v if row < 8 else None)
    problem(check_records(own_records), "data2.tfrecord", "expected 12 records, found 8")


def test_an_empty_file_is_found(own_records):
    rewrite(own_records, "data2.tfrecord", lambda row, v: None)
    problem(check_records(own_records), "data2.tfrecord", "expected 12 records, found none")


@pytest.mark.parametrize(
    ("column", "other", "found"), [("label", 0, 1), ("detector_id", 7, 10), ("sample_index", 11, 2)]
)
def test_a_table_unlike_the_records_is_found(own_records, column, other, found):
    path = own_records / "samples.parquet"
    samples = pd.read_parquet(path)
    samples[column] = samples[column].where(~samples.index.isin([14, 17]), other)
    samples.to_parquet(path)
    report = check_records(own_records)
    text = problem(report, "data10.tfrecord")
    assert f"expected {column} {other} as in samples.parquet in record 3, found {found} (1 " in text
    assert len(report.problems) == 1


def test_a_label_that_is_none_is_found(own_records):
    rewrite(
        own_records, "data2.tfrecord", lambda row, v: v | {"label": 5 if row == 3 else v["label"]}
    )
    problem(check_records(own_records), "labels 0, 1 or -1, found 5 in record 4")


@pytest.mark.parametrize("name", ["detector_id", "sample_index", "unique_index"])
def test_an_index_that_does_not_fit_is_found(own_records, name):
    rewrite(own_records, "data2.tfrecord", lambda row, v: v | {name: v[name] + (row == 6)})
    report = check_records(own_records)
    problem(report, "data2.tfrecord", f"expected {name} ", "in record 7")
    assert len(report.problems) == 1


@pytest.mark.parametrize("edge", [5, 8])
def test_a_stamp_of_another_size_is_found(own_records, edge):
    def resize(row, values):
        return values | {"stamp": np.ones((edge, 7, 3), "<f4")} if row == 2 else values

    rewrite(own_records, "data2.tfrecord", resize)
    text = problem(check_records(own_records), "data2.tfrecord", "bytes", "in record 3")
    assert str(4 * 7 * 7 * 3) in text
    assert str(4 * edge * 7 * 3) in text


def test_counts_unlike_the_manifests_are_found(own_records):
    manifest = json.loads((own_records / "manifest.json").read_text())
    manifest["detectors"][1]["stamps_with_missing_pixels"] = 5
    (own_records / "manifest.json").write_text(json.dumps(manifest))
    problem(check_records(own_records), "data10.tfrecord", "expected 5 of stamps_with_missing")


def test_records_without_the_usual_features_are_found(own_records):
    with tf.io.TFRecordWriter(str(own_records / "data2.tfrecord")) as writer:
        writer.write(tf.train.Example().SerializeToString())
    problem(
        check_records(own_records), "data2.tfrecord", "record 1 of 12 cannot be read (Feature: "
    )


@pytest.mark.parametrize("change", [{"complete": False}, {"format_version": 9}, {"detectors": [1]}])
def test_a_manifest_of_no_use_is_found(own_records, change):
    manifest = json.loads((own_records / "manifest.json").read_text())
    (own_records / "manifest.json").write_text(json.dumps(manifest | change))
    problem(check_records(own_records), "manifest.json: expected")


# --- the original's records --------------------------------------------------------------------


@pytest.fixture
def original(tmp_path, write_original, random_stamps):
    labels = [0, 1, 1, -1, 0, 1] * 2
    detectors = {i: (random_stamps(12, detector=i), labels) for i in (1, 10, 2)}
    detectors[2][0][5, 3, 3, 1] = np.nan
    return write_original(tmp_path / "original", detectors)


def test_sound_original_records_are_summed_up(original, capsys):
    assert check.main([str(original)]) == 0
    assert table_of(capsys.readouterr().out) == TABLE | {"stamps with missing pixels": "1"}


def test_every_problem_of_original_records_is_listed(original):
    path = original / "data1.tfrecord"
    path.write_bytes(path.read_bytes()[:3000])
    (original / "data10.tfrecord").unlink()
    info = pd.read_csv(original / "data_info.csv", index_col=0)
    info.assign(size=[12, 12, 11]).to_csv(original / "data_info.csv")
    report = check_records(original)
    problem(report, "data1.tfrecord", " of 12 cannot be read (truncated record")
    problem(report, "data10.tfrecord", "found none")
    problem(report, "data2.tfrecord", "expected 11 records, found 12")
    assert len(report.problems) == 3


@pytest.mark.parametrize("kind", ["ours", "original"])
def test_a_folder_in_a_file_s_place_is_found(own_records, original, kind):
    path = (own_records if kind == "ours" else original) / "data10.tfrecord"
    path.unlink()
    path.mkdir()
    report = check_records(path.parent)
    problem(report, "data10.tfrecord", "record 1 of 12 cannot be read", "Is a directory")


@pytest.mark.parametrize("kind", ["no example", "no value"])
def test_original_records_of_something_else_are_named(tmp_path, kind):
    feature = {name: tf.train.Feature() for name in ("image", "label", "unique_index")}
    feature["image"].bytes_list.SetInParent()
    example = tf.train.Example(features=tf.train.Features(feature=feature))
    content = b"nothing" if kind == "no example" else example.SerializeToString()
    folder = tmp_path / "original"
    folder.mkdir()
    with tf.io.TFRecordWriter(str(folder / "data1.tfrecord")) as writer:
        writer.write(content)
    table = pd.DataFrame({"detector_id": [1], "size": [1], "start_index": [0]})
    table.to_csv(folder / "data_info.csv")
    report = check_records(folder)
    assert any("data1.tfrecord: expected" in text for text in report.problems)


def test_start_indices_that_do_not_add_up_are_found(original):
    info = pd.read_csv(original / "data_info.csv", index_col=0)
    info.assign(start_index=[0, 12, 25]).to_csv(original / "data_info.csv")
    problem(check_records(original), "data_info.csv", "start_index")
