"""The section about probabilities."""

import numpy as np

from rbkeras.calibration import (
    cross_entropy,
    expected_calibration_error,
    probabilities_of,
    reliability_curve,
    shift_prevalence,
)
from rbkeras.decision import Decision
from rbkeras.report import charts
from rbkeras.report.blocks import Block, Figure, Figures, Section, Table, Text, missing
from rbkeras.report.gather import Findings, Scored
from rbkeras.report.sections_scores import NO_SCORES


def calibration(findings: Findings) -> Section:
    """Probabilities before and after calibration."""
    best, decision, title = findings.best, findings.decision, "Calibration"
    if best is None:
        return missing("calibration", title, NO_SCORES)
    if decision is None:
        return missing("calibration", title, "The model carries no calibration.")
    labels = np.r_[np.ones(len(best.real), int), np.zeros(len(best.bogus), int)]
    scores = np.r_[best.real, best.bogus]
    here = float(labels.mean())
    learnt = decision.network_prevalence or decision.training_prevalence
    plain = shift_prevalence(scores, trained=learnt, stated=here)
    variants = {
        "as the network says": plain,
        f"calibrated ({decision.calibration})": decision.log_odds(scores, prevalence=here),
    }
    unchanged = decision.calibration == "temperature" and decision.temperature == 1
    if decision.calibration == "none" or unchanged:
        variants.pop(f"calibrated ({decision.calibration})")
    rows = [
        [
            name,
            f"{expected_calibration_error(labels, probabilities_of(log_odds)):.4f}",
            f"{cross_entropy(labels, log_odds):.4f}",
        ]
        for name, log_odds in variants.items()
    ]
    table = Table(
        "Expected calibration error (mean distance from the dotted line) and cross-entropy in "
        "nats; less is better. Both lines are corrected for the fraction of reals "
        f"({here:.3g} here, {learnt:.3g} where the network learnt).",
        ["probabilities", "calibration error", "cross-entropy"],
        rows,
    )
    figures = [_reliability(findings, best, labels, variants), _mapping(decision, scores)]
    blocks: list[Block] = [Figures(figures), table]
    if decision.calibration == "temperature":
        blocks.append(Text(f"Scores are divided by a temperature of {decision.temperature:.3f}."))
    return Section("calibration", title, blocks)


def _reliability(
    findings: Findings, scored: Scored, labels: np.ndarray, variants: dict[str, np.ndarray]
) -> Figure:
    """Draw what probabilities, given as log-odds by name, turn out to mean."""
    where = (
        "the samples that the calibration was fitted on, so that it looks better than it is"
        if scored is findings.validation
        else "samples that had no part in the calibration"
    )
    curves = {
        name: reliability_curve(labels, probabilities_of(log_odds))
        for name, log_odds in variants.items()
    }
    return Figure(
        charts.reliability(curves),
        f"Reliability on the {scored.name}: {where}. Ten bins of equal width, exact 95% "
        "intervals; on the dotted line, probabilities mean what they say.",
        "reliability diagram",
    )


def _mapping(decision: Decision, scores: np.ndarray) -> Figure:
    """Draw which probability a score gets."""
    stated = decision.prevalence or decision.training_prevalence
    return Figure(
        charts.probabilities(
            scores,
            {
                "as the network says": probabilities_of,
                f"predict, prevalence {stated:.3g}": decision.probability,
            },
            threshold=decision.operating_point.threshold,
        ),
        "Probability of real as a function of the score: the plain logistic, and what predict "
        "gives unless another --prevalence is stated. Dashed: the stored threshold.",
        "probability over score",
    )
