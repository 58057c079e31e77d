"""Scoring engines: Keras itself, and what runs an exported model without TensorFlow.

Importing this module loads neither; `load_engine` loads the one that is asked for.
"""

from collections.abc import Callable
from pathlib import Path
from shlex import quote
from typing import Any, Literal, Protocol

import numpy as np

from rbkeras.decision import Decision
from rbkeras.errors import InputError
from rbkeras.exporting.runtimes import LiteRTEngine, OnnxEngine, as_stamps
from rbkeras.file_states import checksum
from rbkeras.files import read_json
from rbkeras.second_look import look_again

EngineName = Literal["keras", "onnx", "litert"]

#: Folder of a run directory that `rbkeras.export` writes to, and the file of each engine in it.
EXPORTED = "exported"
EXPORTED_FILES = {"onnx": "model.onnx", "litert": "model.tflite"}
#: Beside them: how well each agrees with Keras, and of which model it was made.
EXPORT_SUMMARY = "export.json"

_ENDINGS: dict[str, EngineName] = {".keras": "keras", ".onnx": "onnx", ".tflite": "litert"}

# Stamps that Keras takes at once, however many it is given: memory stays bounded.
_CHUNK = 512


class Engine(Protocol):
    """What scores stamps.

    Attributes
    ----------
    stamp_shape
        Height, width and channels of a stamp.
    decision
        Threshold and calibration of the model; None where it has none.
    """

    stamp_shape: tuple[int, int, int]
    decision: Decision | None

    def logits(self, stamps: np.ndarray) -> np.ndarray:
        """Score raw stamps.

        Parameters
        ----------
        stamps
            float32 (N, H, W, C), raw counts; N may be 0, NaN and infinities are missing pixels.

        Returns
        -------
        numpy.ndarray
            float32 (N, 2): bogus, real. Their difference is the score.

        Raises
        ------
        ValueError
            When the stamps have another shape.
        """
        ...


def load_engine(
    path: str | Path,
    *,
    engine: EngineName = "keras",
    threads: int | None = None,
    once: bool = False,
) -> Engine:
    """Load a model with the engine that shall run it.

    Parameters
    ----------
    path
        Run directory, `model.keras`, or an exported file (`.onnx`, `.tflite`), whose ending then
        says the engine. For a run directory or a `.keras` file, 'onnx' and 'litert' take the
        exported file that lies in the folder `exported` beside the model.
    engine
        'keras', 'onnx' or 'litert'.
    threads
        Processor threads; None takes every processor that this process may use.
    once
        Score every stamp once, also with a model that asks for a second look.

    Raises
    ------
    InputError
        When there is no such file, it is damaged or no model of rbkeras, or the engine's package
        is not installed.
    """
    if engine not in ("keras", "onnx", "litert"):
        raise InputError(f"--engine: expected keras, onnx or litert, got {engine}")
    if threads is not None and threads < 1:
        raise InputError(f"--threads: expected at least 1, got {threads}")
    path, engine = model_file(path, engine)
    kinds: dict[EngineName, Callable[..., Engine]]
    kinds = {"keras": KerasEngine, "onnx": OnnxEngine, "litert": LiteRTEngine}
    network = kinds[engine](path, threads=threads)
    if once or network.decision is None or network.decision.second_look is None:
        return network
    return LookingAgain(network)


def model_file(
    path: str | Path, engine: EngineName, *, check_origin: bool = True
) -> tuple[Path, EngineName]:
    """Find the file that an engine shall run, and the engine that its ending asks for.

    Of an exported file `check_origin` has the model beside it read, to see that it was made of it.
    """
    path = Path(path)
    own: EngineName = "keras"
    if path.is_dir():
        # A run directory is not looked through, however much lies in it.
        if not (path / "model.keras").exists() and any(path.glob("**/saved_model.pb")):
            raise InputError(
                f"{path}: expected a run directory, .keras, .onnx or .tflite file, found a "
                "SavedModel, which TensorFlow Serving takes"
            )
        folder, path = path, path / "model.keras"
    elif path.suffix in _ENDINGS:
        # By its name also where a file is named from inside of it.
        folder, own = path.parent, _ENDINGS[path.suffix]
        if not folder.name:
            folder = path.absolute().parent
    else:
        what = "another ending" if path.exists() else "no such file"
        raise InputError(
            f"{path}: expected a run directory, .keras, .onnx or .tflite file, found {what}"
        )
    if own != "keras":
        if engine not in ("keras", own):
            raise InputError(
                f"{path}: expected a file that the engine {engine} runs, found one of {own}"
            )
        engine = own
        model = folder.parent / "model.keras"
        if check_origin and folder.name == EXPORTED and path.exists() and model.exists():
            _check_origin(path, model)
    elif engine != "keras":
        if not path.exists():
            raise InputError(f"{path}: expected a trained model, found none")
        path, model = folder / EXPORTED / EXPORTED_FILES[engine], path
        if not path.exists():
            raise InputError(
                f"{path}: expected an exported model, found none; "
                f"`python -m rbkeras.export {quote(str(model))} --formats {engine}` makes it"
            )
        if check_origin:
            _check_origin(path, model)
    if not path.exists():
        raise InputError(f"{path}: expected a trained model, found none")
    return path, engine


def _check_origin(path: Path, model: Path) -> None:
    """Refuse an exported file that was made of an earlier model than the one there is now."""
    try:
        entries = read_json(path.with_name(EXPORT_SUMMARY))["files"].items()
        made_of = {entry["path"]: (name, entry["model_sha256"]) for name, entry in entries}
        file_format, digest = made_of[path.name]
    except (InputError, KeyError, TypeError, AttributeError, ValueError):
        # Nothing is known of it, as of a file that was copied here alone.
        return
    if digest != checksum(model):
        raise InputError(
            f"{path}: expected it exported from {model}, which is another model by now; "
            f"`python -m rbkeras.export {quote(str(model))} --formats {file_format}` makes it anew"
        )


class LookingAgain:
    """An engine that gives stamps the second look that its model asks for; see `Engine`.

    The decision is that of the scores after it.
    """

    def __init__(self, network: Engine):
        decision = network.decision
        if decision is None or decision.second_look is None:
            raise ValueError("network: expected one whose model asks for a second look")
        self._network = network
        self._from_score = decision.second_look.from_score
        self.stamp_shape = network.stamp_shape
        self.decision: Decision | None = decision.final

    def logits(self, stamps: np.ndarray) -> np.ndarray:
        """See `Engine`."""
        first = self._network.logits(stamps)
        return look_again(self._network.logits, stamps, first, from_score=self._from_score)


class KerasEngine:
    """Keras on TensorFlow, traced once; see `Engine`."""

    def __init__(self, path: Path, *, threads: int | None = None):
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

        self._model: Any = load_classifier(path)
        self.stamp_shape: tuple[int, int, int] = tuple(self._model.input_shape[1:])
        self.decision: Decision | None = self._model.decision

    def logits(self, stamps: np.ndarray) -> np.ndarray:
        """See `Engine`."""
        from rbkeras.inference import predict_logits

        stamps = as_stamps(stamps, self.stamp_shape)
        parts = (stamps[first : first + _CHUNK] for first in range(0, len(stamps), _CHUNK))
        return predict_logits(self._model, parts)
