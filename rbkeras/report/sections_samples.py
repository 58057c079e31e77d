"""Sections about samples: by detector, brightness and kind, and the stamps themselves."""

import numpy as np
import pandas as pd

from rbkeras import metrics
from rbkeras.calibration import probabilities_of
from rbkeras.data.labels import BOGUS, CLASS_NAMES, REAL
from rbkeras.data.samples import NAME_COLUMNS
from rbkeras.errors import InputError
from rbkeras.label_errors import doubts_of_suspects, most_suspicious
from rbkeras.pictures import BOGUS_COLOUR, REAL_COLOUR
from rbkeras.report import charts, galleries, words
from rbkeras.report.blocks import (
    Block,
    Card,
    Figure,
    Figures,
    Gallery,
    Section,
    Table,
    Text,
    missing,
)
from rbkeras.report.gather import Findings, Scored
from rbkeras.report.rates import rates_by_bin, rates_by_group
from rbkeras.report.sections_scores import NO_SCORES, suspects_table
from rbkeras.report.words import clipped, rate, signed

_PLURALS = {BOGUS: "Bogus", REAL: "Reals"}
_MOST_ROWS = 24
_PANELS = "Channels side by side, each stretched on its own"
_HEAT = (
    "; last, in colour, where the network looked: the brighter a pixel, the more the score "
    "depends on it"
)


def detectors(findings: Findings) -> Section:
    """Completeness and false positives of every detector."""
    title = "By detector"
    scored, threshold, how = _at_threshold(findings, "detector_id")
    if scored is None:
        return missing("detectors", title, "No scored samples say which detector they are from.")
    real, bogus = (
        rates_by_group(scored.table, "detector_id", label=label, threshold=threshold)
        for label in (REAL, BOGUS)
    )
    if len(real) < 2 and len(bogus) < 2:
        return missing("detectors", title, "All scored samples are from one detector.")
    joined = real.merge(bogus, on="name", how="outer", suffixes=("_real", "_bogus"))
    # The merge has put the names in the order of texts, 10 before 2.
    names = dict.fromkeys([*real["name"], *bogus["name"]])
    joined = kept = joined.set_index("name").loc[list(names)].reset_index()
    if len(joined) > _MOST_ROWS:
        kept = joined.nlargest(_MOST_ROWS, "rate_bogus")
    shown = set(kept["name"])
    figures = [
        Figure(
            charts.rates_by_name(
                part[part["name"].isin(shown)], rate="rate", colour=colour, label=label
            ),
            caption,
            label,
        )
        for part, colour, label, caption in (
            (real, REAL_COLOUR, "completeness", "Fraction of each detector's reals that pass."),
            (bogus, BOGUS_COLOUR, "false positive rate", "Fraction of its bogus that pass."),
        )
        if len(part)
    ]
    rows = [
        [
            clipped(row.name),
            _count(row.count_real),
            rate(row.rate_real, row.low_real, row.high_real),
            _count(row.count_bogus),
            rate(row.rate_bogus, row.low_bogus, row.high_bogus),
        ]
        for row in kept.itertuples(index=False)
    ]
    caption = f"Detectors of the {scored.name}, {how}, with exact 95% intervals."
    if len(kept) < len(joined):
        caption += f" The {len(kept)} of {len(joined)} with the most false positives."
    columns = ["detector", "real", "completeness", "bogus", "false positive rate"]
    return Section("detectors", title, [Figures(figures), Table(caption, columns, rows)])


def brightness(findings: Findings) -> Section:
    """Completeness by magnitude and signal-to-noise."""
    title = "By brightness"
    figures = []
    for column, label in (("snr", "signal-to-noise"), ("magnitude", "magnitude")):
        scored, threshold, how = _at_threshold(findings, column, label=REAL)
        if scored is None:
            continue
        curve = rates_by_bin(scored.table, column, threshold=threshold)
        if curve is not None:
            figures.append(
                Figure(
                    charts.rates_by_value({"real": curve}, label=label, rate_label="completeness"),
                    f"Reals of the {scored.name} that pass, {how}, in bins of equally many reals; "
                    "horizontal bars span the bin, vertical ones are exact 95% intervals.",
                    f"completeness over {label}",
                )
            )
    if not figures:
        why = "No scored reals have numbers that differ in a column magnitude or snr."
        return missing("brightness", title, why)
    return Section("brightness", title, [Figures(figures)])


def families(findings: Findings) -> Section:
    """Rates of every kind of real and bogus, where a column tells them."""
    title = "By kind"
    for column in ("family", "object_type"):
        scored, threshold, how = _at_threshold(findings, column)
        if scored is not None:
            break
    else:
        return missing("families", title, "No scored samples have a column family or object_type.")
    blocks: list[Block] = []
    figures = []
    for label, colour, name in (
        (BOGUS, BOGUS_COLOUR, "false positive rate"),
        (REAL, REAL_COLOUR, "completeness"),
    ):
        table = rates_by_group(scored.table, column, label=label, threshold=threshold)
        if not len(table):
            continue
        table = table.nlargest(_MOST_ROWS, "rate")
        figures.append(
            Figure(
                charts.rates_by_name(table, rate="rate", colour=colour, label=name),
                f"{_PLURALS[label]} of the {scored.name} that pass, by {column}.",
                f"{name} by {column}",
            )
        )
        rows = [
            [clipped(row[0]), f"{row[1]:,}", f"{row[2]:,}", rate(*row[3:])]
            for row in table[["name", "count", "passed", "rate", "low", "high"]].itertuples(
                index=False
            )
        ]
        caption = f"Kinds of {CLASS_NAMES[label]}, {how}, with exact 95% intervals."
        blocks.append(Table(caption, [column, "stamps", "passed", name], rows))
    return Section("families", title, [Figures(figures), *blocks])


def suspects(findings: Findings, *, most: int = 24) -> Section:
    """Show the most suspicious labels."""
    title = "Suspected label errors"
    if findings.rated is None:
        why = "No table of suspects is of this model: stage 1 was not needed, or has not run."
        return missing("suspects", title, why)
    blocks: list[Block] = [suspects_table(findings.rated)]
    blocks += [Text(f"Mind that {doubt}.") for doubt in doubts_of_suspects(findings.rated)]
    if findings.folder is not None and (findings.folder / "label_errors.html").exists():
        blocks.append(Text("More of them, to pass verdicts on, are in label_errors.html."))
    chosen = most_suspicious(findings.rated[findings.rated["suspect"] == 1]).head(most)
    if chosen.empty:
        return Section("suspects", title, [*blocks, Text("No label is suspect.", quiet=True)])
    stamps = _stamps_of_records(findings, chosen)
    if stamps is None:
        why = "Their stamps are not shown: the records are not where the settings say."
        return Section("suspects", title, [*blocks, Text(why, quiet=True)])
    texts = [
        [
            f"labelled {CLASS_NAMES[row.label]}",
            f"out of fold, P(real) {words.probability(row.probability_real)}",
            f"detector {clipped(row.detector_id)}, row {row.sample_index}",
        ]
        for row in chosen.itertuples()
    ]
    blocks.append(_gallery(findings, stamps, texts, "The most suspicious labels first."))
    return Section("suspects", title, blocks)


def mistakes(findings: Findings, *, most: int = 12) -> Section:
    """Show the stamps that are most wrong, of either class."""
    best, title = findings.best, "Worst mistakes"
    if best is None:
        return missing("mistakes", title, NO_SCORES)
    _, threshold, how = _at_threshold(findings, "score")
    blocks: list[Block] = []
    table = best.table
    for label, wrong, caption in (
        (REAL, table["score"] < threshold, "Reals that do not pass, the lowest scores first"),
        (BOGUS, table["score"] >= threshold, "Bogus that pass, the highest scores first"),
    ):
        part = table[wrong & (table["label"] == label)]
        total = f"{len(part):,} of {int((table['label'] == label).sum()):,}"
        part = part.sort_values("score", ascending=label == REAL, kind="stable").head(most)
        if part.empty:
            blocks.append(Text(f"{caption.split(',')[0]}: none, {how}.", quiet=True))
            continue
        stamps = _stamps(findings, best, part)
        if stamps is None:
            why = "Stamps are not shown: they are not where the settings say."
            return Section("mistakes", title, [Text(why, quiet=True)])
        texts = [_lines(row, findings) for row in part.to_dict("records")]
        caption = f"{caption}; {total} of the {best.name}, {how}."
        blocks.append(_gallery(findings, stamps, texts, caption))
    return Section("mistakes", title, blocks)


def _at_threshold(
    findings: Findings, column: str, *, label: int | None = None
) -> tuple[Scored | None, float, str]:
    """Choose the samples of which some, of this class, have a column; the threshold; its words."""

    def has(table: pd.DataFrame) -> bool:
        known = table if label is None else table[table["label"] == label]
        return column in known and known[column].notna().any()

    chosen = next(
        (
            scored
            for scored in (findings.test, findings.validation)
            if scored is not None and has(scored.table)
        ),
        None,
    )
    if findings.decision is not None:
        return chosen, findings.decision.operating_point.threshold, "at the stored threshold"
    if chosen is None:
        return None, 0.0, ""
    threshold = float(metrics.threshold_at_tpr(chosen.real, 0.9))
    return chosen, threshold, "at a true positive rate of 0.9"


def _stamps(findings: Findings, scored: Scored, rows: pd.DataFrame) -> np.ndarray | None:
    if scored is not findings.test or "unique_index" in rows:
        return _stamps_of_records(findings, rows)
    labels, indices = rows["label"].to_numpy(), rows["sample_index"].to_numpy()
    try:
        return galleries.stamps_of_files(findings.test_files, labels, indices)
    except (InputError, OSError, KeyError, IndexError):
        return None


def _stamps_of_records(findings: Findings, rows: pd.DataFrame) -> np.ndarray | None:
    from rbkeras.data.pipeline import read_stamps
    from rbkeras.data.records import reading

    if findings.records is None or rows["unique_index"].max() >= len(findings.records):
        return None
    try:
        with reading(findings.records.directory):
            return read_stamps(findings.records, rows["unique_index"].to_numpy())
    except (InputError, OSError):
        return None


def _gallery(
    findings: Findings, stamps: np.ndarray, texts: list[list[str]], caption: str
) -> Gallery:
    """Lay out stamps, with saliency where the model takes them."""
    from rbkeras.saliency import saliency

    maps = None
    if findings.model is not None and findings.model.input_shape[1:] == stamps.shape[1:]:
        maps = saliency(findings.model, stamps)
    panels = f"{_PANELS}{_HEAT if maps is not None else ''}."
    cards: list[Card] = galleries.cards(stamps, maps, texts)
    return Gallery(f"{caption} {panels}", cards)


def _lines(row: dict, findings: Findings) -> list[str]:
    score = row["score"]
    probability = probabilities_of(score)
    if findings.decision is not None:
        probability = findings.decision.probability(np.array([score]))[0]
    facts = []
    if pd.notna(row.get("family")):
        facts.append(clipped(row["family"]))
    for column, name in (("snr", "S/N"), ("magnitude", "mag")):
        value = pd.to_numeric(row.get(column), errors="coerce")
        if value is not None and np.isfinite(value):
            facts.append(f"{name} {value:.1f}")
    where = f"row {row['sample_index']}"
    if pd.notna(row.get("detector_id")):
        where = f"detector {clipped(row['detector_id'])}, {where}"
    names = [clipped(row[name]) for name in NAME_COLUMNS if pd.notna(row.get(name))]
    title = f"{CLASS_NAMES[row['label']]}, score {signed(score, 1)}"
    lines = [f"P(real) {words.probability(float(probability))}", ", ".join(facts), where, *names]
    return [title, *(line for line in lines if line)]


def _count(value: float) -> str:
    return words.NOTHING if pd.isna(value) else f"{int(value):,}"
