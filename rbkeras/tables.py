"""Tables that a person or another program has written."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from rbkeras.errors import InputError


def read_table(
    path: str | Path, columns: Sequence[str], *, dtype: Mapping[str, str] | None = None
) -> pd.DataFrame:
    """Read a CSV table that has at least these columns; `dtype` says how to read some of them.

    Raises
    ------
    InputError
        When it cannot be read or a column is missing.
    """
    try:
        table = pd.read_csv(path, low_memory=False, dtype=dtype)
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{path}: expected a CSV table, but it cannot be read: {reason}") from None
    missing = [column for column in columns if column not in table.columns]
    if missing:
        found = ", ".join(map(str, table.columns[:8]))
        raise InputError(
            f"{path}: expected the columns {', '.join(columns)}, missing {missing}, found {found}"
        )
    return table
