"""Figures of merit by which trainings are compared, and what they are called."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from rbkeras import metrics
from rbkeras.operating_points import RESOLVED, threshold_at_fpr
from rbkeras.statistics import Figure


@dataclass(frozen=True)
class Fraction:
    """A figure that is the fraction of one class that passes a threshold.

    Attributes
    ----------
    of
        0 for the reals, 1 for the bogus: their place among the two arrays of scores.
    passing
        From real and bogus scores to whether each of that class passes, bool (n,).
    """

    of: int
    passing: Callable[[np.ndarray, np.ndarray], np.ndarray]

    def __call__(self, real: np.ndarray, bogus: np.ndarray) -> float:
        """Return the fraction that passes."""
        return float(self.passing(real, bogus).mean())


def _bogus_at(tpr: float) -> Fraction:
    return Fraction(1, lambda real, bogus: bogus >= metrics.threshold_at_tpr(real, tpr))


def _real_at(fpr: float) -> Fraction:
    return Fraction(0, lambda real, bogus: real >= threshold_at_fpr(bogus, fpr))


#: By column name; the first is the one that matters.
FIGURES: dict[str, Figure | Fraction] = {
    "fpr_at_tpr90": _bogus_at(0.9),
    "fpr_at_tpr95": _bogus_at(0.95),
    "tpr_at_fpr1e-3": _real_at(1e-3),
    "tpr_at_fpr1e-4": _real_at(1e-4),
    "partial_auc": metrics.partial_auc,
    "auc": metrics.auc,
}
#: So many bogus a figure needs for its bootstrap: where fewer decide, resamples are too alike.
BOGUS_NEEDED = {
    "tpr_at_fpr1e-3": RESOLVED / 1e-3,
    "tpr_at_fpr1e-4": RESOLVED / 1e-4,
    "partial_auc": 10 * RESOLVED / 0.01,
}
FIGURE_NAMES = {
    "fpr_at_tpr90": "FPR at TPR 0.9",
    "fpr_at_tpr95": "FPR at TPR 0.95",
    "tpr_at_fpr1e-3": "TPR at FPR 0.001",
    "tpr_at_fpr1e-4": "TPR at FPR 0.0001",
    "partial_auc": "AUC below FPR 0.01",
    "auc": "AUC",
}
