"""Rates at chosen thresholds with their uncertainties, and the band of the ROC curve.

At a chosen true positive rate the false positive rate has the percentile bootstrap's interval
(Efron & Tibshirani 1993, chapter 13). At a chosen false positive rate a bootstrap is too sure where
few bogus decide: no resample reaches above the highest of them. There the threshold t of all bogus
that could be is bracketed instead. Of n bogus a binomial number K stands at or above it, so that t
is between the K-th highest and the next one; with K = 0 nothing limits it from above. How many of
all reals pass a bracket's ends is drawn from the beta distributions whose quantiles are the exact
(Clopper-Pearson) limits.
"""

import numpy as np
import pandas as pd

from rbkeras.metrics import binomial_interval, partial_auc, resampled_fpr, threshold_at_tpr

TRUE_POSITIVE_RATES = (0.9, 0.95, 0.99)
FALSE_POSITIVE_RATES = (1e-2, 1e-3, 1e-4)
#: So many bogus have to be expected at or above a threshold for one to be there, 39 times in 40.
RESOLVED = float(-np.log(0.025))
_QUANTILES = (0.025, 0.975)


def threshold_at_fpr(bogus_scores: np.ndarray, fpr: float) -> float:
    """Lowest threshold that at most a fraction `fpr` of the bogus reaches; 1-d, not empty.

    Of scores in single precision, whatever the array's own, it is a number of that precision: one
    between them would be rounded to the bogus below, where the two are compared.
    """
    allowed = int(np.floor(fpr * len(bogus_scores) + 1e-9))
    if allowed >= len(bogus_scores):
        return float(np.min(bogus_scores))
    limit = float(-np.partition(-bogus_scores, allowed)[allowed])
    single = bogus_scores.astype(np.float32)
    if (single == bogus_scores).all():
        return float(np.nextafter(np.float32(limit), np.float32(np.inf)))
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
        the threshold; the other one that of the module's description, which knows that the
        threshold was found on the same samples, widened to the exact one, or 0 to 1 where a class
        has a single sample, as in `rbkeras.metrics.fpr_interval`. `tpr_low` is 0 where fewer than
        `RESOLVED` bogus are expected above the threshold.
    """
    rng = np.random.default_rng(seed)
    real = np.sort(np.asarray(real_scores, dtype=np.float64))[::-1]
    bogus = np.sort(np.asarray(bogus_scores, dtype=np.float64))[::-1]
    rows = []
    for target in TRUE_POSITIVE_RATES:
        threshold = float(threshold_at_tpr(real, target))
        drawn = resampled_fpr(real, bogus, target, resamples=resamples, rng=rng)
        edges = np.quantile(drawn, _QUANTILES)
        rows.append({"chosen": "tpr", "target": target, "threshold": threshold, "fpr": edges})
    for target in FALSE_POSITIVE_RATES:
        threshold = threshold_at_fpr(bogus, target)
        edges = _passing_reals(real, bogus, target, resamples, rng)
        rows.append({"chosen": "fpr", "target": target, "threshold": threshold, "tpr": edges})
    return pd.DataFrame([_finished(row, real, bogus) for row in rows])


def roc_band(
    real_scores: np.ndarray,
    bogus_scores: np.ndarray,
    false_positive_rates: np.ndarray,
    *,
    resamples: int = 500,
    seed: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """Pointwise 95% band of the true positive rate at given false positive rates.

    Returns
    -------
    tuple of numpy.ndarray
        Lower and upper edge, float64, of the shape of `false_positive_rates` (K,). The lower one is
        0 where fewer than `RESOLVED` bogus are expected.
    """
    rng = np.random.default_rng(seed)
    real = np.sort(np.asarray(real_scores, dtype=np.float64))[::-1]
    bogus = np.sort(np.asarray(bogus_scores, dtype=np.float64))[::-1]
    order = np.argsort(false_positive_rates)
    edges = [
        _passing_reals(real, bogus, rate, resamples, rng)
        for rate in np.asarray(false_positive_rates)[order]
    ]
    low, high = np.empty((2, len(order)))
    # A curve rises, and so do its edges but for the chance of the draws.
    low[order] = np.minimum.accumulate([edge[0] for edge in edges[::-1]])[::-1]
    high[order] = np.maximum.accumulate([edge[1] for edge in edges])
    return low, high


def partial_auc_interval(
    real_scores: np.ndarray, bogus_scores: np.ndarray, beta: float = 0.01
) -> tuple[float, float]:
    """95% interval of `rbkeras.metrics.partial_auc`: the areas below the edges of `roc_band`.

    Wider than it need be, as if the curve lay at the same edge everywhere. A single real or bogus
    says nothing: (0, 1).
    """
    if min(len(real_scores), len(bogus_scores)) < 2:
        return 0.0, 1.0
    steps = 100
    rates = beta * (np.arange(steps) + 0.5) / steps
    low, high = roc_band(real_scores, bogus_scores, rates)
    area = partial_auc(real_scores, bogus_scores, beta)
    return float(min(low.mean(), area)), float(max(high.mean(), area))


def _passing_reals(
    real: np.ndarray, bogus: np.ndarray, fpr: float, resamples: int, rng: np.random.Generator
) -> tuple[float, float]:
    """Give the 95% interval of the true positive rate at a rate of all bogus; falling scores."""
    if fpr >= 1:
        return 1.0, 1.0
    above = rng.binomial(len(bogus), fpr, resamples)
    limits = np.r_[np.inf, bogus, -np.inf]
    # Strictly above either end of the bracket, since ties count against the classifier.
    fewest = np.searchsorted(-real, -limits[above], side="left")
    most = np.searchsorted(-real, -limits[above + 1], side="left")
    # A beta distribution with a parameter of (nearly) 0 is 0, or 1, for sure.
    tiny = 1e-9
    low = rng.beta(np.maximum(fewest, tiny), len(real) - fewest + 1)
    high = rng.beta(most + 1, np.maximum(len(real) - most, tiny))
    return float(np.quantile(low, _QUANTILES[0])), float(np.quantile(high, _QUANTILES[1]))


def _finished(row: dict, real: np.ndarray, bogus: np.ndarray) -> dict:
    """Widen the interval of the rate that was not chosen, and add the exact one of the other."""
    for name, scores in (("tpr", real), ("fpr", bogus)):
        passed = int(np.sum(scores >= row["threshold"]))
        low, high = (float(edge) for edge in binomial_interval(passed, len(scores)))
        if name in row:
            low, high = min(low, float(row[name][0])), max(high, float(row[name][1]))
            if min(len(real), len(bogus)) < 2:
                low, high = 0.0, 1.0
        row |= {name: passed / len(scores), f"{name}_low": low, f"{name}_high": high}
    return row
