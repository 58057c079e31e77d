"""Sections about scores: headline, curves, thresholds."""

import numpy as np
import pandas as pd

from rbkeras import metrics
from rbkeras.label_errors import doubts_of_suspects, suspects_per_class
from rbkeras.metrics import binomial_interval
from rbkeras.operating_points import RESOLVED, operating_points, partial_auc_interval
from rbkeras.report import charts
from rbkeras.report.blocks import (
    Block,
    Card,
    Figure,
    Figures,
    Headline,
    Section,
    Table,
    Text,
    missing,
)
from rbkeras.report.gather import Findings, Scored
from rbkeras.report.words import interval, per_million, rate, signed

NO_SCORES = "The run has neither a scored test set nor a validation part."


def headline(findings: Findings) -> Section:
    """Numbers with their intervals, and the same for every set of samples there is."""
    # Once each, since intervals take their time.
    measured = [
        (scored, _figures(scored, findings))
        for scored in (findings.test, findings.validation, findings.out_of_fold)
        if scored is not None
    ]
    cards = []
    if findings.best is not None:
        figures = next(figures for scored, figures in measured if scored is findings.best)
        low, high = figures["fpr_at_tpr90_ci95"]
        cards = [
            Card(
                rate(figures["fpr_at_tpr90"]),
                ["false positive rate at 0.9 true positives", f"95%: {interval(low, high)}"],
            ),
            Card(
                rate(figures["auc"]),
                [
                    "area under the ROC curve",
                    f"95%: {interval(*figures['auc_ci95'])}",
                ],
            ),
            Card(
                per_million(figures["fpr_at_tpr90"]),
                [
                    "bogus among a million let through at 0.9",
                    f"95%: {per_million(low)} to {per_million(high)}",
                ],
            ),
        ]
    if findings.rated is not None:
        counts = suspects_per_class(findings.rated)
        total, suspects = int(counts["labelled"].sum()), int(counts["suspects"].sum())
        lines = ["suspected label errors", f"{suspects / total:.1%} of {total:,} labels"]
        cards.append(Card(f"{suspects:,}", lines))
    blocks: list[Block] = [Headline(cards)] if cards else []
    if measured:
        blocks.append(
            Table(
                "The same for every set of samples, with 95% intervals; FPR and TPR are the false "
                "and the true positive rate. Out-of-fold predictions and the validation part are "
                "measured against labels of which some may be wrong.",
                ["samples", "real", "bogus", "AUC", "AUC below FPR 0.01", "FPR at TPR 0.9"],
                [_row(scored, figures) for scored, figures in measured],
            )
        )
    if findings.rated is not None:
        blocks += [Text(f"Mind that {doubt}.") for doubt in doubts_of_suspects(findings.rated)]
    blocks.append(Text(_stored(findings), quiet=findings.decision is None))
    if findings.test is None:
        blocks.append(Text("The run has no test set.", quiet=True))
    return Section("headline", "In short", blocks)


def curves(findings: Findings) -> Section:
    """ROC, precision and recall, histograms."""
    best = findings.best
    title = "Telling real from bogus"
    if best is None:
        return missing("curves", title, NO_SCORES)
    real, bogus = best.real, best.bogus
    threshold = None if findings.decision is None else findings.decision.operating_point.threshold
    point = None
    if threshold is not None:
        point = (float(np.mean(bogus >= threshold)), float(np.mean(real >= threshold)))
    others = {
        other.name.split(" of ")[0]: (other.real, other.bogus)
        for other in (findings.validation, findings.out_of_fold)
        if other is not None and other is not best
    }
    prevalences: dict[str, float | None] = {f"as in the {best.name.split(' of ')[0]}": None}
    if findings.decision is not None and findings.decision.prevalence is not None:
        stated = findings.decision.prevalence
        prevalences[f"with a fraction {stated:g} of reals"] = stated
    figures = [
        Figure(
            charts.roc(real, bogus, name=best.name.split(" of ")[0], others=others, point=point),
            f"ROC curve of the {best.name}; mind the logarithmic axis. Band: 95% "
            "intervals, down to 0 where bogus are too few. Dotted: true positive rate 0.9.",
            "ROC curve",
        ),
        Figure(
            charts.precision_recall(real, bogus, prevalences=prevalences),
            "Precision: the fraction of what is called real that is. It depends on how many reals "
            "there are among the detections, unlike the ROC curve. Band: what the 95% interval of "
            "the false positive rate leaves.",
            "precision over completeness",
        ),
        Figure(
            charts.histograms(real, bogus, threshold=threshold),
            f"Scores of the {best.name}. A stamp passes when its score reaches the threshold.",
            "histograms of scores",
        ),
    ]
    return Section("curves", title, [Figures(figures)])


def thresholds(findings: Findings) -> Section:
    """Rates and bogus let through at chosen thresholds."""
    best, title = findings.best, "Thresholds"
    if best is None:
        return missing("thresholds", title, NO_SCORES)
    points = operating_points(best.real, best.bogus)
    names = {"tpr": "TPR", "fpr": "FPR"}
    rows = [
        [
            f"{names[point.chosen]} {point.target:g}",
            signed(point.threshold),
            rate(point.tpr, point.tpr_low, point.tpr_high),
            rate(point.fpr, point.fpr_low, point.fpr_high),
            per_million(point.fpr, point.fpr_low, point.fpr_high),
        ]
        for point in points.itertuples()
    ]
    columns = ["chosen", "score", "true positive rate", "false positive rate", "of a million bogus"]
    blocks: list[Block] = [
        Table(
            f"Thresholds for chosen rates, on the {best.name} ({len(best.real):,} real, "
            f"{len(best.bogus):,} bogus), and the number of bogus that pass among a million of "
            "them, with 95% intervals. TPR and FPR are the true and the false positive rate.",
            columns,
            rows,
        )
    ]
    blocks += [Text(remark, quiet=True) for remark in _unresolved(points, len(best.bogus))]
    return Section("thresholds", title, blocks)


def _unresolved(points: pd.DataFrame, bogus: int) -> list[str]:
    """Say which false positive rates are too low for so many bogus."""
    targets = points.loc[points["chosen"] == "fpr", "target"]
    few = targets[targets * bogus < RESOLVED]
    if few.empty:
        return []
    enough = float(f"{RESOLVED / few.min():.1e}")
    return [
        f"{bogus:,} bogus are too few for a false positive rate of "
        f"{', '.join(f'{target:g}' for target in few)}: by chance none of them may stand above "
        f"its threshold, so that nothing limits it. Some {enough:,.0f} would do."
    ]


def _figures(scored: Scored, findings: Findings) -> dict:
    """Take the figures that the run has written of its test set, or measure."""
    written = findings.metrics if scored is findings.test else None
    # Runs of earlier versions have no partial area.
    if written is not None and "partial_auc" in written:
        return written
    low_high = metrics.fpr_interval(scored.real, scored.bogus)
    return {
        "partial_auc": metrics.partial_auc(scored.real, scored.bogus),
        "partial_auc_ci95": partial_auc_interval(scored.real, scored.bogus),
        "auc": metrics.auc(scored.real, scored.bogus),
        "auc_ci95": metrics.auc_interval(scored.real, scored.bogus),
        "fpr_at_tpr90": float(metrics.fpr_at_tpr(scored.real, scored.bogus)),
        "fpr_at_tpr90_ci95": low_high,
        **(written or {}),
    }


def _row(scored: Scored, figures: dict) -> list[str]:
    return [
        scored.name,
        f"{len(scored.real):,}",
        f"{len(scored.bogus):,}",
        rate(figures["auc"], *figures["auc_ci95"]),
        rate(figures["partial_auc"], *figures["partial_auc_ci95"]),
        rate(figures["fpr_at_tpr90"], *figures["fpr_at_tpr90_ci95"]),
    ]


def _stored(findings: Findings) -> str:
    """Say what the model calls real, and what that did on the samples at hand."""
    decision = findings.decision
    if findings.model is None:
        return "There is no model here: fit has not finished, and goes on when it is called again."
    if decision is None:
        return "The model carries no threshold: predict gives scores and plain probabilities."
    point = decision.operating_point
    text = (
        f"predict calls real what scores at least {signed(point.threshold)}: chosen to let "
        f"{100 * point.true_positive_rate:g}% of the reals pass on {decision.n_real:,} real and "
        f"{decision.n_bogus:,} bogus of the validation part, where a "
        f"fraction of {rate(point.false_positive_rate)} of the bogus passed."
    )
    if findings.test is not None:
        parts = []
        for name, scores in (("reals", findings.test.real), ("bogus", findings.test.bogus)):
            passed = int(np.sum(scores >= point.threshold))
            low, high = binomial_interval(passed, len(scores))
            parts.append(f"{rate(passed / len(scores), float(low), float(high))} of the {name}")
        text += f" On the test set {' and '.join(parts)} pass it."
    again = findings.second_look
    if again is not None:
        text += (
            f" Stamps that score above {signed(again.from_score)} are scored in every orientation "
            f"too (a fraction of {rate(again.share)} of the validation part's bogus), and scores "
            "here are those after this second look."
        )
    return " ".join([text, *(f"{remark[:1].upper()}{remark[1:]}." for remark in decision.remarks)])


def suspects_table(rated: pd.DataFrame) -> Table:
    """Count labels and suspects of either class."""
    rows = [
        [str(name), f"{row.labelled:,}", f"{row.suspects:,}", f"{row.suspects / row.labelled:.1%}"]
        for name, row in suspects_per_class(rated).iterrows()
        if row.labelled
    ]
    return Table(
        "Labels that out-of-fold predictions make suspect.",
        ["labelled", "labels", "suspects", "share"],
        rows,
    )
