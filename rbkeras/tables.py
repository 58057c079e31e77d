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
    path: str | Path, columns: Sequence[str], *, dtype: Mapping[str, str] | None = None
) -> pd.DataFrame:
    """Read a CSV table that has at least these columns; `dtype` says how to read some of them.

    Identifiers too long for float64, in a column with gaps, come as texts.

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
        for name in _too_long(table):
            text = pd.read_csv(path, usecols=[name], dtype={name: "string"}, **options)[name]
            if text.dropna().str.fullmatch(r"[+-]?\d+").all():
                table[name] = text
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
    if missing:
        found = ", ".join(map(str, table.columns[:8]))
        raise InputError(
            f"{path}: expected the columns {', '.join(columns)}, missing {missing}, found {found}"
        )
    return table


def _too_long(table: pd.DataFrame) -> list[str]:
    """Name the columns of float64 whose numbers may be integers that it cannot tell apart."""
    numbers = table.select_dtypes("float64")
    return [name for name in numbers if (numbers[name].abs() > LONGEST_EXACT).any()]


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
    or has numbers of another kind in it.
    """
    texts = set()
    for name in dict.fromkeys(name for table in tables for name in table):
        kinds = {table.dtypes.get(name) for table in tables}
        if len(kinds) > 1 and any(_has_long(table, name) for table in tables):
            texts.add(name)
    if texts:
        tables = [
            table.astype({name: "string" for name in texts if name in table}) for table in tables
        ]
    return pd.concat(tables, ignore_index=True)


def _has_long(table: pd.DataFrame, name: str) -> bool:
    if name not in table or not pd.api.types.is_integer_dtype(table[name].dtype):
        return False
    ends = table[name].agg(["min", "max"])
    return any(abs(int(end)) > LONGEST_EXACT for end in ends if not pd.isna(end))
