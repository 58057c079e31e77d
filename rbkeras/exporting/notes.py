"""What an exported file says of itself, and where each format keeps it.

Reading needs neither TensorFlow nor Keras.
"""

import json
import struct
from pathlib import Path
from typing import Any

from rbkeras._version import __version__
from rbkeras.decision import Decision
from rbkeras.errors import InputError

#: Name of the entry: a metadata property of ONNX, a metadata buffer of LiteRT.
ENTRY = "rbkeras"

#: Of the file in a SavedModel's folder, where TensorFlow keeps what it does not read.
SAVED_MODEL_NOTES = "assets.extra/rbkeras.json"

#: Version of what stands here; readers refuse others.
FORMAT = 1

CLASSES = ("bogus", "real")


def make_notes(
    stamp_shape: tuple[int, int, int], decision: Decision | None, *, precision: str
) -> dict[str, Any]:
    """Collect what goes into the file, as plain numbers, strings, lists and dicts."""
    labels = decision.labels if decision is not None else None
    return {
        "format": FORMAT,
        "rbkeras": __version__,
        "stamp_shape": list(stamp_shape),
        "channels": stamp_shape[-1],
        "classes": list(CLASSES),
        "labels": labels or {name: value for value, name in enumerate(CLASSES)},
        "score": "logits[:, 1] - logits[:, 0]; real where it is at least the threshold",
        "missing_pixels": "NaN or infinite; filled inside the model",
        "precision": precision,
        "threshold": None if decision is None else decision.operating_point.threshold,
        "calibration": "none" if decision is None else decision.calibration,
        "decision": None if decision is None else decision.to_json(),
    }


def parse_notes(
    text: str | bytes | None, source: Path
) -> tuple[tuple[int, int, int], Decision | None]:
    """Read stamp shape and decision.

    Raises
    ------
    InputError
        When there are no notes, or not those of this version.
    """
    if text is None:
        raise InputError(f"{source}: expected a model that rbkeras.export wrote, found another")
    try:
        notes = json.loads(text)
        if notes["format"] != FORMAT:
            raise ValueError(f"format {notes['format']}, written by rbkeras {notes['rbkeras']}")
        height, width, channels = map(int, notes["stamp_shape"])
        decision = notes["decision"]
        if decision is not None:
            decision = Decision.from_json(decision)
        return (height, width, channels), decision
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{source}: expected notes of format {FORMAT} inside, found others: {error}"
        ) from None


def add_to_litert(content: bytes, notes: dict[str, Any]) -> bytes:
    """Return the file's content with the notes as one of its metadata buffers."""
    import flatbuffers
    import numpy as np
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(content, 0)
    for known in model.buffers:
        # The quantizer puts weights behind the tables, at offsets that will not hold any more.
        if known.offset > 1:
            end = known.offset + known.size
            known.data = np.frombuffer(content[known.offset : end], np.uint8)
            known.offset = known.size = 0
    buffer = schema.BufferT()
    buffer.data = np.frombuffer(json.dumps(notes).encode(), np.uint8)
    entry = schema.MetadataT()
    entry.name, entry.buffer = ENTRY, len(model.buffers)
    model.buffers.append(buffer)
    model.metadata = [
        *(known for known in model.metadata or [] if known.name not in (ENTRY, ENTRY.encode())),
        entry,
    ]
    builder = flatbuffers.Builder(len(content) + 2**16)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def read_from_litert(content: bytes) -> bytes | None:
    """Return the notes in the content of a LiteRT file; None when there are none."""
    from ai_edge_litert import schema_py_generated as schema

    try:
        model = schema.Model.GetRootAs(content, 0)
        for index in range(model.MetadataLength()):
            entry = model.Metadata(index)
            if entry.Name() == ENTRY.encode():
                return model.Buffers(entry.Buffer()).DataAsNumpy().tobytes()
    except (struct.error, ValueError, IndexError, AttributeError, TypeError):
        return None
    return None
