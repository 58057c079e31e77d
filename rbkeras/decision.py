"""What a trained model makes of a score: a probability, and real or bogus.

A `Decision` travels inside the model file as plain numbers.
"""

from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
from scipy.special import logit

from rbkeras import calibration
from rbkeras._version import __version__
from rbkeras.errors import InputError

CALIBRATIONS = ("temperature", "isotonic", "none")


@dataclass(frozen=True, kw_only=True)
class OperatingPoint:
    """A threshold on the score, and what it was seen to do.

    Attributes
    ----------
    true_positive_rate
        Fraction of reals that it was chosen to let pass.
    threshold
        Stamps whose score, z1 - z0, is at least this are called real.
    false_positive_rate
        Fraction of bogus that passed.
    """

    true_positive_rate: float
    threshold: float
    false_positive_rate: float


@dataclass(frozen=True, kw_only=True)
class SecondLook:
    """Which stamps are scored in every orientation too, and what is made of those scores.

    Attributes
    ----------
    from_score
        Stamps whose first score is above this get it; see `rbkeras.second_look`.
    share
        Fraction of the bogus, among the samples of `decision`, that got it.
    decision
        Measured on the scores after it.
    """

    from_score: float
    share: float
    decision: "Decision"


@dataclass(frozen=True, kw_only=True)
class Decision:
    """Thresholds and calibration of one trained network.

    Attributes
    ----------
    operating_point
        What `predict` decides by unless told otherwise.
    others
        Thresholds of other true positive rates, from the same samples.
    n_real, n_bogus
        Samples, not trained on, that all of this was measured on.
    calibration
        'temperature', 'isotonic' or 'none'.
    temperature
        Divides the score; 1 where the calibration is another one.
    knots
        Of isotonic regression: scores, and probabilities.
    training_prevalence
        Fraction of reals among the labelled training samples (for isotonic regression, among
        those it was fitted on), to which probabilities refer unless another is stated.
    network_prevalence
        Fraction of reals that the network's own log-odds refer to, such as that of its batches;
        None where it is `training_prevalence`. Knots account for it, temperatures do not.
    prevalence
        Stated in training for the stream of detections to come, if any.
    labels
        Label names of the records and their values, where known.
    remarks
        Sentences about what could not be done as asked.
    second_look
        Which stamps are scored again. All the rest refers to first scores; None where there is
        no second.
    rbkeras
        Version that measured it.
    """

    operating_point: OperatingPoint
    others: tuple[OperatingPoint, ...] = ()
    n_real: int
    n_bogus: int
    calibration: str = "none"
    temperature: float = 1.0
    knots: tuple[tuple[float, ...], tuple[float, ...]] | None = None
    training_prevalence: float = 0.5
    network_prevalence: float | None = None
    prevalence: float | None = None
    labels: dict[str, int] | None = None
    remarks: tuple[str, ...] = ()
    second_look: SecondLook | None = None
    rbkeras: str = __version__

    def __post_init__(self) -> None:
        if self.calibration not in CALIBRATIONS:
            expected = ", ".join(CALIBRATIONS)
            raise ValueError(f"calibration: expected one of {expected}, got {self.calibration!r}")
        if (self.knots is None) == (self.calibration == "isotonic"):
            raise ValueError("knots: expected with the calibration isotonic, and with no other")
        if not self.temperature > 0:
            raise ValueError(f"temperature: expected a number above 0, got {self.temperature}")
        for name in ("training_prevalence", "network_prevalence", "prevalence"):
            value = getattr(self, name)
            if value is not None and not 0 < value < 1:
                raise ValueError(f"{name}: expected a fraction in (0, 1), got {value}")

    @property
    def final(self) -> "Decision":
        """What is made of scores after the second look, if there is one."""
        return self if self.second_look is None else self.second_look.decision

    def probability(
        self, scores: np.ndarray | float, *, prevalence: float | None = None
    ) -> np.ndarray:
        """Calibrated probability of real.

        Parameters
        ----------
        scores
            (N,); NaN stays NaN.
        prevalence
            Fraction of reals among the samples at hand; None takes the one stated in training,
            or else that of the training set.

        Returns
        -------
        numpy.ndarray
            float64 (N,). Isotonic steps make ties, so decisions are taken on the score.
        """
        return calibration.probabilities_of(self.log_odds(scores, prevalence=prevalence))

    def log_odds(
        self, scores: np.ndarray | float, *, prevalence: float | None = None
    ) -> np.ndarray:
        """Calibrated log-odds of real, float64 (N,), whose `probability` it is."""
        scores = np.asarray(scores, dtype=np.float64)
        if self.knots is not None:
            log_odds = calibration.isotonic_log_odds(scores, self.knots)
        else:
            log_odds = scores / self.temperature
        return log_odds + self.offset(prevalence=prevalence)

    def offset(self, *, prevalence: float | None = None) -> float:
        """Log-odds to add to what temperature or knots give; `prevalence` as in `probability`."""
        given, stated = self.training_prevalence, prevalence
        if self.knots is None and self.network_prevalence is not None:
            given = self.network_prevalence
        if stated is None:
            stated = self.training_prevalence if self.prevalence is None else self.prevalence
        return float(calibration.shift_prevalence(0.0, trained=given, stated=stated))

    def threshold_at(self, probability: float, *, prevalence: float | None = None) -> float:
        """Lowest score whose `probability` of being real is at least so high.

        -inf where every score has it, inf where none has: isotonic regression on N samples says
        nothing above 1 - 1 / (N + 2).

        Parameters
        ----------
        probability
            In (0, 1).
        prevalence
            As in `probability`.
        """
        log_odds = float(logit(probability)) - self.offset(prevalence=prevalence)
        if self.knots is not None:
            return calibration.score_at(log_odds, self.knots)
        return log_odds * self.temperature

    def point_at(self, true_positive_rate: float) -> OperatingPoint:
        """Return the stored operating point of a true positive rate.

        Raises
        ------
        InputError
            When none is stored; it names those that are.
        """
        stored = {point.true_positive_rate: point for point in (self.operating_point, *self.others)}
        for rate, point in stored.items():
            if abs(rate - true_positive_rate) < 1e-9:
                return point
        raise InputError(
            f"--true_positive_rate: expected one that the model has a threshold for "
            f"({', '.join(f'{rate:g}' for rate in sorted(stored))}), got {true_positive_rate:g}"
        )

    def to_json(self) -> dict[str, Any]:
        """Return plain numbers, strings, lists and dicts."""
        content = asdict(self)
        content["others"] = list(content["others"])
        content["remarks"] = list(self.remarks)
        if self.knots is not None:
            content["knots"] = [list(map(float, values)) for values in self.knots]
        if self.second_look is not None:
            content["second_look"]["decision"] = self.final.to_json()
        return content

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Self:
        """Rebuild what `to_json` returned.

        Raises
        ------
        ValueError
            When entries are missing, unknown, or out of range.
        """
        try:
            content = dict(content)
            content["operating_point"] = OperatingPoint(**content["operating_point"])
            content["others"] = tuple(OperatingPoint(**point) for point in content["others"])
            content["remarks"] = tuple(content["remarks"])
            if content["knots"] is not None:
                at, values = (tuple(map(float, values)) for values in content["knots"])
                if len(at) != len(values):
                    raise ValueError(f"knots: expected pairs, got {len(at)} and {len(values)}")
                content["knots"] = at, values
            # Files of earlier versions know of none.
            if content.get("second_look") is not None:
                again = dict(content["second_look"])
                again["decision"] = cls.from_json(again["decision"])
                content["second_look"] = SecondLook(**again)
            return cls(**content)
        except (KeyError, TypeError) as error:
            raise ValueError(f"decision: expected a whole record, found {error!r}") from None
