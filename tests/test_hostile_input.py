"""Input that somebody has broken: a sentence and status 2, and nothing is damaged."""

import json
import os
import shutil

import numpy as np
import pandas as pd
import pytest

from rbkeras import check, convert, fit, predict
from rbkeras.config import FitConfig, TrainingConfig
from rbkeras.data.fits_source import FitsSource
from rbkeras.data.labels import BOGUS, REAL, UNLABELLED
from rbkeras.data.records import open_records
from rbkeras.data.survey import open_stamps
from rbkeras.errors import InputError
from rbkeras.models.classifier import build_classifier
from rbkeras.report import command as report
from rbkeras.rundir import Run
from rbkeras.stage2 import train_final
from rbkeras.validation import validate

# --- outputs --------------------------------------------------------------------------------------


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "model.keras"
    build_classifier((7, 7, 3), network="simple", width=0.1, padding="same").save(path)
    return path


def test_scores_take_the_place_of_no_input(model, own_records, tmp_path, fails_with):
    table = own_records / "samples.parquet"
    before = table.read_bytes()
    line = fails_with(predict.main, [model, own_records, "--out", table])
    assert f"{table}: expected an output that is no input" in line
    assert table.read_bytes() == before
    stamps = tmp_path / "stamps.csv"
    stamps.write_text("file\na.fits\n")
    for given in (stamps, tmp_path):
        assert "is no input" in fails_with(predict.main, [model, given, "--out", stamps])
    assert stamps.read_text() == "file\na.fits\n"


def test_a_report_takes_the_place_of_no_model(tmp_path, fails_with):
    for name in ("config.yaml", "model.keras"):
        (tmp_path / name).write_text("seed: 1\n")
        line = fails_with(report.main, [tmp_path, "--out", tmp_path / name])
        assert "expected an output ending in .html" in line
        assert (tmp_path / name).read_text() == "seed: 1\n"


def test_damaged_records_are_written_anew_where_asked(survey, tmp_path, fails_with, capsys):
    arguments = [str(survey), str(tmp_path / "records")]
    assert convert.main(arguments) == 0
    path = tmp_path / "records" / "data1.tfrecord"
    whole = path.read_bytes()
    path.write_bytes(whole[:100] + bytes([whole[100] ^ 1]) + whole[101:])
    assert check.main([str(tmp_path / "records")]) != 0
    assert convert.main([*arguments, "--overwrite"]) == 0
    assert path.read_bytes() == whole


def test_damage_found_while_a_dataset_is_made(own_records, tmp_path):
    """With few labels in memory, the records are read before the first step."""
    path = own_records / "data2.tfrecord"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    records = open_records(own_records)
    # Six labels of each class, half of them for validation.
    labels = np.full(len(records), UNLABELLED, np.int8)
    given = records.samples["label"].to_numpy()
    for label in (REAL, BOGUS):
        labels[np.flatnonzero(given == label)[:6]] = label
    training = TrainingConfig(cache="memory", batch_size=4, validation_fraction=0.5)
    config = FitConfig(data=own_records, out=tmp_path / "run", policy="keep", training=training)
    with pytest.raises(InputError, match=r"records: expected whole records"):
        train_final(Run(config, records, labels), None)


def test_the_folder_one_is_in(survey, tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert convert.main([str(survey), "."]) == 0
    assert len(open_records(tmp_path / "here")) == 36


def test_names_that_no_file_can_have(survey, tmp_path, fails_with, capsys):
    long = "x" * 300
    assert "expected a shorter name" in fails_with(convert.main, [survey, tmp_path / long])
    # Since Python 3.14 it is merely not there.
    assert str(tmp_path / long) in fails_with(check.main, [tmp_path / long])
    name = os.fsdecode(b"s\xe9")
    assert convert.main([str(survey), str(tmp_path / name)]) == 2
    assert "error: expected names in UTF-8" in capsys.readouterr().err


# --- arrays, tables, records ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [
        b"PK\x03\x04 and no more",
        b"\x93NUMPY\x01\x00\x46\x00{'descr': '<f4', 'fortran_order': False, 'shape': (%d,2,2,1), }",
        b"\x93NUMPY\x01\x00\x20\x00{'descr': '<f4', 'fortran_order'",
    ],
)
@pytest.mark.parametrize("count", [-1, 10**18, 10**30])
def test_headers_of_arrays_that_make_no_sense(content, count, tmp_path, recwarn):
    path = tmp_path / "stamps.npy"
    if b"%d" in content:
        content = (content % count).ljust(80)
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"expected a whole .npy file of numbers"):
        open_stamps(path)
    assert not [one for one in recwarn if issubclass(one.category, RuntimeWarning)]


def test_a_night_goes_on_without_an_array_that_is_none(model, tmp_path, capsys):
    np.save(tmp_path / "good.npy", np.zeros((3, 7, 7, 3), np.float32))
    (tmp_path / "bad.npy").write_bytes(b"PK\x03\x04")
    inputs = [str(tmp_path / f"{name}.npy") for name in ("bad", "good")]
    out = tmp_path / "scores.csv"
    assert predict.main([str(model), *inputs, "--out", str(out), "--skip_bad"]) == 1
    assert len(pd.read_csv(out)) == 3
    assert "bad.npy: expected a whole .npy file" in capsys.readouterr().err


def test_a_table_with_a_field_too_many_is_not_converted(survey, tmp_path, fails_with):
    path = survey / "params1.csv"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], *(f"5,{line}" for line in lines[1:])]))
    line = fails_with(convert.main, [survey, tmp_path / "records"])
    assert "params1.csv: expected rows with as many fields as the first one" in line
    assert not (tmp_path / "records").exists()


def test_identifiers_of_alerts_stay_apart(survey, tmp_path):
    for number in (1, 2):
        path = survey / f"params{number}.csv"
        ids = [str(1095578115815010000 + 100 * number + row) for row in range(12)]
        if number == 1:
            ids[4] = ""
        pd.read_csv(path).assign(alert_id=ids).to_csv(path, index=False)
    assert convert.main([str(survey), str(tmp_path / "records")]) == 0
    column = open_records(tmp_path / "records").samples["alert_id"].dropna()
    assert len(column) == column.nunique() == 23


@pytest.mark.parametrize(
    "changes",
    [
        {"start_index": -7},
        {"start_index": "x"},
        {"file": ""},
        {"file": "../data1.tfrecord"},
        {"size": 10**30},
        {"detector_id": [1]},
    ],
)
def test_a_manifest_that_makes_no_sense(changes, own_records):
    path = own_records / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["detectors"][0] |= changes
    path.write_text(json.dumps(manifest))
    with pytest.raises(InputError, match=r"manifest.json: expected file, size"):
        open_records(own_records)


def test_a_manifest_without_end(own_records):
    (own_records / "manifest.json").write_text("[" * 100_000)
    with pytest.raises(InputError, match=r"manifest.json: expected JSON"):
        open_records(own_records)


@pytest.mark.parametrize("number", ["1e30", "99999999999999999999", "-5"])
def test_detectors_of_fits_stamps_that_there_cannot_be(number, tmp_path):
    (tmp_path / "stamps.csv").write_text(f"file,detector_id\na.fits,{number}\n")
    with pytest.raises(InputError, match="integer detector_id of at least 0 in row 2"):
        FitsSource(tmp_path)


def test_names_of_fits_files(tmp_path):
    (tmp_path / "stamps.csv").write_text("file\n0101\n")
    assert [path.name for path in FitsSource(tmp_path).files()] == ["0101"]
    (tmp_path / "stamps.csv").write_bytes(b"file\na\x00b\n")
    with pytest.raises(InputError, match="row 2"):
        list(FitsSource(tmp_path).samples())


# --- settings -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("seed: 2024-99-99", "expected YAML"),
        ("[" * 3000, "expected YAML"),
        ("model: 5", "expected settings below model, found 5"),
        ("decision: ~", "expected settings below decision, found None"),
        ("seed: ~", "--seed: expected a value, got null"),
        ("out: ~", "--out: expected a value, got null"),
        ("training: {epochs: ~}", "--training.epochs: expected a value, got null"),
        ('out: "a\\0b"', "--out: expected a path"),
    ],
)
def test_files_of_settings_that_make_no_sense(text, complaint, tmp_path, capsys):
    path = tmp_path / "run.yaml"
    path.write_text(text)
    try:
        status = fit.main(["--config", str(path)])
    except SystemExit as ended:
        status = ended.code
    assert status == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert complaint in error


def test_null_is_a_value_where_the_type_says_so():
    validate(FitConfig())


@pytest.mark.parametrize("flag", ["training.epochs", "training.batch_size", "seed"])
@pytest.mark.parametrize("digits", [12, 30, 400])
def test_numbers_without_end(flag, digits, tmp_path, fails_with):
    line = fails_with(fit.main, ["--out", tmp_path / "run", f"--{flag}", "9" * digits])
    assert f"--{flag}: expected" in line
    assert "below 2147483648" in line


def test_stamps_are_not_shifted_out_of_sight(records_dir, tmp_path, fails_with):
    arguments = ["--data", records_dir, "--out", tmp_path / "run", "--training.shift"]
    line = fails_with(fit.main, [*arguments, "4"])
    assert "--training.shift: expected at most half of a stamp's side, 3, got 4" in line


# --- what a run has left --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "contents",
    [
        {
            "config.yaml": "label_errors: 5\ndata: 5\nout: 5\n",
            "evaluation/source.json": "[1]",
            "evaluation/scores.csv": "label,sample_index,score\n1,0,high\n0,0,low\n",
            "validation.csv": "unique_index,label,prediction0,prediction1\n",
            "label_errors.csv": "unique_index,label\nx,y\n",
        },
        {
            "evaluation/source.json": '{"test_real": 5}',
            "evaluation/metrics.json": '{"auc": 1, "auc_ci95": null}',
            "validation.csv": "unique_index,label,prediction0,prediction1\n1,x,y,z\n",
        },
    ],
    ids=["all", "some"],
)
def test_a_report_of_what_is_left(contents, tiny_run, tmp_path):
    run = shutil.copytree(tiny_run, tmp_path / "run")
    for name, content in contents.items():
        (run / name).write_text(content)
    assert report.main([str(run)]) == 0
    assert "<html" in (run / "report.html").read_text()
