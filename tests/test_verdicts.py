import contextlib
import csv
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rbkeras.data.labels import SKIP
from rbkeras.errors import InputError
from rbkeras.review import gallery
from rbkeras.verdicts import VERDICTS, apply_verdicts, gather_verdicts, read_verdicts

# Detectors 2 and 10 with three samples each; the last one is unlabelled.
SAMPLES = pd.DataFrame(
    {
        "unique_index": range(6),
        "detector_id": [2, 2, 2, 10, 10, 10],
        "sample_index": [0, 1, 2, 0, 1, 2],
        "label": np.array([0, 1, 0, 1, 0, -1], np.int8),
    }
)


@pytest.fixture
def table(tmp_path):
    def write(text, encoding="utf-8"):
        path = tmp_path / "verdicts.csv"
        path.write_bytes(text if isinstance(text, bytes) else text.encode(encoding))
        return path

    return write


def read(path):
    return read_verdicts(path, SAMPLES).to_dict()


# --- what is accepted -----------------------------------------------------------------------------


def test_samples_are_named_by_detector_and_row(table):
    path = table("detector_id,sample_index,verdict\n10,2,real\n2,0,ok\n10,1,\n")
    assert read(path) == {0: "ok", 5: "real"}
    assert read_verdicts(path, SAMPLES).index.tolist() == [0, 5]


def test_samples_are_named_by_unique_index(table):
    path = table("verdict,note,unique_index\nbogus,why?,3\n")
    assert read(path) == {3: "bogus"}
    # Alerts too, whose table does not name them otherwise.
    assert read_verdicts(path, SAMPLES.assign(alert_id=list("abcdef"))).to_dict() == {3: "bogus"}


def test_what_a_spreadsheet_leaves_is_read(table):
    text = (
        '\ufeffdetector_id, sample_index ,verdict,note\r\n2,1, Unlabelled ,"a, b\r\nc"\r\n,,,\r\n'
    )
    assert read(table(text)) == {1: "unlabelled"}


def test_a_table_without_verdicts_says_nothing(table):
    assert read(table("unique_index,verdict\n")) == {}
    assert read(table("unique_index,verdict\n77,\nx,\n")) == {}


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    words=st.dictionaries(st.integers(0, 5), st.sampled_from([*VERDICTS, ""])),
    order=st.randoms(use_true_random=False),
    names=st.sets(st.sampled_from(["unique_index", "label", "note"])),
    by_stamp=st.booleans(),
    note=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=9),
    line_end=st.sampled_from(["\n", "\r\n"]),
)
def test_any_mixture_of_valid_rows_comes_back(
    tmp_path, words, order, names, by_stamp, note, line_end
):
    columns = {"verdict", *names} | ({"detector_id", "sample_index"} if by_stamp else set())
    if not by_stamp:
        columns.add("unique_index")
    columns, indices = sorted(columns), list(words)
    order.shuffle(columns)
    order.shuffle(indices)
    path = tmp_path / "verdicts.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        # Before Python 3.13 a lone carriage return is not quoted unless everything is.
        quoting = csv.QUOTE_ALL if "\r" in note else csv.QUOTE_MINIMAL
        writer = csv.DictWriter(
            file, columns, extrasaction="ignore", lineterminator=line_end, quoting=quoting
        )
        writer.writeheader()
        for index in indices:
            row = SAMPLES.loc[index].to_dict() | {"verdict": words[index], "note": note}
            writer.writerow(row)
    assert read(path) == {index: word for index, word in words.items() if word}


# --- what is refused ------------------------------------------------------------------------------


def test_alerts_are_found_again_wherever_they_are(table):
    samples = SAMPLES
    ids = [f"{10**18 + number}" for number in range(len(samples))]
    named = samples.assign(alert_id=ids)
    moved = named.assign(alert_id=ids[1:] + ids[:1])
    label = int(samples["label"].iloc[3])
    path = table(f"detector_id,sample_index,label,alert_id,verdict\n10,0,{label},{ids[3]},real\n")
    (there,) = read_verdicts(path, named).index
    assert named["alert_id"].iloc[there] == ids[3]
    same_label = moved.assign(label=label)
    (elsewhere,) = read_verdicts(path, same_label).index
    assert same_label["alert_id"].iloc[elsewhere] == ids[3]
    assert there != elsewhere
    # Another label is another question, and an alert that is not there has no answer.
    with pytest.raises(InputError, match="expected label"):
        read_verdicts(path, moved.assign(label=-1 - label))
    with pytest.raises(InputError, match=f"found alert_id {ids[3]}"):
        read_verdicts(path, named.drop(index=3))
    # Records without alerts go by the place.
    assert read_verdicts(path, samples).index.tolist() == [there]
    with pytest.raises(InputError, match="expected alert_id among the records"):
        read_verdicts(table("alert_id,verdict\n7,real\n"), samples)


@pytest.mark.parametrize(
    "names",
    [[1.0, 2.0, None, 4.0, 5.0, 6.0], ["a"] * 6, [None] * 6, [" x", "x", "c", "d", "e", "f"]],
)
def test_alerts_without_a_name_of_their_own_are_found_by_their_place(table, names):
    """As in surveys where injected stars are no alerts; the page writes both."""
    named = SAMPLES.assign(alert_id=names)
    rows = [gallery._identity(named, index) for index in range(6)]
    assert all(len(row.split(",")) == 4 for row in rows)
    text = "\n".join(f"{row},{word}" for row, word in zip(rows[1:3], ("ok", "real"), strict=True))
    path = table(f"detector_id,sample_index,label,alert_id,verdict\n{text}\n")
    assert read_verdicts(path, named).to_dict() == {1: "ok", 2: "real"}


def test_blanks_around_the_names_of_alerts_do_not_count(table):
    named = SAMPLES.assign(alert_id=[" a", "b ", "c", "d", "e", "f"])
    assert read_verdicts(table("alert_id,verdict\nb,ok\n a ,real\n"), named).to_dict() == {
        0: "real",
        1: "ok",
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"expected different columns, .* found \[\]"),
        (
            "detector_id;sample_index;verdict\n2;0;ok\n",
            "expected commas between the columns, found semicolons",
        ),
        ("detector_id,verdict\n2,ok\n", "found .*'detector_id', 'verdict'"),
        ("unique_index,unique_index,verdict\n1,1,ok\n", "expected different columns"),
        ("unique_index,note\n1,x\n", "expected a column verdict, found"),
        ("unique_index,verdict\n1,ok\n2,maybe\n", "row 3: expected a verdict of real, .*'maybe'"),
        ("unique_index,verdict\n1,=cmd|' /C calc'!A0\n", "row 2: expected a verdict"),
        ("unique_index,verdict\n1,ok,3\n", "row 2: expected 2 cells, found 3"),
        ("unique_index,verdict\n1\n", "row 2: expected 2 cells, found 1"),
        ("unique_index,verdict\n1.0,ok\n", "row 2: expected an integer unique_index, found '1.0'"),
        ("unique_index,verdict\n,ok\n", "row 2: expected an integer unique_index, found ''"),
        ("unique_index,verdict\n" + "9" * 400 + ",ok\n", "row 2: expected an integer"),
        ("unique_index,verdict\n6,ok\n", "row 2: .* of the records, found unique_index 6"),
        ("unique_index,verdict\n-1,ok\n", "row 2: .* of the records, found unique_index -1"),
        (
            "detector_id,sample_index,verdict\n2,0,ok\n10,3,ok\n",
            "row 3: expected a sample of the records, found detector_id 10, sample_index 3",
        ),
        (
            "unique_index,verdict\n1,ok\n4,\n1,ok\n",
            "row 4: expected one verdict per sample, found another of unique_index 1",
        ),
        (
            "detector_id,sample_index,unique_index,verdict\n10,0,0,ok\n",
            "row 2: expected unique_index 3 as in the records, found 0; .* other records",
        ),
        (
            "unique_index,label,verdict\n0,0,ok\n1,0,ok\n",
            "row 3: expected label 1 as in the records, found 0",
        ),
        ('unique_index,verdict\n1,"ok\n', "expected CSV in UTF-8"),
        ("unique_index,verdict\n1,o\0k\n", "verdicts.csv"),
        (b"unique_index,verdict\n1,\xff\xfe\n", "expected CSV in UTF-8"),
        ("unique_index,verdict\n1," + "x" * 200_000 + "\n", "expected CSV in UTF-8"),
        (b"\x89PNG\r\n\x1a\n\0\0", "verdicts.csv: expected"),
    ],
)
def test_broken_tables_are_refused_by_name_and_row(table, text, message):
    with pytest.raises(InputError, match=message) as caught:
        read(table(text))
    assert str(caught.value).count("verdicts.csv") == 1
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600


@settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(content=st.binary(max_size=60))
def test_any_other_bytes_are_verdicts_or_an_input_error(tmp_path, content):
    path = tmp_path / "verdicts.csv"
    for head in (b"", b"unique_index,verdict\n"):
        path.write_bytes(head + content)
        with contextlib.suppress(InputError):
            assert set(read(path).values()) <= set(VERDICTS)


def test_a_missing_file_and_a_folder_are_named(tmp_path):
    for path in (tmp_path / "none.csv", tmp_path):
        with pytest.raises(InputError, match="expected a table of verdicts, but it cannot be read"):
            read(path)


def test_records_that_repeat_a_stamp_want_unique_index(table):
    samples = SAMPLES.assign(sample_index=0)
    with pytest.raises(InputError, match="named by unique_index alone"):
        read_verdicts(table("detector_id,sample_index,verdict\n2,0,ok\n"), samples)
    by_number = table("unique_index,verdict\n2,ok\n")
    assert read_verdicts(by_number, samples).to_dict() == {2: "ok"}


# --- several tables, and what becomes of the labels -----------------------------------------------


def test_of_two_tables_the_first_one_counts(tmp_path):
    texts = [
        "unique_index,verdict\n1,ok\n",
        "unique_index,verdict\n1,real\n4,bogus\n",
        "a,b\n1,2\n",
    ]
    paths = [tmp_path / f"{number}.csv" for number in range(4)]
    for path, text in zip(paths, texts, strict=False):
        path.write_text(text)
    assert gather_verdicts(paths[0], paths[1:], SAMPLES).to_dict() == {1: "ok", 4: "bogus"}
    assert gather_verdicts(None, paths, SAMPLES).to_dict() == {1: "ok", 4: "bogus"}
    assert gather_verdicts(None, paths[2:], SAMPLES).empty


def test_an_empty_verdict_of_the_named_table_takes_back_what_others_say(tmp_path):
    named, kept = tmp_path / "named.csv", tmp_path / "kept.csv"
    named.write_text("unique_index,verdict\n1,\n2,ok\n")
    kept.write_text("unique_index,verdict\n1,real\n2,\n4,bogus\n")
    assert gather_verdicts(named, [kept], SAMPLES).to_dict() == {2: "ok", 4: "bogus"}
    assert gather_verdicts(None, [named, kept], SAMPLES)[1] == "real"


def test_verdicts_overrule_the_policy():
    labels = SAMPLES["label"].to_numpy()
    targets = np.array([0, -1, SKIP, -1, 0, -1], np.int8)
    words = pd.Series({1: "ok", 2: "real", 3: "bogus", 4: "unlabelled", 5: "real"})
    assert apply_verdicts(targets, labels, words).tolist() == [0, 1, 1, 0, -1, 1]
    assert targets.tolist() == [0, -1, SKIP, -1, 0, -1]
    nothing = apply_verdicts(targets, labels, gather_verdicts(None, [], SAMPLES))
    assert nothing.tolist() == targets.tolist()
    assert nothing.dtype == np.int8


def test_reading_verdicts_needs_no_tensorflow():
    code = "import sys, rbkeras.verdicts; assert 'tensorflow' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
