"""Scoring a list of inputs into one table of scores, probabilities and decisions."""

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import expit
from tqdm import tqdm

from rbkeras.data.records import open_records
from rbkeras.data.survey import open_stamps
from rbkeras.errors import InputError
from rbkeras.files import whole_file
from rbkeras.inference import check_stamp_shape, load_classifier, score_array, score_records
from rbkeras.models.classifier import RealBogusClassifier

_ENDINGS = (".csv", ".parquet")


def score_inputs(
    model: str | Path,
    inputs: Sequence[str | Path],
    *,
    out: str | Path,
    batch_size: int = 512,
    prevalence: float | None = None,
    threshold: float | None = None,
    true_positive_rate: float | None = None,
    skip_bad: bool = False,
    progress: bool = True,
) -> list[str]:
    """Score `.npy` files and records directories; write CSV or Parquet by `out`'s ending.

    The output appears whole. Unless `skip_bad`, all inputs are checked before the first is scored.

    Parameters
    ----------
    model, inputs, out
        Paths.
    batch_size
        Stamps at once.
    prevalence
        Fraction of reals that probabilities shall refer to; None takes the model's.
    threshold
        Score from which a stamp is called real, in place of the model's.
    true_positive_rate
        Take the model's threshold for this rate; not together with `threshold`.
    skip_bad
        Leave out inputs that are at fault.
    progress
        Show a bar.

    Returns
    -------
    list of str
        A sentence for every input left out.

    Raises
    ------
    InputError
        When the model, an option or, without `skip_bad`, an input is at fault.
    """
    out = Path(out)
    if out.suffix not in _ENDINGS:
        raise InputError(f"{out}: expected an output ending in .csv or .parquet")
    if batch_size < 1:
        raise InputError(f"--batch_size: expected at least 1, got {batch_size}")
    if prevalence is not None and not 0 < prevalence < 1:
        raise InputError(f"--prevalence: expected a fraction in (0, 1), got {prevalence}")
    if threshold is not None and true_positive_rate is not None:
        raise InputError("expected at most one of --threshold and --true_positive_rate, got both")
    classifier = load_classifier(model)
    threshold = _threshold(classifier, model, threshold, true_positive_rate, prevalence)
    tables, bad, good = [], [], []
    for path in map(Path, inputs):
        try:
            _check(classifier, path)
            good.append(path)
        except (InputError, OSError) as error:
            if not skip_bad:
                raise
            bad.append(str(error))
    for path in tqdm(good, desc="scoring", unit="file", disable=not progress):
        try:
            tables.append(_score_one(classifier, path, batch_size=batch_size))
        except (InputError, OSError) as error:
            if not skip_bad:
                raise
            bad.append(str(error))
    columns = ["source", "sample_index", "score"]
    if any("detector_id" in table for table in tables):
        columns.insert(1, "detector_id")
    scores = pd.concat(tables or [_no_scores()], ignore_index=True)[columns]
    _write(out, _decided(classifier, scores, threshold=threshold, prevalence=prevalence))
    return bad


def _no_scores() -> pd.DataFrame:
    """Return an empty table, so that a night without a good file still has an output."""
    return pd.DataFrame(
        {
            "source": pd.Series(dtype=str),
            "sample_index": pd.Series(dtype=np.int64),
            "score": pd.Series(dtype=np.float32),
        }
    )


def _threshold(
    model: RealBogusClassifier,
    path: str | Path,
    threshold: float | None,
    true_positive_rate: float | None,
    prevalence: float | None,
) -> float | None:
    """Choose the threshold, and say so where a model has none."""
    decision = model.decision
    if decision is None:
        for flag, value in (
            ("--true_positive_rate", true_positive_rate),
            ("--prevalence", prevalence),
        ):
            if value is not None:
                raise InputError(
                    f"{path}: expected a model with threshold and calibration for {flag}, found "
                    "one without"
                )
        what = "probability_real is the plain logistic of the score"
        if threshold is None:
            what += ", and there is no column decision (--threshold makes one)"
        print(f"{path}: the model has no threshold and calibration: {what}", file=sys.stderr)
        return threshold
    if threshold is not None:
        return threshold
    if true_positive_rate is not None:
        return decision.point_at(true_positive_rate).threshold
    return decision.operating_point.threshold


def _check(model: RealBogusClassifier, path: Path) -> None:
    shape = open_records(path).stamp_shape if path.is_dir() else open_stamps(path).shape[1:]
    check_stamp_shape(model, shape, source=path)


def _score_one(model: RealBogusClassifier, path: Path, *, batch_size: int) -> pd.DataFrame:
    if path.is_dir():
        table = score_records(model, open_records(path), batch_size=batch_size)
        score = table["prediction1"] - table["prediction0"]
        table = table[["detector_id", "sample_index"]].assign(score=score)
    else:
        logits = score_array(model, open_stamps(path), source=path, batch_size=batch_size)
        score = logits[:, 1] - logits[:, 0]
        table = pd.DataFrame({"sample_index": np.arange(len(score)), "score": score})
    table.insert(0, "source", str(path))
    return table


def _decided(
    model: RealBogusClassifier,
    scores: pd.DataFrame,
    *,
    threshold: float | None,
    prevalence: float | None,
) -> pd.DataFrame:
    """Add `probability_real` and, with a threshold, `decision` (missing where the score is)."""
    score = scores["score"].to_numpy()
    if model.decision is None:
        scores["probability_real"] = expit(score)
    else:
        scores["probability_real"] = model.decision.probability(score, prevalence=prevalence)
    if threshold is not None:
        decided = pd.Series(score >= threshold, index=scores.index).astype("Int8")
        scores["decision"] = decided.mask(~np.isfinite(score))
    return scores


def _write(out: Path, scores: pd.DataFrame) -> None:
    with whole_file(out) as temporary:
        if out.suffix == ".csv":
            scores.to_csv(temporary, index=False)
        else:
            scores.to_parquet(temporary, index=False)
