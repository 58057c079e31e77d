"""What a search goes by: figures of one validation part, and how they make a trial's score.

The false positive rate at a true positive rate of 0.9 comes in steps of one bogus, and on a small
validation part most trials tie at 0. Ties are broken by the mean false positive rate over true
positive rates from 0.9 to 1, scaled to less than a step, so that on one part it never outvotes one
bogus. The validation loss would not do: its terms have other weights in every trial, and the
cross-entropy alone punishes networks that rank well but are trained to be sure of less.

Folds are averaged, each with a threshold of its own: scores of different networks have different
scales, so pooling them would measure that too.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rbkeras import metrics


@dataclass(frozen=True)
class Objective:
    """A figure of merit that a search goes by.

    Attributes
    ----------
    figure
        Its name in the tables, one of the keys that `measure` returns.
    direction
        'min' or 'max'.
    title
        Its name for people.
    """

    figure: str
    direction: str
    title: str

    def better(self, one: float, other: float) -> bool:
        """Whether `one` is strictly better than `other`."""
        return one < other if self.direction == "min" else one > other

    def for_oracle(self, score: float, bogus: int) -> float:
        """Turn a score into what the tuner minimises: the logarithm of what is left to gain.

        Rates differ by factors, and a Gaussian process fitted to the rates themselves would see
        only the trials that failed to learn.

        Parameters
        ----------
        score
            A trial's score.
        bogus
            Bogus in a validation part, the resolution of the rate.
        """
        return float(np.log10(max(self.left(score), 0.0) + 0.1 / max(bogus, 1)))

    def left(self, score: float) -> float:
        """Tell what is left to gain, 0 at best."""
        return score if self.direction == "min" else 1 - score


OBJECTIVES = {
    "fpr90": Objective("fpr_at_tpr90_tied", "min", "FPR at TPR 0.9, ties broken"),
    "auc": Objective("auc", "max", "AUC"),
}


def mean_fpr_above(real_scores: np.ndarray, bogus_scores: np.ndarray, tpr: float = 0.9) -> float:
    """Mean false positive rate over true positive rates from `tpr` to 1.

    0 if and only if the lowest real that counts stands above all bogus; depends on ranks alone.
    """
    real = np.sort(real_scores)[::-1]
    first = metrics.reals_needed(tpr, len(real))
    rising = np.sort(bogus_scores)
    below = np.searchsorted(rising, real[first - 1 :], side="left")
    return float(1 - below.mean() / len(rising))


def measure(real_scores: np.ndarray, bogus_scores: np.ndarray) -> dict[str, float]:
    """Measure one validation part.

    Parameters
    ----------
    real_scores, bogus_scores
        Scores z1 - z0, 1-d, both non-empty.

    Returns
    -------
    dict
        fpr_at_tpr90, fpr_at_tpr90_tied (ties broken, see the module), auc, n_real, n_bogus.

    Raises
    ------
    ValueError
        When a score is not finite, so that a trial that diverged fails rather than ranks.
    """
    for name, scores in (("real", real_scores), ("bogus", bogus_scores)):
        if not np.isfinite(scores).all():
            raise ValueError(f"expected finite scores, found NaN or infinity among the {name}")
    rate = float(metrics.fpr_at_tpr(real_scores, bogus_scores, 0.9))
    step = 1 / (len(bogus_scores) + 1)
    return {
        "fpr_at_tpr90": rate,
        "fpr_at_tpr90_tied": rate + step * mean_fpr_above(real_scores, bogus_scores),
        "auc": metrics.auc(real_scores, bogus_scores),
        "n_real": len(real_scores),
        "n_bogus": len(bogus_scores),
    }


def hopeless(
    objective: Objective, mine: Sequence[float], others: Sequence[Sequence[float]], *, least: int
) -> bool:
    """Say whether a trial shall be given up after some of its folds.

    It is when its mean over the folds seen is worse than the median of the other trials' means
    over the same folds, and it is worse than the best of them in every single one. The folds are
    the same samples for all trials, so the comparison is paired; a trial that is ahead of the
    best anywhere is left its chance.

    Parameters
    ----------
    objective
        Says which direction is better.
    mine
        This trial's figures, fold by fold.
    others
        Those of other trials; only those that have seen as many folds count.
    least
        Number of other trials that it takes to judge.

    References
    ----------
    Golovin et al. 2017, KDD, "Google Vizier", section 3.2.2 (median stopping).
    """
    seen = len(mine)
    same = np.array([folds[:seen] for folds in others if len(folds) >= seen], np.float64)
    if len(same) < max(least, 1) or not seen:
        return False
    means = same.mean(axis=1)
    best = same[means.argmin() if objective.direction == "min" else means.argmax()]
    behind = all(objective.better(b, m) for m, b in zip(mine, best, strict=True))
    return behind and objective.better(float(np.median(means)), float(np.mean(mine)))


def projected(objective: Objective, mine: Sequence[float], best: Sequence[float]) -> float:
    """Estimate the score over all folds of a trial that was given up after some.

    Folds differ in difficulty, so a mean over some of them stands beside no mean over all. The
    estimate is as many times worse than the best trial over all folds as it is over those seen.

    Parameters
    ----------
    objective
        Says which direction is better.
    mine
        The trial's figures, fold by fold.
    best
        Those of the best trial, over all folds.
    """
    own, seen, whole = (
        objective.left(float(np.mean(figures))) for figures in (mine, best[: len(mine)], best)
    )
    # No factor can be told to a best of nothing left.
    estimate = whole * own / seen if seen > 0 else own
    estimate = max(estimate, whole)
    return estimate if objective.direction == "min" else 1 - estimate
