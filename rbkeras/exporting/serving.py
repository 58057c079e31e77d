"""What every exported model computes: raw stamps to logits, score and calibrated probability."""

from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from rbkeras.decision import Decision
from rbkeras.errors import WorkError
from rbkeras.exporting.runtimes import INPUT
from rbkeras.models.classifier import RealBogusClassifier


def serving_function(model: RealBogusClassifier) -> Callable[[tf.Tensor], dict[str, tf.Tensor]]:
    """Return a function of stamps.

    Returns
    -------
    Callable
        float32 (N, H, W, C), NaN allowed, to a dict of float32: 'logits' (N, 2), bogus and real;
        'score' (N,), their difference; 'probability' (N,) of real, by the model's decision, or the
        logistic of the score where it has none.
    """

    def serve(stamps: tf.Tensor) -> dict[str, tf.Tensor]:
        logits = tf.cast(model(stamps, training=False), tf.float32)
        score = logits[:, 1] - logits[:, 0]
        return {
            "logits": logits,
            "score": score,
            "probability": tf.sigmoid(_log_odds(score, model.decision)),
        }

    return serve


def _log_odds(score: tf.Tensor, decision: Decision | None) -> tf.Tensor:
    """Do in float32 tensors what `Decision.probability` does in float64 arrays."""
    if decision is None:
        return score
    if decision.knots is None:
        log_odds = score / np.float32(decision.temperature)
    else:
        probability = _interpolated(score, *decision.knots)
        log_odds = tf.math.log(probability) - tf.math.log(1.0 - probability)
    offset = np.float32(decision.offset())
    return log_odds + offset if offset else log_odds


def _interpolated(x: tf.Tensor, at: tuple[float, ...], values: tuple[float, ...]) -> tf.Tensor:
    """Interpolate as `numpy.interp` does; it is a sum of ramps, which every format can express."""
    at32, rises = np.array(at, np.float32), np.diff(np.array(values)).astype(np.float32)
    # Knots that are one number in float32 make a step.
    widths = np.maximum(np.diff(at32), np.finfo(np.float32).tiny)
    ramps = tf.clip_by_value((x[:, tf.newaxis] - at32[:-1]) / widths, 0.0, 1.0)
    # Without a second knot there is no ramp, and a score that is NaN still has to show.
    return np.float32(values[0]) + tf.reduce_sum(ramps * rises, axis=1) + 0.0 * x


def write_saved_model(
    model: RealBogusClassifier, folder: Path, *, name: Path | None = None
) -> None:
    """Write a SavedModel whose signatures `serving_default` and `serve` are `serving_function`.

    `name` is what errors call it, where that is another path.

    Raises
    ------
    WorkError
        When it cannot be written.
    """
    archive = keras.export.ExportArchive()
    archive.track(model)
    signature = [tf.TensorSpec((None, *model.input_shape[1:]), tf.float32, name=INPUT)]
    archive.add_endpoint("serve", serving_function(model), input_signature=signature)
    try:
        archive.write_out(str(folder), verbose=False)
    except tf.errors.OpError as error:
        # A full disk, which TensorFlow does not tell as others do: behind a path of its own.
        reason = str(error.message).partition("\n")[0].rpartition("; ")[2]
        raise WorkError(f"{name or folder}: cannot be written: {reason}") from error
