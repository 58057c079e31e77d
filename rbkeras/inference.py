"""Loading a trained model and scoring stamps with it."""

import zipfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import tensorflow as tf

from rbkeras.averaging import mean_prediction
from rbkeras.data.pipeline import array_dataset, stamp_dataset
from rbkeras.data.records import IDENTITY, Records, reading
from rbkeras.data.sources import require_stamp_shape
from rbkeras.data.symmetries import symmetric_views
from rbkeras.errors import InputError, first_line
from rbkeras.model_contents import require_known_contents
from rbkeras.model_file import trained_model
from rbkeras.models.classifier import RealBogusClassifier
from rbkeras.models.precision import precision
from rbkeras.second_look import look_again


def load_classifier(path: str | Path, *, compile: bool = False) -> RealBogusClassifier:
    """Load `model.keras`, or the one inside a run directory, in Keras's safe mode.

    Nor is anything built but what `rbkeras.model_contents` knows.

    Parameters
    ----------
    path
        The file or the directory.
    compile
        Bring back loss, metrics and optimizer too, to go on training or to save again.

    Raises
    ------
    InputError
        When there is no such file, it is damaged, or it holds another kind of model.
    """
    path = trained_model(path)
    # By the ending Keras decides how to read it, and other ways have no safe mode.
    if path.suffix != ".keras" or not zipfile.is_zipfile(path):
        raise InputError(f"{path}: expected a .keras file, found something else or a part of one")
    require_known_contents(path)
    try:
        model = keras.saving.load_model(path, compile=False, safe_mode=True)
    except (ValueError, TypeError, KeyError, OSError, zipfile.BadZipFile) as error:
        raise InputError(
            f"{path}: expected a whole .keras file, but loading says: {first_line(error)}"
        ) from None
    if not isinstance(model, RealBogusClassifier):
        raise InputError(f"{path}: expected a RealBogusClassifier, found {type(model).__name__}")
    if compile:
        with precision(model.precision):
            model = keras.saving.load_model(path, compile=True, safe_mode=True)
    return model


def check_stamp_shape(model: keras.Model, shape: tuple[int, ...], *, source: str | Path) -> None:
    """Raise `InputError` naming `source` unless the model takes stamps of this shape."""
    require_stamp_shape(shape, model.input_shape[1:], source=source)


def predict_logits(
    model: keras.Model,
    batches: Iterable[Any],
    *,
    symmetries: bool = False,
    again_from: float | None = None,
) -> np.ndarray:
    """Run the model over batches of stamps (N, H, W, C); float32 logits (N, 2) in their order.

    With `symmetries`, logits of the mean probability over all rotations and flips of each stamp, at
    eight times the cost (four for a rectangle): what a network still makes of orientation cancels.
    With `again_from`, stamps that score above that alone get it, see `rbkeras.second_look`.
    """
    # Called directly rather than through Model.predict, which would build its loop anew, and
    # trace the network again, for every one of many inputs.
    step = _inference_step(model)

    def logits_of(stamps: Any) -> np.ndarray:
        return step(stamps).numpy()

    outputs = [np.zeros((0, 2), np.float32)]
    for batch in batches:
        if symmetries:
            views = symmetric_views(np.asarray(batch))
            mean = mean_prediction(np.stack([logits_of(view) for view in views]))
            outputs.append(mean.astype(np.float32))
            continue
        logits = logits_of(batch)
        if again_from is not None:
            logits = look_again(logits_of, np.asarray(batch), logits, from_score=again_from)
        outputs.append(logits)
    return np.concatenate(outputs)


def _inference_step(model: keras.Model) -> Callable[[tf.Tensor], tf.Tensor]:
    step = getattr(model, "_rbkeras_inference_step", None)
    if step is None:
        signature = tf.TensorSpec((None, *model.input_shape[1:]), tf.float32)
        step = tf.function(
            lambda stamps: model(stamps, training=False), input_signature=[signature]
        )
        # Kept on the model, so that it lives exactly as long.
        object.__setattr__(model, "_rbkeras_inference_step", step)
    return step


def score_array(
    model: keras.Model,
    stamps: np.ndarray,
    *,
    source: str | Path,
    batch_size: int = 512,
    again_from: float | None = None,
) -> np.ndarray:
    """Logits, float32 (N, 2), of an array of stamps (N, H, W, C); `source` is named in errors.

    `again_from` as in `predict_logits`.
    """
    check_stamp_shape(model, stamps.shape[1:], source=source)
    batches = array_dataset(stamps, batch_size=batch_size)
    return predict_logits(model, batches, again_from=again_from)


def score_records(
    model: keras.Model,
    records: Records,
    targets: np.ndarray | None = None,
    *,
    batch_size: int = 512,
    symmetries: bool = False,
    again_from: float | None = None,
) -> pd.DataFrame:
    """Score a records directory, or the samples of it that `targets` selects.

    Parameters
    ----------
    model, records
        Of the same stamp shape.
    targets
        int8 (N,): `SKIP` leaves a sample out; None scores all.
    batch_size
        Stamps at once.
    symmetries, again_from
        See `predict_logits`.

    Returns
    -------
    pandas.DataFrame
        Columns unique_index, detector_id, sample_index, label, prediction0, prediction1, in
        order of unique_index.
    """
    check_stamp_shape(model, records.stamp_shape, source=records.directory)
    targets = np.zeros(len(records), np.int8) if targets is None else targets
    dataset = stamp_dataset(records, targets, batch_size=batch_size, with_index=True)
    indices: list[np.ndarray] = []

    def remember() -> Iterator[tf.Tensor]:
        for stamps, index in dataset:
            indices.append(index.numpy())
            yield stamps

    with reading(records.directory):
        logits = predict_logits(model, remember(), symmetries=symmetries, again_from=again_from)
    index = np.concatenate(indices) if indices else np.zeros(0, np.int64)
    table = records.samples.loc[index, IDENTITY].reset_index(drop=True)
    table["prediction0"], table["prediction1"] = logits[:, 0], logits[:, 1]
    return table.sort_values("unique_index", ignore_index=True)
