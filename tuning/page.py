"""A sweep's results as one self-contained HTML page."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from rbkeras.files import whole_file
from rbkeras.pages import page_template, png_address
from rbkeras.pictures import png_bytes
from tuning import pictures
from tuning.importance import LEAST_TRIALS, importances
from tuning.plan import Plan
from tuning.results import LENGTH, best_result, comparable, given_result, trials_table

#: Trials whose learning curves are drawn, the best ones.
_CURVES = 40


def write_page(
    path: str | Path,
    results: Sequence[dict[str, Any]],
    plan: Plan,
    *,
    begun: int,
    as_given: dict[str, Any] | None = None,
) -> None:
    """Write the page, whole or not at all.

    Parameters
    ----------
    path
        The HTML file.
    results, plan
        Of all trials that have ended, at least one.
    begun
        Trials that were begun and have not ended.
    as_given
        Hyper-parameter values of the command's own settings.
    """
    table = trials_table(results, plan)
    best = best_result(results, plan)
    number = None if best is None else best["trial"]
    # Of a trial that was given up, what it would have reached: parts differ in difficulty.
    scores = [result.get("projected", result["score"]) for result in results]
    projected = table.assign(objective=pd.to_numeric(pd.Series(scores)))
    good = projected[projected["objective"].notna()]
    names = list(dict.fromkeys(name for r in results for name in r["values"]))
    names = [name for name in names if not name.startswith("tuner/")]
    # Hyperband's trials of other lengths tell of the length; most were drawn at the shortest.
    judged = good
    if LENGTH in good and len(good):
        judged = good[good[LENGTH] == good[LENGTH].mode().iloc[0]]
    found = importances(judged.reset_index(drop=True), names)
    counts = {s: int((table["status"] == s).sum()) for s in ("completed", "abandoned", "failed")}
    text = page_template("tuning", "sweep.html").render(
        title=plan.folder.name,
        goal=plan.goal,
        folds=plan.folds,
        parts=plan.parts,
        counts=counts | {"begun": begun},
        best=best,
        given=given_result(results, as_given),
        names=names,
        rows=_ranked(table, plan).to_dict("records"),
        failures=table[table["status"] == "failed"].to_dict("records"),
        importances=found.to_dict("records"),
        least=LEAST_TRIALS,
        cost=plan.cost,
        front=table[table["pareto"]].to_dict("records") if plan.cost else [],
        pictures=_pictures(projected, good, found, plan, number),
        shown=shown,
    )
    with whole_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _pictures(
    table: pd.DataFrame, good: pd.DataFrame, found: pd.DataFrame, plan: Plan, best: str | None
) -> dict[str, str]:
    final = comparable(table)
    drawn = {"progress": pictures.progress_figure(table, plan.goal, final)} if len(good) else {}
    if len(found):
        drawn["importance"] = pictures.importance_figure(found)
    if plan.cost and final.any():
        drawn["cost"] = pictures.cost_figure(table[final], plan.goal)
    curves = []
    for trial in _ranked(good, plan)["trial"][:_CURVES]:
        curve = pictures.learning_curve(plan.trial_folder(trial))
        if curve is not None:
            curves.append((trial, curve))
    if curves:
        drawn["curves"] = pictures.curves_figure(curves, best)
    names = ("progress", "importance", "cost", "curves")
    return {
        name: png_address(png_bytes(drawn[name], dpi=110)) if name in drawn else ""
        for name in names
    }


def _ranked(table: pd.DataFrame, plan: Plan) -> pd.DataFrame:
    """Completed trials first, the best at the top; then abandoned, then failed."""
    order = table["status"].map({"completed": 0, "abandoned": 1, "failed": 2})
    sign = 1 if plan.goal.direction == "min" else -1
    ranked = table.assign(_order=order, _loss=sign * table["objective"])
    return ranked.sort_values(["_order", "_loss"]).drop(columns=["_order", "_loss"])


def shown(value: Any) -> str:
    """Write a cell: nothing for what is missing, four digits of a float."""
    if value is None or (isinstance(value, float) and value != value):
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    return str(value)
