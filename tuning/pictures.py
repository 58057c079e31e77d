"""Pictures of a sweep: progress, importance, cost, learning curves."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from rbkeras.pictures import BOGUS_COLOUR, REAL_COLOUR
from tuning.objectives import Objective

_GREY = "0.65"


def loss_of(table: pd.DataFrame, objective: Objective) -> np.ndarray:
    """Give what is left to gain in each trial, lower is better: a rate itself, 1 - AUC."""
    values = table["objective"].to_numpy(float)
    return values if objective.direction == "min" else 1 - values


def _label(objective: Objective) -> str:
    return objective.title if objective.direction == "min" else f"1 - {objective.title}"


def _logarithmic(axes: Axes, values: np.ndarray, which: str = "y") -> float:
    """Make an axis logarithmic where values differ enough; return what zeros are drawn at."""
    positive = values[np.isfinite(values) & (values > 0)]
    if not len(positive):
        return 0.0
    if positive.max() < 3 * positive.min() and len(positive) == np.isfinite(values).sum():
        # Powers of ten would be all digits, and no zero is to be drawn.
        return 0.0
    getattr(axes, f"set_{which}scale")("log")
    return float(positive.min()) / 2


def progress_figure(table: pd.DataFrame, objective: Objective, final: pd.Series) -> Figure:
    """Draw every trial's objective in order, and the best so far of those marked `final`."""
    picture = Figure(figsize=(8, 3.2), layout="constrained")
    axes = picture.subplots()
    loss = loss_of(table, objective)
    floor = _logarithmic(axes, loss)
    number = np.arange(len(table))
    for status, style in (("completed", "o"), ("abandoned", "x")):
        chosen = (table["status"] == status).to_numpy()
        if not chosen.any():
            continue
        axes.plot(
            number[chosen],
            np.maximum(loss[chosen], floor),
            style,
            color=REAL_COLOUR if status == "completed" else _GREY,
            label=status,
        )
    best = np.minimum.accumulate(np.where(final, loss, np.inf))
    known = np.isfinite(best)
    axes.step(number[known], np.maximum(best[known], floor), where="post", color=BOGUS_COLOUR)
    failed = number[(table["status"] == "failed").to_numpy()]
    if len(failed):
        axes.plot(
            failed,
            np.full(len(failed), 0.97),
            "v",
            color="k",
            label="failed",
            transform=axes.get_xaxis_transform(),
        )
    axes.set(xlabel="trial", ylabel=_label(objective))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.legend(frameon=False)
    axes.grid(alpha=0.3)
    return picture


def importance_figure(found: pd.DataFrame) -> Figure:
    """Draw the forest's permutation importance with its standard deviation."""
    picture = Figure(figsize=(8, 0.8 + 0.3 * len(found)), layout="constrained")
    axes = picture.subplots()
    position = np.arange(len(found))[::-1]
    axes.barh(position, found["importance"], xerr=found["importance_error"], color=REAL_COLOUR)
    axes.set_yticks(position, found["name"])
    axes.set(xlabel="permutation importance (fall of R² on ranks)")
    axes.grid(axis="x", alpha=0.3)
    return picture


def cost_figure(table: pd.DataFrame, objective: Objective) -> Figure:
    """Draw objective against multiply-adds of comparable trials, and the Pareto front."""
    picture = Figure(figsize=(8, 3.6), layout="constrained")
    axes = picture.subplots()
    rows = table.sort_values("multiply_adds")
    loss, cost = loss_of(rows, objective), rows["multiply_adds"].to_numpy(float)
    floor = _logarithmic(axes, loss)
    _logarithmic(axes, cost, "x")
    front = rows["pareto"].to_numpy(bool)
    shown = np.maximum(loss, floor)
    axes.plot(cost[~front], shown[~front], "o", color=_GREY, label="beaten")
    axes.plot(cost[front], shown[front], "o-", color=REAL_COLOUR, label="Pareto front")
    for x, y, trial in zip(cost[front], shown[front], rows["trial"][front], strict=True):
        axes.annotate(str(trial), (x, y), xytext=(4, 4), textcoords="offset points", fontsize=8)
    axes.set(xlabel="multiply-adds per stamp", ylabel=_label(objective))
    axes.legend(frameon=False)
    axes.grid(alpha=0.3)
    return picture


def learning_curve(folder: Path) -> pd.DataFrame | None:
    """Mean over a trial's finished parts of its log, by epoch; None where it has none."""
    # What a kill has left of another part may be empty.
    parts = sorted(path.parent for path in (folder / "parts").glob("*/part.json"))
    logs = [pd.read_csv(part / "log.csv") for part in parts if (part / "log.csv").exists()]
    logs = [log for log in logs if len(log) and "val_auc" in log]
    if not logs:
        return None
    return pd.concat(logs).groupby("epoch")[["val_auc", "val_fpr_at_tpr90"]].mean()


def curves_figure(curves: Sequence[tuple[str, pd.DataFrame]], best: str | None) -> Figure:
    """Draw validation AUC and false positive rate by epoch, the best trial in colour."""
    picture = Figure(figsize=(8, 3.4), layout="constrained")
    panels = picture.subplots(1, 2)
    kinds = (("1 - AUC", lambda c: 1 - c["val_auc"]), ("FPR at TPR 0.9", _rate))
    for axes, (title, value) in zip(panels, kinds, strict=True):
        floor = _logarithmic(axes, np.concatenate([value(curve) for _, curve in curves]))
        for trial, curve in sorted(curves, key=lambda item: item[0] == best):
            style = {"color": _GREY, "linewidth": 0.8}
            if trial == best:
                style = {"color": REAL_COLOUR, "linewidth": 2, "label": f"trial {trial}"}
            marker = "." if len(curve) == 1 else None
            axes.plot(curve.index + 1, np.maximum(value(curve), floor), marker=marker, **style)
        axes.set(xlabel="epoch", title=f"validation {title}")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.grid(alpha=0.3)
        if best is not None:
            axes.legend(frameon=False)
    return picture


def _rate(curve: pd.DataFrame) -> pd.Series:
    return curve["val_fpr_at_tpr90"]
