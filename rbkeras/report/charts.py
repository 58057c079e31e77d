"""Charts of scores and rates, as SVG inside data URIs."""

import base64
import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import MaxNLocator

from rbkeras.metrics import binomial_interval
from rbkeras.operating_points import roc_band
from rbkeras.pictures import BOGUS_COLOUR, REAL_COLOUR, draw_roc, draw_scores, roc_rates
from rbkeras.report.words import clipped

_GREY = "#8a949e"
_STYLE: dict[Any, Any] = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#5b6670",
    "axes.labelcolor": "#2b333a",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e3e7ea",
    "grid.linewidth": 0.8,
    "xtick.color": "#5b6670",
    "ytick.color": "#5b6670",
    "legend.edgecolor": "none",
    "legend.framealpha": 0.85,
    "lines.linewidth": 1.6,
    "svg.hashsalt": "rbkeras",
}


@contextmanager
def _drawing(width: float = 4.0, height: float = 3.0) -> Iterator[tuple[Axes, list[str]]]:
    """Give axes to draw on and a list that holds the data URI afterwards."""
    uri: list[str] = []
    with rc_context(_STYLE):
        canvas = Canvas(figsize=(width, height), layout="constrained")
        yield canvas.subplots(), uri
        buffer = io.BytesIO()
        canvas.savefig(buffer, format="svg", metadata={"Date": None})
    uri.append(f"data:image/svg+xml;base64,{base64.b64encode(buffer.getvalue()).decode()}")


def plain(name: object) -> str:
    """Clip a name and keep matplotlib from reading dollar signs as mathematics."""
    return clipped(name, 24).replace("$", r"\$")


def roc(
    real: np.ndarray,
    bogus: np.ndarray,
    *,
    name: str,
    others: dict[str, tuple[np.ndarray, np.ndarray]],
    point: tuple[float, float] | None,
) -> str:
    """Draw ROC curves over a logarithmic axis; `point` is (FPR, TPR) of the stored threshold."""
    with _drawing() as (axes, uri):
        grid = np.geomspace(1 / len(bogus), 1, 120)
        low, high = roc_band(real, bogus, grid)
        axes.fill_between(
            grid, low, high, color=REAL_COLOUR, alpha=0.18, linewidth=0, label="95% band"
        )
        for (other, scores), style in zip(others.items(), ("-", "--"), strict=False):
            curve = roc_rates(*scores)
            axes.step(*curve, where="post", color=_GREY, linestyle=style, linewidth=1, label=other)
        draw_roc(axes, real, bogus, label=name)
        if point is not None:
            at = (max(point[0], 0.5 / len(bogus)), point[1])
            axes.plot(*at, "o", color=BOGUS_COLOUR, label="stored threshold")
        # Above the axes: a curve may be in any corner.
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2)
    return uri[0]


def precision_recall(
    real: np.ndarray, bogus: np.ndarray, *, prevalences: dict[str, float | None]
) -> str:
    """Draw precision over completeness; None stands for the samples' own fraction of reals.

    The band is what the exact interval of the false positive rate leaves: where no bogus pass, that
    none ever will is not known, and among very many detections it matters.
    """
    tpr, fpr = rates_at_reals(real, bogus)
    low, high = binomial_interval(np.rint(fpr * len(bogus)), len(bogus))
    own = len(real) / (len(real) + len(bogus))
    with _drawing() as (axes, uri):
        for (name, stated), colour in zip(
            prevalences.items(), (REAL_COLOUR, BOGUS_COLOUR), strict=False
        ):
            share = own if stated is None else stated
            best, precision, worst = (
                share * tpr / (share * tpr + (1 - share) * rate) for rate in (low, fpr, high)
            )
            axes.fill_between(tpr, worst, best, color=colour, alpha=0.15, linewidth=0)
            axes.plot(tpr, precision, color=colour, label=name)
        axes.set(xlim=(0, 1.01), ylim=(0, 1.02))
        axes.set(xlabel="completeness (true positive rate)", ylabel="precision")
        # Above the axes: with few reals among the detections the curve is in the lower corner.
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1))
    return uri[0]


def rates_at_reals(
    real: np.ndarray, bogus: np.ndarray, *, points: int = 1000
) -> tuple[np.ndarray, np.ndarray]:
    """Find the true and false positive rates with the threshold at reals, evenly chosen if many.

    Between two corners of a ROC curve, which is all that `sklearn.metrics.roc_curve` keeps,
    precision does not change linearly.
    """
    rising = np.sort(real)
    chosen = np.unique(np.linspace(0, len(real) - 1, points).astype(int))
    at = rising[chosen][::-1]
    passing = [
        1 - np.searchsorted(scores, at, side="left") / len(scores)
        for scores in (rising, np.sort(bogus))
    ]
    return passing[0], passing[1]


def histograms(real: np.ndarray, bogus: np.ndarray, *, threshold: float | None) -> str:
    """Draw the scores of both classes, counts on a logarithmic axis."""
    with _drawing() as (axes, uri):
        draw_scores(axes, real, bogus)
        if threshold is not None:
            axes.axvline(threshold, color="#2b333a", linewidth=1, linestyle="--", label="threshold")
        # Above the axes: the bars leave no free corner.
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=3)
    return uri[0]


def reliability(curves: dict[str, pd.DataFrame]) -> str:
    """Draw reliability curves, each with its exact binomial intervals."""
    with _drawing() as (axes, uri):
        axes.plot([0, 1], [0, 1], color=_GREY, linewidth=1, linestyle=":")
        for (name, curve), colour, marker in zip(
            curves.items(), (BOGUS_COLOUR, REAL_COLOUR), ("s", "o"), strict=False
        ):
            errors = _error_bars(curve["observed"], curve["low"], curve["high"])
            axes.errorbar(
                curve["predicted"],
                curve["observed"],
                yerr=errors,
                color=colour,
                marker=marker,
                markersize=4,
                linewidth=1.2,
                elinewidth=0.8,
                label=name,
            )
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
        axes.set(xlabel="predicted probability of real", ylabel="fraction that is real")
        # Above the axes: a network that is sure of too little has its points in the upper corner.
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2)
    return uri[0]


def probabilities(
    scores: np.ndarray,
    functions: dict[str, Callable[[np.ndarray], np.ndarray]],
    *,
    threshold: float,
) -> str:
    """Draw probabilities as functions of the score over the range that matters."""
    low, high = np.quantile(scores, [0.005, 0.995])
    grid = np.linspace(min(low, -4), max(high, 4), 400)
    with _drawing() as (axes, uri):
        for (name, function), colour in zip(
            functions.items(), (BOGUS_COLOUR, REAL_COLOUR), strict=True
        ):
            axes.plot(grid, function(grid), color=colour, label=name)
        axes.axvline(threshold, color="#2b333a", linewidth=1, linestyle="--")
        axes.set(
            ylim=(-0.02, 1.02), xlabel="score (log-odds of real)", ylabel="probability of real"
        )
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1))
    return uri[0]


def rates_by_name(table: pd.DataFrame, *, rate: str, colour: str, label: str) -> str:
    """Draw rates with intervals (columns name, rate, low, high), one row each."""
    table = table.iloc[::-1]
    with _drawing(height=max(0.9 + 0.23 * len(table), 1.5)) as (axes, uri):
        position = np.arange(len(table))
        errors = _error_bars(table[rate], table["low"], table["high"])
        axes.errorbar(table[rate], position, xerr=errors, fmt="o", color=colour, elinewidth=1)
        axes.set_yticks(position, [plain(name) for name in table["name"]])
        # Rates that come near 1 are seen against it, small ones against each other.
        right = 1.02 if table["high"].max() > 0.5 else None
        axes.set(xlabel=label, xlim=(0, right), ylim=(-0.6, len(table) - 0.4))
        axes.grid(axis="y", visible=False)
        # Small rates have long labels, which would run into each other.
        axes.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 2.5, 5, 10]))
        axes.xaxis.set_major_formatter("{x:g}")
    return uri[0]


def rates_by_value(curves: dict[str, pd.DataFrame], *, label: str, rate_label: str) -> str:
    """Draw rates with intervals over a quantity (columns centre, left, right, rate, low, high)."""
    with _drawing() as (axes, uri):
        for (name, curve), colour in zip(
            curves.items(), (REAL_COLOUR, BOGUS_COLOUR, "#5a7d2b", "#7a4fa3", _GREY), strict=False
        ):
            axes.errorbar(
                curve["centre"],
                curve["rate"],
                yerr=_error_bars(curve["rate"], curve["low"], curve["high"]),
                xerr=_error_bars(curve["centre"], curve["left"], curve["right"]),
                fmt="o",
                markersize=4,
                elinewidth=0.9,
                color=colour,
                label=plain(name),
            )
        axes.set(xlabel=label, ylabel=rate_label, ylim=(0, 1.04))
        if len(curves) > 1:
            axes.legend()
    return uri[0]


def training_curves(
    log: pd.DataFrame, columns: Sequence[tuple[str, str, str]], *, ylabel: str, logarithmic: bool
) -> str:
    """Draw columns of a log, given as (column, colour, line style)."""
    with _drawing() as (axes, uri):
        for column, colour, style in columns:
            axes.plot(
                log["epoch"] + 1,
                log[column],
                style,
                color=colour,
                label=plain(column.replace("val_", "validation ")),
            )
        _epoch_axis(axes, ylabel=ylabel, logarithmic=logarithmic)
        # Below the axes: seven lines leave no free corner.
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.22), ncols=2, fontsize=8)
    return uri[0]


def fold_curves(logs: dict[str, pd.DataFrame], column: str, *, ylabel: str) -> str:
    """Draw the same column of every fold's log."""
    with _drawing() as (axes, uri):
        for shade, (name, log) in zip(np.linspace(0.35, 1, len(logs)), logs.items(), strict=True):
            axes.plot(
                log["epoch"] + 1, log[column], color=REAL_COLOUR, alpha=shade, label=plain(name)
            )
        _epoch_axis(axes, ylabel=ylabel, logarithmic=False)
        if len(logs) <= 10:
            axes.legend(ncols=2)
    return uri[0]


def _epoch_axis(axes: Axes, *, ylabel: str, logarithmic: bool) -> None:
    axes.set(xlabel="epoch", ylabel=ylabel)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if logarithmic:
        axes.set_yscale("log")


def _error_bars(value: pd.Series, low: pd.Series, high: pd.Series) -> np.ndarray:
    return np.maximum([value - low, high - value], 0)
