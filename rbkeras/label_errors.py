"""From out-of-fold predictions to suspected label errors, and what to do with them.

Plain numpy and pandas: no network, no files but the table itself.
"""

from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import expit

from rbkeras.data.labels import UNLABELLED
from rbkeras.data.pipeline import SKIP
from rbkeras.errors import InputError
from rbkeras.files import whole_file

IDENTITY = ["unique_index", "detector_id", "sample_index", "label"]
PREDICTIONS = ["prediction0", "prediction1"]
COLUMNS = [*IDENTITY, *PREDICTIONS, "probability_real", "label_quality", "suspect"]
POLICIES = ("unlabel", "remove", "keep", "flip", "threshold")


def rate_labels(out_of_fold: pd.DataFrame) -> pd.DataFrame:
    """Judge each label by a prediction of a network that never saw it.

    Parameters
    ----------
    out_of_fold
        Columns unique_index, detector_id, sample_index, label (0 or 1), prediction0 and
        prediction1 (logits), one row per labelled sample.

    Returns
    -------
    pandas.DataFrame
        The same rows in order of unique_index with `probability_real`, `label_quality` (the
        probability of the given label, low is suspicious) and `suspect` (0 or 1: the larger logit
        is not the label's).

    Raises
    ------
    InputError
        When a prediction is not finite, a sample is predicted twice, or a label is not 0 or 1.
    """
    table = out_of_fold[[*IDENTITY, *PREDICTIONS]].sort_values("unique_index", ignore_index=True)
    if not np.isfinite(table[PREDICTIONS].to_numpy()).all():
        raise InputError(
            "expected finite out-of-fold predictions, found NaN or infinity: "
            "a fold's training has diverged; lower optimizer.learning_rate"
        )
    twice = table["unique_index"].duplicated()
    if twice.any():
        sample = table.loc[twice, "unique_index"].iloc[0]
        raise InputError(
            f"expected one prediction per sample, found several of unique_index {sample}"
        )
    if not table["label"].isin([0, 1]).all():
        raise InputError("expected labels 0 and 1 among the out-of-fold predictions, found others")
    score = table["prediction1"] - table["prediction0"]
    is_real = table["label"] == 1
    table["probability_real"] = expit(score)
    table["label_quality"] = expit(np.where(is_real, score, -score))
    table["suspect"] = ((score > 0) != is_real).astype(np.int8)
    return table


def apply_policy(
    labels: np.ndarray, rated: pd.DataFrame, *, policy: str = "unlabel", threshold: float = 0.9
) -> np.ndarray:
    """Decide what each sample is trained as.

    Parameters
    ----------
    labels
        Integers (N,) in {0, 1, -1} by unique_index.
    rated
        What `rate_labels` returned.
    policy
        'unlabel' keeps the suspects' images without their labels; 'remove' drops them; 'keep'
        changes nothing; 'flip' gives them the other label; 'threshold' unlabels only those whose
        wrongness, 1 - label_quality, exceeds `threshold`.
    threshold
        Probability in [0, 1], for 'threshold' alone.

    Returns
    -------
    numpy.ndarray
        int8 (N,): 0, 1, -1, or `rbkeras.data.pipeline.SKIP` for samples not used.
    """
    if policy not in POLICIES:
        raise InputError(f"policy: expected one of {', '.join(POLICIES)}, got {policy!r}")
    if not 0 <= threshold <= 1:
        raise InputError(f"policy_threshold: expected a number in [0, 1], got {threshold}")
    targets = np.array(labels, dtype=np.int8)
    chosen = rated["suspect"] == 1
    if policy == "threshold":
        chosen = 1 - rated["label_quality"] > threshold
    suspects = rated.loc[chosen, "unique_index"].to_numpy()
    if policy in ("unlabel", "threshold"):
        targets[suspects] = UNLABELLED
    elif policy == "remove":
        targets[suspects] = SKIP
    elif policy == "flip":
        targets[suspects] = 1 - targets[suspects]
    return targets


def write_label_errors(path: str | Path, rated: pd.DataFrame) -> None:
    """Write `label_errors.csv`, whole or not at all."""
    with whole_file(path) as temporary:
        rated[COLUMNS].to_csv(temporary, index=False)


def read_label_errors(path: str | Path, labels: np.ndarray) -> pd.DataFrame:
    """Read `label_errors.csv` and check that it speaks of the samples that `labels` is of.

    Raises
    ------
    InputError
        When the table is broken, or its samples or labels are not those of these records.
    """
    path = Path(path)
    try:
        rated = pd.read_csv(path)
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: expected a CSV table, but it cannot be read: {error}") from None
    missing = [column for column in COLUMNS if column not in rated.columns]
    if missing:
        raise InputError(f"{path}: expected the columns {', '.join(COLUMNS)}, missing {missing}")
    labelled = np.flatnonzero(np.asarray(labels) >= 0)
    rated = rated.sort_values("unique_index", ignore_index=True)
    if not np.array_equal(rated["unique_index"], labelled) or not np.array_equal(
        rated["label"], np.asarray(labels)[labelled]
    ):
        raise InputError(
            f"{path}: expected one row for each of the {len(labelled)} labelled samples with the "
            "label it has in the records; the table is of other records"
        )
    return rated


def suspects_per_class(rated: pd.DataFrame) -> pd.DataFrame:
    """Count labels and suspects: rows 'bogus' and 'real', columns labelled and suspects."""
    grouped = rated.groupby("label")["suspect"].agg(labelled="size", suspects="sum")
    return grouped.reindex([0, 1], fill_value=0).rename(index={0: "bogus", 1: "real"})
