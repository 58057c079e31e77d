"""From scores to probabilities: temperature, isotonic regression, prevalence, reliability.

Pure functions of numpy arrays. A score is the log-odds of real, z1 - z0. What only fitting and
reports need is imported there: scoring with an exported model starts without it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import expit, logit

if TYPE_CHECKING:
    import pandas as pd

Values = Sequence[float] | np.ndarray

#: Temperatures are looked for between these.
TEMPERATURES = (0.01, 100.0)


def cross_entropy(labels: np.ndarray, log_odds: np.ndarray) -> float:
    """Mean cross-entropy, in nats, of labels (N,) in {0, 1} under log-odds of real (N,)."""
    signed = np.where(labels == 1, -log_odds, log_odds)
    return float(np.logaddexp(0.0, signed).mean())


def separated(labels: np.ndarray, scores: np.ndarray) -> bool:
    """Whether every score has the sign of its label; 0 counts as that of bogus."""
    return bool(((scores > 0) == (labels == 1)).all())


def fit_temperature(
    labels: np.ndarray,
    scores: np.ndarray,
    *,
    lowest: float = TEMPERATURES[0],
    offset: float = 0.0,
) -> float:
    """Find T > 0 that minimises the cross-entropy of the log-odds score / T + offset.

    Parameters
    ----------
    labels
        Integers (N,) in {0, 1}.
    scores
        Finite floats (N,), of samples that the network was not trained on.
    lowest
        Lowest temperature; below 1 the network is taken for less sure than it should be.
    offset
        See `shift_prevalence`, where the network learnt from another fraction of reals than there
        is among these.

    Returns
    -------
    float
        From `lowest` to the last of `TEMPERATURES`. 1 where the classes are `separated`: the
        cross-entropy then falls without end as T goes to 0, and nothing is learnt about how sure
        to be.

    References
    ----------
    Guo et al. 2017, ICML, "On Calibration of Modern Neural Networks", section 4.2.
    """
    from scipy.optimize import minimize_scalar

    labels, scores = np.asarray(labels), np.asarray(scores, dtype=np.float64)
    if separated(labels, scores):
        return 1.0

    def cost(log_t: float) -> float:
        return cross_entropy(labels, scores / np.exp(log_t) + offset)

    # As a function of 1/T the cross-entropy is convex, so the one minimum is the least.
    found = minimize_scalar(
        cost,
        bounds=tuple(np.log([lowest, TEMPERATURES[1]])),
        method="bounded",
        options={"xatol": 1e-7},
    )
    # The search does not quite reach its bounds.
    return float(np.exp(min(found.x, np.log(lowest), key=cost)))


def fit_isotonic(labels: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Fit the monotone function of the score that is nearest to the labels.

    Parameters
    ----------
    labels, scores
        As in `fit_temperature`.

    Returns
    -------
    tuple of numpy.ndarray
        Knots: scores and probabilities, float64 (K,), neither of them falling; between them the
        function is linear, beyond them constant. Probabilities stay at least 1 / (N + 2) from 0
        and 1 (Laplace's rule): N samples cannot say more, and log-odds have to be finite.

    References
    ----------
    Zadrozny & Elkan 2002, KDD, "Transforming classifier scores into accurate multiclass
    probability estimates".
    """
    from sklearn.isotonic import IsotonicRegression

    least = 1.0 / (len(scores) + 2)
    fitted = IsotonicRegression(y_min=least, y_max=1 - least, out_of_bounds="clip").fit(
        np.asarray(scores, dtype=np.float64), np.asarray(labels, dtype=np.float64)
    )
    return fitted.X_thresholds_, fitted.y_thresholds_


def isotonic_log_odds(scores: np.ndarray, knots: tuple[Values, Values]) -> np.ndarray:
    """Log-odds, float64 (N,), that the knots of `fit_isotonic` give to scores (N,)."""
    return logit(np.interp(np.asarray(scores, dtype=np.float64), *knots))


def score_at(log_odds: float, knots: tuple[Values, Values]) -> float:
    """Find the lowest score to which `isotonic_log_odds` gives at least `log_odds`.

    -inf where every score has that, inf where none has.
    """
    at, values = knots
    probability = float(expit(log_odds))
    # A hair less, so that the way there and back loses no plateau that has just this probability.
    above = int(np.searchsorted(values, probability * (1 - 1e-12)))
    if above == 0:
        return -np.inf
    if above == len(values):
        return np.inf
    low, high = values[above - 1], values[above]
    part = min((probability - low) / (high - low), 1.0)
    return float(at[above - 1] + part * (at[above] - at[above - 1]))


def shift_prevalence(log_odds: np.ndarray | float, *, trained: float, stated: float) -> np.ndarray:
    """Move log-odds from the fraction of reals trained with to another one.

    Bayes' theorem with the same likelihoods and other priors: the difference of the priors'
    log-odds is added.

    Parameters
    ----------
    log_odds
        Of real, floats of any shape.
    trained, stated
        Fractions of reals, in (0, 1).

    References
    ----------
    Saerens, Latinne & Decaestecker 2002, Neural Computation 14, 21 (new priors known).
    """
    for name, value in (("trained", trained), ("stated", stated)):
        if not 0 < value < 1:
            raise ValueError(f"{name}: expected a fraction in (0, 1), got {value}")
    return np.asarray(log_odds) + (logit(stated) - logit(trained))


def reliability_curve(
    labels: np.ndarray, probabilities: np.ndarray, *, bins: int = 10
) -> pd.DataFrame:
    """Compare predicted probabilities with the fraction of reals, in bins of equal width.

    Parameters
    ----------
    labels
        Integers (N,) in {0, 1}.
    probabilities
        Of real, (N,) in [0, 1].
    bins
        Number of bins; those without samples are left out.

    Returns
    -------
    pandas.DataFrame
        A row per bin: predicted (mean probability), observed (fraction of reals), low and high
        (exact binomial 95% interval of it), count.
    """
    import pandas as pd

    labels = np.asarray(labels, dtype=np.float64)
    probabilities = np.asarray(probabilities, dtype=np.float64)
    # Right edges belong to their bins, as in scikit-learn's calibration_curve.
    which = np.searchsorted(np.linspace(0, 1, bins + 1)[1:-1], probabilities)
    counts = np.bincount(which, minlength=bins)
    filled = counts > 0
    n = counts[filled]
    real = np.bincount(which, labels, minlength=bins)[filled]
    predicted = np.bincount(which, probabilities, minlength=bins)[filled] / n
    # Here, so that scoring without TensorFlow does not wait for scipy.stats.
    from rbkeras.metrics import binomial_interval

    low, high = binomial_interval(real, n)
    return pd.DataFrame(
        {"predicted": predicted, "observed": real / n, "low": low, "high": high, "count": n}
    )


def expected_calibration_error(
    labels: np.ndarray, probabilities: np.ndarray, *, bins: int = 10
) -> float:
    """Mean distance of predicted from observed over the bins, weighted by their samples.

    References
    ----------
    Naeini, Cooper & Hauskrecht 2015, AAAI, "Obtaining well calibrated probabilities using
    Bayesian binning".
    """
    curve = reliability_curve(labels, probabilities, bins=bins)
    gap = (curve["predicted"] - curve["observed"]).abs()
    return float((gap * curve["count"]).sum() / curve["count"].sum())


def probabilities_of(log_odds: np.ndarray) -> np.ndarray:
    """Probabilities, float64, of log-odds."""
    return expit(np.asarray(log_odds, dtype=np.float64))
