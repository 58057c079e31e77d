"""Reading the files of a run for a report: what is absent, broken or of other kinds is None."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from rbkeras.errors import InputError
from rbkeras.files import read_json, read_yaml
from rbkeras.tables import read_table

_RATES = ("auc", "fpr_at_tpr90")
_MOST_FOLDS = 1000


def require_run(folder: Path) -> None:
    """Raise `InputError` unless `folder` looks like a run directory."""
    if not (folder / "config.yaml").exists():
        raise InputError(f"{folder}: expected a run directory of fit with config.yaml, found none")


def optional(read: Callable[[], Any]) -> Any:
    """Give what is read; None where a file is of no use, which its reader says by `InputError`."""
    try:
        return read()
    except InputError:
        return None


def settings(path: Path) -> dict[str, Any]:
    """Read the settings of a run, empty where there are none."""
    return _dictionary(optional(lambda: read_yaml(path)))


def contents(path: Path) -> dict[str, Any]:
    """Read a JSON object, empty where there is none."""
    return _dictionary(optional(lambda: read_json(path)))


def table(
    path: Path, *, whole: Sequence[str] = (), numbers: Sequence[str] = ()
) -> pd.DataFrame | None:
    """Read a table with rows.

    Parameters
    ----------
    path
        CSV.
    whole, numbers
        Columns that hold integers alone, and numbers alone; a `label` of `whole` is 0, 1 or -1.
    """
    found = optional(lambda: read_table(path, [*whole, *numbers]))
    if found is None or found.empty:
        return None
    kinds = pd.api.types
    right = all(kinds.is_integer_dtype(found[name]) for name in whole)
    right &= all(kinds.is_numeric_dtype(found[name]) for name in numbers)
    right &= "label" not in whole or bool(found["label"].isin((0, 1, -1)).all())
    return found if right else None


def metrics(path: Path) -> dict[str, Any] | None:
    """Read the figures that an evaluation has written, if all that a report shows are there."""
    found = contents(path)
    values: list[Any] = [found.get(name) for name in _RATES]
    for name in _RATES:
        pair = found.get(f"{name}_ci95")
        values += pair if isinstance(pair, list) and len(pair) == 2 else [None]
    right = all(type(value) in (int, float) and math.isfinite(value) for value in values)
    return found if right else None


def logs(folder: Path, stage1: dict[str, Any]) -> dict[str, pd.DataFrame]:
    """Read the logs of both stages' trainings, by name."""
    paths = {"stage 2": folder / "log.csv"}
    # Not all that are there: an earlier run may have had more folds.
    counts = [stage1.get("folds", 0), stage1.get("repeats", 1)]
    trained = counts[0] * counts[1] if all(type(n) is int for n in counts) else 0
    for fold in range(min(trained, _MOST_FOLDS)):
        paths[f"fold {fold}"] = folder / "folds" / str(fold) / "log.csv"
    found = {name: table(path, whole=("epoch",)) for name, path in paths.items()}
    return {name: log for name, log in found.items() if log is not None}


def located(path: str, folder: Path, out: Any) -> Path:
    """Find a path of the settings from here: as it stands, or inside a run that has moved."""
    given, out = Path(path), out if isinstance(out, str) and out else "."
    if given.exists() or not given.is_relative_to(out):
        return given
    return folder / given.relative_to(out)


def _dictionary(found: Any) -> dict[str, Any]:
    return found if isinstance(found, dict) else {}
