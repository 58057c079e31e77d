"""Whether an exported file scores as the Keras model does."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import expit

from rbkeras.decision import Decision

#: Scores of a float file may differ from Keras's by this, in log-odds...
TOLERANCE = 1e-4

#: ...or by this fraction of the logits, where they are so large that float32 resolves no better.
RELATIVE_TOLERANCE = 3e-5

#: An int8 file is refused where the AUC falls by more than this...
LARGEST_AUC_LOSS = 0.005

#: ...or more than this fraction of the decisions at the operating point change.
MOST_CHANGED = 0.02


@dataclass(frozen=True, kw_only=True)
class Parity:
    """How an engine's logits compare with Keras's.

    Attributes
    ----------
    stamps
        How many were compared.
    largest_difference
        Of a score, in log-odds; infinite where one engine's score is finite and the other's not.
    excess
        Largest difference as a multiple of what is allowed a float file.
    median_difference
        Of the scores.
    changed
        Fraction of stamps on the other side of the threshold; None without a decision.
    auc, keras_auc
        Over the labelled stamps; None where a class is missing.
    """

    stamps: int
    largest_difference: float
    excess: float
    median_difference: float
    changed: float | None
    auc: float | None
    keras_auc: float | None


def compare_logits(
    keras: np.ndarray,
    other: np.ndarray,
    *,
    labels: np.ndarray,
    decision: Decision | None,
) -> Parity:
    """Compare logits (N, 2) of the same stamps; labels (N,) are 0, 1 or -1 where unknown."""
    keras, other = keras.astype(np.float64), other.astype(np.float64)
    score, theirs = keras[:, 1] - keras[:, 0], other[:, 1] - other[:, 0]
    finite, comparable = np.isfinite(score), np.isfinite(theirs)
    difference = np.full(len(score), np.inf)
    difference[~finite & ~comparable] = 0.0
    both = finite & comparable
    difference[both] = np.abs(score - theirs)[both]
    allowed = np.full(len(score), TOLERANCE)
    size = np.abs(keras[both]).max(axis=1)
    allowed[both] = np.maximum(TOLERANCE, RELATIVE_TOLERANCE * size)
    changed = None
    if decision is not None:
        threshold = decision.operating_point.threshold
        changed = float(np.mean((score >= threshold) != (theirs >= threshold)))
    return Parity(
        stamps=len(score),
        largest_difference=float(difference.max()),
        excess=float((difference / allowed).max()),
        median_difference=float(np.median(difference)),
        changed=changed,
        auc=_auc(labels, theirs),
        keras_auc=_auc(labels, score),
    )


def _auc(labels: np.ndarray, scores: np.ndarray) -> float | None:
    from rbkeras import metrics

    known = np.isfinite(scores)
    real, bogus = scores[known & (labels == 1)], scores[known & (labels == 0)]
    return metrics.auc(real, bogus) if len(real) and len(bogus) else None


def float_fault(parity: Parity) -> str | None:
    """Say why a float file may not have its name; None where it may."""
    if parity.excess <= 1:
        return None
    return (
        f"expected scores within {TOLERANCE:g} of Keras's on {parity.stamps} stamps, found a "
        f"difference of {parity.largest_difference:.2g}"
    )


def int8_fault(parity: Parity) -> str | None:
    """Say why an int8 file may not have its name; None where it may."""
    loss = 0.0
    if parity.auc is not None and parity.keras_auc is not None:
        loss = parity.keras_auc - parity.auc
    if loss > LARGEST_AUC_LOSS:
        return (
            f"expected an AUC at most {LARGEST_AUC_LOSS:g} below Keras's {parity.keras_auc:.5f} "
            f"in int8, found {parity.auc:.5f}"
        )
    if parity.changed is not None and parity.changed > MOST_CHANGED:
        return (
            f"expected int8 to change at most {MOST_CHANGED:.0%} of the decisions on "
            f"{parity.stamps} stamps, found {parity.changed:.1%}"
        )
    if not np.isfinite(parity.largest_difference):
        return "expected int8 scores to be finite where Keras's are, found others"
    return None


def outputs_fault(outputs: dict[str, np.ndarray], decision: Decision | None) -> str | None:
    """Say where a file's score or probability is not what its own logits make of them.

    Parameters
    ----------
    outputs
        'logits' (N, 2), 'score' (N,) and 'probability' (N,), as the file gives them.
    decision
        The model's; None where the probability is the logistic of the score.

    Returns
    -------
    str or None
        None where both are right: the score to rounding, and the probability between those of a
        slightly smaller and a slightly larger score, since calibration may rise in steps.
    """
    logits = outputs["logits"].astype(np.float64)
    expected, score = logits[:, 1] - logits[:, 0], outputs["score"].astype(np.float64)
    finite = np.isfinite(expected)
    if (np.isfinite(score) != finite).any():
        return "expected a score wherever the logits are finite, and only there"
    margin = TOLERANCE + RELATIVE_TOLERANCE * np.abs(logits[finite]).max(axis=1, initial=0)
    expected, score = expected[finite], score[finite]
    if (np.abs(score - expected) > margin).any():
        return f"expected scores that are logit differences, found {np.abs(score - expected).max()}"
    probability = outputs["probability"].astype(np.float64)[finite]
    probability_of = expit if decision is None else decision.probability
    low = probability_of(score - margin) - TOLERANCE
    high = probability_of(score + margin) + TOLERANCE
    right = (probability >= low) & (probability <= high)
    if not right.all():
        worst = np.flatnonzero(~right)[0]
        return (
            f"expected a probability from {low[worst]:.4f} to {high[worst]:.4f} at a score of "
            f"{score[worst]:.4f}, found {probability[worst]:.4f}"
        )
    return None


def awkward_stamps(stamps: np.ndarray) -> np.ndarray:
    """Make from a few stamps those on which engines are likeliest to differ.

    Parameters
    ----------
    stamps
        float32 (N, H, W, C), at least one.

    Returns
    -------
    numpy.ndarray
        float32 (M, H, W, C): missing pixels, rows, channels and stamps, infinities, constants,
        a last bit of contrast, one bright pixel, and counts from 1e-20 to the largest float32.
    """
    rng = np.random.default_rng(0)
    # A plain one to start from: what is missing in it is made up.
    plain = np.where(np.isfinite(stamps[0]), stamps[0], 0).astype(np.float32)
    if np.ptp(plain) == 0:
        plain = rng.normal(0, 1, plain.shape).astype(np.float32)
    made = []

    def add(where: Any, value: float, *, base: np.ndarray = plain) -> None:
        stamp = base.copy()
        stamp[where] = value
        made.append(stamp)

    largest = float(np.finfo(np.float32).max)
    pixel, rows, channel, all_of_it = (0, 0), slice(0, 2), (..., 0), ...
    for value in (np.nan, np.inf, -np.inf):
        for where in (pixel, rows, channel, all_of_it):
            add(where, value)
    add(rng.random(plain.shape) < 0.2, np.nan)
    constants = (0.0, 1.0, 7.3, -0.1, 65535.0, 1e5 + 0.3, 1e-20, 1e30, largest, -largest)
    for value in constants:
        add(all_of_it, value)
    add(channel, 7.3)
    add(rows, np.nextafter(np.float32(7.3), np.float32(8)), base=np.full_like(plain, 7.3))
    for value in (65535.0, 1e12, 1e38, largest, -largest):
        add(pixel, value)
    unit = plain / np.abs(plain).max()
    for size in (1e-20, 1e-6, 1e6, 1e20, 3e38):
        add(pixel, size, base=unit * np.float32(size))
    return np.stack(made)
