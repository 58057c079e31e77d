"""Untrained networks in every format, for the benchmarks of scoring: weights change no duration."""

from pathlib import Path

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

    from rbkeras.exporting.litert_file import convert_to_litert, quantize, write_litert
    from rbkeras.exporting.notes import make_notes
    from rbkeras.exporting.onnx_file import write_onnx
    from rbkeras.models.classifier import build_classifier

    exported = folder / "exported"
    exported.mkdir(parents=True)
    keras.utils.set_random_seed(0)
    model = build_classifier(SHAPE, network=network)
    model.save(folder / "model.keras")
    notes = make_notes(SHAPE, None, precision="float32")
    write_onnx(model, exported / "model.onnx", notes=notes)
    content = convert_to_litert(model)
    write_litert(content, exported / "model.tflite", notes=notes)
    whole = quantize(content, random_stamps(64))
    write_litert(whole, exported / "model_int8.tflite", notes=notes)
    return folder
