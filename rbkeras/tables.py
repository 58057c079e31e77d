"""Tables that a person or another program has written."""

import lzma
import warnings
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
from pandas.errors import ParserWarning

from rbkeras.errors import InputError, first_line

#: Integers beyond this are no longer all different as float64.
LONGEST_EXACT = 2**53
#: What reading a file raises that is damaged, whatever it is compressed with.
DAMAGED = (OSError, EOFError, ValueError, zipfile.BadZipFile, lzma.LZMAError, zlib.error)


def read_table(
    path: str | Path,
    columns: Sequence[str],
    *,
    dtype: Mapping[str, str] | None = None,
    words: str | None = None,
) -> pd.DataFrame:
    """Read a CSV table that has at least these columns; `dtype` says how to read some of them.

    In the column `words`, if there is one, nothing is missing but what is empty: NA and None are
    names there.

    Identifiers come as texts where numbers would not tell them apart: with a leading zero, longer
    than 64 bits, or too long for float64 in a column with gaps.

    Raises
    ------
    InputError
        When it cannot be read, a row has more fields than the first one, or a column is missing or
        there twice.
    """
    options = {"low_memory": False, "index_col": False}
    try:
        with warnings.catch_warnings():
            # Of a row that is too long, pandas would drop the end, or take the beginning for names.
            warnings.simplefilter("error", ParserWarning)
            table = pd.read_csv(path, dtype=dtype, **options)
        names = pd.read_csv(path, header=None, nrows=1, dtype=str, **options).iloc[0].dropna()
    except ParserWarning:
        raise InputError(
            f"{path}: expected rows with as many fields as the first one, found longer ones"
        ) from None
    except DAMAGED as error:
        raise InputError(
            f"{path}: expected a CSV table, but it cannot be read: {first_line(error)}"
        ) from None
    twice = names[names.duplicated()].tolist()
    if twice:
        raise InputError(f"{path}: expected each column once, found {twice[0]!r} twice")
    missing = [column for column in columns if column not in table.columns]
    if missing and len(table.columns) == 1 and (other := separator_of(str(table.columns[0]))):
        raise InputError(f"{path}: expected commas between the columns, found {other}")
    if missing:
        found = ", ".join(map(str, table.columns[:8]))
        raise InputError(
            f"{path}: expected the columns {', '.join(columns)}, missing {missing}, found {found}"
        )
    whole = [name for name in table if _holds_integers(table[name])]
    whole = [name for name in whole if name not in (dtype or {})]
    if whole:
        texts = pd.read_csv(path, usecols=whole, dtype="string", **options)
        for name in whole:
            text = texts[name].str.strip()
            if _identifies(text, table[name]):
                table[name] = text
    if words in table:
        as_written = {"dtype": str, "keep_default_na": False, "na_values": [""]}
        table[words] = pd.read_csv(path, usecols=[words], **as_written, **options)[words]
    return table


def spreadsheet_row(position: int) -> int:
    """Count a row as a spreadsheet does, whose row 1 is the header; `position` begins at 0.

    Whatever tells a person of a row of a CSV table counts it so.
    """
    return position + 2


def separator_of(header: str) -> str | None:
    """Name what separates the columns of a first line without commas, if anything does."""
    names = {";": "semicolons", "\t": "tabulators", "|": "bars"}
    return next((name for sign, name in names.items() if sign in header), None)


def _holds_integers(column: pd.Series) -> bool:
    """Say whether a column holds integers, perhaps with gaps or of any length."""
    known = column.dropna()
    if pd.api.types.is_object_dtype(column.dtype):
        return any(isinstance(value, int) for value in known)
    if pd.api.types.is_float_dtype(column.dtype):
        return len(known) > 0 and bool((known % 1 == 0).all())
    return pd.api.types.is_integer_dtype(column.dtype)


def _identifies(text: pd.Series, numbers: pd.Series) -> bool:
    """Say whether texts of integers tell more than the numbers that pandas has made of them."""
    leading_zero = text.str.match(r"[+-]?0\d").any()
    if pd.api.types.is_integer_dtype(numbers.dtype):
        return bool(leading_zero)
    if not text.dropna().str.fullmatch(r"[+-]?\d+").all():
        return False
    if leading_zero or pd.api.types.is_object_dtype(numbers.dtype):
        return True
    return bool((numbers.abs() >= LONGEST_EXACT).any())


def moved_aside(table: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """Rename the columns of these names: `table_` comes before them, as often as it takes."""
    others = {}
    for name in names:
        if name in table:
            others[name] = f"table_{name}"
            while others[name] in table:
                others[name] = f"table_{others[name]}"
    return table.rename(columns=others)


def stacked(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Put tables below one another, without changing a number.

    A column of integers too long for float64 becomes text where another table has no such column,
    or has numbers of another kind in it. Where it is text in one table and numbers in another, all
    of it becomes text, and an integer is written in one way, whether or not its table has gaps.
    """
    texts = set()
    for name in dict.fromkeys(name for table in tables for name in table):
        kinds = {table.dtypes.get(name) for table in tables}
        if len(kinds) > 1 and any(_has_long(table, name) for table in tables):
            texts.add(name)
        columns = [table[name] for table in tables if name in table]
        if len({_is_text(column) for column in columns if column.notna().any()}) > 1:
            texts.add(name)
    if texts:
        tables = [
            table.assign(**{name: _as_text(table[name]) for name in texts if name in table})
            for table in tables
        ]
    return pd.concat(tables, ignore_index=True)


def _is_text(column: pd.Series) -> bool:
    if pd.api.types.is_numeric_dtype(column.dtype):
        return False
    # Flags with gaps are objects too.
    return pd.api.types.infer_dtype(column, skipna=True) != "boolean"


def _as_text(column: pd.Series) -> pd.Series:
    if pd.api.types.is_float_dtype(column.dtype):
        known = column.dropna()
        # A column of integers with gaps, which pandas reads as 1.0, 2.0.
        if ((known % 1 == 0) & (known.abs() < LONGEST_EXACT)).all():
            column = column.astype("Int64")
    return column.astype("string")


def _has_long(table: pd.DataFrame, name: str) -> bool:
    if name not in table or not pd.api.types.is_integer_dtype(table[name].dtype):
        return False
    ends = table[name].agg(["min", "max"])
    return any(abs(int(end)) > LONGEST_EXACT for end in ends if not pd.isna(end))
