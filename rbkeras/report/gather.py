"""Reading what a run directory has to show; whatever is absent or unreadable becomes None."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from rbkeras.evaluation import SOURCE
from rbkeras.label_errors import COLUMNS, PREDICTIONS
from rbkeras.report import reading

#: Names that surveys give a column, by the name that a report knows.
_OTHER_NAMES = {"magpsf": "magnitude", "mag": "magnitude", "s2n": "snr"}
_IDENTITY = ("unique_index", "label")


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
    config = reading.settings(folder / "config.yaml")
    out, data = config.get("out"), config.get("data")
    records: Any = None
    if isinstance(data, str):
        records = reading.optional(lambda: open_records(reading.located(data, folder, out)))
    if records is not None:
        found = reading.optional(lambda: records.fingerprint)
        if _trained_on(folder) not in (None, found):
            records = None  # made anew since
    samples = None if records is None else reading.optional(lambda: records.samples)
    source = reading.contents(folder / "evaluation" / SOURCE) or config
    files = {
        label: reading.located(source[name], folder, out)
        for label, name in ((1, "test_real"), (0, "test_bogus"))
        if isinstance(source.get(name), str)
    }
    rated = None
    if config.get("policy") != "keep":
        # With that policy, a table would be of an earlier run.
        rated = reading.table(
            folder / "label_errors.csv",
            whole=(*_IDENTITY, "suspect"),
            numbers=COLUMNS,
        )
    stage1 = config.get("label_errors")
    return Findings(
        title=folder.resolve().name,
        folder=folder,
        model=model or reading.optional(lambda: load_classifier(folder)),
        records=records,
        config=config or None,
        environment=reading.contents(folder / "environment.json") or None,
        test=_test(folder / "evaluation" / "scores.csv", files, samples),
        validation=_of_records(
            "validation part of stage 2", _predictions(folder / "validation.csv"), samples
        ),
        out_of_fold=_of_records("out-of-fold predictions of stage 1", rated, samples),
        metrics=reading.metrics(folder / "evaluation" / "metrics.json"),
        rated=rated,
        logs=reading.logs(folder, stage1 if isinstance(stage1, dict) else {}),
        test_files=files,
    )


def _trained_on(folder: Path) -> Any:
    """Fingerprint of the records that stage 2 has learnt from, if it is known."""
    settings = reading.contents(folder / "stage2.json").get("settings")
    return settings.get("records") if isinstance(settings, dict) else None


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
    table = reading.table(path.with_suffix(".csv"))
    return table if table is not None and len(table) == rows else None


def _predictions(path: Path) -> pd.DataFrame | None:
    return reading.table(path, whole=_IDENTITY, numbers=PREDICTIONS)


def _test(path: Path, files: dict[int, Path], samples: pd.DataFrame | None) -> Scored | None:
    held_out = _predictions(path)
    if held_out is not None:
        return _of_records("test set held out of the records", held_out, samples)
    table = reading.table(path, whole=("label", "sample_index"), numbers=("score",))
    if table is None:
        return None
    table["score"] = table["score"].astype(np.float32).astype(np.float64)
    return _whole("test set", _with_tables(table, files))


def _whole(name: str, table: pd.DataFrame) -> Scored | None:
    """Leave out scores that are not finite; None unless both classes are there."""
    table = table[np.isfinite(table["score"])].reset_index(drop=True)
    return Scored(name, table) if {0, 1} <= set(table["label"]) else None


def _with_tables(scores: pd.DataFrame, files: dict[int, Path]) -> pd.DataFrame:
    """Join the tables beside the test arrays to the scores."""
    parts = []
    for label, part in scores.groupby("label"):
        beside = read_test_table(files[label], len(part)) if label in files else None
        if beside is not None:
            # A unique_index would be of whatever records the stamps once were in.
            own = [name for name in beside if name not in part and name != "unique_index"]
            part = part.join(_with_gaps(beside[own]), on="sample_index")
        parts.append(part)
    return _renamed(pd.concat(parts, ignore_index=True))


def _with_gaps(table: pd.DataFrame) -> pd.DataFrame:
    """Keep whole numbers whole where the other class's table lacks the column."""
    whole = table.select_dtypes("integer").columns
    return table.astype(dict.fromkeys(whole, "Int64"))


def _renamed(table: pd.DataFrame) -> pd.DataFrame:
    """Give columns the names that a report knows, where it has no such column already."""
    names: dict[str, str] = {}
    for other, known in _OTHER_NAMES.items():
        if other in table and known not in table and known not in names.values():
            names[other] = known
    return table.rename(columns=names)


def _of_records(
    name: str, predictions: pd.DataFrame | None, samples: pd.DataFrame | None
) -> Scored | None:
    if predictions is None:
        return None
    table = predictions[predictions["label"] >= 0].reset_index(drop=True)
    # In float32, as thresholds were found: else the real that is the threshold may fall below it.
    logits = table[PREDICTIONS].astype(np.float32)
    table["score"] = (logits["prediction1"] - logits["prediction0"]).astype(np.float64)
    if samples is not None and table["unique_index"].max() < len(samples):
        own = [column for column in samples if column not in table]
        table = table.join(samples[own], on="unique_index")
    return _whole(name, _renamed(table))
