"""A night through `predict`: streamed, resumed, whole or absent. The network is a stand-in."""

import errno
import re
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from rbkeras import __version__, predict, scoring, streaming
from rbkeras.decision import Decision, OperatingPoint
from rbkeras.parts import Parts, parts_folder

SHAPE = (7, 7, 3)


class FirstPixel:
    """Calls the first pixel the score, and remembers whom it has scored."""

    stamp_shape = SHAPE
    decision = Decision(
        operating_point=OperatingPoint(
            true_positive_rate=0.9, threshold=1005.0, false_positive_rate=0.1
        ),
        n_real=10,
        n_bogus=10,
    )

    def __init__(self):
        self.seen = []
        self.fail_at = None

    def logits(self, stamps):
        assert stamps.dtype == np.float32
        first = stamps[:, 0, 0, 0]
        if self.fail_at is not None and self.fail_at in first:
            raise KeyboardInterrupt
        self.seen += first.tolist()
        return np.stack([np.zeros_like(first), first], axis=1)


@pytest.fixture
def engine(monkeypatch):
    engine = FirstPixel()
    monkeypatch.setattr(scoring, "load_engine", lambda *args, **kwargs: engine)
    monkeypatch.setattr(streaming, "PART_ROWS", 6)
    return engine


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "model.onnx"
    path.write_text("weights")
    return path


@pytest.fixture
def arrays(tmp_path, random_stamps):
    paths = []
    for detector, count in ((1, 20), (2, 0), (3, 7)):
        paths.append(tmp_path / f"night{detector}.npy")
        np.save(paths[-1], random_stamps(count, SHAPE, detector))
    return paths


@pytest.fixture
def run(model):
    def run(inputs, out, *flags, batch_size=3):
        # With this name of an engine the command does not load TensorFlow.
        arguments = [model, *inputs, "--out", out, "--engine", "onnx", "--batch_size", batch_size]
        return predict.main([str(argument) for argument in (*arguments, *flags)])

    return run


def ids(detector, count):
    return [1000.0 * detector + row for row in range(count)]


@pytest.mark.parametrize("batch_size", [1, 3, 7, 20, 64])
def test_scores_do_not_depend_on_the_blocks(engine, run, arrays, tmp_path, batch_size):
    out = tmp_path / "scores.csv"
    assert run(arrays, out, batch_size=batch_size) == 0
    table = pd.read_csv(out)
    assert table["score"].tolist() == ids(1, 20) + ids(3, 7)
    assert table["sample_index"].tolist() == [*range(20), *range(7)]
    assert table["source"].tolist() == [str(arrays[0])] * 20 + [str(arrays[2])] * 7
    assert table["decision"].tolist() == [0] * 5 + [1] * 22
    assert not parts_folder(out).exists()


def test_csv_and_parquet_have_the_same_content(engine, run, arrays, records_dir, tmp_path):
    for ending in ("csv", "parquet"):
        assert run([*arrays, records_dir], tmp_path / f"scores.{ending}") == 0
    found = pd.read_csv(tmp_path / "scores.csv", dtype={"score": "float32"})
    stored = pd.read_parquet(tmp_path / "scores.parquet")
    assert len(found) == 27 + 36
    assert list(found)[:3] == ["source", "detector_id", "sample_index"]
    pd.testing.assert_frame_equal(found, stored, check_dtype=False, check_exact=True)
    assert stored["decision"].dtype == "Int8"


def test_hostile_pixels_have_scores_without_decisions(engine, run, tmp_path, random_stamps):
    stamps = random_stamps(4, SHAPE).astype(np.float64)
    stamps[:3, 0, 0, 0] = np.nan, np.inf, -np.inf
    np.save(tmp_path / "night.npy", stamps)
    for ending in ("csv", "parquet"):
        assert run([tmp_path / "night.npy"], tmp_path / f"s.{ending}") == 0
    for table in (pd.read_csv(tmp_path / "s.csv"), pd.read_parquet(tmp_path / "s.parquet")):
        np.testing.assert_array_equal(table["score"], [np.nan, np.inf, -np.inf, 1003])
        assert table["decision"].isna().tolist() == [True, True, True, False]


def test_a_stamp_without_a_finite_pixel_has_no_score(engine, run, tmp_path, random_stamps, capsys):
    stamps = random_stamps(9, SHAPE)
    stamps[[2, 5]] = np.array([np.nan, np.inf], np.float32).reshape(-1, 1, 1, 1)
    stamps[7, :, :, 1:] = np.nan
    np.save(tmp_path / "night.npy", stamps)
    lowest = "--threshold=-1e9"
    assert run([tmp_path / "night.npy"], tmp_path / "s.csv", lowest) == 0
    table = pd.read_csv(tmp_path / "s.csv")
    assert np.flatnonzero(table["score"].isna()).tolist() == [2, 5]
    assert np.flatnonzero(table["probability_real"].isna()).tolist() == [2, 5]
    assert np.flatnonzero(table["decision"].isna()).tolist() == [2, 5]
    assert "s.csv: 2 stamps have no score" in capsys.readouterr().err


def test_a_night_without_stamps_has_the_columns(engine, run, arrays, tmp_path):
    assert run([arrays[1]], tmp_path / "scores.csv") == 0
    table = pd.read_csv(tmp_path / "scores.csv")
    columns = ["source", "sample_index", "score", "probability_real", "decision"]
    assert list(table) == columns
    assert len(table) == 0


def interrupted(engine, run, inputs, out, *, at, flags=()):
    """Run until the stamp `at` is to be scored; return the rows that are stored by then."""
    engine.fail_at = at
    assert run(inputs, out, *flags) == 1
    engine.fail_at = None
    parts = Parts(out)
    return [parts.rows(number) for number in range(len(inputs))]


@pytest.mark.parametrize("ending", ["csv", "parquet"])
@pytest.mark.parametrize("at", [1000, 1008, 1014, 1019, 3001, 3006])
def test_an_interrupted_night_goes_on(engine, run, arrays, tmp_path, at, ending, capsys):
    whole, out = tmp_path / f"whole.{ending}", tmp_path / f"scores.{ending}"
    assert run(arrays, whole) == 0
    stored = interrupted(engine, run, arrays, out, at=at)
    assert not out.exists()
    engine.seen.clear()
    assert run(arrays, out) == 0
    assert out.read_bytes() == whole.read_bytes()
    # What was stored is not scored again, and all else is scored once.
    assert engine.seen == ids(1, 20)[stored[0] :] + ids(3, 7)[stored[2] :]
    if sum(stored):
        assert f"{sum(stored)} of 27 stamps are scored already" in capsys.readouterr().err


def test_the_bar_begins_where_the_night_was_left(engine, run, arrays, tmp_path, capsys):
    interrupted(engine, run, arrays, tmp_path / "scores.csv", at=1014)
    capsys.readouterr()
    assert run(arrays, tmp_path / "scores.csv") == 0
    shown = capsys.readouterr().err
    # 12 of 27 at first, and the rate is of what is done now.
    assert re.search(r"scoring: +44%.* 12\.0/27\.0", shown)
    assert re.search(r"scoring: 100%.* 27\.0/27\.0 .* stamps/s", shown)


def test_another_version_does_not_go_on(engine, run, arrays, tmp_path, capsys, monkeypatch):
    interrupted(engine, run, arrays, tmp_path / "scores.csv", at=1014)
    monkeypatch.setattr(scoring, "__version__", "0.0.1")
    assert run(arrays, tmp_path / "scores.csv") == 2
    assert f"rbkeras was {__version__}, is 0.0.1" in capsys.readouterr().err


def test_only_a_part_is_lost(engine, run, arrays, tmp_path):
    assert interrupted(engine, run, arrays, tmp_path / "s.csv", at=1014) == [12, 0, 0]
    assert interrupted(engine, run, arrays, tmp_path / "s.csv", at=3006) == [20, 0, 6]


def test_what_has_changed_is_said(engine, run, arrays, model, tmp_path, fails_with):
    out = tmp_path / "scores.csv"
    interrupted(engine, run, arrays, out, at=1014)
    engine.seen.clear()

    def refusal(inputs=arrays, *flags):
        arguments = [model, *inputs, "--out", out, "--engine", "onnx", "--batch_size", 3, *flags]
        return fails_with(predict.main, arguments)

    assert "threshold was 1005.0, is 3.0" in refusal(arrays, "--threshold", "3")
    assert "prevalence was None, is 0.01" in refusal(arrays, "--prevalence", "0.01")
    assert "other order" in refusal(arrays[::-1])
    assert f"inputs.{arrays[2]} was " in refusal(arrays[:2])
    stamps = np.load(arrays[2])
    np.save(arrays[2], stamps[:6])
    assert f"inputs.{arrays[2]}.bytes was" in refusal()
    np.save(arrays[2], stamps)
    assert f"inputs.{arrays[2]}.modified was" in refusal()
    model.write_text("other weights")
    assert "other model" in refusal()
    assert not out.exists()
    assert engine.seen == []
    assert run(arrays, out, "--overwrite") == 0
    assert engine.seen == ids(1, 20) + ids(3, 7)


def test_a_changed_calibration_is_noticed(engine, run, arrays, tmp_path, capsys):
    out = tmp_path / "scores.csv"
    interrupted(engine, run, arrays, out, at=1014)
    engine.decision = None
    assert run(arrays, out, "--threshold", "1005") == 2
    assert "other decision" in capsys.readouterr().err


def test_records_in_the_same_folder_as_the_output_have_not_changed(
    engine, run, own_records, tmp_path
):
    out = own_records / "scores.csv"
    interrupted(engine, run, [own_records], out, at=10003)
    assert run([own_records], out) == 0
    assert len(pd.read_csv(out)) == 36


def damage(records):
    """Break detector 2's file, the second of three, in the middle."""
    path = records / "data2.tfrecord"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)


def test_damage_in_the_middle_stops_the_night(engine, run, own_records, arrays, tmp_path, capsys):
    damage(own_records)
    out = tmp_path / "scores.csv"
    assert run([own_records, *arrays], out) == 2
    lines = capsys.readouterr().err.splitlines()
    assert "records: expected whole records" in lines[-1]
    assert not out.exists()


@pytest.mark.parametrize(("stopped_before", "part_rows"), [(False, 6), (True, 6), (False, 100)])
def test_damage_in_the_middle_is_skipped(
    engine, run, own_records, arrays, tmp_path, capsys, monkeypatch, stopped_before, part_rows
):
    # In parts of 100 the rows before the damage still wait to be stored when it is met.
    monkeypatch.setattr(streaming, "PART_ROWS", part_rows)
    damage(own_records)
    out = tmp_path / "scores.csv"
    if stopped_before:
        # What stopped the night is left out when the same command is told to, nothing twice.
        assert run([arrays[0], own_records, arrays[2]], out) == 2
        capsys.readouterr()
    stored = Parts(out)
    before = [stored.rows(0), stored.rows(1)]
    engine.seen.clear()
    assert run([arrays[0], own_records, arrays[2]], out, "--skip_bad") == 1
    skipped = [s for s in capsys.readouterr().err.splitlines() if s.startswith("skipped: ")]
    assert len(skipped) == 1
    assert "records: expected whole records" in skipped[0]
    table = pd.read_csv(out)
    assert table["score"].tolist() == ids(1, 20) + ids(3, 7)
    assert "detector_id" not in table
    if stopped_before:
        assert before[0] == 20
        assert before[1] > 0
        assert not set(engine.seen) & set(ids(1, 20))


def test_a_name_that_no_table_can_hold_is_left_out(engine, run, arrays, tmp_path, capsys):
    strange = arrays[0].with_name("n\udce9.npy")
    shutil.copy(arrays[0], strange)
    out = tmp_path / "scores.csv"
    assert run([strange, arrays[2]], out) == 2
    assert "expected a name in UTF-8" in capsys.readouterr().err
    assert not parts_folder(out).exists()
    assert run([strange, arrays[2]], out, "--skip_bad") == 1
    assert "expected a name in UTF-8" in capsys.readouterr().err
    assert set(pd.read_csv(out)["source"]) == {str(arrays[2])}
    assert run([arrays[2]], tmp_path / "o\udce9.csv") == 2
    assert not list(tmp_path.glob("*.parts"))


def test_a_source_of_another_length_than_it_said_is_at_fault(
    engine, run, tmp_path, write_original, random_stamps, capsys
):
    detectors = {1: (random_stamps(6, SHAPE), [0] * 6)}
    records = write_original(tmp_path / "records", detectors)
    info = records / "data_info.csv"
    for length in (5, 7):
        info.write_text(f",detector_id,size,start_index\n0,1,{length},0\n")
        assert run([records], tmp_path / "scores.csv", "--overwrite") == 2
        assert f"expected {length} stamps, found 6" in capsys.readouterr().err


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_a_disk_full_at_the_end_leaves_no_half_file(engine, run, arrays, tmp_path, capsys, ending):
    out = tmp_path / f"scores.{ending}"
    interrupted(engine, run, arrays, out, at=3006)
    before = pd.DataFrame({"source": ["of the night before"], "score": [1.0]})
    before.to_csv(out) if ending == "csv" else before.to_parquet(out)
    content = out.read_bytes()
    (parts_folder(out) / f"whole.{ending}").symlink_to("/dev/full")
    assert run(arrays, out) == 1
    assert f"cannot write {out}: No space left" in capsys.readouterr().err
    assert out.read_bytes() == content
    # With room again, nothing has to be scored.
    engine.seen.clear()
    assert run(arrays, out) == 0
    assert engine.seen == []
    assert len(pd.read_csv(out) if ending == "csv" else pd.read_parquet(out)) == 27


def test_a_disk_full_on_the_way_is_no_fault_of_the_input(
    engine, run, arrays, tmp_path, capsys, monkeypatch
):
    out = tmp_path / "scores.csv"
    add, stored = Parts.add, []

    def full(self, number, table):
        if stored:
            raise OSError(errno.ENOSPC, "No space left on device", "part")
        stored.append(len(table))
        add(self, number, table)

    monkeypatch.setattr(Parts, "add", full)
    assert run(arrays, out, "--skip_bad") == 1
    assert "No space left" in capsys.readouterr().err
    assert not out.exists()
    monkeypatch.setattr(Parts, "add", add)
    engine.seen.clear()
    assert run(arrays, out) == 0
    assert engine.seen == ids(1, 20)[stored[0] :] + ids(3, 7)


def test_the_path_to_scores_is_free_of_tensorflow():
    code = (
        "import sys, rbkeras.predict, rbkeras.scoring, rbkeras.data.sources\n"
        "loaded = {'tensorflow', 'keras'} & sys.modules.keys()\n"
        "assert not loaded, loaded"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# --- what lies at --out, and what inputs stand for ------------------------------------------------


def test_a_table_of_something_else_is_not_replaced(
    run, engine, arrays, tmp_path, fails_with, model
):
    for name, content in (
        ("verdicts.csv", "unique_index,verdict\n3,real\n"),
        ("params1.csv", "object_type\nreal\n"),
        ("long.csv", "x" * 200_000),
        ("image.parquet", "no table"),
    ):
        out = tmp_path / name
        out.write_text(content)
        arguments = [model, arrays[0], "--out", out]
        assert "expected a table of scores to replace" in fails_with(predict.main, arguments)
        assert out.read_text() == content
    assert predict.main([*map(str, arguments), "--overwrite"]) == 0
    assert len(pd.read_parquet(out)) == 20
    # One of scores is, whichever of the two it is.
    assert predict.main([*map(str, arguments[:-1]), str(out)]) == 0
    for _ in range(2):
        assert run(arrays[2:], tmp_path / "scores.csv") == 0


def test_a_folder_of_arrays_is_its_files_in_the_order_of_their_numbers(
    run, engine, arrays, tmp_path, random_stamps, fails_with, model
):
    folder = tmp_path / "night"
    (folder / "ccd²").mkdir(parents=True)
    for number in (10, 9, 1):
        np.save(folder / f"ccd{number}.npy", random_stamps(2, SHAPE, number))
    np.save(folder / ".hidden.npy", random_stamps(2, SHAPE, 4))
    np.save(folder / "ccd²" / "last.npy", random_stamps(1, SHAPE, 11))
    (folder / "notes.txt").write_text("cloudy")
    names = [str(folder / f"ccd{number}.npy") for number in (1, 9, 10) for _ in range(2)]
    names.append(str(folder / "ccd²" / "last.npy"))
    for given in (folder, f"{folder}/**/*.npy", f"{tmp_path}/n?ght"):
        out = tmp_path / "scores.csv"
        assert run([given], out) == 0
        assert pd.read_csv(out)["source"].tolist() == names
        out.unlink()
    message = fails_with(predict.main, [model, f"{folder}/fits*.npy", "--out", out])
    assert "fits*.npy" in message


def test_a_tilde_is_the_users_folder_wherever_it_stands(run, engine, arrays, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    arguments = [str(tmp_path / "model.onnx"), "~/night1.npy", "--out=~/scores.csv"]
    assert predict.main(arguments) == 0
    assert len(pd.read_csv(tmp_path / "scores.csv")) == 20
