"""Untrained networks in every format, for the benchmarks of scoring: weights change no duration."""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np

SHAPE = (29, 29, 3)


def random_stamps(count: int) -> np.ndarray:
    """Noise with a source in the middle, float32 (count, 29, 29, 3)."""
    stamps = np.random.default_rng(0).normal(100, 30, (count, *SHAPE)).astype(np.float32)
    stamps[:, 13:16, 13:16] += 500
    return stamps


def write_exported(folder: Path, network: str) -> Path:
    """Write a run directory's `model.keras` and `exported` folder."""
    import keras

    from rbkeras.exporting import litert_file, onnx_file
    from rbkeras.exporting.notes import make_notes
    from rbkeras.models.classifier import build_classifier

    exported = folder / "exported"
    exported.mkdir(parents=True)
    keras.utils.set_random_seed(0)
    model = build_classifier(SHAPE, network=network)
    model.save(folder / "model.keras")
    notes = make_notes(SHAPE, None, precision="float32")
    calibration = random_stamps(64)
    kinds: tuple[tuple[ModuleType, Callable, Callable, str], ...] = (
        (onnx_file, onnx_file.convert_to_onnx, onnx_file.write_onnx, "onnx"),
        (litert_file, litert_file.convert_to_litert, litert_file.write_litert, "tflite"),
    )
    for module, convert, write, ending in kinds:
        converted = convert(model)
        write(converted, exported / f"model.{ending}", notes=notes)
        quantized = module.quantize(converted, calibration)
        write(quantized, exported / f"model_int8.{ending}", notes=notes)
    return folder
