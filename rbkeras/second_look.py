"""A second look: stamps that may be real are scored in every orientation, and the mean counts.

A network trained on rotated and flipped stamps answers a little differently in each orientation,
and much of what sets a bogus above the threshold is of one alone. Only stamps near or above
the threshold need asking again, and among a night's detections those are few. A network trained on
shifted stamps is asked a third time, with the stamp moved, about those that are there still.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from rbkeras.averaging import mean_prediction
from rbkeras.data.symmetries import diagonal_moves, symmetric_views

#: Log-odds over which the mean takes the first score's place, so that scores stay continuous:
#: engines differ in their last bits, and no stamp may fall to either side of an edge by that.
RAMP = 1.0

# Stamps at once, each in up to 32 views: memory stays bounded where all get a second look.
_AT_ONCE = 64


@dataclass(frozen=True, kw_only=True)
class Looks:
    """Which stamps are asked again.

    Attributes
    ----------
    from_score
        Up to this score z1 - z0 logits stay; over the next `RAMP` they turn into the mean over all
        orientations. Where the score is above the end of that still, another `RAMP` turns them
        into the mean over the same orientations of the stamp moved as well.
    shift
        Pixels that the stamp is moved by, along both axes at once in each of the four directions,
        its edge repeated; 0 moves none.
    """

    from_score: float
    shift: int = 0


def look_again(
    logits_of: Callable[[np.ndarray], np.ndarray],
    stamps: np.ndarray,
    first: np.ndarray,
    *,
    looks: Looks,
) -> np.ndarray:
    """Replace logits by those of the mean over many views where the score is high enough.

    Parameters
    ----------
    logits_of
        From float32 stamps (M, H, W, C) to logits (M, 2).
    stamps
        float32 (N, H, W, C).
    first
        Their logits, float32 (N, 2): bogus, real.
    looks
        Where that is, and which views.

    Returns
    -------
    numpy.ndarray
        float32 (N, 2). Where the first score is not finite it stays.
    """

    def answers_to(views: list[np.ndarray]) -> np.ndarray:
        answers = logits_of(np.concatenate(views))
        return answers.reshape(len(views), len(views[0]), 2)

    logits = first.copy()
    chosen = np.flatnonzero((_weight(first, looks.from_score) > 0) & np.isfinite(_score(first)))
    for start in range(0, len(chosen), _AT_ONCE):
        part = chosen[start : start + _AT_ONCE]
        answers = answers_to(symmetric_views(stamps[part]))
        logits[part] = _blended(first[part], answers, looks.from_score)
        near = _weight(logits[part], looks.from_score + RAMP) > 0
        if looks.shift and near.any():
            moved = diagonal_moves(stamps[part[near]], shift=looks.shift)
            more = answers_to([view for stamp in moved for view in symmetric_views(stamp)])
            every = np.concatenate([answers[:, near], more])
            logits[part[near]] = _blended(logits[part[near]], every, looks.from_score + RAMP)
    return logits


def _score(logits: np.ndarray) -> np.ndarray:
    return logits[:, 1] - logits[:, 0]


def _weight(logits: np.ndarray, from_score: float) -> np.ndarray:
    """Say how much the mean counts for stamps of these logits so far: (N,), 0 to 1."""
    return np.clip((_score(logits) - from_score) / RAMP, 0, 1)


def _blended(logits: np.ndarray, answers: np.ndarray, from_score: float) -> np.ndarray:
    share = _weight(logits, from_score)[:, np.newaxis]
    return (1 - share) * logits + share * mean_prediction(answers)
