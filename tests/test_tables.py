"""Tables of others: nothing is taken for something else, and no number changes."""

import gzip

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rbkeras.errors import InputError
from rbkeras.tables import moved_aside, read_table, stacked


@pytest.fixture
def written(tmp_path):
    def write(content, name="table.csv"):
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("label,id\n5,real,Z1\n6,bogus,Z2\n", "as many fields as the first"),
        ("label\n1,real\n1,bogus\n", "as many fields as the first"),
        ("label,id\n1,2\n3,4,5\n", "cannot be read"),
        ("label,id,label\n1,2,3\n", "'label' twice"),
        ("id\n1\n", r"missing \['label'\]"),
        ("", "cannot be read"),
        (b"\xff\xfe\x00", "cannot be read"),
    ],
)
def test_what_is_no_table_with_these_columns(content, complaint, written):
    path = written(content)
    with pytest.raises(InputError, match=complaint) as raised:
        read_table(path, ["label"])
    assert str(raised.value).startswith(f"{path}: expected")


@pytest.mark.parametrize("ending", ["gz", "zip", "xz", "bz2"])
def test_damaged_archives_are_sentences(ending, written):
    whole = gzip.compress(b"label\n" + b"1\n" * 1000)
    content = whole[:-20] if ending == "gz" else b"PK\x03\x04 and no more"
    with pytest.raises(InputError, match="cannot be read"):
        read_table(written(content, f"table.csv.{ending}"), ["label"])


def test_tables_that_pandas_wrote_with_row_numbers_and_marks_of_windows(written):
    table = read_table(written("\ufeff,label,id\r\n0,real,Z1\r\n1,bogus,Z2\r\n"), ["label", "id"])
    assert table["label"].tolist() == ["real", "bogus"]
    # A comma at the end of each row, as spreadsheets leave it, is no field.
    assert read_table(written("label,id\n1,2,\n3,4,\n"), ["label"])["id"].tolist() == [2, 4]


# One less is a gap to pandas before 3.1.
@given(st.lists(st.integers(1 - 2**63, 2**63 - 1) | st.none(), min_size=1))
def test_identifiers_keep_every_digit(tmp_path_factory, numbers):
    path = tmp_path_factory.mktemp("table") / "table.csv"
    rows = "".join(f"{'' if number is None else number},x\n" for number in numbers)
    path.write_text(f"id,label\n{rows}")
    column = read_table(path, ["id"])["id"]
    found = [None if pd.isna(one) else int(one) for one in column]
    assert found == numbers


def test_large_measurements_stay_numbers(written):
    column = read_table(written("flux\n1e300\n12345678901234567890.5\n\n2\n"), ["flux"])["flux"]
    assert column.dtype == np.float64


def test_stacked_identifiers_keep_every_digit():
    long, unsigned = 1095578115815010001, 2**63 + 1
    tables = [
        pd.DataFrame({"id": [long, 2], "mag": [1, 2], "only": [long, 1], "below": [-long, 1]}),
        pd.DataFrame({"id": np.array([unsigned], np.uint64), "mag": [0.5], "below": [0.5]}),
    ]
    found = stacked(tables)
    assert found["id"].tolist() == [str(long), "2", str(unsigned)]
    assert found["below"].tolist() == [str(-long), "1", "0.5"]
    assert found["mag"].tolist() == [1.0, 2.0, 0.5]
    assert found["only"].iloc[0] == str(long)
    assert pd.isna(found["only"].iloc[2])
    # Of one kind, they stay numbers.
    assert stacked([tables[0], tables[0]])["id"].dtype == np.int64


def test_names_that_are_taken_are_moved_aside():
    table = pd.DataFrame([range(4)], columns=["score", "table_score", "table_table_score", "mag"])
    found = moved_aside(table, ["score", "fault"])
    assert found.columns.tolist() == ["table_table_table_score", *table.columns[1:]]


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        # Of 64 bits, with a leading zero, longer, and 2^53 + 1 in a column with gaps.
        (["1", "20"], [1, 20]),
        (["0012", "13"], ["0012", "13"]),
        (["123456789012345678901", "2"], ["123456789012345678901", "2"]),
        (["9007199254740993", ""], ["9007199254740993", None]),
        (["0", "-3"], [0, -3]),
        (["0.5", "007"], [0.5, 7.0]),
        ([" 0012", "13 "], ["0012", "13"]),
    ],
)
def test_identifiers_are_told_apart(written, cells, expected):
    column = read_table(written("id,label\n" + "".join(f"{c},x\n" for c in cells)), ["id"])["id"]
    assert [None if pd.isna(one) else one for one in column] == expected


def test_an_identifier_is_one_text_in_all_tables(written):
    with_gap = read_table(written("id,mag\n1,\n,2.5\n20,3\n"), ["id"])
    with_name = pd.DataFrame({"id": ["A0", "1", "20"], "mag": [1, 2, 3]})
    found = stacked([with_gap, with_name])
    assert found["id"].fillna("-").tolist() == ["1", "-", "20", "A0", "1", "20"]
    # What no integer can be is no identifier.
    huge = pd.DataFrame({"id": [1e300, np.nan]})
    assert stacked([huge, with_name])["id"].fillna("-").tolist()[:3] == ["1e+300", "-", "A0"]
    # Numbers everywhere stay numbers, and flags stay flags.
    flags = [pd.DataFrame({"id": [True, None]}), pd.DataFrame({"id": [False, True]})]
    assert stacked(flags)["id"].tolist() == [True, None, False, True]
    assert found["mag"].dtype == np.float64
    assert stacked([with_gap, with_gap])["id"].dtype == np.float64


@pytest.mark.parametrize("name", ["NA", "None", "null", "nan", "N/A"])
def test_a_word_may_be_what_pandas_takes_for_missing(written, name):
    path = written(f"label,id\n{name},1\n,{name}\n")
    table = read_table(path, ["label"], words="label")
    assert table["label"].fillna("-").tolist() == [name, "-"]
    assert table["id"].isna().tolist() == [False, True]
