"""What a `.keras` file may be made of.

Keras's safe mode refuses files that carry code, and was got round more than once (CVE-2025-1550,
CVE-2025-8747, CVE-2025-9906). So the description in the file is read before Keras builds anything
from it, and nothing passes but classes that merely compute.
"""

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rbkeras.errors import InputError, first_line

_DESCRIPTION = "config.json"
# Networks have a tenth of a megabyte; a few kilobytes can unpack to gigabytes.
_LARGEST = 8 * 2**20

# Of layers some load other files or run what they are given, so these are listed.
_LAYERS = [
    "Activation",
    "Add",
    "AveragePooling2D",
    "BatchNormalization",
    "Concatenate",
    "Conv2D",
    "Dense",
    "DepthwiseConv2D",
    "Dropout",
    "Flatten",
    "GlobalAveragePooling2D",
    "GlobalMaxPooling2D",
    "GroupNormalization",
    "InputLayer",
    "LayerNormalization",
    "MaxPooling2D",
    "Multiply",
    "ReLU",
    "Reshape",
    "SeparableConv2D",
    "SpatialDropout2D",
    "ZeroPadding2D",
]

_TENSOR = "__keras_tensor__"
_CLASSES: dict[str | None, list[str]] = {
    None: [_TENSOR],
    "keras": ["DTypePolicy", "Sequential"],
    "keras.layers": _LAYERS,
    "keras.src.models.functional": ["Functional"],
}
# Every class of these computes and no more. Functions, whose names begin in lower case, are not
# classes.
_MODULES = (
    "keras.constraints",
    "keras.initializers",
    "keras.losses",
    "keras.metrics",
    "keras.optimizers",
    "keras.optimizers.schedules",
    "keras.regularizers",
)


def require_known_contents(path: Path) -> None:
    """Raise `InputError` unless a `.keras` file describes nothing but classes that are known.

    Known are rbkeras's own, the layers of ordinary image networks, and Keras's initializers,
    regularizers, constraints, optimizers, losses and metrics.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            size = archive.getinfo(_DESCRIPTION).file_size
            if size > _LARGEST:
                raise InputError(
                    f"{path}: expected a description of a network, found one of {size:,} bytes"
                )
            description = json.loads(archive.read(_DESCRIPTION))
        unknown = sorted({_name(found) for found in _classes(description) if not _known(found)})
    except (KeyError, ValueError, OSError, RecursionError, zipfile.BadZipFile) as error:
        said = first_line(error)
        raise InputError(
            f"{path}: expected a whole .keras file, but reading {_DESCRIPTION} says: {said}"
        ) from None
    if unknown:
        raise InputError(
            f"{path}: expected nothing but layers of rbkeras and of ordinary image networks, since "
            f"others may run code, found {', '.join(unknown)}"
        )


def _classes(described: Any) -> Iterator[dict[str, Any]]:
    if isinstance(described, dict):
        if "class_name" in described:
            yield described
        described = list(described.values())
    if isinstance(described, list):
        for part in described:
            yield from _classes(part)


def _known(described: dict[str, Any]) -> bool:
    name, module = described["class_name"], described.get("module")
    registered = described.get("registered_name")
    if not isinstance(name, str) or not isinstance(module, str | None):
        return False
    if name != _TENSOR and not name[:1].isupper():
        return False
    if registered == f"rbkeras>{name}":
        return str(module).partition(".")[0] == "rbkeras"
    if registered not in (None, name):
        return False
    return name in _CLASSES.get(module, ()) or module in _MODULES


def _name(described: dict[str, Any]) -> str:
    registered = described.get("registered_name")
    if registered not in (None, described["class_name"]):
        return str(registered)
    return f"{described.get('module')}.{described['class_name']}"
