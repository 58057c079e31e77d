import errno
import json
import os
import time
from pathlib import Path

import numpy as np
import pytest

from rbkeras.errors import InputError
from rbkeras.files import beside, read_json, remove_abandoned, reserve, whole_file, write_json


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, OSError])
def test_a_failure_leaves_the_old_content_and_no_temporary_file(tmp_path, error):
    path = tmp_path / "table.csv"
    path.write_text("old")

    def fail():
        with whole_file(path) as temporary:
            temporary.write_text("half of the ne")
            raise error

    with pytest.raises(error):
        fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_failure_leaves_no_file_where_there_was_none(tmp_path):
    def fail():
        with whole_file(tmp_path / "table.csv") as temporary:
            temporary.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_named_after_the_file_to_be(tmp_path):
    full = pytest.raises(OSError, match=r"No space left on device: .*table.csv'$")
    with full as caught, whole_file(tmp_path / "table.csv"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert caught.value.errno == errno.ENOSPC
    with pytest.raises(OSError, match=r"'other'$"), whole_file(tmp_path / "table.csv"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "other")


def test_what_killed_processes_have_left_is_removed_once_it_is_old(tmp_path):
    def leave(folder, kind, *, age, content=None):
        path = beside(folder / "model.keras", kind)
        if content is None:
            path.write_text("half")
        else:
            path.mkdir()
            (path / content).write_text("half")
        os.utime(path, (time.time() - age,) * 2)
        return path

    (tmp_path / "folds" / "1").mkdir(parents=True)
    old = [
        leave(tmp_path, "part", age=4000),
        leave(tmp_path / "folds" / "1", "part", age=4000),
        leave(tmp_path, "old", age=4000, content="weights"),
    ]
    young = leave(tmp_path, "part", age=60)
    others = [tmp_path / name for name in (".lock", ".note.part.txt", "1-0123abcd.part.csv")]
    for path in others:
        path.write_text("a person's")
        os.utime(path, (0, 0))
    remove_abandoned(tmp_path)
    assert not any(path.exists() for path in old)
    assert all(path.exists() for path in [young, *others])
    deeper = leave(tmp_path / "folds", "part", age=4000)
    remove_abandoned(tmp_path, older_than=0, below=False)
    assert deeper.exists()
    assert not young.exists()
    assert all(path.exists() for path in others)


def test_room_is_reserved_where_the_system_can(tmp_path, monkeypatch):
    with (tmp_path / "file").open("wb") as file:
        reserve(file, 5000)
        assert (tmp_path / "file").stat().st_size == 5000
        file.write(b"abc")
        file.truncate()
    assert (tmp_path / "file").read_bytes() == b"abc"

    def refuse(reason):
        def fallocate(*_):
            raise OSError(reason, os.strerror(reason))

        monkeypatch.setattr(os, "posix_fallocate", fallocate)

    with (tmp_path / "file").open("wb") as file:
        refuse(errno.EOPNOTSUPP)
        reserve(file, 5000)
        refuse(errno.ENOSPC)
        with pytest.raises(OSError, match="No space left"):
            reserve(file, 5000)


def test_success_replaces_the_old_content(tmp_path):
    path = tmp_path / "new" / "folder" / "model.keras"
    for content in ("first", "second"):
        with whole_file(path) as temporary:
            assert temporary.suffix == ".keras"
            temporary.write_text(content)
            assert not path.exists() or path.read_text() == "first"
        assert path.read_text() == content
    assert list(path.parent.iterdir()) == [path]


def test_a_folder_that_cannot_be_deleted_is_replaced_as_a_whole(tmp_path, monkeypatch):
    path = tmp_path / "saved_model"
    path.mkdir()
    for name in ("a", "b"):
        (path / name).touch()

    def killed(folder, **_):
        next(Path(folder).iterdir()).unlink()
        raise KeyboardInterrupt

    monkeypatch.setattr("rbkeras.files.shutil.rmtree", killed)

    def write():
        with whole_file(path) as temporary:
            temporary.mkdir()
            (temporary / "new").touch()

    with pytest.raises(KeyboardInterrupt):
        write()
    assert [file.name for file in path.iterdir()] == ["new"]


def test_processes_of_one_number_on_two_machines_do_not_meet(tmp_path):
    path = tmp_path / "config.yaml"
    with whole_file(path) as here, whole_file(path) as there:
        assert here != there
        here.write_text("here")
        there.write_text("there")
    assert path.read_text() == "here"


def test_a_folder_is_replaced_as_a_whole(tmp_path):
    path = tmp_path / "saved_model"
    for name in ("old", "new"):
        with whole_file(path) as temporary:
            temporary.mkdir()
            (temporary / name).write_text(name)
    assert [file.name for file in path.iterdir()] == ["new"]
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_survives_a_failure(tmp_path):
    path = tmp_path / "saved_model"
    path.mkdir()
    (path / "old").write_text("old")

    def fail():
        with whole_file(path) as temporary:
            temporary.mkdir()
            (temporary / "new").write_text("new")
            raise RuntimeError

    def write_nothing():
        with whole_file(path):
            pass

    with pytest.raises(RuntimeError):
        fail()
    with pytest.raises(FileNotFoundError):
        write_nothing()
    assert [file.name for file in path.iterdir()] == ["old"]
    assert list(tmp_path.iterdir()) == [path]


def test_json_says_null_for_what_is_no_number_and_plain_values_for_numpy(tmp_path):
    content = {
        "nan": float("nan"),
        "inf": [np.inf, -np.inf],
        "numpy": (np.float32(0.5), np.int64(3), np.bool_(True)),
        "array": np.array([[1.0, np.nan]]),
        7: "ø",
    }
    write_json(tmp_path / "m.json", content)
    expected = {
        "nan": None,
        "inf": [None, None],
        "numpy": [0.5, 3, True],
        "array": [[1.0, None]],
        "7": "ø",
    }
    text = (tmp_path / "m.json").read_text(encoding="utf-8")
    assert json.loads(text) == expected
    assert "NaN" not in text
    assert read_json(tmp_path / "m.json") == expected


def test_what_json_cannot_say_leaves_the_old_file(tmp_path):
    write_json(tmp_path / "m.json", [1])
    with pytest.raises(TypeError):
        write_json(tmp_path / "m.json", object())
    assert read_json(tmp_path / "m.json") == [1]


@pytest.mark.parametrize("content", [b"", b'{"a": ', b"\xff\xfe\x00", b"nope"])
def test_broken_json_is_named_in_one_sentence(tmp_path, content):
    (tmp_path / "m.json").write_bytes(content)
    with pytest.raises(InputError, match=r"m\.json: expected JSON") as caught:
        read_json(tmp_path / "m.json")
    assert "\n" not in str(caught.value)


def test_missing_json_is_named(tmp_path):
    with pytest.raises(InputError, match=r"m\.json: expected a readable JSON file"):
        read_json(tmp_path / "m.json")


def test_a_file_does_not_replace_a_folder(tmp_path):
    folder = tmp_path / "scores.csv"
    folder.mkdir()
    (folder / "precious").write_text("work")
    with (
        pytest.raises(InputError, match=r"scores\.csv: expected a file to write, found a folder"),
        whole_file(folder) as temporary,
    ):
        temporary.write_text("new")
    assert (folder / "precious").read_text() == "work"
    assert list(tmp_path.iterdir()) == [folder]


def test_a_name_may_be_as_long_as_names_may_be(tmp_path):
    path = tmp_path / ("\N{GREEK SMALL LETTER ALPHA}" * 125 + ".csv")
    with whole_file(path) as temporary:
        assert temporary.suffix == ".csv"
        temporary.write_text("whole")
    assert path.read_text() == "whole"
