"""The table of label errors: out-of-fold predictions in, suspects and training targets out.

Plain numpy and pandas: no network, no files but the table itself. How a label is judged is in
`rbkeras.suspicion`.
"""

from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import expit

from rbkeras.data.labels import CLASS_NAMES, SKIP, TRUSTED, UNLABELLED
from rbkeras.data.records import IDENTITY
from rbkeras.errors import InputError
from rbkeras.files import whole_file
from rbkeras.suspicion import RULES, Rule, error_probability, find_suspects, noise_rates
from rbkeras.tables import read_table

PREDICTIONS = ["prediction0", "prediction1"]
JUDGEMENTS = ["probability_real", "label_quality", "suspect", "error_probability"]
COLUMNS = [*IDENTITY, *PREDICTIONS, *JUDGEMENTS]
VERDICT = "verdict"
# Fraction of a class's labels beyond which stage 1 is likelier to be at fault than the labels.
_MANY_SUSPECTS = 0.3
POLICIES = ("unlabel", "remove", "keep", "flip", "threshold")


def rate_labels(
    out_of_fold: pd.DataFrame,
    *,
    rule: Rule = "posterior",
    threshold: float = 0.2,
    certainty: float = 0.67,
) -> pd.DataFrame:
    """Judge each label by a prediction of a network that never saw it.

    Parameters
    ----------
    out_of_fold
        Columns unique_index, detector_id, sample_index, label (0 or 1), prediction0 and
        prediction1 (logits), one row per labelled sample; maybe `trusted`, true where the label is
        certain: such labels are no suspects, and the rates of errors are those of the others.
    rule
        One of `rbkeras.suspicion.RULES`, see `rbkeras.suspicion.find_suspects`.
    threshold
        For 'posterior', in (0, 1). Low, because a missed error costs stage 2 more than a right
        label that is taken away.
    certainty
        For 'posterior', in [0, 1): probability of the other class that a suspect has at least.

    Returns
    -------
    pandas.DataFrame
        The same rows in order of unique_index with `probability_real`, `label_quality` (the
        probability of the given label, low is suspicious), `suspect` (0 or 1) and
        `error_probability`; and `trusted` (0 or 1) where there is such a column. Trusted labels
        have a `label_quality` of 1, and 0 for `suspect` and `error_probability`.

    Raises
    ------
    InputError
        When a prediction is not finite, a sample is predicted twice, a label is not 0 or 1, or a
        class is missing among labels that are not trusted.
    """
    if rule not in RULES:
        raise InputError(f"label_errors.rule: expected one of {', '.join(RULES)}, got {rule!r}")
    if not 0 < threshold < 1:
        raise InputError(f"label_errors.threshold: expected a number in (0, 1), got {threshold}")
    if not 0 <= certainty < 1:
        raise InputError(f"label_errors.certainty: expected a number in [0, 1), got {certainty}")
    judged = out_of_fold.sort_values("unique_index", ignore_index=True)
    table = judged[[*IDENTITY, *PREDICTIONS]]
    trusted = judged[TRUSTED].to_numpy(bool) if TRUSTED in judged else np.zeros(len(table), bool)
    _check_predictions(table, trusted)
    score = (table["prediction1"] - table["prediction0"]).to_numpy(np.float64)
    table = table.assign(
        probability_real=expit(score), label_quality=1.0, suspect=np.int8(0), error_probability=0.0
    )
    doubted = ~trusted
    labels, score = table["label"].to_numpy()[doubted], score[doubted]
    probability = expit(score)
    # Not 1 - probability, which is 0 for scores above 37 and would tie the most suspicious.
    table.loc[doubted, "label_quality"] = expit(np.where(labels == 1, score, -score))
    suspect = find_suspects(
        labels, score, probability, rule=rule, threshold=threshold, certainty=certainty
    )
    table.loc[doubted, "suspect"] = suspect.astype(np.int8)
    rates = noise_rates(labels, probability)
    table.loc[doubted, "error_probability"] = error_probability(labels, probability, rates=rates)
    return table.assign(trusted=trusted.astype(np.int8)) if TRUSTED in judged else table


def most_suspicious(rated: pd.DataFrame) -> pd.DataFrame:
    """Sort by falling `error_probability`, ties by rising `label_quality`, then unique_index.

    Ties are common: where the prediction leaves no doubt, the probability of an error is 1.
    """
    keys = ["error_probability", "label_quality", "unique_index"]
    return rated.sort_values(keys, ascending=[False, True, True], ignore_index=True)


def _check_predictions(table: pd.DataFrame, trusted: np.ndarray) -> None:
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
    if set(table.loc[~trusted, "label"]) != {0, 1}:
        which = " of labels that are not trusted" if trusted.any() else ""
        raise InputError(
            f"expected labels 0 and 1 among the out-of-fold predictions{which}, found "
            f"{sorted(set(table.loc[~trusted, 'label']))}"
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
    """Write `label_errors.csv`, whole or not at all, with a column for a person's verdicts."""
    own = [*COLUMNS, TRUSTED] if TRUSTED in rated else COLUMNS
    table = rated[own].assign(**{VERDICT: rated.get(VERDICT, "")})
    with whole_file(path) as temporary:
        table.to_csv(temporary, index=False)


def read_label_errors(path: str | Path, labels: np.ndarray) -> pd.DataFrame:
    """Read `label_errors.csv` and check that it speaks of the samples that `labels` is of.

    Raises
    ------
    InputError
        When the table is broken, a number of it is out of range, or its samples or labels are not
        those of these records.
    """
    rated = read_table(path, COLUMNS)
    labelled = np.flatnonzero(np.asarray(labels) >= 0)
    rated = rated.sort_values("unique_index", ignore_index=True)
    if not np.array_equal(rated["unique_index"], labelled) or not np.array_equal(
        rated["label"], np.asarray(labels)[labelled]
    ):
        raise InputError(
            f"{path}: expected one row for each of the {len(labelled)} labelled samples with the "
            f"label it has in the records, found {len(rated)}; the table is of other records, or "
            "of a run with another --hold_out"
        )
    _check_numbers(path, rated)
    return rated


def _check_numbers(path: str | Path, rated: pd.DataFrame) -> None:
    numbers = rated[[*PREDICTIONS, *JUDGEMENTS]].apply(pd.to_numeric, errors="coerce")
    for name in numbers:
        # NaN is neither finite nor in any range.
        right, expected = numbers[name].between(0, 1), "a number from 0 to 1"
        if name in PREDICTIONS:
            right, expected = np.isfinite(numbers[name]), "a finite number"
        elif name == "suspect":
            right, expected = numbers[name].isin((0, 1)), "0 or 1"
        if not right.all():
            row = int(np.argmin(right))
            raise InputError(
                f"{path}: expected {expected} as {name} of unique_index "
                f"{rated['unique_index'][row]}, found {rated[name][row]}"
            )


def suspects_per_class(rated: pd.DataFrame) -> pd.DataFrame:
    """Count labels that are not trusted, and suspects among them.

    Rows 'bogus' and 'real', columns labelled and suspects.
    """
    doubted = rated[rated[TRUSTED] != 1] if TRUSTED in rated else rated
    grouped = doubted.groupby("label")["suspect"].agg(labelled="size", suspects="sum")
    return grouped.reindex(list(CLASS_NAMES), fill_value=0).rename(index=CLASS_NAMES)


def doubts_of_suspects(rated: pd.DataFrame) -> list[str]:
    """Say of either class where so many labels are suspect that stage 1 is likelier at fault."""
    counts = suspects_per_class(rated)
    share = counts["suspects"] / counts["labelled"].clip(lower=1)
    return [
        f"{share[name]:.0%} of the labels {name} are suspect, so that the folds have learnt little "
        "and most of these labels may be right; a stage 1 with a higher --label_errors.min_steps "
        "learns more"
        for name in share.index[share > _MANY_SUSPECTS]
    ]
