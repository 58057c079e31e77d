"""Rates at chosen thresholds with their uncertainties, and the band of the ROC curve.

The bootstrap needs no resampled arrays: the k-th highest of n scores drawn with replacement is
the scores' own, at the rank that the k-th smallest of n uniform numbers points to, which follows
a beta distribution; and of the other class a binomial number passes it. So the cost does not grow
with the number of bogus. Percentile bootstrap of Efron & Tibshirani 1993, chapter 13.
"""

import numpy as np
import pandas as pd

from rbkeras.metrics import binomial_interval, resampled_fpr, resampled_ranks, threshold_at_tpr

TRUE_POSITIVE_RATES = (0.9, 0.95, 0.99)
FALSE_POSITIVE_RATES = (1e-2, 1e-3, 1e-4)
_QUANTILES = (0.025, 0.975)


def threshold_at_fpr(bogus_scores: np.ndarray, fpr: float) -> float:
    """Lowest threshold that at most a fraction `fpr` of the bogus reaches; 1-d, not empty."""
    allowed = int(np.floor(fpr * len(bogus_scores) + 1e-9))
    if allowed >= len(bogus_scores):
        return float(np.min(bogus_scores))
    limit = float(-np.partition(-bogus_scores, allowed)[allowed])
    return float(np.nextafter(limit, np.inf))


def operating_points(
    real_scores: np.ndarray, bogus_scores: np.ndarray, *, resamples: int = 2000, seed: int = 0
) -> pd.DataFrame:
    """Thresholds of `TRUE_POSITIVE_RATES` and `FALSE_POSITIVE_RATES`, and the rates they give.

    Parameters
    ----------
    real_scores, bogus_scores
        Finite floats, 1-d, both non-empty.

    Returns
    -------
    pandas.DataFrame
        A row per chosen rate: chosen ('tpr' or 'fpr'), target, threshold, tpr, tpr_low,
        tpr_high, fpr, fpr_low, fpr_high. The chosen rate has the exact binomial 95% interval at
        the threshold; the other one the bootstrap's, which knows that the threshold was found on
        the same samples, widened to the exact one, or 0 to 1 where a class has a single sample,
        as in `rbkeras.metrics.fpr_interval`.
    """
    rng = np.random.default_rng(seed)
    real = np.sort(np.asarray(real_scores, dtype=np.float64))[::-1]
    bogus = np.sort(np.asarray(bogus_scores, dtype=np.float64))[::-1]
    rows = []
    for target in TRUE_POSITIVE_RATES:
        threshold = float(threshold_at_tpr(real, target))
        passing = resampled_fpr(real, bogus, target, resamples=resamples, rng=rng)
        rows.append({"chosen": "tpr", "target": target, "threshold": threshold, "fpr": passing})
    for target in FALSE_POSITIVE_RATES:
        threshold = threshold_at_fpr(bogus, target)
        drawn = np.nextafter(_limits(bogus, np.array([target]), resamples, rng)[:, 0], np.inf)
        passing = _resampled(_fraction_at_least(real, drawn), len(real), rng)
        rows.append({"chosen": "fpr", "target": target, "threshold": threshold, "tpr": passing})
    return pd.DataFrame([_finished(row, real, bogus) for row in rows])


def roc_band(
    real_scores: np.ndarray,
    bogus_scores: np.ndarray,
    false_positive_rates: np.ndarray,
    *,
    resamples: int = 500,
    seed: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """Pointwise 95% bootstrap band of the true positive rate at given false positive rates.

    Returns
    -------
    tuple of numpy.ndarray
        Lower and upper edge, float64, of the shape of `false_positive_rates` (K,).
    """
    rng = np.random.default_rng(seed)
    real = np.sort(np.asarray(real_scores, dtype=np.float64))[::-1]
    bogus = np.sort(np.asarray(bogus_scores, dtype=np.float64))[::-1]
    drawn = np.nextafter(_limits(bogus, false_positive_rates, resamples, rng), np.inf)
    low, high = np.quantile(
        _resampled(_fraction_at_least(real, drawn), len(real), rng), _QUANTILES, axis=0
    )
    return low, high


def _limits(
    bogus: np.ndarray, rates: np.ndarray, resamples: int, rng: np.random.Generator
) -> np.ndarray:
    """Highest bogus score, (resamples, K), that is not let through at each rate; -inf at rate 1."""
    allowed = np.floor(rates * len(bogus) + 1e-9).astype(int)
    columns = [
        bogus[resampled_ranks(k + 1, len(bogus), resamples, rng)]
        if k < len(bogus)
        else np.full(resamples, -np.inf)
        for k in allowed
    ]
    return np.stack(columns, axis=1)


def _fraction_at_least(falling: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    return np.searchsorted(-falling, -thresholds, side="right") / len(falling)


def _resampled(fractions: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    return rng.binomial(n, fractions) / n


def _finished(row: dict, real: np.ndarray, bogus: np.ndarray) -> dict:
    """Replace the resamples by their interval and add the exact ones."""
    for name, scores in (("tpr", real), ("fpr", bogus)):
        passed = int(np.sum(scores >= row["threshold"]))
        low, high = (float(edge) for edge in binomial_interval(passed, len(scores)))
        if name in row:
            drawn_low, drawn_high = np.quantile(row[name], _QUANTILES)
            low, high = min(low, float(drawn_low)), max(high, float(drawn_high))
            if min(len(real), len(bogus)) < 2:
                low, high = 0.0, 1.0
        row |= {name: passed / len(scores), f"{name}_low": low, f"{name}_high": high}
    return row
