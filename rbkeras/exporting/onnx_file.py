"""Writing ONNX files: float with tf2onnx, int8 with ONNX Runtime's quantizer."""

import contextlib
import json
import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from rbkeras.exporting.notes import ENTRY
from rbkeras.exporting.runtimes import INPUT
from rbkeras.exporting.samples import in_batches
from rbkeras.exporting.serving import serving_function
from rbkeras.models.classifier import RealBogusClassifier

if TYPE_CHECKING:
    from onnx import ModelProto

# Old enough for runtimes of several years ago; nothing in the networks needs a later one.
OPSET = 17


def convert_to_onnx(model: RealBogusClassifier) -> "ModelProto":
    """Return a float ONNX model with the outputs of `serving_function`, without notes.

    Raises
    ------
    ImportError
        Without the packages of the extra `onnx`.
    """
    import tf2onnx

    logging.getLogger("tf2onnx").setLevel(logging.ERROR)
    signature = (tf.TensorSpec((None, *model.input_shape[1:]), tf.float32, name=INPUT),)
    function = tf.function(serving_function(model), input_signature=signature)
    proto, _ = tf2onnx.convert.from_function(
        function,
        input_signature=signature,
        opset=OPSET,
        # Left alone, tf2onnx turns choices into products, in which infinities and NaN spread.
        custom_op_handlers={"SelectV2": (_select, [])},
    )
    proto.producer_name = "rbkeras"
    for value in (*proto.graph.input, *proto.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "N"
    return proto


def quantize(proto: "ModelProto", calibration: np.ndarray) -> "ModelProto":
    """Make int8 of the convolutions of a float ONNX model, weights and inputs.

    What lies before and between them, the normalisation above all, stays float: raw counts have
    no range that 256 levels would cover. Weights have 7 bits, since sums of two products of 8
    overflow on processors without instructions for them.

    Parameters
    ----------
    proto
        From `convert_to_onnx`.
    calibration
        Stamps, float32 (N, H, W, C), from whose activations the ranges are taken.

    Raises
    ------
    ImportError
        Without the packages of the extra `onnx`.
    """
    import onnx
    from onnxruntime import quantization

    class Stamps(quantization.CalibrationDataReader):
        def __init__(self) -> None:
            self._batches = in_batches(calibration)

        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(self._batches, None)

    with tempfile.TemporaryDirectory() as folder, _without_warnings():
        path = Path(folder) / "model.onnx"
        quantization.quantize_static(
            proto,
            str(path),
            Stamps(),
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
            per_channel=True,
            reduce_range=True,
            op_types_to_quantize=["Conv"],
        )
        return onnx.load(path)


@contextlib.contextmanager
def _without_warnings() -> Iterator[None]:
    """Keep the quantizer from recommending a preparation that changes nothing here."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


def write_onnx(proto: "ModelProto", path: Path, *, notes: dict[str, Any]) -> None:
    """Write what either of the above returned, with the notes inside."""
    import onnx

    del proto.metadata_props[:]
    for key, text in ((ENTRY, json.dumps(notes)), ("threshold", json.dumps(notes["threshold"]))):
        proto.metadata_props.add(key=key, value=text)
    onnx.checker.check_model(proto, full_check=True)
    path.write_bytes(proto.SerializeToString())


def _select(ctx: Any, node: Any, name: str, args: Any) -> None:
    """Turn TensorFlow's choice into ONNX's Where; both broadcast alike."""
    node.type = "Where"
