"""Keras metrics over the labelled samples that a training sees, batch by batch.

What they measure is defined in `rbkeras.metrics`, whose functions are exact.
"""

from typing import Any

import keras
from keras import ops

from rbkeras.losses import score
from rbkeras.tensors import Tensor

# Scores are log-odds: beyond 32 a network is as sure as float32 lets it say.
_LIMIT = 32.0
_BINS = 8192


class _ScoreHistogram(keras.metrics.Metric):
    """Counts of the scores of reals and bogus; subclasses read a figure off them.

    Exact to the bin width of 64 / 8192 in log-odds, of fixed size however much data passes, and
    summed over replicas. Counts are float32: of more than 2^24 stamps of a class in an epoch, 17
    million, they round. Labels (N,) in {0, 1, -1}, logits (N, 2); -1 is passed over, and so are
    stamps whose score is not finite.
    """

    def __init__(self, name: str, **kwargs: Any):
        super().__init__(name=name, **kwargs)
        self.real = self.add_weight(shape=(_BINS,), initializer="zeros", name="real")
        self.bogus = self.add_weight(shape=(_BINS,), initializer="zeros", name="bogus")

    def update_state(
        self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None
    ) -> None:
        """Count a batch."""
        labels = ops.cast(ops.reshape(y_true, (-1,)), "int32")
        scores = score(ops.cast(y_pred, "float32"))
        known = ops.isfinite(scores)
        position = (ops.where(known, scores, 0.0) + _LIMIT) * (_BINS / (2 * _LIMIT))
        bins = ops.cast(ops.clip(position, 0, _BINS - 1), "int32")
        for label, counts in ((1, self.real), (0, self.bogus)):
            weight = ops.cast(ops.logical_and(labels == label, known), "float32")
            counts.assign_add(ops.segment_sum(weight, bins, num_segments=_BINS))

    def rates(self) -> tuple[Tensor, Tensor]:
        """Return true and false positive rates at thresholds falling bin by bin, each (bins,).

        NaN where a class has no samples.
        """
        tpr = ops.cumsum(ops.flip(self.real)) / ops.sum(self.real)
        fpr = ops.cumsum(ops.flip(self.bogus)) / ops.sum(self.bogus)
        return tpr, fpr


@keras.saving.register_keras_serializable(package="rbkeras")
class LabelledAUC(_ScoreHistogram):
    """Area under the ROC curve over labelled samples (trapezoids, so ties count one half)."""

    def __init__(self, name: str = "auc", **kwargs: Any):
        super().__init__(name=name, **kwargs)

    def result(self) -> Tensor:
        """Return the area; NaN while a class has no samples."""
        tpr, fpr = self.rates()
        tpr_before = ops.concatenate([ops.zeros((1,)), tpr[:-1]])
        fpr_before = ops.concatenate([ops.zeros((1,)), fpr[:-1]])
        return ops.sum((fpr - fpr_before) * (tpr + tpr_before) / 2)


@keras.saving.register_keras_serializable(package="rbkeras")
class FalsePositiveRateAtTPR(_ScoreHistogram):
    """False positive rate at a given true positive rate over labelled samples."""

    def __init__(self, tpr: float = 0.9, name: str = "fpr_at_tpr90", **kwargs: Any):
        super().__init__(name=name, **kwargs)
        if not 0 < tpr <= 1:
            raise ValueError(f"tpr: expected a number in (0, 1], got {tpr}")
        self.tpr = tpr

    def result(self) -> Tensor:
        """Return the rate; NaN while a class has no samples."""
        tpr, fpr = self.rates()
        reached = ops.where(tpr >= self.tpr - 1e-6, fpr, 1.0)
        return ops.min(reached) + 0.0 * (tpr[-1] + fpr[-1])

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "tpr": self.tpr}


@keras.saving.register_keras_serializable(package="rbkeras")
class TruePositiveRateAtFPR(_ScoreHistogram):
    """True positive rate at a given false positive rate over labelled samples."""

    def __init__(self, fpr: float = 1e-3, name: str = "tpr_at_fpr1e-3", **kwargs: Any):
        super().__init__(name=name, **kwargs)
        if not 0 <= fpr < 1:
            raise ValueError(f"fpr: expected a number in [0, 1), got {fpr}")
        self.fpr = fpr

    def result(self) -> Tensor:
        """Return the rate; NaN while a class has no samples."""
        tpr, fpr = self.rates()
        reached = ops.where(fpr <= self.fpr + 1e-9, tpr, 0.0)
        return ops.max(reached) + 0.0 * (tpr[-1] + fpr[-1])

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "fpr": self.fpr}


@keras.saving.register_keras_serializable(package="rbkeras")
class LabelledAccuracy(keras.metrics.Mean):
    """Fraction of labelled samples whose larger logit is their label's.

    Stamps whose score is not finite are passed over.
    """

    def __init__(self, name: str = "accuracy", **kwargs: Any):
        super().__init__(name=name, **kwargs)

    def update_state(
        self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None
    ) -> None:
        """Count a batch: labels (N,), logits (N, 2)."""
        labels = ops.cast(ops.reshape(y_true, (-1,)), "int32")
        scores = score(ops.cast(y_pred, "float32"))
        right = ops.cast((scores > 0) == (labels == 1), "float32")
        counts = ops.logical_and(labels >= 0, ops.isfinite(scores))
        super().update_state(right, sample_weight=ops.cast(counts, "float32"))


def default_metrics() -> list[keras.metrics.Metric]:
    """Fresh instances of the metrics every training logs."""
    return [
        LabelledAccuracy(),
        LabelledAUC(),
        FalsePositiveRateAtTPR(),
        TruePositiveRateAtFPR(),
    ]
