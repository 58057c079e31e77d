"""How suspicious a label is, given a prediction by a network that never saw it.

Pure numpy. Throughout, `labels` are integers (N,) of 0 (bogus) and 1 (real), both present, and
`probability_real` is float (N,) in [0, 1], out of fold and without NaN. In a problem with two
classes every rule is a cut on that probability for each given label; rules differ in where they
cut, and scores in how they weigh a stamp labelled real against one labelled bogus.
"""

from typing import Literal, get_args

import numpy as np

Rule = Literal["posterior", "confident", "prune", "argmax"]
RULES = get_args(Rule)
# A class of equal probabilities must reach its own mean, which rounding may put above them.
_ROUNDING = 1e-9


# --- confident learning ---------------------------------------------------------------------------


def class_thresholds(labels: np.ndarray, probability_real: np.ndarray) -> tuple[float, float]:
    """Mean probability of a class over the samples labelled so: of bogus, then of real."""
    real = labels == 1
    return float((1 - probability_real[~real]).mean()), float(probability_real[real].mean())


def confident_classes(labels: np.ndarray, probability_real: np.ndarray) -> np.ndarray:
    """Class that the prediction is confident of: int8 (N,), 0, 1, or -1 where there is none.

    Confident of a class is a prediction that reaches the class's threshold, see
    `class_thresholds`; of both, the more probable one.

    References
    ----------
    Northcutt, Jiang & Chuang 2021, JAIR 70, 1373, equations 1 and 2.
    """
    bogus_threshold, real_threshold = class_thresholds(labels, probability_real)
    bogus = 1 - probability_real >= bogus_threshold - _ROUNDING
    real = probability_real >= real_threshold - _ROUNDING
    both = bogus & real
    real &= ~both | (probability_real > 0.5)
    return np.where(real, 1, np.where(bogus, 0, -1)).astype(np.int8)


def confident_joint(labels: np.ndarray, probability_real: np.ndarray) -> np.ndarray:
    """Count samples by given label (rows) and confident class (columns): int64 (2, 2)."""
    classes = confident_classes(labels, probability_real)
    return np.array([[np.sum((labels == i) & (classes == j)) for j in (0, 1)] for i in (0, 1)])


def error_counts(labels: np.ndarray, probability_real: np.ndarray) -> tuple[int, int]:
    """Estimate how many of the labels 'bogus', and how many of 'real', are wrong.

    The confident joint is scaled so that each given label has as many samples as there are.

    References
    ----------
    Northcutt, Jiang & Chuang 2021, JAIR 70, 1373, equation 3.
    """
    joint = confident_joint(labels, probability_real)
    np.fill_diagonal(joint, np.maximum(joint.diagonal(), 1))
    scaled = joint * np.bincount(labels.astype(int), minlength=2)[:, None] / joint.sum(1)[:, None]
    return round(scaled[0, 1]), round(scaled[1, 0])


def noise_rates(labels: np.ndarray, probability_real: np.ndarray) -> tuple[float, float]:
    """Estimate how often each class was given the other's label, by confident learning.

    Among the samples confidently bogus, the fraction labelled real is the first rate; among those
    confidently real, the fraction labelled bogus the second. Unlike in `confident_joint`, only the
    larger probability can be confident.

    Where the classes overlap, some of those labels are right, so that both come out too high: more
    so for a class that is rare.

    Returns
    -------
    tuple of float
        P(labelled real | bogus) and P(labelled bogus | real), each in [0.001, 0.49]: a survey of
        which nothing is known is never taken to be free of errors.

    References
    ----------
    After Northcutt, Jiang & Chuang 2021, JAIR 70, 1373, section 3: their thresholds; the joint is
    not scaled to the counts of the labels (their equation 3), which would not lower the rates.
    """
    real = labels == 1
    bogus_threshold, real_threshold = class_thresholds(labels, probability_real)
    # A network that has learnt nothing puts both thresholds near 1/2; the larger side decides.
    reaches_real = probability_real >= real_threshold - _ROUNDING
    reaches_bogus = 1 - probability_real >= bogus_threshold - _ROUNDING
    confident_real = reaches_real & (probability_real > 0.5)
    confident_bogus = reaches_bogus & (probability_real <= 0.5)
    rates = [
        (real & confident_bogus).sum() / max(confident_bogus.sum(), 1),
        (~real & confident_real).sum() / max(confident_real.sum(), 1),
    ]
    as_real, as_bogus = np.clip(rates, 0.001, 0.49)
    return float(as_real), float(as_bogus)


# --- scores ---------------------------------------------------------------------------------------


def self_confidence(labels: np.ndarray, probability_real: np.ndarray) -> np.ndarray:
    """Probability of the given label, float (N,) in [0, 1].

    With two classes the normalised margin of Northcutt et al. (2021), the probability of the given
    label minus that of the other, is twice this minus 1: both rank all samples alike.
    """
    return np.where(labels == 1, probability_real, 1 - probability_real)


def adjusted_confidence(labels: np.ndarray, probability_real: np.ndarray) -> np.ndarray:
    """Probability of the given label minus the mean of that label's own, float (N,) in (-1, 1).

    Ranks the rarer class, whose labels are believed less throughout, on a par with the other.

    References
    ----------
    Kuan & Mueller 2022, "Model-agnostic label quality scoring to detect real-world label errors",
    ICML DataPerf workshop (adjusted self-confidence).
    """
    thresholds = np.array(class_thresholds(labels, probability_real))
    return self_confidence(labels, probability_real) - thresholds[labels]


def corrected_probability(
    probability_real: np.ndarray, *, rates: tuple[float, float]
) -> np.ndarray:
    """Probability that a stamp is real, from that of its being labelled real: float64 (N,).

    The network was trained on the labels as given, so its probability p of the label 'real' is
    (1 - b) q + a (1 - q), where q is the probability that the stamp is real, a the rate at which
    bogus are labelled real and b the other. Solved for q, and clipped to [0, 1].
    """
    as_real, as_bogus = rates
    return np.clip((probability_real - as_real) / (1 - as_real - as_bogus), 0.0, 1.0)


def error_probability(
    labels: np.ndarray, probability_real: np.ndarray, *, rates: tuple[float, float]
) -> np.ndarray:
    """Probability that each label is wrong, by Bayes' theorem.

    With q of `corrected_probability` and p from it, the label 'real' is wrong with probability
    a (1 - q) / p, and 'bogus' with b q / (1 - p). An ambiguous stamp with its given
    label is most likely right, because errors are rare; that is what the larger logit alone does
    not know.

    Parameters
    ----------
    labels, probability_real
        As throughout.
    rates
        (a, b) with a + b < 1, as `noise_rates` returns.

    Returns
    -------
    numpy.ndarray
        float64 (N,) in [0, 1].
    """
    as_real, as_bogus = rates
    is_real = corrected_probability(probability_real, rates=rates)
    labelled_real = (1 - as_bogus) * is_real + as_real * (1 - is_real)
    # Not 1 minus that, whose rounding would put some certain errors above others.
    labelled_bogus = as_bogus * is_real + (1 - as_real) * (1 - is_real)
    return np.where(
        labels == 1,
        as_real * (1 - is_real) / labelled_real,
        as_bogus * is_real / labelled_bogus,
    )


# --- rules ----------------------------------------------------------------------------------------


def find_suspects(
    labels: np.ndarray,
    score: np.ndarray,
    probability_real: np.ndarray,
    *,
    rule: Rule = "posterior",
    threshold: float = 0.2,
    certainty: float = 0.0,
) -> np.ndarray:
    """Say which labels are suspect: bool (N,).

    No rule suspects a label that the prediction confirms.

    Parameters
    ----------
    labels, probability_real
        As throughout.
    score
        z1 - z0, float (N,), whose logistic function `probability_real` is: its sign is right
        where the probability is rounded.
    rule
        'argmax': where the prediction contradicts the label. 'posterior': where, besides,
        `error_probability` exceeds `threshold`, and the probability of the other class, see
        `corrected_probability`, is at least `certainty`. 'confident': where the prediction is
        confident of the other class (the off-diagonal of the confident joint). 'prune': as many
        labels of each class as `error_counts` estimates, those with the lowest self-confidence.
    threshold
        For 'posterior', in (0, 1).
    certainty
        For 'posterior', in [0, 1). Matters where errors are so many that `threshold` is reached
        by their rate alone, and every ambiguous label becomes suspect.
    """
    suspect = (score > 0) != (labels == 1)
    if rule == "posterior":
        # Where the network has learnt little, the rates come out high and would put every
        # ambiguous label under suspicion, also those that the prediction confirms.
        rates = noise_rates(labels, probability_real)
        suspect &= error_probability(labels, probability_real, rates=rates) > threshold
        real = corrected_probability(probability_real, rates=rates)
        suspect &= np.where(labels == 1, 1 - real, real) >= certainty
    elif rule == "confident":
        suspect &= confident_classes(labels, probability_real) == 1 - labels
    elif rule == "prune":
        suspect &= _lowest(labels, score, error_counts(labels, probability_real))
    return suspect


def _lowest(labels: np.ndarray, score: np.ndarray, counts: tuple[int, int]) -> np.ndarray:
    lowest = np.zeros(len(labels), bool)
    for label, count in enumerate(counts):
        members = np.flatnonzero(labels == label)
        order = np.argsort(score[members] if label else -score[members], kind="stable")
        lowest[members[order[:count]]] = True
    return lowest
