"""Means over seeds and paired differences between trainings, with confidence intervals.

Two things make a figure of merit uncertain: the training, which another seed would have done
differently, and the test sample. The first shows in the scatter over seeds; the second is found by
the bootstrap, with the same resample for everything that is compared.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

Scores = tuple[np.ndarray, np.ndarray]
Figure = Callable[[np.ndarray, np.ndarray], float]
Interval = tuple[float, float]


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds with its interval.

    Attributes
    ----------
    mean, low, high
        The value and its confidence interval.
    p_value
        Two-sided, of the hypothesis that the expectation is 0.
    seeds
        Number of seeds; with a single one the interval knows nothing of the training's chance.
    """

    mean: float
    low: float
    high: float
    p_value: float
    seeds: int


@dataclass(frozen=True)
class Resampled:
    """A figure of merit of one kind of training: per seed, and over bootstrap resamples.

    Attributes
    ----------
    values
        float64 (seeds,), on the test samples as they are.
    means
        float64 (resamples,), mean over seeds on each resample of the test samples.
    shared
        Whether all seeds were tested on the same samples.
    """

    values: np.ndarray
    means: np.ndarray
    shared: bool

    def __sub__(self, other: "Resampled") -> "Resampled":
        if self.shared != other.shared or self.values.shape != other.values.shape:
            raise ValueError("expected figures of the same seeds and test samples")
        return Resampled(self.values - other.values, self.means - other.means, self.shared)


def resample(
    scores: Sequence[Scores], figure: Figure, *, shared: bool, resamples: int = 500, seed: int = 0
) -> Resampled:
    """Compute a figure of merit per seed and on bootstrap resamples of the test samples.

    Called with the same `seed` and `resamples` for two trainings, it draws the same resamples,
    so that their difference is paired.

    Parameters
    ----------
    scores
        (real scores, bogus scores) per seed, 1-d, not empty.
    figure
        From real and bogus scores to a number.
    shared
        Whether the seeds share their test samples; they then share the resamples too.
    resamples
        Number of bootstrap resamples.
    seed
        Seed of the bootstrap.
    """
    values = np.array([figure(*one) for one in scores], np.float64)
    sums = np.zeros(resamples)
    for position, (real, bogus) in enumerate(scores):
        rng = np.random.default_rng([seed, 0 if shared else position])
        for index in range(resamples):
            sums[index] += figure(
                real[rng.integers(0, len(real), len(real))],
                bogus[rng.integers(0, len(bogus), len(bogus))],
            )
    return Resampled(values, sums / len(scores), shared)


def estimate(figure: Resampled, *, confidence: float = 0.95) -> Estimate:
    """Give the mean over seeds with its confidence interval.

    The variance of the mean is S^2 / n from the n seeds plus, if they share their test samples,
    the bootstrap's. Where each seed has test samples of its own, S^2 contains their scatter
    already; the bootstrap's variance is then only a lower bound, for seeds that agree by chance.
    The interval is Student's: n - 1 degrees of freedom, or those of Welch and Satterthwaite for
    the sum. With one seed it is the bootstrap's alone.

    Parameters
    ----------
    figure
        What `resample` returned, or the difference of two.
    confidence
        Level of the interval.

    References
    ----------
    Efron & Tibshirani 1993, An Introduction to the Bootstrap, chapters 6 and 12;
    Satterthwaite 1946, Biometrics Bulletin 2, 110.
    """
    n = len(figure.values)
    mean = float(figure.values.mean())
    of_sample = float(figure.means.var(ddof=1))
    if n == 1:
        variance, freedom = of_sample, np.inf
    else:
        of_seeds = float(figure.values.var(ddof=1)) / n
        freedom = n - 1.0
        if figure.shared:
            variance = of_seeds + of_sample
            if of_seeds:
                freedom *= (variance / of_seeds) ** 2
            else:
                freedom = np.inf
        else:
            variance = max(of_seeds, of_sample)
    error = np.sqrt(variance)
    if not error:
        return Estimate(mean, mean, mean, 1.0 if mean == 0 else 0.0, n)
    half = stats.t.ppf(0.5 + confidence / 2, freedom) * error
    p_value = 2 * stats.t.sf(abs(mean) / error, freedom)
    return Estimate(mean, mean - half, mean + half, float(p_value), n)


def widened(low: float, high: float, ours: Interval, theirs: Interval) -> Interval:
    """Give a difference that no seed and no resample told from one value an interval after all.

    Parameters
    ----------
    low, high
        Interval of the difference; returned as it is unless it has no width.
    ours, theirs
        Exact intervals of the two figures, which limit what the test samples can tell apart.
    """
    if low < high:
        return low, high
    return float(min(low, ours[0] - theirs[1])), float(max(high, ours[1] - theirs[0]))


def paired_fractions(
    ours: np.ndarray, theirs: np.ndarray, *, confidence: float = 0.95
) -> tuple[float, float, float]:
    """Exact interval and p-value of the difference of two fractions of the same samples.

    Samples on which both agree say nothing of the difference; of the others, a binomial number
    pass one and not the other.

    Parameters
    ----------
    ours, theirs
        Whether each sample passes, bool (n,).
    confidence
        Level of the interval.

    Returns
    -------
    low, high, p_value : float
        Of the fraction of ours less that of theirs; 0, 0 and 1 where no sample tells them apart.

    References
    ----------
    McNemar 1947, Psychometrika 12, 153; Clopper & Pearson 1934, Biometrika 26, 404.
    """
    ours, theirs = np.asarray(ours, bool), np.asarray(theirs, bool)
    more, fewer = int(np.sum(ours & ~theirs)), int(np.sum(theirs & ~ours))
    if not more + fewer:
        return 0.0, 0.0, 1.0
    test = stats.binomtest(more, more + fewer)
    edges = test.proportion_ci(confidence, method="exact")
    low, high = ((2 * edge - 1) * (more + fewer) / len(ours) for edge in edges)
    return float(low), float(high), float(test.pvalue)
