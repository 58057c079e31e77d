"""Measuring thresholds and calibration, apart from applying them, which does without Keras."""

from typing import Any

import numpy as np

from rbkeras import calibration, metrics
from rbkeras.decision import Decision, OperatingPoint
from rbkeras.errors import InputError

#: True positive rates whose thresholds are kept besides the chosen one's.
TRUE_POSITIVE_RATES = (0.5, 0.8, 0.9, 0.95, 0.98, 0.99)

#: Samples of either class that isotonic regression needs.
FEWEST_FOR_ISOTONIC = 20


def fit_decision(
    labels: np.ndarray,
    scores: np.ndarray,
    *,
    calibration_method: str = "temperature",
    true_positive_rate: float = 0.9,
    cleaned: bool = False,
    training_prevalence: float = 0.5,
    network_prevalence: float | None = None,
    prevalence: float | None = None,
    label_names: dict[str, int] | None = None,
) -> Decision:
    """Measure thresholds and calibration on samples that the network was not trained on.

    Parameters
    ----------
    labels
        Integers (N,); those other than 0 and 1 are passed over.
    scores
        z1 - z0, (N,); samples whose score is not finite are passed over, with a remark.
    calibration_method
        'temperature', 'isotonic' or 'none'. Isotonic regression gives way to a temperature
        where a class has fewer than `FEWEST_FOR_ISOTONIC` samples.
    true_positive_rate
        Of the operating point, in (0, 1].
    cleaned
        Labels that predictions contradict are not among these. Such samples cannot show how often
        the network errs, nor can fewer than `FEWEST_FOR_ISOTONIC` of a class: they do not make it
        surer than it is, by a temperature below 1.
    training_prevalence, network_prevalence, prevalence, label_names
        Stored; see `Decision`. These samples may have another fraction of reals.

    Raises
    ------
    InputError
        When a class is missing.
    """
    labels, scores = np.asarray(labels), np.asarray(scores, dtype=np.float64)
    remarks = []
    known = np.isfinite(scores)
    if not known.all():
        remarks.append(f"{np.sum(~known)} scores are not finite and were passed over")
    real, bogus = scores[known & (labels == 1)], scores[known & (labels == 0)]
    for name, found in (("real", real), ("bogus", bogus)):
        if not len(found):
            raise InputError(f"expected scores of both classes to decide by, found no {name}")
    if min(len(real), len(bogus)) < FEWEST_FOR_ISOTONIC:
        remarks.append(
            f"thresholds and calibration rest on {len(real)} real and {len(bogus)} bogus alone"
        )
    learnt = training_prevalence if network_prevalence is None else network_prevalence
    calibrated, said = _calibrated(real, bogus, calibration_method, cleaned=cleaned, learnt=learnt)
    remarks += said
    if calibrated["calibration"] == "isotonic":
        # The knots know the fraction of reals among these samples, whatever training's was.
        network_prevalence = float(learnt)
        training_prevalence = len(real) / (len(real) + len(bogus))
    point, *others = (
        OperatingPoint(
            true_positive_rate=rate,
            threshold=float(metrics.threshold_at_tpr(real, rate)),
            false_positive_rate=float(metrics.fpr_at_tpr(real, bogus, rate)),
        )
        for rate in (true_positive_rate, *TRUE_POSITIVE_RATES)
    )
    return Decision(
        operating_point=point,
        others=tuple(others),
        n_real=len(real),
        n_bogus=len(bogus),
        **calibrated,
        training_prevalence=float(training_prevalence),
        network_prevalence=network_prevalence,
        prevalence=prevalence,
        labels=label_names,
        remarks=tuple(remarks),
    )


def _calibrated(
    real: np.ndarray, bogus: np.ndarray, method: str, *, cleaned: bool, learnt: float
) -> tuple[dict[str, Any], list[str]]:
    """Fit a calibration to the scores of both classes: fields of `Decision`, and remarks."""
    remarks = []
    few = min(len(real), len(bogus)) < FEWEST_FOR_ISOTONIC
    if method == "isotonic" and few:
        method = "temperature"
        remarks.append(
            f"isotonic regression needs {FEWEST_FOR_ISOTONIC} samples of either class; "
            "a temperature was fitted instead"
        )
    labels = np.r_[np.ones(len(real), int), np.zeros(len(bogus), int)]
    scores = np.r_[real, bogus]
    found: dict[str, Any] = {"calibration": method}
    if method == "temperature":
        lowest = 1.0 if cleaned or few else calibration.TEMPERATURES[0]
        offset = calibration.shift_prevalence(0.0, trained=learnt, stated=labels.mean())
        found["temperature"] = calibration.fit_temperature(
            labels, scores, lowest=lowest, offset=float(offset)
        )
        if calibration.separated(labels, scores):
            remarks.append("no sample lies on the wrong side of 0, so the temperature stays 1")
    elif method == "isotonic":
        at, values = calibration.fit_isotonic(labels, scores)
        found["knots"] = tuple(at.tolist()), tuple(values.tolist())
    return found, remarks
