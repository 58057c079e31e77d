import errno
import json
import os
import signal
import subprocess
import sys
from functools import partial

import numpy as np
import pandas as pd
import pytest

from rbkeras import convert
from rbkeras.data import write_records
from rbkeras.data.records import open_records


def run(*arguments):
    return convert.main([str(argument) for argument in arguments])


def contents(directory):
    return {path.name: path.read_bytes() for path in directory.iterdir()}


@pytest.mark.parametrize("dtype", ["f8", "i2"])
def test_a_good_survey_of_any_numbers_is_converted(tmp_path, make_survey, dtype, read_all):
    survey = make_survey(tmp_path / "survey", dtype=dtype)
    assert run(survey, tmp_path / "out") == 0
    expected = [np.load(survey / f"images{i}.npy") for i in (1, 10, 2)]
    records = open_records(tmp_path / "out")
    np.testing.assert_array_equal(read_all(records), np.concatenate(expected).astype("f4"))
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "data1.tfrecord",
        "data10.tfrecord",
        "data2.tfrecord",
        "data_info.csv",
        "manifest.json",
        "samples.parquet",
    }


def test_room_for_all_records_is_taken_before_the_first(tmp_path, make_survey, monkeypatch):
    taken = []
    monkeypatch.setattr(os, "posix_fallocate", lambda _, start, size: taken.append((start, size)))
    monkeypatch.setattr(write_records, "_CHUNK", 5)
    survey = make_survey(tmp_path / "survey", detectors=(1, 2))
    assert run(survey, tmp_path / "out") == 0
    sizes = [(tmp_path / "out" / f"data{i}.tfrecord").stat().st_size for i in (1, 2)]
    assert taken == [(0, size) for size in sizes]


def test_label_names_can_be_given_and_overridden(survey, tmp_path):
    table = pd.read_csv(survey / "params1.csv")
    table.loc[:5, "object_type"] = "asteroid"
    table.to_csv(survey / "params1.csv", index=False)
    assert run(survey, tmp_path / "out", "--labels", "asteroid=1", "artifact=-1") == 0
    labels = open_records(tmp_path / "out").samples["label"]
    assert labels[:12].tolist() == [1] * 6 + [-1, 1, 1, -1, 0, 1]


def test_channels_first_are_remarked_on(tmp_path, make_survey, capsys):
    for shape, remarked in (((3, 7, 7), True), ((7, 7, 3), False)):
        survey = make_survey(tmp_path / f"survey{shape}", shape=shape)
        assert run(survey, tmp_path / f"out{shape}") == 0
        assert ("so these have 7 channels" in capsys.readouterr().out) == remarked


def test_compressed(survey, tmp_path):
    assert run(survey, tmp_path / "out", "--compress") == 0
    assert open_records(tmp_path / "out").compression == "GZIP"


# --- bad input ---------------------------------------------------------------------------------


def cut_array(survey):
    path = survey / "images2.npy"
    path.write_bytes(path.read_bytes()[:500])


def remove_table(survey):
    (survey / "params2.csv").unlink()


def name_unknown_label(survey):
    table = pd.read_csv(survey / "params2.csv").replace("real", "nova\nstella")
    table.to_csv(survey / "params2.csv", index=False)


def write_objects(survey):
    np.save(survey / "images2.npy", np.full((12, 7, 7, 3), None))


def write_pickle(survey):
    (survey / "images2.npy").write_bytes(b"\x80\x04K\x01.")


def break_table(survey):
    (survey / "params2.csv").write_text('a,b\n1,2\n1,2,3,4\n"')


@pytest.mark.parametrize(
    "damage",
    [cut_array, remove_table, name_unknown_label, write_objects, write_pickle, break_table],
)
def test_bad_input_is_one_line_and_leaves_earlier_records_alone(
    survey, tmp_path, fails_with, damage
):
    out = tmp_path / "out"
    assert run(survey, out) == 0
    before = contents(out)
    # The first detector would be converted anew, were the last one not found at fault before.
    np.save(survey / "images1.npy", np.load(survey / "images1.npy") + 1)
    damage(survey)
    line = fails_with(convert.main, [survey, out])
    assert "2.npy" in line or "params2.csv" in line
    assert contents(out) == before
    fails_with(convert.main, [survey, tmp_path / "new"])
    assert not (tmp_path / "new").exists()


def test_bad_labels_option_is_one_line(survey, tmp_path, fails_with):
    assert "'real=7'" in fails_with(convert.main, [survey, tmp_path / "o", "--labels", "real=7"])


def test_what_was_made_is_said(survey, tmp_path, capsys):
    assert run(survey, tmp_path / "out") == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0].endswith("36 stamps of 3 detectors: 18 real, 12 bogus, 6 unlabelled")
    assert "6 stamps with missing pixels" in said[1]
    assert len(said) == 2
    assert run(survey, tmp_path / "none", "--labels", "artifact=-1", "bogus=-1") == 0
    assert "fit needs labels of both classes" in capsys.readouterr().out


def test_paths_behind_labels_are_told_from_them(survey, tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        run("--labels", "artifact=0", survey, tmp_path / "out")
    assert ended.value.code == 2
    assert "paths stand before --labels" in capsys.readouterr().err


def test_missing_survey_is_one_line(tmp_path, fails_with):
    assert "nowhere" in fails_with(convert.main, [tmp_path / "nowhere", tmp_path / "out"])


def test_missing_argument_is_a_usage_error(capsys):
    with pytest.raises(SystemExit) as caught:
        convert.main(["only-one"])
    assert caught.value.code == 2


@pytest.mark.parametrize("options", [["--compress"], ["--labels", "real=0"]])
def test_records_of_another_kind_are_replaced_only_when_asked(
    survey, tmp_path, fails_with, options
):
    out = tmp_path / "out"
    assert run(survey, out) == 0
    before = contents(out)
    assert "--overwrite" in fails_with(convert.main, [survey, out, *options])
    assert contents(out) == before
    assert run(survey, out, *options, "--overwrite") == 0
    assert contents(out)["data1.tfrecord"] != before["data1.tfrecord"]
    assert len(open_records(out).samples) == 36


def test_original_records_are_replaced_only_when_asked(
    survey, tmp_path, fails_with, write_original, random_stamps
):
    out = write_original(tmp_path / "out", {1: (random_stamps(3), [0, 1, 0])})
    before = contents(out)
    assert "without manifest.json" in fails_with(convert.main, [survey, out])
    assert contents(out) == before
    assert run(survey, out, "--overwrite") == 0
    assert len(open_records(out)) == 36


@pytest.mark.parametrize("content", ["{", "[]", '{"format_version": 99}'])
def test_a_broken_manifest_is_replaced_only_when_asked(survey, tmp_path, fails_with, content):
    out = tmp_path / "out"
    assert run(survey, out) == 0
    (out / "manifest.json").write_text(content)
    assert "manifest.json" in fails_with(convert.main, [survey, out])
    assert run(survey, out, "--overwrite") == 0
    assert len(open_records(out)) == 36


def test_a_file_in_the_place_of_the_records_directory(survey, tmp_path, fails_with):
    (tmp_path / "out").write_text("precious")
    assert "expected a directory" in fails_with(convert.main, [survey, tmp_path / "out"])
    assert (tmp_path / "out").read_text() == "precious"


# --- interruption ------------------------------------------------------------------------------

KILLED = """
import os, signal, sys
from rbkeras import convert
from rbkeras.data import write_records
frame_block, left = write_records.frame_block, iter(range(17))
def fatal(*arguments, **keywords):
    if next(left, None) is None:
        os.kill(os.getpid(), signal.SIGKILL)
    return frame_block(*arguments, **keywords)
write_records.frame_block, write_records._CHUNK = fatal, 1
convert.main(sys.argv[1:])
"""


def test_a_killed_conversion_leaves_no_half_file_and_is_completed(survey, tmp_path, read_all):
    out = tmp_path / "out"
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(survey), str(out)], capture_output=True, timeout=100
    )
    assert done.returncode == -signal.SIGKILL
    assert {name for name in contents(out) if not name.startswith(".")} == {
        "data1.tfrecord",
        "manifest.json",
    }
    first = (out / "data1.tfrecord").stat().st_mtime_ns
    assert run(survey, out) == 0
    assert (out / "data1.tfrecord").stat().st_mtime_ns == first
    assert not [name for name in contents(out) if name.startswith(".")]
    assert read_all(open_records(out))[:, 0, 0, 0].tolist() == [
        1000 * detector + row for detector in (1, 10, 2) for row in range(12)
    ]


def fail_after(monkeypatch, stamps, error):
    frame_block, left = write_records.frame_block, iter(range(stamps))

    def failing(*arguments, **keywords):
        if next(left, None) is None:
            raise error
        return frame_block(*arguments, **keywords)

    monkeypatch.setattr(write_records, "_CHUNK", 1)
    monkeypatch.setattr(write_records, "frame_block", failing)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (KeyboardInterrupt(), "the same command continues"),
        (OSError(errno.ENOSPC, "No space left on device", "x"), "No space left on device"),
    ],
)
def test_interrupted_or_out_of_space_is_status_1_and_can_be_continued(
    survey, tmp_path, monkeypatch, capsys, error, words
):
    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        fail_after(patch, 17, error)
        assert run(survey, out) == 1
    last = capsys.readouterr().err.splitlines()[-1]
    assert words in last
    assert set(contents(out)) == {"data1.tfrecord", "manifest.json"}
    assert json.loads((out / "manifest.json").read_text())["complete"] is False
    assert run(survey, out) == 0
    assert len(open_records(out)) == 36


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is always full")
def test_a_disk_that_is_really_full_is_status_1(survey, tmp_path, monkeypatch, capsys):
    with monkeypatch.context() as patch:
        full = partial(open, "/dev/full")
        patch.setattr(write_records, "open", lambda _, mode: full(mode), raising=False)
        assert run(survey, tmp_path / "out") == 1
    assert "No space left on device" in capsys.readouterr().err.splitlines()[-1]
    assert set(contents(tmp_path / "out")) == {"manifest.json"}
    assert run(survey, tmp_path / "out") == 0
