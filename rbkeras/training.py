"""Compiling and training a classifier, in a folder where an interrupted training goes on."""

import math
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import pandas as pd
import tensorflow as tf

from rbkeras.callbacks import Backup, BestWeights, StopOnDivergence, readable_states
from rbkeras.errors import InputError
from rbkeras.files import whole_file
from rbkeras.losses import RealBogusLoss
from rbkeras.streaming_metrics import default_metrics


def set_seed(seed: int, *, deterministic: bool = False) -> None:
    """Seed Python, numpy and TensorFlow; `deterministic` also orders parallel arithmetic."""
    keras.utils.set_random_seed(seed)
    if deterministic:
        tf.config.experimental.enable_op_determinism()


def enough_epochs(epochs: int, *, min_steps: int, samples: int, batch_size: int) -> int:
    """Return `epochs`, or as many more as `min_steps` optimizer steps take on so many samples."""
    steps = max(math.ceil(samples / batch_size), 1)
    return max(epochs, math.ceil(min_steps / steps))


def learning_rate_schedule(
    peak: float, *, schedule: str, warmup: float, total_steps: int
) -> float | keras.optimizers.schedules.LearningRateSchedule:
    """Return a constant rate, or a linear warm-up followed by a cosine fall to 0."""
    if schedule == "constant":
        return peak
    if schedule != "cosine":
        raise ValueError(f"schedule: expected 'cosine' or 'constant', got {schedule!r}")
    warmup_steps = round(warmup * total_steps)
    if not warmup_steps:
        return keras.optimizers.schedules.CosineDecay(peak, max(total_steps, 1))
    return keras.optimizers.schedules.CosineDecay(
        peak / warmup_steps,
        max(total_steps - warmup_steps, 1),
        warmup_target=peak,
        warmup_steps=warmup_steps,
    )


def make_optimizer(
    *,
    total_steps: int,
    name: str = "adamw",
    learning_rate: float = 1e-3,
    schedule: str = "cosine",
    warmup: float = 0.05,
    weight_decay: float = 0.01,
    momentum: float = 0.0,
    clip_value: float | None = None,
    clip_norm: float | None = None,
) -> keras.optimizers.Optimizer:
    """Build an optimizer.

    Parameters
    ----------
    total_steps
        Steps of the whole training, which the cosine schedule spans.
    name
        'adamw', 'adam', 'sgd' or 'adadelta'.
    learning_rate, schedule, warmup
        See `learning_rate_schedule`.
    weight_decay
        For adamw; not applied to biases, nor to normalisation parameters.
    momentum
        For sgd.
    clip_value, clip_norm
        Bounds on each element of the gradient, or on the norm of the whole; at most one.
    """
    if clip_value is not None and clip_norm is not None:
        raise InputError(
            "expected at most one of --optimizer.clip_value and --optimizer.clip_norm, got both"
        )
    rate = learning_rate_schedule(
        learning_rate, schedule=schedule, warmup=warmup, total_steps=total_steps
    )
    common: dict[str, Any] = {"clipvalue": clip_value, "global_clipnorm": clip_norm}
    if name == "adamw":
        optimizer = keras.optimizers.AdamW(rate, weight_decay=weight_decay, **common)
        optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta", "tau"])
        return optimizer
    if name == "adam":
        return keras.optimizers.Adam(rate, **common)
    if name == "sgd":
        return keras.optimizers.SGD(rate, momentum=momentum, **common)
    if name == "adadelta":
        return keras.optimizers.Adadelta(rate, **common)
    raise ValueError(f"name: expected adamw, adam, sgd or adadelta, got {name!r}")


def compile_classifier(
    model: keras.Model,
    *,
    optimizer: keras.optimizers.Optimizer,
    loss: RealBogusLoss,
    jit_compile: bool = False,
) -> None:
    """Compile with the metrics every training logs."""
    model.compile(
        optimizer=optimizer, loss=loss, metrics=default_metrics(), jit_compile=jit_compile
    )


def fit_classifier(
    model: keras.Model,
    training: tf.data.Dataset,
    validation: tf.data.Dataset,
    *,
    epochs: int,
    folder: str | Path,
    keep_best: bool,
    patience: int | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> pd.DataFrame:
    """Train a compiled classifier; called again after an interruption, it goes on.

    Parameters
    ----------
    model
        Compiled.
    training, validation
        Batches of (stamps, labels).
    epochs
        Number of epochs.
    folder
        Gets `log.csv`, `tensorboard/` and `backup/`; called again with that one, training goes on,
        or its end is gone through once more. `forget_backup` removes it.
    keep_best
        End with the weights of the lowest validation loss instead of the last ones.
    patience
        With `keep_best`: epochs without improvement after which to stop.
    callbacks
        Further callbacks; at the end of training they see the weights that are kept.

    Returns
    -------
    pandas.DataFrame
        The log, one row per epoch.

    Raises
    ------
    InputError
        When the loss becomes NaN or infinite; nothing is saved then.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "log.csv"
    resuming = epochs_done(folder) > 0
    if resuming:
        _end_with_a_line(log)
    else:
        # The best weights, say, of one whose states are damaged.
        forget_backup(folder)
    best = []
    if keep_best:
        best = [BestWeights(folder / "backup" / "best", patience=patience)]
        epochs = best[0].epochs(epochs)
    model.fit(
        training,
        validation_data=validation,
        epochs=epochs,
        shuffle=False,  # the dataset shuffles itself
        verbose=1 if sys.stdout.isatty() else 2,
        callbacks=[
            StopOnDivergence(),
            *best,
            keras.callbacks.CSVLogger(log, append=resuming),
            keras.callbacks.TensorBoard(folder / "tensorboard", write_graph=False),
            *callbacks,
            # Last, so that a state is only kept once everything of its epoch is written.
            Backup(folder / "backup"),
        ],
    )
    return _one_row_per_epoch(log)


def epochs_done(folder: str | Path) -> int:
    """Count the epochs of an interrupted training that `fit_classifier` would go on after."""
    states = readable_states(Path(folder) / "backup")
    return states[-1][0] if states else 0


def forget_backup(folder: str | Path) -> None:
    """Remove what an interrupted training would go on from, once it is finished and so marked."""
    shutil.rmtree(Path(folder) / "backup", ignore_errors=True)


def _end_with_a_line(path: Path) -> None:
    """Cut off a last row of which a full disk, or a kill, has left a part."""
    if path.exists():
        written = path.read_bytes()
        whole = written[: written.rfind(b"\n") + 1]
        if len(whole) < len(written):
            with whole_file(path) as temporary:
                temporary.write_bytes(whole)


def _one_row_per_epoch(path: Path) -> pd.DataFrame:
    """Drop the first of two rows of an epoch that was interrupted and repeated."""
    history = pd.read_csv(path)
    whole = history.drop_duplicates("epoch", keep="last").reset_index(drop=True)
    if len(whole) < len(history):
        with whole_file(path) as temporary:
            whole.to_csv(temporary, index=False)
    return whole
