"""Figures of merit of a scored test set."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from rbkeras import metrics
from rbkeras.data.survey import open_stamps
from rbkeras.errors import InputError
from rbkeras.files import whole_file, write_json
from rbkeras.inference import score_array
from rbkeras.models.classifier import RealBogusClassifier
from rbkeras.operating_points import RESOLVED, partial_auc_interval, threshold_at_fpr

#: In the folder of an evaluation: which files its stamps are from.
SOURCE = "source.json"


def summarise(
    real_scores: np.ndarray, bogus_scores: np.ndarray, *, resamples: int = 2000, seed: int = 0
) -> dict[str, Any]:
    """Figures of merit with 95% confidence intervals.

    Parameters
    ----------
    real_scores, bogus_scores
        Scores z1 - z0, finite, 1-d, both non-empty.

    Returns
    -------
    dict
        auc, auc_ci95, partial_auc and partial_auc_ci95 (below a false positive rate of 0.01),
        fpr_at_tpr90, fpr_at_tpr90_ci95, threshold_at_tpr90, fpr_at_tpr95, fpr_at_tpr99,
        tpr_at_fpr1e-2, tpr_at_fpr1e-3, tpr_at_fpr1e-4, threshold_at_fpr1e-2,
        threshold_at_fpr1e-3, threshold_at_fpr1e-4 (these None with too few bogus), n_real,
        n_bogus.

    Raises
    ------
    InputError
        When a class is missing or a score is not finite.
    """
    require_scores(real_scores, bogus_scores)
    real_scores = np.asarray(real_scores, dtype=np.float64)
    bogus_scores = np.asarray(bogus_scores, dtype=np.float64)
    return {
        "auc": metrics.auc(real_scores, bogus_scores),
        "auc_ci95": metrics.auc_interval(real_scores, bogus_scores),
        "partial_auc": metrics.partial_auc(real_scores, bogus_scores),
        "partial_auc_ci95": partial_auc_interval(real_scores, bogus_scores),
        "fpr_at_tpr90": float(metrics.fpr_at_tpr(real_scores, bogus_scores, 0.9)),
        "fpr_at_tpr90_ci95": metrics.fpr_interval(
            real_scores, bogus_scores, resamples=resamples, seed=seed
        ),
        "threshold_at_tpr90": float(metrics.threshold_at_tpr(real_scores, 0.9)),
        "fpr_at_tpr95": float(metrics.fpr_at_tpr(real_scores, bogus_scores, 0.95)),
        "fpr_at_tpr99": float(metrics.fpr_at_tpr(real_scores, bogus_scores, 0.99)),
        "tpr_at_fpr1e-2": metrics.tpr_at_fpr(real_scores, bogus_scores, 1e-2),
        "tpr_at_fpr1e-3": metrics.tpr_at_fpr(real_scores, bogus_scores, 1e-3),
        "tpr_at_fpr1e-4": metrics.tpr_at_fpr(real_scores, bogus_scores, 1e-4),
        "threshold_at_fpr1e-2": _threshold(bogus_scores, 1e-2),
        "threshold_at_fpr1e-3": _threshold(bogus_scores, 1e-3),
        "threshold_at_fpr1e-4": _threshold(bogus_scores, 1e-4),
        "n_real": len(real_scores),
        "n_bogus": len(bogus_scores),
    }


def _threshold(bogus_scores: np.ndarray, fpr: float) -> float | None:
    """Give the threshold of a rate, unless so few bogus would be taken for many times fewer."""
    if fpr * len(bogus_scores) < RESOLVED:
        return None
    return threshold_at_fpr(bogus_scores, fpr)


def require_scores(real_scores: np.ndarray, bogus_scores: np.ndarray) -> None:
    """Raise an `InputError` unless there are scores (n,) and (m,) of both classes, all finite."""
    for name, scores in (("real", real_scores), ("bogus", bogus_scores)):
        if not len(scores):
            raise InputError(f"expected test scores of both classes, found no {name}")
        if not np.isfinite(scores).all():
            raise InputError(f"expected finite scores, found NaN or infinity among the {name}")


def score_test_set(
    model: RealBogusClassifier, *, real: str | Path, bogus: str | Path
) -> tuple[np.ndarray, np.ndarray]:
    """Score the two test arrays; float32 (n_real,) and (n_bogus,).

    Stamps get the second look that the model asks for.
    """
    scores = []
    for path in (real, bogus):
        logits = score_array(
            model,
            open_stamps(path),
            source=path,
            again_from=model.again_from,
        )
        scores.append(logits[:, 1] - logits[:, 0])
    return scores[0], scores[1]


def scores_of_arrays(real_scores: np.ndarray, bogus_scores: np.ndarray) -> pd.DataFrame:
    """Table of the scores of two test arrays: label, sample_index (row of the array), score."""
    return pd.DataFrame(
        {
            "label": np.r_[np.ones(len(real_scores), int), np.zeros(len(bogus_scores), int)],
            "sample_index": np.r_[np.arange(len(real_scores)), np.arange(len(bogus_scores))],
            "score": np.r_[real_scores, bogus_scores],
        }
    )


def write_evaluation(
    folder: str | Path, table: pd.DataFrame, *, source: dict[str, Any]
) -> dict[str, Any]:
    """Write `metrics.json`, `scores.csv`, `roc.png` and `scores.png`; return the metrics.

    Parameters
    ----------
    folder
        Where to.
    table
        Columns label (0 or 1), score, and what tells the stamps apart.
    source
        Where the stamps are from, for `source.json`, so that a report shows those: files by the
        names test_real and test_bogus, or records.

    Raises
    ------
    InputError
        When a class is missing or a score is not finite.
    """
    from rbkeras import pictures

    folder = Path(folder)
    real_scores, bogus_scores = (
        table.loc[table["label"] == label, "score"].to_numpy() for label in (1, 0)
    )
    result = summarise(real_scores, bogus_scores)
    # Last to be written, and gone until then: it may not stand beside other scores.
    (folder / "metrics.json").unlink(missing_ok=True)
    write_json(folder / SOURCE, source)
    with whole_file(folder / "scores.csv") as temporary:
        table.to_csv(temporary, index=False)
    for name, draw in (("roc", pictures.roc_figure), ("scores", pictures.score_figure)):
        with whole_file(folder / f"{name}.png") as temporary:
            temporary.write_bytes(
                pictures.png_bytes(draw(real_scores, bogus_scores, title="test set"), dpi=120)
            )
    write_json(folder / "metrics.json", result)
    return result


def format_metrics(result: dict[str, Any]) -> list[str]:
    """Lines of text for a person: AUC and false positive rate with their intervals."""
    auc_low, auc_high = result["auc_ci95"]
    low, high = result["fpr_at_tpr90_ci95"]
    return [
        f"AUC                          {result['auc']:.5f}  [{auc_low:.5f}, {auc_high:.5f}]",
        f"false positive rate at 0.9   {result['fpr_at_tpr90']:.5f}  [{low:.5f}, {high:.5f}]",
    ]
