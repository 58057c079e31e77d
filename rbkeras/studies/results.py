"""From the scores of all trainings of a study to its tables."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from rbkeras.merit import FIGURE_NAMES, FIGURES, Fraction
from rbkeras.metrics import binomial_interval
from rbkeras.statistics import (
    Estimate,
    Figure,
    Interval,
    Resampled,
    Scores,
    estimate,
    resample,
    widened,
)
from rbkeras.studies.grid import Grid

DIFFERENCE_COLUMNS = ["figure", "arm", "beside", "difference", "low", "high", "p_value", "ratio"]
DIFFERENCE_COLUMNS += ["significant"]
#: By arm, then by part of the data, then by seed.
StudyScores = Mapping[str, Sequence[Sequence[Scores]]]


def resample_arms(
    scores: StudyScores, figure: Figure, *, shared: bool, resamples: int = 500
) -> dict[str, Resampled]:
    """Resample a figure of merit of every arm, averaged over the arm's parts."""
    result = {}
    for name, parts in scores.items():
        each = [resample(part, figure, shared=shared, resamples=resamples) for part in parts]
        result[name] = Resampled(
            np.mean([one.values for one in each], axis=0),
            np.mean([one.means for one in each], axis=0),
            shared,
        )
    return result


def summarise_study(
    scores: StudyScores,
    grid: Grid,
    *,
    seeds: Sequence[int],
    shared: bool,
    resamples: int = 500,
    confidence: float = 0.95,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Tabulate every arm, and every pair of arms of the grid.

    Parameters
    ----------
    scores
        Of every arm.
    grid
        Arms and pairs.
    seeds
        In the order of the scores.
    shared
        Whether the seeds share their test samples.
    resamples, confidence
        Of the bootstrap and of the intervals.

    Returns
    -------
    arms, differences : pandas.DataFrame
        One row per figure and arm: figure, arm, mean, low, high and the values of the seeds. One
        row per figure and pair: figure, arm, beside, difference, low, high, p_value, ratio (of
        the means), significant. With one seed the p-value is NaN. The interval of an arm's rate is
        widened to the exact binomial one of all samples tested: where none passed, neither seeds
        nor bootstrap know that one could. A difference that is the same for all seeds and
        resamples gets what those intervals leave.
    """
    arm_rows, difference_rows = [], []
    for figure, function in FIGURES.items():
        # Resampling a rank statistic of tens of thousands of scores is slow, and only the first
        # figure is what a study is decided by.
        count = resamples if figure == next(iter(FIGURES)) else max(resamples // 5, 50)
        resampled = resample_arms(scores, function, shared=shared, resamples=count)
        exact: dict[str, Interval] = {}
        if isinstance(function, Fraction):
            for name, values in resampled.items():
                tested = _tested(scores[name], function.of, shared=shared)
                passed = values.values.mean() * tested
                low, high = binomial_interval(passed, tested, confidence=confidence)
                exact[name] = float(low), float(high)
        for name, values in resampled.items():
            row = _arm_row(estimate(values, confidence=confidence), exact.get(name))
            by_seed = dict(zip((f"seed {seed}" for seed in seeds), values.values, strict=True))
            arm_rows.append({"figure": figure, "arm": name, **row, **by_seed})
        for arm, beside in grid.pairs:
            if arm in resampled and beside in resampled:
                limits = (exact[arm], exact[beside]) if exact else None
                row = _difference_row(
                    resampled[arm], resampled[beside], limits, confidence=confidence
                )
                difference_rows.append({"figure": figure, "arm": arm, "beside": beside, **row})
    return pd.DataFrame(arm_rows), pd.DataFrame(difference_rows, columns=DIFFERENCE_COLUMNS)


def _arm_row(found: Estimate, exact: Interval | None) -> dict[str, float]:
    low, high = max(found.low, 0.0), min(found.high, 1.0)
    if exact is not None:
        low, high = min(low, exact[0]), max(high, exact[1])
    return {"mean": found.mean, "low": low, "high": high}


def _difference_row(
    ours: Resampled,
    theirs: Resampled,
    exact: tuple[Interval, Interval] | None,
    *,
    confidence: float,
) -> dict[str, float | bool]:
    found = estimate(ours - theirs, confidence=confidence)
    low, high = found.low, found.high
    if exact is not None:
        low, high = widened(low, high, *exact)
    reference = theirs.values.mean()
    return {
        "difference": found.mean,
        "low": low,
        "high": high,
        # With one seed only the test samples' chance is known, and trainings vary by more.
        "p_value": found.p_value if found.seeds > 1 else np.nan,
        "ratio": ours.values.mean() / reference if reference else np.nan,
        # An interval that was widened knows what the p-value does not.
        "significant": found.seeds > 1 and found.p_value < 1 - confidence and not low <= 0 <= high,
    }


def _tested(parts: Sequence[Sequence[Scores]], of: int, *, shared: bool) -> int:
    """Count the test samples of a class that are behind a mean over the seeds."""
    # The parts of an arm, and seeds that share their data, are tested on the same ones.
    sizes = [len(one[of]) for one in parts[0]]
    return sizes[0] if shared else sum(sizes)


def suspect_intervals(
    wrong: np.ndarray,
    suspect: np.ndarray,
    *,
    resamples: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
) -> dict[str, float]:
    """Bootstrap intervals of recall, precision and F1 of suspected label errors.

    Those of recall and precision are widened to the exact binomial ones: where all errors were
    found, no resample knows that one could have been missed.

    Parameters
    ----------
    wrong, suspect
        Whether the label of each sample is wrong, and whether it is suspected; bool (N,).

    Returns
    -------
    dict
        recall_low, recall_high, precision_low, precision_high, f1_low, f1_high; NaN where the
        figure does not exist.
    """
    wrong, suspect = np.asarray(wrong, bool), np.asarray(suspect, bool)
    # Resampled samples are counts of four kinds, so the counts can be drawn at once.
    cells = np.array([np.sum(wrong & suspect), np.sum(wrong & ~suspect), np.sum(~wrong & suspect)])
    shares = np.r_[cells, len(wrong) - cells.sum()] / len(wrong)
    rng = np.random.default_rng(seed)
    found, missed, false, _ = rng.multinomial(len(wrong), shares, resamples).T
    quantiles = [0.5 - confidence / 2, 0.5 + confidence / 2]
    edges: dict[str, float] = {}
    with np.errstate(invalid="ignore"):
        for name, values in (
            ("recall", found / (found + missed)),
            ("precision", found / (found + false)),
            ("f1", 2 * found / (2 * found + missed + false)),
        ):
            known = values[np.isfinite(values)]
            low, high = np.quantile(known, quantiles) if len(known) else (np.nan, np.nan)
            edges |= {f"{name}_low": float(low), f"{name}_high": float(high)}
    for name, among in (("recall", cells[:2].sum()), ("precision", cells[[0, 2]].sum())):
        if among:
            low, high = binomial_interval(cells[0], among, confidence=confidence)
            edges[f"{name}_low"] = min(edges[f"{name}_low"], float(low))
            edges[f"{name}_high"] = max(edges[f"{name}_high"], float(high))
    return edges


def suspects_markdown(suspects: pd.DataFrame) -> str:
    """Lay out how well label errors were found as a Markdown table."""
    lines = ["| errors | seed | wrong labels | suspects | recall | precision | F1 |"]
    lines.append("|---|---|---|---|---|---|---|")
    for row in suspects.to_dict("records"):
        figures = [
            f"{row[name]:.3f} ({row[f'{name}_low']:.3f} to {row[f'{name}_high']:.3f})"
            for name in ("recall", "precision", "f1")
        ]
        lines.append(
            f"| x {row['errors_x']:g} | {row['seed']} | {row['errors']} | {row['suspects']} | "
            + " | ".join(figures)
            + " |"
        )
    return "\n".join(lines)


def arms_markdown(arms: pd.DataFrame) -> str:
    """Lay the arms out as a Markdown table: a row per arm, a column per figure."""
    lines = [
        "| | " + " | ".join(FIGURE_NAMES[figure] for figure in FIGURES) + " |",
        "|---" * (len(FIGURES) + 1) + "|",
    ]
    for name, rows in arms.groupby("arm", sort=False):
        cells = []
        for figure in FIGURES:
            row = rows[rows["figure"] == figure].iloc[0]
            cells.append(f"{row['mean']:.5f} ({row['low']:.5f} to {row['high']:.5f})")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def verdict_on(*, p_value: float, significant: bool) -> str:
    """Put into words what a row of the differences says of chance."""
    if np.isnan(p_value):
        return "cannot tell from one seed"
    return f"p = {p_value:.2g}" if significant else "not significant"


def differences_markdown(differences: pd.DataFrame) -> str:
    """Lay out the differences in the figure that matters as a Markdown table."""
    first = next(iter(FIGURES))
    lines = [
        f"| {FIGURE_NAMES[first]} of | beside | difference | 95% interval | ratio | |",
        "|---|---|---|---|---|---|",
    ]
    for row in differences[differences["figure"] == first].itertuples():
        verdict = verdict_on(p_value=row.p_value, significant=row.significant)
        # There is no ratio to a figure that is 0.
        ratio = "-" if np.isnan(row.ratio) else f"{row.ratio:.2f}"
        lines.append(
            f"| {row.arm} | {row.beside} | {row.difference:+.5f} | {row.low:+.5f} to "
            f"{row.high:+.5f} | {ratio} | {verdict} |"
        )
    return "\n".join(lines)
