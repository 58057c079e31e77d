"""Writing ONNX files with tf2onnx."""

import json
import logging
from pathlib import Path
from typing import Any

import tensorflow as tf

from rbkeras.exporting.notes import ENTRY
from rbkeras.exporting.runtimes import INPUT
from rbkeras.exporting.serving import serving_function
from rbkeras.models.classifier import RealBogusClassifier

# Old enough for runtimes of several years ago; nothing in the networks needs a later one.
OPSET = 17


def write_onnx(model: RealBogusClassifier, path: Path, *, notes: dict[str, Any]) -> None:
    """Write an ONNX file with the outputs of `serving_function` and the notes inside.

    Raises
    ------
    ImportError
        Without the packages of the extra `onnx`.
    """
    import onnx
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
    for key, text in ((ENTRY, json.dumps(notes)), ("threshold", json.dumps(notes["threshold"]))):
        proto.metadata_props.add(key=key, value=text)
    onnx.checker.check_model(proto, full_check=True)
    path.write_bytes(proto.SerializeToString())


def _select(ctx: Any, node: Any, name: str, args: Any) -> None:
    """Turn TensorFlow's choice into ONNX's Where; both broadcast alike."""
    node.type = "Where"
