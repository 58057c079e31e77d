"""Reading what a run directory has to show; whatever is absent or unreadable becomes None."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from rbkeras.errors import InputError
from rbkeras.evaluation import SOURCE
from rbkeras.files import read_json
from rbkeras.label_errors import COLUMNS

#: Names that surveys give a column, by the name that a report knows.
_OTHER_NAMES = {"magpsf": "magnitude", "mag": "magnitude", "s2n": "snr"}


@dataclass(frozen=True)
class Scored:
    """Labelled samples with their scores.

    Attributes
    ----------
    name
        What they are, as it stands in captions.
    table
        Columns label (0 or 1), score, sample_index, and what else is known of them: detector_id,
        unique_index, family, object_type, snr, magnitude.
    """

    name: str
    table: pd.DataFrame

    @property
    def real(self) -> np.ndarray:
        """Scores of the reals, float64."""
        return self.table.loc[self.table["label"] == 1, "score"].to_numpy(np.float64)

    @property
    def bogus(self) -> np.ndarray:
        """Scores of the bogus, float64."""
        return self.table.loc[self.table["label"] == 0, "score"].to_numpy(np.float64)


@dataclass(frozen=True, kw_only=True)
class Findings:
    """All that a report may show; `model` and `records` as their modules open them."""

    title: str
    folder: Path | None = None
    model: Any = None
    records: Any = None
    config: dict[str, Any] | None = None
    environment: dict[str, Any] | None = None
    test: Scored | None = None
    validation: Scored | None = None
    out_of_fold: Scored | None = None
    metrics: dict[str, Any] | None = None
    rated: pd.DataFrame | None = None
    logs: dict[str, pd.DataFrame] = field(default_factory=dict)
    test_files: dict[int, Path] = field(default_factory=dict)

    @property
    def best(self) -> Scored | None:
        """The samples that say most about the final network: the test set, or else validation."""
        return self.test or self.validation

    @property
    def decision(self) -> Any:
        """The model's threshold and calibration, if any, after its second look."""
        own = self._decision
        return None if own is None else own.final

    @property
    def second_look(self) -> Any:
        """Which stamps the model asks to be scored again, if any."""
        own = self._decision
        return None if own is None else own.second_look

    @property
    def _decision(self) -> Any:
        return getattr(self.model, "decision", None)


def check_run(folder: Path) -> None:
    """Raise `InputError` unless `folder` looks like a run directory."""
    if not (folder / "config.yaml").exists():
        raise InputError(f"{folder}: expected a run directory of fit with config.yaml, found none")


def gather_run(folder: str | Path, *, model: Any = None) -> Findings:
    """Collect the findings of a run directory.

    Parameters
    ----------
    folder
        Written by `fit`.
    model
        The trained model where it is loaded already.
    """
    from rbkeras.data.records import open_records
    from rbkeras.inference import load_classifier

    folder = Path(folder)
    config = _optional(lambda: yaml.safe_load((folder / "config.yaml").read_text()))
    config = config if isinstance(config, dict) else {}
    records = None
    if config.get("data"):
        records = _optional(lambda: open_records(_located(config["data"], folder, config)))
    samples = _optional(lambda: records.samples) if records is not None else None
    source = _optional(lambda: read_json(folder / "evaluation" / SOURCE))
    source = source if isinstance(source, dict) and source else config
    stage1 = config.get("label_errors")
    files = {
        label: _located(source[name], folder, config)
        for label, name in ((1, "test_real"), (0, "test_bogus"))
        if isinstance(source.get(name), str)
    }
    rated = None
    if config.get("policy") != "keep":
        # With that policy, a table would be of an earlier run.
        rated = _optional(lambda: pd.read_csv(folder / "label_errors.csv"))
    if rated is not None and not set(COLUMNS) <= set(rated):
        rated = None
    return Findings(
        title=folder.resolve().name,
        folder=folder,
        model=model or _optional(lambda: load_classifier(folder)),
        records=records,
        config=config or None,
        environment=_optional(lambda: read_json(folder / "environment.json")),
        test=_optional(lambda: _test(folder / "evaluation" / "scores.csv", files, samples)),
        validation=_optional(
            lambda: _of_records(
                "validation part of stage 2", pd.read_csv(folder / "validation.csv"), samples
            )
        ),
        out_of_fold=_optional(
            lambda: _of_records("out-of-fold predictions of stage 1", rated, samples)
        ),
        metrics=_metrics(folder / "evaluation" / "metrics.json"),
        rated=rated,
        logs=_logs(folder, stage1 if isinstance(stage1, dict) else {}),
        test_files=files,
    )


def gather_evaluation(
    path: str | Path,
    model: Any,
    scores: tuple[np.ndarray, np.ndarray],
    *,
    metrics: dict[str, Any],
    real: str | Path,
    bogus: str | Path,
) -> Findings:
    """Collect the findings of a model on a test set, without any run directory."""
    files = {1: Path(real), 0: Path(bogus)}
    parts = [
        pd.DataFrame({"label": label, "sample_index": np.arange(len(part)), "score": part})
        for label, part in zip((1, 0), scores, strict=True)
    ]
    test = Scored("test set", _with_tables(pd.concat(parts, ignore_index=True), files))
    return Findings(title=str(path), model=model, test=test, metrics=metrics, test_files=files)


def read_test_table(path: Path, rows: int) -> pd.DataFrame | None:
    """Read the table that may lie beside a test array, `real.csv` beside `real.npy`."""
    table = _optional(lambda: pd.read_csv(path.with_suffix(".csv")))
    return table if table is not None and len(table) == rows else None


def _test(path: Path, files: dict[int, Path], samples: pd.DataFrame | None) -> Scored | None:
    table = _optional(lambda: pd.read_csv(path))
    if table is not None and "unique_index" in table:
        return _of_records("test set held out of the records", table, samples)
    if table is None or not {"label", "sample_index", "score"} <= set(table):
        return None
    return _whole("test set", _with_tables(table, files))


def _whole(name: str, table: pd.DataFrame) -> Scored | None:
    """Leave out scores that are not finite; None unless both classes are there."""
    table = table[np.isfinite(table["score"])].reset_index(drop=True)
    return Scored(name, table) if {0, 1} <= set(table["label"]) else None


def _metrics(path: Path) -> dict[str, Any] | None:
    found = _optional(lambda: read_json(path))
    needed = {"auc", "auc_ci95", "fpr_at_tpr90", "fpr_at_tpr90_ci95"}
    whole = isinstance(found, dict) and needed <= set(found)
    return found if whole and np.isfinite(_numbers(found[name] for name in needed)).all() else None


def _numbers(values: Iterable[Any]) -> np.ndarray:
    """Put numbers and pairs of them in a row; NaN for what is neither."""
    flat = [one for value in values for one in (value if isinstance(value, list) else [value])]
    return pd.to_numeric(pd.Series(flat, dtype=object), errors="coerce").to_numpy(float)


def _with_tables(scores: pd.DataFrame, files: dict[int, Path]) -> pd.DataFrame:
    """Join the tables beside the test arrays to the scores."""
    parts = []
    for label, part in scores.groupby("label"):
        beside = read_test_table(files[label], len(part)) if label in files else None
        if beside is not None:
            own = [column for column in beside if column not in part]
            part = part.join(beside[own], on="sample_index")
        parts.append(part)
    return _renamed(pd.concat(parts, ignore_index=True))


def _renamed(table: pd.DataFrame) -> pd.DataFrame:
    """Give columns the names that a report knows, where it has no such column already."""
    names = {}
    for other, known in _OTHER_NAMES.items():
        if other in table and known not in table and known not in names.values():
            names[other] = known
    return table.rename(columns=names)


def _of_records(
    name: str, predictions: pd.DataFrame | None, samples: pd.DataFrame | None
) -> Scored | None:
    needed = {"unique_index", "label", "prediction0", "prediction1"}
    if predictions is None or not needed <= set(predictions):
        return None
    table = predictions[predictions["label"] >= 0].reset_index(drop=True)
    table["score"] = table["prediction1"] - table["prediction0"]
    if samples is not None and table["unique_index"].max() < len(samples):
        own = [column for column in samples if column not in table]
        table = table.join(samples[own], on="unique_index")
    return _whole(name, _renamed(table))


def _logs(folder: Path, stage1: dict[str, Any]) -> dict[str, pd.DataFrame]:
    paths = {"stage 2": folder / "log.csv"}
    # Not all that are there: an earlier run may have had more folds.
    for fold in range(stage1.get("folds", 0) * stage1.get("repeats", 1)):
        paths[f"fold {fold}"] = folder / "folds" / str(fold) / "log.csv"
    logs = {name: _optional(lambda path=path: pd.read_csv(path)) for name, path in paths.items()}
    return {name: log for name, log in logs.items() if log is not None and "epoch" in log}


def _located(path: str, folder: Path, config: dict[str, Any]) -> Path:
    """Find a path of the settings from here: as it stands, or inside a run that has moved."""
    given = Path(path)
    if given.exists():
        return given
    try:
        return folder / given.relative_to(config.get("out") or ".")
    except (ValueError, TypeError):
        return given


def _optional(read: Callable[[], Any]) -> Any:
    try:
        return read()
    except (InputError, OSError, ValueError, TypeError, KeyError, RecursionError, yaml.YAMLError):
        return None
