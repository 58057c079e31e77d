"""What a run directory says of how its model came about: settings, versions, the machine."""

import contextlib
import platform
from collections.abc import Iterator
from importlib import metadata
from typing import Any

import tensorflow as tf

from rbkeras import __version__
from rbkeras.config import FitConfig
from rbkeras.errors import InputError
from rbkeras.files import whole_file, write_json
from rbkeras.machine import processors
from rbkeras.options import write_config
from rbkeras.resume import OtherSettingsError

_PACKAGES = ("keras", "tensorflow", "numpy", "pandas", "scikit-learn", "scipy", "astropy")
_DESCRIPTIONS = ("config.yaml", "environment.json")


def describe(config: FitConfig, *, stage1_alone: bool = False) -> None:
    """Write settings and versions; where a model is, those of stage 1 alone are not written."""
    if stage1_alone and _has_model(config):
        # They are of the model, and have settings that are none of stage 1's.
        return
    write_config(config.out / _DESCRIPTIONS[0], config)
    write_json(config.out / _DESCRIPTIONS[1], _environment())


def _has_model(config: FitConfig) -> bool:
    return (config.out / "model.keras").exists()


@contextlib.contextmanager
def described(config: FitConfig, *, stage1_alone: bool = False) -> Iterator[None]:
    """Say in the run directory what is done there; take it back where that is refused.

    What is said there of a model stands until stage 2 replaces that one.
    """
    paths = [config.out / name for name in _DESCRIPTIONS]
    before = [path.read_bytes() if path.exists() else None for path in paths]
    if not _has_model(config):
        describe(config, stage1_alone=stage1_alone)
    try:
        yield
    except InputError as error:
        if not (isinstance(error, OtherSettingsError) or _has_model(config)):
            raise
        for path, content in zip(paths, before, strict=True):
            if content is not None:
                with whole_file(path) as temporary:
                    temporary.write_bytes(content)
        raise


def _environment() -> dict[str, Any]:
    return {
        "rbkeras": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpus": processors(),
        "gpus": _gpus(),
        "packages": {name: metadata.version(name) for name in _PACKAGES},
    }


def _gpus() -> str:
    """Name the graphics processors that TensorFlow computes on."""
    found = tf.config.list_physical_devices("GPU")
    details = [tf.config.experimental.get_device_details(gpu) for gpu in found]
    return ", ".join(each.get("device_name", "unknown") for each in details) or "none"
