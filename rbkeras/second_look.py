"""A second look: stamps that may be real are scored in every orientation, and the mean counts.

A network trained on rotated and flipped stamps answers a little differently in each orientation,
and much of what sets a bogus above the threshold is of one alone. Only stamps near or above
the threshold need asking again, and among a night's detections those are few.
"""

from collections.abc import Callable

import numpy as np

from rbkeras.averaging import mean_prediction
from rbkeras.data.symmetries import symmetric_views

#: Log-odds over which the mean takes the first score's place, so that scores stay continuous:
#: engines differ in their last bits, and no stamp may fall to either side of an edge by that.
RAMP = 1.0

# Stamps at once, each in up to eight views: memory stays bounded where all get a second look.
_AT_ONCE = 64


def look_again(
    logits_of: Callable[[np.ndarray], np.ndarray],
    stamps: np.ndarray,
    first: np.ndarray,
    *,
    from_score: float,
) -> np.ndarray:
    """Replace logits by those of the mean over all orientations where the score is high enough.

    Parameters
    ----------
    logits_of
        From float32 stamps (M, H, W, C) to logits (M, 2).
    stamps
        float32 (N, H, W, C).
    first
        Their logits, float32 (N, 2): bogus, real.
    from_score
        Up to this score z1 - z0 logits stay; over the next `RAMP` they turn into the mean.

    Returns
    -------
    numpy.ndarray
        float32 (N, 2). Where the first score is not finite it stays.
    """
    score = first[:, 1] - first[:, 0]
    weight = np.clip((score - from_score) / RAMP, 0, 1)
    chosen = np.flatnonzero((weight > 0) & np.isfinite(score))
    logits = first.copy()
    for start in range(0, len(chosen), _AT_ONCE):
        part = chosen[start : start + _AT_ONCE]
        views = symmetric_views(stamps[part])
        answers = logits_of(np.concatenate(views)).reshape(len(views), len(part), 2)
        share = weight[part, np.newaxis]
        logits[part] = (1 - share) * first[part] + share * mean_prediction(answers)
    return logits
