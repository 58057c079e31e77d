"""Callbacks: resumable training, out-of-fold predictions, pictures for TensorBoard."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pandas as pd
import tensorflow as tf

from rbkeras import pictures
from rbkeras.data.labels import BOGUS, REAL
from rbkeras.decision import Decision
from rbkeras.errors import InputError
from rbkeras.files import read_json, whole_file, write_json
from rbkeras.inference import predict_logits
from rbkeras.losses import score


def readable_states(folder: str | Path) -> list[tuple[int, Path]]:
    """List the states that `Backup` has kept: epochs done, and their weights; the last one last.

    Those that are damaged are removed, with a word: training goes on from the one before.
    """
    paths = Path(folder).glob("epoch-*.weights.h5")
    states = sorted((int(path.name.split("-")[1].split(".")[0]), path) for path in paths)
    return [state for state in states if _is_readable(state[1])]


def _is_readable(path: Path) -> bool:
    def read(_: str, item: h5py.Dataset | h5py.Group) -> None:
        if isinstance(item, h5py.Dataset):
            item[()]

    try:
        with h5py.File(path) as file:
            file.visititems(read)
    except (OSError, KeyError, ValueError, RuntimeError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            # The disk's fault, or its owner's; the state may be whole.
            raise
        print(f"{path}: expected the state of a training, but it is damaged, and is removed")
        path.unlink()
        return False
    return True


class Backup(keras.callbacks.BackupAndRestore):
    """`BackupAndRestore` that survives being killed while it writes.

    Keras writes weights and then, in another file, the epoch that they are of; after a kill in
    between they are of another. Here the name says the epoch. The last two states are kept, also
    when training ends, until whoever trains knows that what they were for is done.
    """

    def __init__(self, folder: str | Path):
        super().__init__(str(folder), delete_checkpoint=False)

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Restore the last state that can be read; where there is none, training begins anew."""
        states = readable_states(self.backup_dir)
        if not states:
            return
        epoch, weights = states[-1]
        write_json(self._training_metadata_path, {"epoch": epoch})
        self._weights_path = str(weights)
        super().on_train_begin(logs)

    def _save_model(self) -> None:
        name = f"epoch-{self._current_epoch}.weights.h5"
        with whole_file(Path(self.backup_dir) / name) as temporary:
            self.model.save_weights(temporary)
        write_json(self._training_metadata_path, {"epoch": self._current_epoch})
        for path in Path(self.backup_dir).glob("epoch-*.weights.h5"):
            if path.name not in (name, f"epoch-{self._current_epoch - 1}.weights.h5"):
                path.unlink()


class StopOnDivergence(keras.callbacks.Callback):
    """Raise `InputError` as soon as the training loss is NaN or infinite.

    Raising, unlike `TerminateOnNaN`, skips the end of training, so that no callback saves or
    predicts with a network that is of no use.
    """

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Look at the loss."""
        loss = (logs or {}).get("loss", 0.0)
        if not np.isfinite(loss):
            raise InputError(
                f"expected a finite training loss, found {loss} in batch {batch}: training "
                "diverged; lower --optimizer.learning_rate or set --optimizer.clip_norm 1"
            )


class BestWeights(keras.callbacks.Callback):
    """Keep the weights with the lowest validation loss, stop when they stay so, restore them.

    Unlike `EarlyStopping`, it remembers across interruptions what the best was: its state lies in
    `folder`. That has to be inside the folder of `Backup`, so that both are forgotten together:
    later callbacks may be interrupted too, and a training that is taken up again has to end after
    the same epoch and with the same weights.

    Parameters
    ----------
    folder
        Where the best weights and the state are kept.
    patience
        Epochs without improvement after which training stops; None never stops.
    """

    def __init__(self, folder: str | Path, *, patience: int | None = None):
        super().__init__()
        self.folder = Path(folder)
        self.patience = patience
        self.best, self.best_epoch = np.inf, -1

    @property
    def _weights(self) -> Path:
        return self.folder / "best.weights.h5"

    @property
    def _state(self) -> Path:
        return self.folder / "best.json"

    def epochs(self, wanted: int) -> int:
        """Say how many epochs there are: all, or as many as patience lasted before a kill."""
        stopped = read_json(self._state).get("stopped") if self._state.exists() else None
        return wanted if stopped is None else stopped + 1

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Take up the state of an interrupted run."""
        self.best, self.best_epoch = np.inf, -1
        if self._state.exists() and self._weights.exists():
            state = read_json(self._state)
            self.best, self.best_epoch = state["best"], state["epoch"]

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Compare, keep, and stop when patience is spent."""
        value = (logs or {})["val_loss"]
        if value < self.best:
            self.best, self.best_epoch = float(value), epoch
            with whole_file(self._weights) as temporary:
                self.model.save_weights(temporary)
            write_json(self._state, {"best": self.best, "epoch": epoch})
        if self.patience is not None and epoch - self.best_epoch >= self.patience:
            self.model.stop_training = True
            state = {"best": self.best, "epoch": self.best_epoch, "stopped": epoch}
            write_json(self._state, state)

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Put the best weights back."""
        if self._weights.exists():
            self.model.load_weights(self._weights)


class OutOfFoldPredictions(keras.callbacks.Callback):
    """Write the trained network's predictions of the fold it never saw when training ends.

    Parameters
    ----------
    predict
        From the trained model to a table of identities, labels and logits.
    path
        The CSV file, written whole or not at all.
    """

    def __init__(self, predict: Callable[[keras.Model], pd.DataFrame], path: str | Path):
        super().__init__()
        self.predict = predict
        self.path = Path(path)

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Predict and write."""
        table = self.predict(self.model)
        with whole_file(self.path) as temporary:
            table.to_csv(temporary, index=False)


class Decide(keras.callbacks.Callback):
    """Give the trained model its threshold and calibration when training ends.

    Has to stand before `SaveModel`, and sees the weights that are kept.

    Parameters
    ----------
    decide
        From the trained model to its `Decision`, or None.
    """

    def __init__(self, decide: Callable[[keras.Model], Decision | None]):
        super().__init__()
        self.decide = decide

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Measure, and let the model carry it."""
        self.model.decision = self.decide(self.model)


class SaveModel(keras.callbacks.Callback):
    """Save the trained model when training ends, whole or not at all.

    A callback rather than a line after `fit`, so that a kill meanwhile finds it undone and the
    training not lost.
    """

    def __init__(self, path: str | Path):
        super().__init__()
        self.path = Path(path)

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Save, optimizer included."""
        with whole_file(self.path) as temporary:
            self.model.save(temporary)


class ValidationPictures(keras.callbacks.Callback):
    """Log ROC curve, score histograms and the worst mistakes on the validation part.

    Parameters
    ----------
    validation
        Batches of (stamps, labels), as for `Model.fit`.
    folder
        TensorBoard log directory.
    every
        Epochs between pictures; the last epoch has them too.
    worst
        Number of mistakes shown.
    """

    def __init__(
        self, validation: tf.data.Dataset, folder: str | Path, *, every: int = 5, worst: int = 16
    ):
        super().__init__()
        self.validation = validation
        self.folder = str(folder)
        self.every = every
        self.worst = worst
        self._last = -1

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Log every so many epochs."""
        self._last = epoch
        if (epoch + 1) % self.every == 0:
            self._log(epoch)

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Log the network that is kept."""
        if self._last >= 0:
            self._log(self._last + 1)

    def _log(self, step: int) -> None:
        labels, scores, worst = self._collect()
        real, bogus = scores[labels == REAL], scores[labels == BOGUS]
        if not len(real) or not len(bogus) or not np.isfinite(scores).all():
            return
        # Opened here and closed: a writer kept open would not survive being copied.
        writer = tf.summary.create_file_writer(self.folder)
        with writer.as_default(step=step):
            log_figure("validation/roc", pictures.roc_figure(real, bogus, title="validation"))
            log_figure("validation/scores", pictures.score_figure(real, bogus, title="validation"))
            tf.summary.histogram("scores/real", real)
            tf.summary.histogram("scores/bogus", bogus)
            stamps = np.stack([stamp for _, stamp, _ in worst])
            captions = [caption for _, _, caption in worst]
            log_figure("validation/worst_mistakes", pictures.stamps_figure(stamps, captions))
        writer.close()

    def _collect(self) -> tuple[np.ndarray, np.ndarray, list[tuple[float, np.ndarray, str]]]:
        """Score the validation part; keep only the stamps that are most wrong."""
        all_labels, all_scores = [], []
        worst: list[tuple[float, np.ndarray, str]] = []
        for stamps, labels in self.validation.as_numpy_iterator():
            scores = np.asarray(score(predict_logits(self.model, [stamps])))
            labelled = labels >= 0
            all_labels.append(labels[labelled])
            all_scores.append(scores[labelled])
            wrongness = np.where(labels == REAL, -scores, scores)
            for i in np.flatnonzero(labelled)[np.argsort(-wrongness[labelled])[: self.worst]]:
                caption = f"{'real' if labels[i] == REAL else 'bogus'}, score {scores[i]:+.1f}"
                worst.append((float(wrongness[i]), stamps[i], caption))
            worst = sorted(worst, key=lambda item: -item[0])[: self.worst]
        return np.concatenate(all_labels), np.concatenate(all_scores), worst


def log_figure(name: str, figure: Any) -> None:
    """Write a matplotlib figure to the current TensorBoard writer, at its current step."""
    image = tf.io.decode_png(pictures.png_bytes(figure), channels=3)
    tf.summary.image(name, image[tf.newaxis])
