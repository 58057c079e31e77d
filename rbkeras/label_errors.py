"""From out-of-fold predictions to suspected label errors, and what to do with them.

Plain numpy and pandas: no network, no files but the table itself.
"""

from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import expit

from rbkeras.data.labels import SKIP, UNLABELLED
from rbkeras.errors import InputError
from rbkeras.files import whole_file

IDENTITY = ["unique_index", "detector_id", "sample_index", "label"]
PREDICTIONS = ["prediction0", "prediction1"]
JUDGEMENTS = ["probability_real", "label_quality", "suspect", "error_probability"]
COLUMNS = [*IDENTITY, *PREDICTIONS, *JUDGEMENTS]
RULES = ("posterior", "argmax")
POLICIES = ("unlabel", "remove", "keep", "flip", "threshold")


def noise_rates(labels: np.ndarray, probability_real: np.ndarray) -> tuple[float, float]:
    """Estimate how often each class was given the other's label, by confident learning.

    A sample is confidently of a class when its probability of that class is at least the mean
    over the samples labelled so. Among those confidently bogus, the fraction labelled real is the
    first rate; among those confidently real, the fraction labelled bogus the second.

    Parameters
    ----------
    labels
        Integers (N,), 0 or 1, both present.
    probability_real
        Out-of-fold probabilities, (N,).

    Returns
    -------
    tuple of float
        P(labelled real | bogus) and P(labelled bogus | real), each in [0.001, 0.49]: a survey of
        which nothing is known is never taken to be free of errors.

    References
    ----------
    Northcutt, Jiang & Chuang 2021, JAIR 70, 1373, section 3 (thresholds and confident joint).
    """
    real = labels == 1
    confident_real = probability_real >= probability_real[real].mean()
    confident_bogus = 1 - probability_real >= (1 - probability_real[~real]).mean()
    # A network that has learnt nothing puts both thresholds near 1/2; the larger side decides.
    confident_real &= probability_real > 0.5
    confident_bogus &= probability_real <= 0.5
    rates = [
        (real & confident_bogus).sum() / max(confident_bogus.sum(), 1),
        (~real & confident_real).sum() / max(confident_real.sum(), 1),
    ]
    as_real, as_bogus = np.clip(rates, 0.001, 0.49)
    return float(as_real), float(as_bogus)


def error_probability(
    labels: np.ndarray, probability_real: np.ndarray, *, rates: tuple[float, float]
) -> np.ndarray:
    """Probability that each label is wrong, by Bayes' theorem.

    The network was trained on the labels as given, so its probability p of the label 'real' is
    (1 - b) q + a (1 - q), where q is the probability that the stamp is real, a the rate at which
    bogus are labelled real and b the other. Solved for q, the label 'real' is wrong with
    probability a (1 - q) / p, and 'bogus' with b q / (1 - p). An ambiguous stamp with its given
    label is most likely right, because errors are rare; that is what the larger logit alone does
    not know.

    Parameters
    ----------
    labels, probability_real
        As in `noise_rates`.
    rates
        (a, b) with a + b < 1, as `noise_rates` returns.

    Returns
    -------
    numpy.ndarray
        float64 (N,) in [0, 1].
    """
    as_real, as_bogus = rates
    is_real = np.clip((probability_real - as_real) / (1 - as_real - as_bogus), 0.0, 1.0)
    labelled_real = (1 - as_bogus) * is_real + as_real * (1 - is_real)
    return np.where(
        labels == 1,
        as_real * (1 - is_real) / labelled_real,
        as_bogus * is_real / (1 - labelled_real),
    )


def rate_labels(
    out_of_fold: pd.DataFrame, *, rule: str = "posterior", threshold: float = 0.2
) -> pd.DataFrame:
    """Judge each label by a prediction of a network that never saw it.

    Parameters
    ----------
    out_of_fold
        Columns unique_index, detector_id, sample_index, label (0 or 1), prediction0 and
        prediction1 (logits), one row per labelled sample.
    rule
        'argmax': suspect where the larger logit is not the label's, as the original did.
        'posterior': suspect where, besides, `error_probability` exceeds `threshold`.
    threshold
        For 'posterior', in (0, 1). Low, because a missed error costs stage 2 more than a right
        label that is taken away.

    Returns
    -------
    pandas.DataFrame
        The same rows in order of unique_index with `probability_real`, `label_quality` (the
        probability of the given label, low is suspicious), `suspect` (0 or 1) and
        `error_probability`.

    Raises
    ------
    InputError
        When a prediction is not finite, a sample is predicted twice, a label is not 0 or 1, or a
        class is missing.
    """
    if rule not in RULES:
        raise InputError(f"label_errors.rule: expected one of {', '.join(RULES)}, got {rule!r}")
    if not 0 < threshold < 1:
        raise InputError(f"label_errors.threshold: expected a number in (0, 1), got {threshold}")
    table = out_of_fold[[*IDENTITY, *PREDICTIONS]].sort_values("unique_index", ignore_index=True)
    _check_predictions(table)
    score = table["prediction1"] - table["prediction0"]
    labels, probability = table["label"].to_numpy(), expit(score.to_numpy(np.float64))
    table["probability_real"] = probability
    table["label_quality"] = np.where(labels == 1, probability, expit(-score))
    rates = noise_rates(labels, probability)
    wrong = error_probability(labels, probability, rates=rates)
    suspect = (score > 0).to_numpy() != (labels == 1)
    if rule == "posterior":
        # Where the network has learnt little, the rates come out high and would put every
        # ambiguous label under suspicion, also those that the prediction confirms.
        suspect &= wrong > threshold
    table["suspect"] = suspect.astype(np.int8)
    table["error_probability"] = wrong
    return table


def _check_predictions(table: pd.DataFrame) -> None:
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
    if set(table["label"]) != {0, 1}:
        raise InputError(
            "expected labels 0 and 1 among the out-of-fold predictions, found "
            f"{sorted(set(table['label']))}"
        )


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
        int8 (N,): 0, 1, -1, or `rbkeras.data.labels.SKIP` for samples not used.
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
