"""Rates of groups of samples at a threshold, with exact 95% intervals."""

import numpy as np
import pandas as pd

from rbkeras.metrics import binomial_interval


def rates_by_group(
    table: pd.DataFrame, column: str, *, label: int, threshold: float
) -> pd.DataFrame:
    """Fraction of one class that passes the threshold, by the values of a column.

    Parameters
    ----------
    table
        Columns label, score and `column`; rows without a value there are passed over.
    column, label, threshold
        What to group by, which class, and the score from which on a sample passes.

    Returns
    -------
    pandas.DataFrame
        name (as text), count, passed, rate, low, high, in order of the values.
    """
    part = table[(table["label"] == label) & table[column].notna()]
    groups = (part["score"] >= threshold).groupby(part[column])
    return _with_rates(
        pd.DataFrame(
            {
                "name": [str(name) for name in groups.groups],
                "count": groups.size().to_numpy(),
                "passed": groups.sum().to_numpy(),
            }
        )
    )


def rates_by_bin(
    table: pd.DataFrame, column: str, *, threshold: float, bins: int = 8
) -> pd.DataFrame | None:
    """Completeness of the reals in bins of a quantity that hold equally many of them.

    Returns
    -------
    pandas.DataFrame or None
        left, centre (median), right, count, passed, rate, low, high; None where the quantity is
        not a number or has fewer than two distinct finite values.
    """
    part = table[table["label"] == 1]
    values = pd.to_numeric(part[column], errors="coerce").to_numpy(np.float64, na_value=np.nan)
    known = np.isfinite(values)
    values, passed = values[known], (part["score"] >= threshold).to_numpy()[known]
    if len(np.unique(values)) < 2:
        return None
    bins = max(min(bins, len(values) // 10), 2)
    edges = np.unique(np.quantile(values, np.linspace(0, 1, bins + 1)))
    which = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, len(edges) - 2)
    rows = [
        {
            "left": edges[i],
            "centre": np.median(values[which == i]),
            "right": edges[i + 1],
            "count": int(np.sum(which == i)),
            "passed": int(passed[which == i].sum()),
        }
        for i in range(len(edges) - 1)
        if (which == i).any()
    ]
    return _with_rates(pd.DataFrame(rows))


def _with_rates(table: pd.DataFrame) -> pd.DataFrame:
    low, high = binomial_interval(table["passed"].to_numpy(), table["count"].to_numpy())
    return table.assign(rate=table["passed"] / table["count"], low=low, high=high)
