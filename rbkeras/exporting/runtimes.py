"""Engines that run exported files: ONNX Runtime and LiteRT, without TensorFlow."""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np

from rbkeras.decision import Decision
from rbkeras.errors import InputError, first_line
from rbkeras.exporting import notes
from rbkeras.machine import processors

#: Name of the signature in LiteRT files and SavedModels, and of its input and outputs.
SIGNATURE, INPUT = "serving_default", "stamp"
OUTPUTS = ("logits", "score", "probability")

# Stamps that a thread takes at once: few enough that their activations stay in the processor's
# cache. Each thread has stamps of its own, because threads that share every operation wait for one
# another at its end, and busily: beside other work that halved the rate.
_CHUNK = 24
_WEIGHTS_FOLDER = "session.model_external_initializers_file_folder_path"


def as_stamps(stamps: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    """Return stamps as contiguous float32 (N, *shape), or raise ValueError."""
    stamps = np.ascontiguousarray(stamps, dtype=np.float32)
    if stamps.shape[1:] != tuple(shape):
        expected = ", ".join(map(str, ("N", *shape)))
        raise ValueError(f"stamps: expected shape ({expected}), got {stamps.shape}")
    return stamps


class OnnxEngine:
    """ONNX Runtime; see `rbkeras.engines.Engine`."""

    def __init__(self, path: str | Path, *, threads: int | None = None):
        ort = _package("onnxruntime", path, extra="onnx")
        options = ort.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = 1
        self._threads = ThreadPoolExecutor(threads or processors(), "onnx")
        try:
            # As bytes, and with no place for them: a file could name others to be read as weights.
            options.add_session_config_entry(_WEIGHTS_FOLDER, "/nowhere")
            self._session = ort.InferenceSession(
                Path(path).read_bytes(), options, providers=["CPUExecutionProvider"]
            )
            entries = self._session.get_modelmeta().custom_metadata_map
        except OSError as error:
            raise InputError(f"{path}: cannot be read: {error.strerror}") from None
        except Exception as error:
            # ONNX Runtime's exceptions share no class of their own.
            raise InputError(_damaged(path, "ONNX", error)) from None
        found = notes.parse_notes(entries.get(notes.ENTRY), Path(path))
        self.stamp_shape: tuple[int, int, int] = found[0]
        self.decision: Decision | None = found[1]

    def logits(self, stamps: np.ndarray) -> np.ndarray:
        """See `rbkeras.engines.Engine`."""
        stamps = as_stamps(stamps, self.stamp_shape)
        return _joined(self._threads.map(self._run, _chunks(stamps)))

    def outputs(self, stamps: np.ndarray) -> dict[str, np.ndarray]:
        """Return what the file says of the stamps, by the names of `OUTPUTS`."""
        stamps = as_stamps(stamps, self.stamp_shape)
        return dict(zip(OUTPUTS, self._session.run(OUTPUTS, {INPUT: stamps}), strict=True))

    def _run(self, stamps: np.ndarray) -> np.ndarray:
        return self._session.run(["logits"], {INPUT: stamps})[0]


class LiteRTEngine:
    """LiteRT; see `rbkeras.engines.Engine`."""

    def __init__(self, path: str | Path, *, threads: int | None = None):
        interpreter = _package("ai_edge_litert.interpreter", path, extra="litert")
        try:
            content = Path(path).read_bytes()
        except OSError as error:
            raise InputError(f"{path}: cannot be read: {error.strerror}") from None
        # An interpreter belongs to one thread at a time; the content is shared by all.
        workers = threads or processors()
        self._idle: SimpleQueue[Any] = SimpleQueue()
        self._threads = ThreadPoolExecutor(workers, "litert")
        try:
            for _ in range(workers):
                loaded = interpreter.Interpreter(model_content=content, num_threads=1)
                self._idle.put(loaded.get_signature_runner(SIGNATURE))
        except (ValueError, RuntimeError) as error:
            raise InputError(_damaged(path, "LiteRT", error)) from None
        found = notes.parse_notes(notes.read_from_litert(content), Path(path))
        self.stamp_shape: tuple[int, int, int] = found[0]
        self.decision: Decision | None = found[1]

    def logits(self, stamps: np.ndarray) -> np.ndarray:
        """See `rbkeras.engines.Engine`."""
        stamps = as_stamps(stamps, self.stamp_shape)
        # Another number of stamps makes LiteRT plan its memory anew, so the last part of many is
        # filled up.
        missing = -len(stamps) % _CHUNK if len(stamps) > _CHUNK else 0
        filled = np.concatenate([stamps, stamps[:missing]]) if missing else stamps
        return _joined(self._threads.map(self._run, _chunks(filled)))[: len(stamps)]

    def outputs(self, stamps: np.ndarray) -> dict[str, np.ndarray]:
        """Return what the file says of the stamps, by the names of `OUTPUTS`."""
        return self._all_of(as_stamps(stamps, self.stamp_shape))

    def _run(self, stamps: np.ndarray) -> np.ndarray:
        return self._all_of(stamps)["logits"]

    def _all_of(self, stamps: np.ndarray) -> dict[str, np.ndarray]:
        runner = self._idle.get()
        try:
            return runner(**{INPUT: stamps})
        finally:
            self._idle.put(runner)


def _chunks(stamps: np.ndarray) -> Iterator[np.ndarray]:
    return (stamps[first : first + _CHUNK] for first in range(0, len(stamps), _CHUNK))


def _joined(parts: Iterable[np.ndarray]) -> np.ndarray:
    return np.concatenate([np.zeros((0, 2), np.float32), *parts])


def _package(name: str, path: str | Path, *, extra: str) -> Any:
    import importlib

    try:
        return importlib.import_module(name)
    except ImportError:
        package = name.partition(".")[0].replace("_", "-")
        raise InputError(
            f"{path}: running it needs the package {package}, which is not installed; "
            f"pip install 'rbkeras[{extra}]'"
        ) from None


def _damaged(path: str | Path, kind: str, error: Exception) -> str:
    return f"{path}: expected a whole {kind} file of rbkeras, but loading says: {first_line(error)}"
