"""Tables that are gathered part by part: what survives, what is refused, what comes out."""

import itertools
import math
from pathlib import Path

import pandas as pd
import pytest

from rbkeras.errors import InputError
from rbkeras.parts import Parts, parts_folder

EMPTY = pd.DataFrame({"source": pd.Series(dtype=str), "score": pd.Series(dtype="float32")})
LAST = ("sample_index", "score")


def rows(first, count, **columns):
    table = pd.DataFrame({"source": "a", "sample_index": range(first, first + count)})
    return table.assign(**columns, score=0.5)


@pytest.fixture
def out(tmp_path):
    return tmp_path / "scores.csv"


def claim(out, settings=None, *, overwrite=False):
    return Parts.claimed(out, settings or {"model": "x"}, overwrite=overwrite)


def store(out, *tables, number=0):
    with claim(out) as parts:
        for table in tables:
            parts.add(number, table)


def test_parts_are_found_again_and_joined_in_order(out):
    store(out, rows(0, 3), rows(3, 2))
    store(out, rows(0, 1), number=1)
    assert not out.exists()
    with claim(out) as parts:
        assert [parts.rows(number) for number in (0, 1, 2)] == [5, 1, 0]
        parts.add(0, rows(5, 1))
        parts.write([0, 1], empty=EMPTY, last=LAST)
    assert pd.read_csv(out)["sample_index"].tolist() == [0, 1, 2, 3, 4, 5, 0]
    assert not parts_folder(out).exists()


def test_inputs_left_out_are_not_in_the_table(out):
    store(out, rows(0, 3))
    store(out, rows(0, 2), number=1)
    with claim(out) as parts:
        parts.write([1], empty=EMPTY, last=LAST)
    assert len(pd.read_csv(out)) == 2


def test_other_settings_are_refused_with_what_differs(out):
    store(out, rows(0, 3))
    with (
        pytest.raises(InputError, match=r"model was x, is y.*--overwrite to begin anew"),
        claim(out, {"model": "y"}),
    ):
        pass
    with claim(out, {"model": "y"}, overwrite=True) as parts:
        assert parts.rows(0) == 0
    # Begun anew with the same settings, nothing of before counts either.
    with claim(out, {"model": "y"}) as parts:
        parts.add(0, rows(0, 3))
    with claim(out, {"model": "y"}, overwrite=True) as parts:
        assert parts.rows(0) == 0


@pytest.mark.parametrize("left", [0, 100])
def test_a_part_that_is_no_whole_file_is_made_again(out, left):
    store(out, rows(0, 3), rows(3, 3), rows(6, 3))
    second = sorted(parts_folder(out).glob("*.parquet"))[1]
    second.write_bytes(second.read_bytes()[:left])
    with claim(out) as parts:
        assert parts.rows(0) == 3
        parts.add(0, rows(3, 2))
        parts.add(0, rows(5, 4))
        parts.write([0], empty=EMPTY, last=LAST)
    assert pd.read_csv(out)["sample_index"].tolist() == list(range(9))


def test_a_second_process_is_kept_out(out):
    with claim(out) as parts:
        with pytest.raises(InputError, match="another process"), claim(out):
            pass
        parts.add(0, rows(0, 1))
    with claim(out) as parts:
        assert parts.rows(0) == 1


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_what_is_not_ours_is_not_touched(out, kind):
    theirs = parts_folder(out)
    if kind == "folder":
        theirs.mkdir()
        theirs = theirs / "notes.txt"
    theirs.write_text("keep me")
    with pytest.raises(InputError, match="found something else"), claim(out, overwrite=True):
        pass
    assert theirs.read_text() == "keep me"


def test_a_folder_in_the_output_s_place_is_refused(out):
    out.mkdir()
    with pytest.raises(InputError, match="found a folder"), claim(out):
        pass


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_inputs_with_other_columns_share_a_table(tmp_path, ending):
    out = tmp_path / f"scores{ending}"
    store(out, rows(0, 2))
    store(out, rows(0, 2, detector_id=7), number=1)
    store(out, rows(0, 1, object_id=["ztf, 1"]), number=2)
    with claim(out) as parts:
        parts.write([0, 1, 2], empty=EMPTY, last=LAST)
    table = pd.read_csv(out) if ending == ".csv" else pd.read_parquet(out)
    columns = ["source", "detector_id", "object_id", "sample_index", "score"]
    assert list(table) == columns
    assert table["detector_id"].isna().tolist() == [True] * 2 + [False] * 2 + [True]
    assert table["object_id"].tolist()[4] == "ztf, 1"
    if ending == ".csv":
        assert '"a",7,' in out.read_text()


def test_no_rows_give_the_columns_alone(out):
    with claim(out) as parts:
        parts.write([], empty=EMPTY, last=LAST)
    assert list(pd.read_csv(out)) == ["source", "score"]


def test_a_kill_while_parts_are_removed_is_in_nobodys_way(out, monkeypatch):
    def killed(folder):
        (folder / "settings.json").unlink()
        raise KeyboardInterrupt

    with claim(out) as parts:
        parts.add(0, rows(0, 2))
        monkeypatch.setattr("rbkeras.parts.shutil.rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            parts.write([0], empty=EMPTY, last=LAST)
    assert len(pd.read_csv(out)) == 2
    monkeypatch.undo()
    # By a process of the same number too, as in containers.
    with claim(out) as parts:
        parts.add(0, rows(0, 3))
        parts.write([0], empty=EMPTY, last=LAST)
    assert len(pd.read_csv(out)) == 3


@pytest.mark.parametrize("finished", [False, True])
def test_who_was_overtaken_adds_nothing(out, finished):
    with claim(out, {"threshold": 1}) as parts:
        parts.add(0, rows(0, 2))
        late = Parts(out)
    with claim(out, {"threshold": 2}, overwrite=True) as parts:
        parts.add(0, rows(0, 2))
        if finished:
            parts.write([0], empty=EMPTY, last=LAST)
    with pytest.raises(InputError, match="expected the parts that were begun, found others"):
        late.add(0, rows(2, 2))
    assert parts_folder(out).exists() != finished


def test_a_kill_while_beginning_anew_leaves_parts_that_are_known(out, monkeypatch):
    store(out, rows(0, 1), rows(1, 1))
    unlink, left = Path.unlink, iter(range(2))

    def killed(path, **options):
        if next(left, None) is None:
            raise KeyboardInterrupt
        unlink(path, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", killed)
        with pytest.raises(KeyboardInterrupt), claim(out, overwrite=True):
            pass
    with claim(out, overwrite=True) as parts:
        assert parts.rows(0) == 0


_VALUES = {"integer": 7, "text": "x", "flag": True, "long": 123456789012345677, "gap": math.nan}


# Every pair, and three inputs of the kinds that decide what a column becomes.
_KINDS = [
    *itertools.product(_VALUES, repeat=2),
    *itertools.product(("integer", "text", "gap"), repeat=3),
]


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
@pytest.mark.parametrize("kinds", _KINDS, ids="-".join)
def test_columns_of_any_types_are_joined(tmp_path, kinds, ending):
    out = tmp_path / f"scores{ending}"
    for number, kind in enumerate(kinds):
        store(out, rows(0, 1, night=_VALUES[kind]), number=number)
    with claim(out) as parts:
        parts.write(list(range(len(kinds))), empty=EMPTY, last=LAST)
    found = pd.read_csv(out, dtype=str) if ending == ".csv" else pd.read_parquet(out)
    for kind, night in zip(kinds, found["night"], strict=True):
        if kind in ("text", "long"):
            assert str(night) == str(_VALUES[kind])
        if kind == "integer":
            assert float(night) == 7


@pytest.mark.parametrize("other", [7, 0.5, None, "seven"])
@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_unsigned_numbers_of_one_input_and_others_of_another(tmp_path, ending, other):
    out = tmp_path / f"scores{ending}"
    store(out, rows(0, 1, night=2**63 + 5))
    store(out, rows(0, 1, night=other), number=1)
    with claim(out) as parts:
        parts.write([0, 1], empty=EMPTY, last=LAST)
    exact = {"dtype_backend": "numpy_nullable"}
    found = pd.read_csv(out, dtype=str) if ending == ".csv" else pd.read_parquet(out, **exact)
    first, second = found["night"]
    assert int(first) == 2**63 + 5
    assert pd.isna(second) if other is None else str(second) == str(other)


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_numbers_of_one_input_and_words_of_another_are_texts(tmp_path, ending):
    out = tmp_path / f"scores{ending}"
    store(out, rows(0, 1, night=20260101))
    store(out, rows(0, 1, night="first"), number=1)
    with claim(out) as parts:
        parts.write([0, 1], empty=EMPTY, last=LAST)
    found = pd.read_csv(out) if ending == ".csv" else pd.read_parquet(out)
    assert found["night"].tolist() == ["20260101", "first"]


def test_a_lock_that_is_a_link_leaves_what_it_leads_to(out, tmp_path):
    (tmp_path / "notes.txt").write_text("kept")
    parts_folder(out).mkdir()
    (parts_folder(out) / ".lock").symlink_to(tmp_path / "notes.txt")
    store(out, rows(0, 3))
    assert (tmp_path / "notes.txt").read_text() == "kept"
