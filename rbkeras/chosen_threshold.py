"""Which score a stamp is called real from: the model's own threshold, or what `predict` is told."""

import math
import sys
from dataclasses import dataclass
from decimal import ROUND_DOWN, Context
from pathlib import Path

from rbkeras.decision import Decision
from rbkeras.errors import InputError


@dataclass(frozen=True)
class Chosen:
    """What decides in place of the model's own threshold; at most one of them.

    Attributes
    ----------
    threshold
        A score.
    true_positive_rate
        One that the model keeps a threshold for.
    probability
        Calibrated, of being real.

    Raises
    ------
    InputError
        When two are given, or one is out of range.
    """

    threshold: float | None = None
    true_positive_rate: float | None = None
    probability: float | None = None

    def __post_init__(self) -> None:
        given = [f"--{name}" for name, value in vars(self).items() if value is not None]
        if len(given) > 1:
            raise InputError(
                "expected at most one of --threshold, --true_positive_rate and --probability, got "
                + " and ".join(given)
            )
        if self.threshold is not None and not math.isfinite(self.threshold):
            raise InputError(f"--threshold: expected a finite score, got {self.threshold}")
        if self.probability is not None and not 0 < self.probability < 1:
            raise InputError(
                f"--probability: expected a probability in (0, 1), got {self.probability}"
            )


def chosen_threshold(
    decision: Decision | None,
    chosen: Chosen,
    *,
    source: str | Path,
    prevalence: float | None = None,
) -> float | None:
    """Find the score from which on a stamp is called real; None where nothing tells one.

    Parameters
    ----------
    decision
        Of the model at `source`, if it has one; where it has none, stderr says so.
    chosen
        What decides in its place.
    source
        Named in errors.
    prevalence
        Fraction of reals that probabilities refer to; None takes the model's.

    Returns
    -------
    float or None
        -inf where a probability is asked for that every stamp has.

    Raises
    ------
    InputError
        When the model lacks what is asked for, or gives no stamp such a probability.
    """
    if decision is None:
        for flag, value in (
            ("--true_positive_rate", chosen.true_positive_rate),
            ("--probability", chosen.probability),
            ("--prevalence", prevalence),
        ):
            if value is not None:
                raise InputError(
                    f"{source}: expected a model with threshold and calibration for {flag}, found "
                    "one without"
                )
        what = "probability_real is the plain logistic of the score"
        if chosen.threshold is None:
            what += ", and there is no column decision (--threshold makes one)"
        print(f"{source}: the model has no threshold and calibration: {what}", file=sys.stderr)
        return chosen.threshold
    if chosen.threshold is not None:
        return chosen.threshold
    if chosen.true_positive_rate is not None:
        return decision.point_at(chosen.true_positive_rate).threshold
    if chosen.probability is None:
        return decision.operating_point.threshold
    threshold = decision.threshold_at(chosen.probability, prevalence=prevalence)
    if threshold == math.inf:
        highest = float(decision.probability(math.inf, prevalence=prevalence))
        rounded = Context(prec=3, rounding=ROUND_DOWN).create_decimal(highest)
        raise InputError(
            f"--probability: expected at most {rounded:g}, the highest that the isotonic "
            f"calibration of {source} gives, got {chosen.probability:g}"
        )
    return threshold
