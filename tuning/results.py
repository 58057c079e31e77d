"""From the results of all trials to a table, the best settings and the Pareto front."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from rbkeras.config import Policy
from rbkeras.files import whole_file
from rbkeras.options import as_plain
from tuning.cost import pareto_front
from tuning.plan import Plan
from tuning.space import settings_of

#: Columns of trials.csv ahead of the hyper-parameters.
COLUMNS = ["trial", "status", "objective", "objective_error", "fpr_at_tpr90", "auc", "parts"]
#: Hyperband's name for the epochs of a trial.
LENGTH = "tuner/epochs"
COST_COLUMNS = ["multiply_adds", "stamps_per_second", "parameters"]


def trials_table(results: Sequence[dict[str, Any]], plan: Plan) -> pd.DataFrame:
    """Tabulate trials.

    Returns
    -------
    pandas.DataFrame
        A row per trial in order of their numbers: trial, status, objective (mean over the parts
        that were trained), objective_error, fpr_at_tpr90, auc, parts, epochs, seconds, with cost
        also multiply_adds, stamps_per_second, parameters and pareto; the hyper-parameters by
        name, empty where they had no meaning; error.
    """
    rows = []
    for result in results:
        row = {
            "trial": result["trial"],
            "status": result["status"],
            "objective": result["score"],
            "objective_error": result.get("score_error"),
            "parts": len(result["parts"]),
            "epochs": result.get("epochs"),
            "seconds": round(result["seconds"], 2),
        }
        row |= {name: result.get(name) for name in ("fpr_at_tpr90", "auc")}
        if plan.cost:
            row |= {name: result.get(name) for name in COST_COLUMNS}
        row |= result["values"] | {"error": result["error"]}
        rows.append(row)
    names = list(dict.fromkeys(name for result in results for name in result["values"]))
    extra = [*COST_COLUMNS, "pareto"] if plan.cost else []
    columns = [*COLUMNS, "epochs", "seconds", *extra, *names, "error"]
    table = pd.DataFrame(rows, columns=columns)
    for name in ("objective", "objective_error", *COLUMNS[4:6], *extra[:-1]):
        table[name] = pd.to_numeric(table[name])
    if plan.cost:
        loss = table["objective"] * (1 if plan.goal.direction == "min" else -1)
        loss = loss.where(comparable(table))
        table["pareto"] = pareto_front(table["multiply_adds"].to_numpy(), loss.to_numpy())
    return table


def comparable(table: pd.DataFrame) -> pd.Series:
    """Mark trials that went through all parts, and for hyperband all epochs: bool, by row."""
    completed = table["status"] == "completed"
    if LENGTH not in table:
        return completed
    return completed & (table[LENGTH] == table.loc[completed, LENGTH].max())


def best_result(results: Sequence[dict[str, Any]], plan: Plan) -> dict[str, Any] | None:
    """Give the best of the trials that went through all parts, and for hyperband all epochs."""
    completed = [result for result in results if result["status"] == "completed"]
    longest = max((result["values"].get(LENGTH, 0) for result in completed), default=0)
    completed = [r for r in completed if r["values"].get(LENGTH, 0) == longest]
    sign = 1 if plan.goal.direction == "min" else -1
    return min(completed, key=lambda result: sign * result["score"], default=None)


def given_result(
    results: Sequence[dict[str, Any]], as_given: dict[str, Any] | None
) -> dict[str, Any] | None:
    """Give the trial that had these values and was judged, of the command's own settings."""
    alike = (r for r in results if r["values"] == as_given and r["score"] is not None)
    return next(alike, None)


def write_best(path: Path, best: dict[str, Any], plan: Plan, *, policy: Policy) -> None:
    """Write `best.yaml`, which `fit --config` takes in any directory.

    Parameters
    ----------
    path
        The file.
    best, plan
        The best trial and how it was done.
    policy
        That of the command's flags, which `fit` shall follow.
    """
    # What the sweep was told about its own folder does not hold for its best.
    best_run = replace(plan.configured(best["values"]), out=plan.folder / "best", overwrite=False)
    settings = as_plain(replace(best_run, policy=policy))
    lines = [
        f"# Trial {best['trial']}: {plan.goal.title} {best['score']:.6g}, the mean over "
        f"{len(best['parts'])} validation parts.",
        f"# Searched: {', '.join(settings_of(best['values'])) or 'nothing that applies'}.",
    ]
    epochs = best["values"].get(LENGTH, plan.config.training.epochs)
    if epochs < plan.config.training.epochs:
        lines.append(
            f"# Hyperband's longest training so far had {epochs} epochs, not "
            f"{plan.config.training.epochs}; more trials go on to longer ones."
        )
    if plan.config.label_errors.table is None and policy != "keep":
        lines.append("# The search took labels as given; fit will do stage 1 first.")
    text = "\n".join(lines) + "\n" + yaml.safe_dump(settings, sort_keys=False)
    with whole_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
