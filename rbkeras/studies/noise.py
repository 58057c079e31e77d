"""Adding label errors: at random, or where the real ones are."""

from pathlib import Path

import numpy as np
import pandas as pd

from rbkeras.errors import InputError
from rbkeras.tables import read_table

BIN_COLUMNS = ["r1", "r2", "probability"]


def flip_labels(
    labels: np.ndarray, probability: np.ndarray | float, *, rng: np.random.Generator
) -> np.ndarray:
    """Give each labelled sample the other label with its probability.

    Parameters
    ----------
    labels
        Integers (N,) in {0, 1, -1}; -1 stays.
    probability
        Number or (N,), in [0, 1].
    rng
        Source of randomness.

    Returns
    -------
    numpy.ndarray
        int8 (N,).
    """
    labels = np.asarray(labels, np.int8)
    chosen = (rng.random(len(labels)) < probability) & (labels >= 0)
    return np.where(chosen, 1 - labels, labels).astype(np.int8)


def uniform_probability(rate: float, factor: float) -> float:
    """Probability of flipping any label that turns an error rate into `factor` times itself.

    With errors in a fraction e of the labels, flips with probability f leave
    e (1 - f) + (1 - e) f wrong; this is k e at f = (k - 1) e / (1 - 2 e).

    Parameters
    ----------
    rate
        Error rate e before, in [0, 0.5).
    factor
        k, at least 1, with k e at most 0.5.
    """
    if not 0 <= rate < 0.5 or factor < 1 or factor * rate > 0.5:
        raise InputError(
            f"expected an error rate that stays at most 0.5, got {rate:g} times {factor:g}"
        )
    return (factor - 1) * rate / (1 - 2 * rate)


def bin_probabilities(
    probability_real: np.ndarray, wrong: np.ndarray, *, edges: np.ndarray | None = None
) -> pd.DataFrame:
    """Find out how often labels are wrong in each bin of the out-of-fold probability of real.

    Parameters
    ----------
    probability_real
        Out-of-fold probabilities of reviewed samples, (N,), in [0, 1].
    wrong
        Whether the label of each is wrong, bool (N,).
    edges
        Of the bins, rising from 0 to 1; by default twenty of equal width.

    Returns
    -------
    pandas.DataFrame
        Columns r1, r2, probability: a row per bin that has samples. A bin holds r1 <= p < r2, the
        last one also p = 1.
    """
    edges = np.linspace(0, 1, 21) if edges is None else np.asarray(edges, np.float64)
    position = _bin_of(np.asarray(probability_real), edges)
    counts = np.bincount(position, minlength=len(edges) - 1)
    errors = np.bincount(position, weights=np.asarray(wrong, float), minlength=len(edges) - 1)
    table = pd.DataFrame(
        {"r1": edges[:-1], "r2": edges[1:], "probability": errors / np.maximum(counts, 1)}
    )
    return table[counts > 0].reset_index(drop=True)


def _bin_of(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    return np.clip(np.searchsorted(edges, values, side="right") - 1, 0, len(edges) - 2)


def probability_by_bin(probability_real: np.ndarray, table: pd.DataFrame) -> np.ndarray:
    """Look up each sample's probability of a label error; 0 outside all bins.

    Parameters
    ----------
    probability_real
        Out-of-fold probabilities, (N,); NaN, for samples without a prediction, gives 0.
    table
        As `bin_probabilities` returns or `read_bins` reads.
    """
    values = np.asarray(probability_real, np.float64)
    found = np.zeros(len(values))
    for row in table.itertuples():
        last = row.r2 >= 1
        inside = (values >= row.r1) & ((values <= row.r2) if last else (values < row.r2))
        found[inside] = row.probability
    return found


def read_bins(path: str | Path) -> pd.DataFrame:
    """Read a CSV table of bins: columns r1, r2, probability.

    Raises
    ------
    InputError
        When the table cannot be read, a column is missing, a number is outside [0, 1], or bins
        overlap.
    """
    table = read_table(path, BIN_COLUMNS)
    table = table[BIN_COLUMNS].apply(pd.to_numeric, errors="coerce")
    bad = ~((table >= 0) & (table <= 1)).all(axis=1) | ~(table["r1"] < table["r2"])
    if bad.any() or table.empty:
        row = f"row {bad.idxmax() + 1}" if bad.any() else "none"
        raise InputError(
            f"{path}: expected rows with 0 <= r1 < r2 <= 1 and a probability in [0, 1], found {row}"
        )
    table = table.sort_values("r1", ignore_index=True)
    if (table["r1"].to_numpy()[1:] < table["r2"].to_numpy()[:-1]).any():
        raise InputError(f"{path}: expected bins side by side, found some that overlap")
    return table
