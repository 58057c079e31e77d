"""The table of scores: its columns, probabilities and decisions."""

import csv
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from scipy.special import expit

from rbkeras.decision import Decision
from rbkeras.errors import InputError

#: These stand last, in this order.
LAST_COLUMNS = ("sample_index", "score", "probability_real", "decision")


def no_scores() -> pd.DataFrame:
    """Return an empty table, so that a night without a good file still has an output."""
    return pd.DataFrame(
        {
            "source": pd.Series(dtype=str),
            "sample_index": pd.Series(dtype=np.int64),
            "score": pd.Series(dtype=np.float32),
        }
    )


def require_scores_or_nothing(path: Path) -> None:
    """Raise `InputError` where something lies at `path` that is no table of scores."""
    if not path.is_file() or not path.stat().st_size:
        return
    try:
        names = pq.read_schema(path).names if path.suffix == ".parquet" else _header(path)
    except (OSError, ValueError, csv.Error):
        names = []
    if not {"source", "score"} <= set(names):
        raise InputError(
            f"{path}: expected a table of scores to replace, or nothing yet, found something else; "
            "--overwrite replaces it"
        )


def _header(path: Path) -> list[str]:
    with path.open(encoding="utf-8", newline="") as file:
        return next(csv.reader(file), [])


def decided(
    decision: Decision | None,
    scores: pd.DataFrame,
    *,
    threshold: float | None,
    prevalence: float | None,
) -> pd.DataFrame:
    """Add `probability_real` and, with a threshold, `decision` (missing where the score is)."""
    score = scores["score"].to_numpy()
    if decision is None:
        scores["probability_real"] = expit(score)
    else:
        scores["probability_real"] = decision.probability(score, prevalence=prevalence)
    if threshold is not None:
        decided = pd.Series(score >= threshold, index=scores.index).astype("Int8")
        scores["decision"] = decided.mask(~np.isfinite(score))
    return scores
