"""Figures of merit by which trainings are compared, and what they are called."""

from rbkeras import metrics
from rbkeras.statistics import Figure

#: By column name; the first is the one that matters.
FIGURES: dict[str, Figure] = {
    "fpr_at_tpr90": lambda real, bogus: float(metrics.fpr_at_tpr(real, bogus, 0.9)),
    "fpr_at_tpr95": lambda real, bogus: float(metrics.fpr_at_tpr(real, bogus, 0.95)),
    "tpr_at_fpr1e-3": lambda real, bogus: metrics.tpr_at_fpr(real, bogus, 1e-3),
    "partial_auc": metrics.partial_auc,
    "auc": metrics.auc,
}
#: Figures that are fractions of the reals (0) or of the bogus (1) of the test set.
FRACTIONS = {"fpr_at_tpr90": 1, "fpr_at_tpr95": 1, "tpr_at_fpr1e-3": 0}
FIGURE_NAMES = {
    "fpr_at_tpr90": "FPR at TPR 0.9",
    "fpr_at_tpr95": "FPR at TPR 0.95",
    "tpr_at_fpr1e-3": "TPR at FPR 0.001",
    "partial_auc": "AUC below FPR 0.01",
    "auc": "AUC",
}
