"""Adding label errors, at random or where the real ones are: what it does to labels."""

from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import binned_statistic

from rbkeras.errors import InputError
from rbkeras.tables import read_table, spreadsheet_row
from rbkeras.verdicts import VERDICTS

BIN_COLUMNS = ["r1", "r2", "probability"]


def error_rate(labels: np.ndarray, truth: np.ndarray) -> float:
    """Fraction of the labelled (N,), 0 or 1, whose label is not the true one."""
    return float(np.mean(truth[labels >= 0] != labels[labels >= 0]))


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
            "--errors: expected an error rate that stays at most 0.5, "
            f"got {rate:g} times {factor:g}"
        )
    return (factor - 1) * rate / (1 - 2 * rate)


def bin_probabilities(
    probability_real: np.ndarray, wrong: np.ndarray, *, edges: np.ndarray | None = None
) -> pd.DataFrame:
    """Find out how often labels are wrong in each bin of the out-of-fold probability of real.

    Parameters
    ----------
    probability_real
        Out-of-fold probabilities of samples whose labels are known to be right or wrong, (N,),
        in [0, 1], of one sample at least; those that are NaN are in no bin.
    wrong
        Whether the label of each is wrong, bool (N,), or the probability of that.
    edges
        Of the bins, rising from 0 to 1; by default twenty of equal width.

    Returns
    -------
    pandas.DataFrame
        Columns r1, r2, probability: a row per bin that has samples. A bin holds r1 <= p < r2, the
        last one also p = 1.
    """
    edges = np.linspace(0, 1, 21) if edges is None else np.asarray(edges, np.float64)
    # In float32 one beside an edge would count on the other side of it than it is looked up.
    values = np.asarray(probability_real, np.float64)
    rate = binned_statistic(values, np.asarray(wrong, float), "mean", bins=edges).statistic
    table = pd.DataFrame({"r1": edges[:-1], "r2": edges[1:], "probability": rate})
    # A bin without samples has no mean.
    return table.dropna(ignore_index=True)


def reviewed_bins(
    probability_real: np.ndarray,
    labels: np.ndarray,
    verdicts: pd.Series,
    *,
    edges: np.ndarray | None = None,
) -> pd.DataFrame:
    """Find out from a person's verdicts how often labels are wrong in each bin.

    A review looks at suspicious labels first, so its plain mean would say that far too many are
    wrong. Therefore samples of either label count apart: of those in a bin the reviewed ones stand
    for all, and where none was reviewed, as where predictions confirm the label, none is taken to
    be wrong.

    Parameters
    ----------
    probability_real
        Out-of-fold probabilities of all samples, (N,), NaN for those without a prediction.
    labels
        Given labels (N,) in {0, 1, -1}.
    verdicts
        What `rbkeras.verdicts.read_verdicts` returned; 'unlabelled' says nothing here.
    edges
        As in `bin_probabilities`.

    Returns
    -------
    pandas.DataFrame
        As `bin_probabilities` returns.
    """
    labels = np.asarray(labels)
    judged = np.full(len(labels), -1)
    for word, label in VERDICTS.items():
        index = verdicts.index[verdicts == word]
        judged[index] = labels[index] if label is None else label
    wrong = np.zeros(len(labels))
    edges = np.linspace(0, 1, 21) if edges is None else np.asarray(edges, np.float64)
    known = (labels >= 0) & np.isfinite(probability_real)
    position = np.full(len(labels), -1)
    position[known] = _bin_of(np.asarray(probability_real)[known], edges)
    for label in (0, 1):
        for place in range(len(edges) - 1):
            cell = (position == place) & (labels == label)
            reviewed = cell & (judged >= 0)
            if reviewed.any():
                wrong[cell] = np.mean(judged[reviewed] != label)
    return bin_probabilities(np.asarray(probability_real)[known], wrong[known], edges=edges)


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
        row = f"row {spreadsheet_row(bad.idxmax())}" if bad.any() else "none"
        raise InputError(
            f"{path}: expected rows with 0 <= r1 < r2 <= 1 and a probability in [0, 1], found {row}"
        )
    table = table.sort_values("r1", ignore_index=True)
    if (table["r1"].to_numpy()[1:] < table["r2"].to_numpy()[:-1]).any():
        raise InputError(f"{path}: expected bins side by side, found some that overlap")
    return table
