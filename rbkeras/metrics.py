"""Figures of merit as exact functions of the scores of reals and bogus.

A stamp is called real where its score is at least the threshold. The false positive rate at a
true positive rate t is the fraction of bogus at or above the highest threshold at which at least
a fraction t of the reals passes; ties count against the classifier.
"""

import numpy as np
from scipy import stats


def reals_needed(tpr: float, count: int) -> int:
    """How many of `count` reals at least a fraction `tpr` of them is, at least one."""
    # 0.55 x 100 is 55.00000000000001; a hair less keeps exact multiples exact.
    return max(int(np.ceil(tpr * count - 1e-9)), 1)


def resampled_ranks(k: int, n: int, size: int, rng: np.random.Generator) -> np.ndarray:
    """Ranks, from 0 for the highest, that the k-th highest of `size` resamples of n has among n.

    No resample is made: the k-th smallest of n uniform numbers follows a beta distribution, and
    points to the score that stands there. Integers (size,).
    """
    return np.minimum((n * rng.beta(k, n - k + 1, size)).astype(int), n - 1)


def threshold_at_tpr(real_scores: np.ndarray, tpr: float) -> np.ndarray:
    """Highest threshold that at least a fraction `tpr` of the reals reaches, along the last axis.

    Parameters
    ----------
    real_scores
        Finite floats, (..., n), n >= 1.
    tpr
        In (0, 1].
    """
    needed = reals_needed(tpr, real_scores.shape[-1])
    return -np.partition(-real_scores, needed - 1, axis=-1)[..., needed - 1]


def fpr_at_tpr(real_scores: np.ndarray, bogus_scores: np.ndarray, tpr: float = 0.9) -> np.ndarray:
    """Return the false positive rate at a true positive rate, along the last axis.

    Parameters
    ----------
    real_scores, bogus_scores
        Finite floats (..., n) and (..., m) with equal leading axes.
    """
    threshold = threshold_at_tpr(real_scores, tpr)
    return (bogus_scores >= threshold[..., np.newaxis]).mean(axis=-1)


def tpr_at_fpr(real_scores: np.ndarray, bogus_scores: np.ndarray, fpr: float = 1e-3) -> float:
    """Highest true positive rate whose false positive rate is at most `fpr`; 1-d arrays."""
    allowed = int(np.floor(fpr * len(bogus_scores) + 1e-9))
    if allowed >= len(bogus_scores):
        return 1.0
    # The reals have to stand strictly above the first bogus that is not allowed through.
    limit = -np.partition(-bogus_scores, allowed)[allowed]
    return float((real_scores > limit).mean())


def auc(real_scores: np.ndarray, bogus_scores: np.ndarray) -> float:
    """Area under the ROC curve; 1-d arrays, both non-empty.

    By the rank sum of the reals (Mann & Whitney 1947), since a bootstrap asks often.
    """
    m, n = len(real_scores), len(bogus_scores)
    ranks = stats.rankdata(np.r_[real_scores, bogus_scores])[:m]
    return float((ranks.sum() - m * (m + 1) / 2) / (m * n))


def partial_auc(real_scores: np.ndarray, bogus_scores: np.ndarray, beta: float = 0.01) -> float:
    """Area under the ROC curve over false positive rates up to `beta`, divided by `beta`.

    The fraction of pairs of a real and one of the ceil(beta n) highest-scored bogus in which the
    real stands above, ties counting one half: 1 for perfect separation, whatever `beta`.

    Parameters
    ----------
    real_scores, bogus_scores
        Finite floats, 1-d, both non-empty.
    beta
        In (0, 1]; 1 gives the whole area.

    References
    ----------
    Narasimhan & Agarwal 2013, ICML 30, 516.
    """
    if not 0 < beta <= 1:
        raise ValueError(f"beta: expected a number in (0, 1], got {beta}")
    # The factor keeps 0.55 x 100, slightly more than 55 in floating point, from becoming 56.
    count = max(int(np.ceil(beta * len(bogus_scores) * (1 - 1e-9))), 1)
    return auc(real_scores, -np.partition(-bogus_scores, count - 1)[:count])


def binomial_interval(
    successes: np.ndarray | int, trials: np.ndarray | int, *, confidence: float = 0.95
) -> tuple[np.ndarray, np.ndarray]:
    """Exact (Clopper-Pearson) interval of a fraction, elementwise; trials of at least 1."""
    successes = np.asarray(successes, dtype=np.float64)
    tail = (1 - confidence) / 2
    with np.errstate(invalid="ignore"):
        low = stats.beta.ppf(tail, successes, trials - successes + 1)
        high = stats.beta.ppf(1 - tail, successes + 1, trials - successes)
    return np.where(successes == 0, 0.0, low), np.where(successes == trials, 1.0, high)


def auc_interval(
    real_scores: np.ndarray, bogus_scores: np.ndarray, confidence: float = 0.95
) -> tuple[float, float]:
    """Confidence interval of the AUC from DeLong's variance, symmetric in logit(AUC).

    The logit keeps the interval inside (0, 1) where the AUC is close to 1. With perfect
    separation, or where all scores are equal, the variance is 0; the interval is then the exact
    binomial (Clopper-Pearson) one of as many trials as the smaller class has samples. A single
    real or bogus says nothing: (0, 1).

    References
    ----------
    DeLong et al. 1988, Biometrics 44, 837; Sun & Xu 2014, IEEE SPL 21, 1389 (by midranks).
    """
    m, n = len(real_scores), len(bogus_scores)
    if min(m, n) < 2:
        return 0.0, 1.0
    pooled = stats.rankdata(np.r_[real_scores, bogus_scores])
    # Fraction of bogus below each real, and of reals above each bogus.
    of_real = (pooled[:m] - stats.rankdata(real_scores)) / n
    of_bogus = 1.0 - (pooled[m:] - stats.rankdata(bogus_scores)) / m
    area = of_real.mean()
    if not (np.ptp(of_real) or np.ptp(of_bogus)):
        fewest = min(m, n)
        low, high = binomial_interval(round(area * fewest), fewest, confidence=confidence)
        return float(low), float(high)
    deviation = np.sqrt(of_real.var(ddof=1) / m + of_bogus.var(ddof=1) / n)
    half = stats.norm.ppf(0.5 + confidence / 2) * deviation / (area * (1 - area))
    low, high = 1 / (1 + np.exp(-(np.log(area / (1 - area)) + np.array([-half, half]))))
    return float(low), float(high)


def resampled_fpr(
    real_scores: np.ndarray,
    bogus_scores: np.ndarray,
    tpr: float,
    *,
    resamples: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """Resample reals and bogus, and give the false positive rate at `tpr` of each resample.

    Parameters
    ----------
    real_scores, bogus_scores
        Finite floats, 1-d, both non-empty.

    Returns
    -------
    numpy.ndarray
        float64 (resamples,). The cost hardly grows with the number of scores: the threshold of a
        resample is one of the reals, see `resampled_ranks`, and of its bogus a binomial number
        passes.
    """
    real, bogus = np.sort(real_scores), np.sort(bogus_scores)
    ranks = resampled_ranks(reals_needed(tpr, len(real)), len(real), resamples, rng)
    passing = 1 - np.searchsorted(bogus, real[::-1][ranks], side="left") / len(bogus)
    return rng.binomial(len(bogus), passing) / len(bogus)


def fpr_interval(
    real_scores: np.ndarray,
    bogus_scores: np.ndarray,
    *,
    tpr: float = 0.9,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> tuple[float, float]:
    """Confidence interval of the false positive rate at `tpr`.

    The percentile bootstrap over reals and bogus, widened to the exact binomial (Clopper-Pearson)
    interval at the observed threshold: with few false positives the bootstrap alone would claim
    too much, with none it would claim certainty. A single real or bogus says nothing: (0, 1).
    """
    if min(len(real_scores), len(bogus_scores)) < 2:
        return 0.0, 1.0
    rng = np.random.default_rng(seed)
    rates = resampled_fpr(real_scores, bogus_scores, tpr, resamples=resamples, rng=rng)
    low, high = np.quantile(rates, [0.5 - confidence / 2, 0.5 + confidence / 2])
    passed = int((bogus_scores >= threshold_at_tpr(real_scores, tpr)).sum())
    exact = binomial_interval(passed, len(bogus_scores), confidence=confidence)
    return float(min(low, exact[0])), float(max(high, exact[1]))
