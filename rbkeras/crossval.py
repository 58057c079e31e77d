"""Stage 1: cross-validation whose folds resume, run alone, and write what they predict."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import tensorflow as tf

from rbkeras.averaging import mean_prediction
from rbkeras.callbacks import OutOfFoldPredictions, SaveModel
from rbkeras.data.labels import SKIP, require_both_classes
from rbkeras.data.records import Records, reading
from rbkeras.data.splits import repeat_seed
from rbkeras.errors import InputError
from rbkeras.inference import score_records
from rbkeras.resume import claim, mark_finished
from rbkeras.tables import read_table
from rbkeras.training import epochs_done, fit_classifier, forget_backup, set_seed

PREDICTIONS_FILE = "validation_result.csv"
_COLUMNS = ("unique_index", "prediction0", "prediction1")
FOLD_MARKER = "fold.json"


def fold_targets(
    labels: np.ndarray, fold_of: np.ndarray, fold: int
) -> tuple[np.ndarray, np.ndarray]:
    """Select a fold's training part and its held-out part among the labelled samples.

    Parameters
    ----------
    labels
        Integers (N,) in {0, 1, -1} by unique_index.
    fold_of
        Fold of each sample, (N,).
    fold
        Which one is held out.

    Returns
    -------
    tuple of numpy.ndarray
        Two int8 arrays (N,) for `stamp_dataset`: disjoint, together all labelled samples.
    """
    labels = np.asarray(labels, dtype=np.int8)
    labelled = labels >= 0
    held_out = labelled & (fold_of == fold)
    training = labelled & (fold_of != fold)
    return np.where(training, labels, SKIP), np.where(held_out, labels, SKIP)


def train_fold(
    records: Records,
    targets: tuple[np.ndarray, np.ndarray],
    *,
    folder: Path,
    make_model: Callable[[int], keras.Model],
    make_dataset: Callable[..., tf.data.Dataset],
    epochs: int,
    why_epochs: str = "",
    seed: int,
    deterministic: bool,
    symmetries: bool,
    shift: float,
    settings: dict[str, Any],
    overwrite: bool,
) -> None:
    """Train one fold and write its out-of-fold predictions, unless that is done already.

    Nothing is chosen by the held-out part: the number of epochs is fixed, and its metrics are
    only logged. So the predictions are of a network that its labels have not touched.

    Parameters
    ----------
    records, targets
        The data and what `fold_targets` returned.
    folder
        Gets `model.keras`, `log.csv`, `validation_result.csv`, `tensorboard/`.
    make_model
        From the number of training steps to a compiled model.
    make_dataset
        From targets, `training` (bool) and `begun` (epochs that are done) to batches of (stamps,
        labels).
    epochs, seed, deterministic
        As in `rbkeras.training`.
    why_epochs
        What is said behind their number.
    symmetries
        Average the out-of-fold predictions over the stamps' symmetries.
    shift
        Added to their log-odds: what batches had of reals, the samples may not have.
    settings, overwrite
        As in `rbkeras.resume.claim`.
    """
    marker = folder / FOLD_MARKER
    product, model_file = folder / PREDICTIONS_FILE, folder / "model.keras"
    others = [model_file, *(folder / name for name in ("log.csv", "tensorboard", "backup"))]
    if claim(marker, settings, products=[product], derived=others, overwrite=overwrite):
        print(f"{folder}: finished already")
        forget_backup(folder)
        return
    training, held_out = targets

    def predictions(model: keras.Model) -> pd.DataFrame:
        table = score_records(model, records, held_out, symmetries=symmetries)
        table["prediction1"] += shift
        # The labels of this cross-validation, which may be others than the records'.
        return table.assign(label=held_out[table["unique_index"]])

    require_both_classes(training, source=folder, part="the training part")
    keras.backend.clear_session()
    begun = epochs_done(folder)
    set_seed(repeat_seed(seed, begun), deterministic=deterministic)
    stamps = np.sum(training != SKIP)
    print(f"{folder}: training on {stamps} stamps for {epochs} epochs{why_epochs}")
    with reading(records.directory):
        dataset = make_dataset(training, training=True, begun=begun)
        fit_classifier(
            make_model(epochs * int(dataset.cardinality())),
            dataset,
            make_dataset(held_out, training=False),
            epochs=epochs,
            folder=folder,
            keep_best=False,
            callbacks=[
                OutOfFoldPredictions(predictions, product),
                SaveModel(model_file),
            ],
        )
    mark_finished(marker, settings)
    forget_backup(folder)


def merge_folds(
    folders: Sequence[Path], *, repeats: int = 1, held_out: Sequence[np.ndarray] | None = None
) -> pd.DataFrame:
    """Join the out-of-fold predictions of all folds, and average those of several repeats.

    Parameters
    ----------
    folders
        Folders of all folds of the first cross-validation, then of the second, and so on.
    repeats
        Number of cross-validations.
    held_out
        The `unique_index` of the samples that each fold has to have predicted; None takes what
        is there.

    Returns
    -------
    pandas.DataFrame
        As `rbkeras.inference.score_records`; of several repeats, `mean_prediction` of the logits.

    Raises
    ------
    InputError
        When folds are not finished; it names them. When a fold has not predicted what it should,
        or repeats predict different samples.
    """
    missing = [folder.name for folder in folders if not (folder / PREDICTIONS_FILE).exists()]
    if missing:
        raise InputError(
            f"{folders[0].parent}: expected all {len(folders)} folds finished, missing "
            f"{', '.join(missing)}; train them with rbkeras.find_label_errors --fold"
        )
    tables = [read_table(folder / PREDICTIONS_FILE, _COLUMNS) for folder in folders]
    for folder, table, samples in zip(folders, tables, held_out or (), strict=held_out is not None):
        if not np.array_equal(np.sort(table["unique_index"]), np.sort(samples)):
            raise InputError(
                f"{folder / PREDICTIONS_FILE}: expected predictions of the {len(samples)} samples "
                f"that fold {folder.name} holds out, found {len(table)} rows, not of the same "
                "samples; the file is damaged: remove the fold's folder and train it again"
            )
    if repeats == 1:
        return pd.concat(tables)
    size = len(tables) // repeats
    joined = [
        pd.concat(tables[first : first + size]).sort_values("unique_index", ignore_index=True)
        for first in range(0, len(tables), size)
    ]
    for repeat, table in enumerate(joined):
        if not table["unique_index"].equals(joined[0]["unique_index"]):
            raise InputError(
                f"{folders[0].parent}: expected predictions of the same samples in every repeat, "
                f"found others in folds {repeat * size} to {repeat * size + size - 1}"
            )
    logits = np.stack([table[["prediction0", "prediction1"]].to_numpy() for table in joined])
    merged = joined[0].copy()
    merged[["prediction0", "prediction1"]] = mean_prediction(logits)
    return merged
