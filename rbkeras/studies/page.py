"""A study's results as one self-contained HTML page."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from rbkeras.files import whole_file
from rbkeras.merit import FIGURE_NAMES
from rbkeras.pages import page_template, png_address
from rbkeras.pictures import REAL_COLOUR, png_bytes
from rbkeras.studies.results import verdict_on


def arms_figure(arms: pd.DataFrame, figure: str) -> Figure:
    """Draw a figure of merit of every arm with its interval, and the seeds as small dots.

    Parameters
    ----------
    arms
        As `rbkeras.studies.results.summarise_study` returns them.
    figure
        Which figure of merit; false positive rates get a logarithmic axis.
    """
    rows = arms[arms["figure"] == figure].reset_index(drop=True)
    picture = Figure(figsize=(8, 0.8 + 0.33 * len(rows)), layout="constrained")
    axes = picture.subplots()
    position = np.arange(len(rows))[::-1]
    seeds = rows[[name for name in rows.columns if name.startswith("seed ")]].to_numpy(float)
    rate = figure.startswith("fpr")
    shown = np.concatenate([seeds.ravel(), rows["mean"], rows["high"]])
    floor = shown[shown > 0].min() / 3 if rate and (shown > 0).any() else -np.inf
    low, mean, high = (np.maximum(rows[name], floor) for name in ("low", "mean", "high"))
    for column in seeds.T:
        axes.plot(np.maximum(column, floor), position, "o", color="0.45", markersize=3.5, zorder=3)
    axes.errorbar(
        mean, position, xerr=[mean - low, high - mean], fmt="o", color=REAL_COLOUR, capsize=3
    )
    axes.set_yticks(position, rows["arm"])
    axes.set(xlabel=FIGURE_NAMES[figure], ylim=(-0.6, len(rows) - 0.4))
    if rate and np.isfinite(floor):
        axes.set_xscale("log")
        # Labels at every digit would run into each other.
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter(NullFormatter())
    axes.grid(axis="x", alpha=0.3)
    return picture


def write_page(
    path: str | Path, study: str, remarks: Sequence[str], tables: Mapping[str, pd.DataFrame]
) -> None:
    """Write the page, whole or not at all.

    Parameters
    ----------
    path
        The HTML file.
    study
        Its name.
    remarks
        What a reader has to know about seeds and intervals.
    tables
        'arms', 'differences' and 'suspects'.
    """
    arms, differences = tables["arms"], tables["differences"]
    pictures = {
        figure: png_address(png_bytes(arms_figure(arms, figure), dpi=110))
        for figure in FIGURE_NAMES
    }
    text = page_template("rbkeras.studies", "study.html").render(
        study=study,
        remarks=remarks,
        figure_names=FIGURE_NAMES,
        pictures=pictures,
        arms=arms.groupby("arm", sort=False),
        differences=differences.to_dict("records"),
        verdict_on=verdict_on,
        suspects=tables["suspects"].to_dict("records"),
    )
    with whole_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
