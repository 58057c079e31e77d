"""What computes logits: one interface over the ways to run a trained network."""

from pathlib import Path
from typing import Literal, Protocol

import numpy as np

from rbkeras.decision import Decision
from rbkeras.errors import InputError

EngineName = Literal["keras", "onnx", "litert"]


class Engine(Protocol):
    """A trained network, ready to be run.

    Attributes
    ----------
    stamp_shape
        Height, width, channels of the stamps that it takes.
    decision
        Threshold and calibration; None where the model carries none.
    """

    stamp_shape: tuple[int, int, int]
    decision: Decision | None

    def logits(self, stamps: np.ndarray) -> np.ndarray:
        """Logits (bogus, real), float32 (N, 2), of stamps, float32 (N, H, W, C), NaN allowed."""
        ...


def load_engine(
    path: str | Path,
    *,
    engine: EngineName = "keras",
    threads: int | None = None,
) -> Engine:
    """Load a trained network to run it.

    Parameters
    ----------
    path
        The model file, or the run directory that holds it.
    engine
        What runs it.
    threads
        Most threads to compute with; None lets the engine choose.

    Raises
    ------
    InputError
        When the model is at fault, or there is no such engine.
    """
    if engine != "keras":
        raise InputError(f"--engine: expected keras, got {engine}")
    return KerasEngine(path, threads=threads)


def model_file(path: str | Path, engine: EngineName) -> tuple[Path, EngineName]:
    """Find the file that an engine shall run, and the engine that its ending asks for."""
    path = Path(path)
    return (path / "model.keras" if path.is_dir() else path), engine


class KerasEngine:
    """The model as it was trained, run by TensorFlow, which is loaded here and not before."""

    def __init__(self, path: str | Path, *, threads: int | None = None):
        import tensorflow as tf

        if threads is not None:
            try:
                tf.config.threading.set_intra_op_parallelism_threads(threads)
                tf.config.threading.set_inter_op_parallelism_threads(threads)
            except RuntimeError:
                raise InputError(
                    f"--threads: expected before TensorFlow computes anything, got {threads} after"
                ) from None
        from rbkeras.inference import load_classifier

        self._model = load_classifier(path)
        self.stamp_shape = tuple(self._model.input_shape[1:])
        self.decision = self._model.decision

    def logits(self, stamps: np.ndarray) -> np.ndarray:
        """See `Engine`. Batches of any length are run without tracing the network again."""
        from rbkeras.inference import predict_logits

        return predict_logits(self._model, [stamps])
