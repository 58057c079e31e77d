"""Sections about the run: how training went, settings, versions."""

from typing import Any

import pandas as pd

from rbkeras.pictures import BOGUS_COLOUR, REAL_COLOUR
from rbkeras.report import charts
from rbkeras.report.blocks import Figure, Figures, Section, Settings, missing
from rbkeras.report.gather import Findings
from rbkeras.report.words import NOTHING, clipped

_TERMS = (
    ("loss", "#2b333a", "-"),
    ("val_loss", "#2b333a", "--"),
    ("ce", REAL_COLOUR, "-"),
    ("val_ce", REAL_COLOUR, "--"),
    ("auc_hinge", BOGUS_COLOUR, "-"),
    ("val_auc_hinge", BOGUS_COLOUR, "--"),
    ("vat", "#5a7d2b", "-"),
)
_RATES = (("fpr_at_tpr90", REAL_COLOUR, "-"), ("val_fpr_at_tpr90", REAL_COLOUR, "--"))
_RATE = "false positive rate at 0.9"
_OF_LOSS = (
    "Stage 2: the whole loss and its terms, unweighted; dashed, on the validation part, where "
    "VAT is not measured."
)
_OF_RATE = (
    "Stage 2: false positive rate at a true positive rate of 0.9, of the training batches as they "
    "passed, and of the validation part."
)


def training(findings: Findings) -> Section:
    """Loss terms and metrics over the epochs."""
    title = "Training"
    logs = {name: log for name, log in findings.logs.items() if len(log)}
    if not logs:
        return missing("training", title, "The run has no log.csv.")
    figures = []
    final = logs.pop("stage 2", None)
    if final is not None:
        for columns, ylabel, caption in ((_TERMS, "loss", _OF_LOSS), (_RATES, _RATE, _OF_RATE)):
            known = [item for item in columns if _finite(final, item[0])]
            if known:
                uri = charts.training_curves(
                    final, known, ylabel=ylabel, logarithmic=ylabel == "loss"
                )
                figures.append(Figure(uri, caption, f"{ylabel} over epochs"))
    folds = {name: log for name, log in logs.items() if _finite(log, "val_loss")}
    if folds:
        figures.append(
            Figure(
                charts.fold_curves(folds, "val_loss", ylabel="loss on the held-out fold"),
                "Stage 1: every fold's loss on the part that it holds out. It is only watched: "
                "the number of epochs is fixed beforehand.",
                "loss of the folds",
            )
        )
    return Section("training", title, [Figures(figures)])


def settings(findings: Findings) -> Section:
    """Print every setting, and the versions."""
    title = "Settings and versions"
    groups: dict[str, dict[str, str]] = {}
    if findings.config is not None:
        groups["run"] = {}
        for key, value in findings.config.items():
            if isinstance(value, dict):
                groups[str(key)] = {str(k): _text(v) for k, v in value.items()}
            else:
                groups["run"][str(key)] = _text(value)
    environment = findings.environment
    if isinstance(environment, dict):
        packages = environment.get("packages")
        flat = {k: v for k, v in environment.items() if not isinstance(v, dict)}
        flat |= packages if isinstance(packages, dict) else {}
        groups["made with"] = {str(name): _text(value) for name, value in flat.items()}
    if not groups:
        return missing("settings", title, "There is no config.yaml.")
    return Section("settings", title, [Settings(groups)])


def _finite(log: pd.DataFrame, column: str) -> bool:
    return column in log and pd.to_numeric(log[column], errors="coerce").notna().any()


def _text(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: NOTHING, True: "yes", False: "no"}[value]
    return clipped(value, 80)
