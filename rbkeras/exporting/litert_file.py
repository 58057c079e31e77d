"""Writing LiteRT files: float with TensorFlow's converter, int8 with Google's quantizer."""

import contextlib
import io
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from rbkeras.exporting.notes import add_to_litert
from rbkeras.exporting.runtimes import SIGNATURE
from rbkeras.exporting.samples import in_batches
from rbkeras.exporting.serving import write_saved_model
from rbkeras.models.classifier import BACKBONE_LAYER, RealBogusClassifier


def convert_to_litert(model: RealBogusClassifier) -> bytes:
    """Return a float LiteRT file with the outputs of `serving_function`, without notes."""
    with tempfile.TemporaryDirectory() as folder:
        write_saved_model(model, Path(folder))
        converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=[SIGNATURE])
        # Nothing that would need TensorFlow's own kernels when it runs.
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        return converter.convert()


def quantize(content: bytes, calibration: np.ndarray) -> bytes:
    """Make int8 of the convolutions and dense layers of a float LiteRT file, weights and inputs.

    What lies before and between them, the normalisation above all, stays float: raw counts have
    no range that 256 levels would cover.

    Parameters
    ----------
    content
        From `convert_to_litert`.
    calibration
        Stamps, float32 (N, H, W, C), from whose activations the ranges are taken.

    Raises
    ------
    ImportError
        Without the packages of the extra `litert`.
    """
    from ai_edge_quantizer import qtyping, quantizer

    job = quantizer.Quantizer(content)
    for operation in (qtyping.TFLOperationName.CONV_2D, qtyping.TFLOperationName.FULLY_CONNECTED):
        job.add_static_config(
            regex=f".*{BACKBONE_LAYER}.*",
            operation_name=operation,
            activation_num_bits=8,
            weight_num_bits=8,
        )
    # It shows bars and warns of what it does itself.
    with contextlib.redirect_stderr(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ranges = job.calibrate({SIGNATURE: list(in_batches(calibration))})
        result = job.quantize(ranges, enable_progress_report=False)
    return bytes(result.quantized_model)


def write_litert(content: bytes, path: Path, *, notes: dict[str, Any]) -> None:
    """Write what either of the above returned, with the notes inside."""
    path.write_bytes(add_to_litert(content, notes))
