"""Stage 1 in a run directory: cross-validation that ends in `label_errors.csv`."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from rbkeras.calibration import shift_prevalence
from rbkeras.crossval import FOLD_MARKER, PREDICTIONS_FILE, fold_targets, merge_folds, train_fold
from rbkeras.data.labels import REAL, SKIP, TRUSTED, require_both_classes
from rbkeras.data.records import IDENTITY, open_records
from rbkeras.distribution import do_on_dask
from rbkeras.errors import InputError
from rbkeras.files import whole_file
from rbkeras.label_errors import rate_labels, read_label_errors, write_label_errors
from rbkeras.locks import alone
from rbkeras.losses import RealBogusLoss
from rbkeras.options import as_plain, from_plain
from rbkeras.pieces import Piece
from rbkeras.resume import has_content, is_finished
from rbkeras.rundir import Run
from rbkeras.verdicts import gather_verdicts

#: Verdicts on samples that `label_errors.csv` has no row for.
_WITHOUT_ROW = "other_verdicts.csv"


def fold_folders(run: Run) -> list[Path]:
    """One folder per fold, those of every further repeat after those of the one before."""
    own = run.config.label_errors
    return [run.folder / "folds" / str(k) for k in range(own.folds * own.repeats)]


def check_folds(run: Run) -> None:
    """Raise `InputError` where a fold, or what folds judge, would lack samples or a class."""
    own = run.config.label_errors
    if own.table is None and run.config.policy != "keep":
        doubted = np.where(run.trusted, np.int8(SKIP), run.labels)
        require_both_classes(
            doubted, source=run.records.directory, part="the labels that are not trusted"
        )
        for k in range(len(fold_folders(run))):
            require_both_classes(
                _targets(run, k)[0],
                source=run.records.directory,
                part=f"the training part of fold {k}",
            )


def train_folds(run: Run, only: int | None = None, *, dask: str | None = None) -> None:
    """Train every fold that is not finished, or just one; here, or by workers."""
    count = len(fold_folders(run))
    if only is not None and not 0 <= only < count:
        raise InputError(f"--fold: expected 0 to {count - 1}, got {only}")
    folds = range(count) if only is None else [only]
    if dask is None:
        for k in folds:
            _train_fold(run, k)
        return
    folds = [k for k in folds if not _is_finished(run, k)]
    if run.relabelled is not None:
        raise ValueError("dask: expected a run on the records' own labels, got others")
    settings = as_plain(run.config)
    pieces = [
        Piece(
            name=f"fold {k}",
            work=train_fold_elsewhere,
            arguments={"settings": settings, "fold": k},
            log=run.folder / "logs" / f"fold-{k}.txt",
        )
        for k in folds
    ]
    do_on_dask(pieces, dask, title="stage 1")


def train_fold_elsewhere(*, settings: dict[str, Any], fold: int) -> None:
    """Train a fold of a run whose settings are as `rbkeras.options.as_plain` gives them."""
    config = from_plain(settings)
    train_folds(Run(config, open_records(config.records_directory)), fold)


def _targets(run: Run, k: int) -> tuple[np.ndarray, np.ndarray]:
    repeat, fold = divmod(k, run.config.label_errors.folds)
    return fold_targets(run.labels, run.folds(repeat), fold)


def fold_model(run: Run) -> dict[str, Any]:
    """Give the options of the network of the folds."""
    own = run.config.label_errors
    if own.network and own.network != run.config.model.network:
        # Options and normalisation of stage 2's network do not carry over to another one.
        return {"network": own.network}
    return asdict(run.config.model)


def _fold_settings(run: Run, k: int, training: np.ndarray) -> dict[str, Any]:
    """Collect what a fold depends on; not the number of repeats, since more change no fold."""
    own = run.config.label_errors
    return (
        run.settings()
        | run.batches.mixing(training)
        | {
            "fold": k,
            "folds": own.folds,
            "epochs": run.epochs(own.epochs, own.min_steps, training),
            "model": fold_model(run),
        }
        | run.start_settings("label_errors")
    )


def _shift(run: Run, training: np.ndarray) -> float:
    """Log-odds between the fraction of reals in the training part and that in its batches."""
    mixture = run.batches.mixture(training)
    if mixture is None or mixture.prevalence is None:
        return 0.0
    here = np.sum(training == REAL) / np.sum(training >= 0)
    return float(shift_prevalence(0.0, trained=mixture.prevalence, stated=here))


def _train_fold(run: Run, k: int) -> None:
    folder, targets = fold_folders(run)[k], _targets(run, k)
    settings = _fold_settings(run, k, targets[0])
    with alone(folder):
        train_fold(
            run.records,
            targets,
            folder=folder,
            make_model=lambda steps: run.compiled(
                settings["model"], RealBogusLoss(), steps, start=run.start("label_errors")
            ),
            make_dataset=run.batches.dataset,
            epochs=settings["epochs"],
            why_epochs=run.why_epochs(settings["epochs"], "label_errors"),
            seed=run.config.seed + k,
            deterministic=run.config.deterministic,
            # A network trained on every orientation may be asked in every one.
            symmetries=run.config.training.augment,
            shift=_shift(run, targets[0]),
            settings=settings,
            overwrite=run.config.overwrite,
        )
        run.batches.forget(*targets)


def _is_finished(run: Run, k: int) -> bool:
    folder = fold_folders(run)[k]
    settings = _fold_settings(run, k, _targets(run, k)[0])
    return is_finished(folder / FOLD_MARKER, settings) and has_content(folder / PREDICTIONS_FILE)


def unfinished_folds(run: Run) -> list[str]:
    """Name the folds that are not finished with the settings of this run."""
    folders = fold_folders(run)
    return [folder.name for k, folder in enumerate(folders) if not _is_finished(run, k)]


def _named_settings(run: Run) -> str:
    path = run.folder / "config.yaml"
    return f", as by --config {path}" if path.exists() else ""


def merge(run: Run) -> pd.DataFrame:
    """Join the folds and rate the labels.

    Raises
    ------
    InputError
        When a fold is not finished, is of other settings or other records, or its predictions are
        damaged.
    """
    missing = unfinished_folds(run)
    if missing:
        raise InputError(
            f"{run.folder / 'folds'}: expected all {len(fold_folders(run))} folds finished with "
            f"the settings of this run, missing {', '.join(missing)}; train them with "
            f"rbkeras.find_label_errors --fold, or give the settings of those that are there"
            f"{_named_settings(run)}"
        )
    own = run.config.label_errors
    folders = fold_folders(run)
    held_out = [np.flatnonzero(_targets(run, k)[1] != SKIP) for k in range(len(folders))]
    predictions = merge_folds(folders, repeats=own.repeats, held_out=held_out)
    # Those of the run, which a study may have changed, are judged, and not those of the records.
    known = predictions["unique_index"]
    predictions = predictions.assign(label=run.labels[known])
    if run.trusted.any():
        predictions[TRUSTED] = run.trusted[known]
    return rate_labels(predictions, rule=own.rule, threshold=own.threshold, certainty=own.certainty)


def known_verdicts(run: Run) -> pd.Series:
    """All verdicts: of the file that is named, of those kept here and of a named table."""
    named = run.config.label_errors.table
    kept = [run.folder / "label_errors.csv", run.folder / _WITHOUT_ROW, *([named] if named else [])]
    return gather_verdicts(run.config.verdicts, kept, run.records.samples)


def write(run: Run, rated: pd.DataFrame) -> None:
    """Write `label_errors.csv` without losing the verdicts that a person wrote into it."""
    path, known = run.folder / "label_errors.csv", known_verdicts(run)
    idle = len(known) - (0 if run.verdicts is None else len(run.verdicts))
    if idle:
        print(f"{path}: verdicts kept but not obeyed: {idle}; to obey them, name --verdicts")
    # First those that the table has no row for: samples held out, or without a label.
    rest, without_row = known[~known.index.isin(rated["unique_index"])], run.folder / _WITHOUT_ROW
    if len(rest):
        table = run.records.samples[IDENTITY].iloc[rest.index].assign(verdict=rest.to_numpy())
        with whole_file(without_row) as temporary:
            table.to_csv(temporary, index=False)
    verdicts = known.reindex(rated["unique_index"], fill_value="").to_numpy()
    write_label_errors(path, rated.assign(verdict=verdicts))
    if not len(rest):
        without_row.unlink(missing_ok=True)


def find_label_errors(run: Run, *, dask: str | None = None) -> pd.DataFrame | None:
    """Stage 1, or the table of an earlier one; None where the policy needs none.

    `dask` says who trains the folds, as in `rbkeras.distribution.do_on_dask`. Nothing but the folds
    is written, see `write`.
    """
    if run.config.label_errors.table is not None:
        return read_label_errors(run.config.label_errors.table, run.labels)
    if run.config.policy == "keep":
        return None
    train_folds(run, dask=dask)
    return merge(run)
