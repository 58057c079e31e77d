"""The whole export: convert, check against Keras, and only then give the file its name."""

import contextlib
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rbkeras import __version__
from rbkeras.engines import EXPORT_SUMMARY, EXPORTED, EXPORTED_FILES
from rbkeras.errors import InputError, WorkError
from rbkeras.exporting import notes as own_notes
from rbkeras.exporting import parity, samples
from rbkeras.exporting.precision import in_float32
from rbkeras.exporting.runtimes import INPUT, OUTPUTS, SIGNATURE, LiteRTEngine, OnnxEngine
from rbkeras.file_states import checksum
from rbkeras.files import read_json, whole_file, write_json
from rbkeras.inference import load_classifier, predict_logits
from rbkeras.model_file import trained_model

#: What is written for each format, in the output folder. TensorFlow Serving wants a folder whose
#: subfolders are numbers, its versions.
FILES = {
    "saved_model": "saved_model/1",
    "onnx": EXPORTED_FILES["onnx"],
    "litert": EXPORTED_FILES["litert"],
    "int8": "model_int8.tflite",
    "onnx_int8": "model_int8.onnx",
}
#: Those whose ranges are taken from stamps.
CALIBRATED = ("int8", "onnx_int8")
FORMATS = tuple(FILES)

#: Stamps (N, H, W, C) to arrays by the names of `OUTPUTS`.
Outputs = Callable[[np.ndarray], dict[str, np.ndarray]]


@dataclass(frozen=True)
class Written:
    """A file or folder, how it compared with Keras, and the notes inside it."""

    format: str
    path: Path
    parity: parity.Parity
    notes: dict[str, Any]


def export_model(
    model: str | Path,
    *,
    formats: Sequence[str] = ("saved_model", "onnx", "litert"),
    out: str | Path | None = None,
    test_real: str | Path | None = None,
    test_bogus: str | Path | None = None,
    calibration: str | Path | None = None,
    say: Callable[[str], None] = print,
) -> list[Written]:
    """Write a trained model in other formats, each checked before it gets its name.

    Parameters
    ----------
    model
        `model.keras`, or the run directory that holds it.
    formats
        Of `FORMATS`.
    out
        Folder; None takes `exported` beside the model.
    test_real, test_bogus
        Stamps to compare on, both or neither; see `samples.check_sample`.
    calibration
        Stamps for int8; see `samples.calibration_sample`.
    say
        Takes a line about every file.

    Raises
    ------
    InputError
        When there is no model, a package is missing, stamps are at fault, or a file does not
        score as Keras does; files written before it stay.
    """
    path = Path(model)
    unknown = [name for name in formats if name not in FORMATS]
    if unknown or not formats:
        got = ", ".join(unknown) or "none"
        raise InputError(f"--formats: expected some of {', '.join(FORMATS)}, got {got}")
    _need_packages(formats)
    # Before it is read: should it change meanwhile, the files are not taken for the new one's.
    digest = checksum(trained_model(path))
    trained = load_classifier(path)
    classifier = in_float32(trained)
    if classifier is not trained:
        say("the network was trained in half precision; exported files compute in float32")
    folder = Path(out) if out is not None else (path if path.is_dir() else path.parent) / EXPORTED
    if "saved_model" in formats:
        _need_room(folder / FILES["saved_model"])
    shape = tuple(classifier.input_shape[1:])
    given = {
        name: None if file is None else Path(file)
        for name, file in (("test_real", test_real), ("test_bogus", test_bogus))
    }
    check = _Check(classifier, samples.check_sample(path, shape, **given))
    say(
        f"comparing with Keras on {check.usual} stamps of {check.sample.source}, and "
        f"{check.awkward} awkward ones"
    )
    ranges = None
    if set(CALIBRATED) & set(formats):
        named = None if calibration is None else Path(calibration)
        ranges = samples.calibration_sample(path, shape, calibration=named)
    written = []
    for name in FORMATS:
        if name in formats:
            own = ranges if name in CALIBRATED else None
            written.append(_write(name, folder / FILES[name], classifier, check, own))
            say(_sentence(written[-1]))
            # At once, so that it is true whatever becomes of the next.
            _summarise(folder, written, check, digest)
    return written


class _Check:
    """The stamps of a check, and Keras's logits of them."""

    def __init__(self, model: Any, sample: samples.Sample):
        awkward = parity.awkward_stamps(sample.stamps)
        self.sample, self.decision = sample, model.decision
        self.usual, self.awkward = len(sample.stamps), len(awkward)
        self.stamps = np.concatenate([sample.stamps, awkward])
        unknown = np.full(len(awkward), -1, np.int8)
        self.labels = np.concatenate([sample.labels, unknown])
        self.logits = predict_logits(
            model, np.array_split(self.stamps, -(-len(self.stamps) // 256))
        )

    def compare(self, outputs_of: Outputs, *, usual_only: bool) -> tuple[parity.Parity, str | None]:
        """Compare logits with Keras's, and the other outputs with what they should make of them."""
        count = self.usual if usual_only else len(self.stamps)
        outputs = outputs_of(self.stamps[:count])
        found = parity.compare_logits(
            self.logits[:count],
            outputs["logits"],
            labels=self.labels[:count],
            decision=self.decision,
        )
        return found, parity.outputs_fault(outputs, self.decision)


def _write(
    name: str, path: Path, model: Any, check: _Check, calibration: np.ndarray | None
) -> Written:
    shape = tuple(model.input_shape[1:])
    quantized = calibration is not None
    precision = "int8" if quantized else "float32"
    notes = own_notes.make_notes(shape, model.decision, precision=precision)
    with whole_file(path) as temporary, _without_patterns(temporary, name=path) as plain:
        if name == "saved_model":
            from rbkeras.exporting.serving import write_saved_model

            write_saved_model(model, plain, name=path)
            write_json(plain / own_notes.SAVED_MODEL_NOTES, notes)
            outputs_of = _saved_model_outputs(plain)
        elif name in ("onnx", "onnx_int8"):
            from rbkeras.exporting import onnx_file

            proto = onnx_file.convert_to_onnx(model)
            if calibration is not None:
                proto = onnx_file.quantize(proto, calibration)
            onnx_file.write_onnx(proto, temporary, notes=notes)
            outputs_of = OnnxEngine(temporary).outputs
        else:
            from rbkeras.exporting import litert_file

            content = litert_file.convert_to_litert(model)
            if calibration is not None:
                content = litert_file.quantize(content, calibration)
            litert_file.write_litert(content, temporary, notes=notes)
            outputs_of = LiteRTEngine(temporary).outputs
        found, inconsistent = check.compare(outputs_of, usual_only=quantized)
        fault = parity.int8_fault(found) if quantized else parity.float_fault(found)
        fault = fault or inconsistent
        if fault is not None:
            raise InputError(f"{path}: {fault}; nothing was written")
    return Written(name, path, found, notes)


@contextlib.contextmanager
def _without_patterns(folder: Path, *, name: Path) -> Iterator[Path]:
    """Give a place to write a folder to whose path TensorFlow takes for no pattern of files.

    `name` is what errors call the folder.
    """
    if not re.search(r"[*?\[\]\\]", str(folder.absolute())):
        yield folder
        return
    with tempfile.TemporaryDirectory() as elsewhere:
        staged = Path(elsewhere) / folder.name
        yield staged
        if staged.exists():
            try:
                shutil.copytree(staged, folder)
            except shutil.Error as error:
                raise WorkError(f"{name}: cannot be written: {error.args[0][0][2]}") from None


def _saved_model_outputs(folder: Path) -> Outputs:
    import tensorflow as tf

    loaded = tf.saved_model.load(str(folder))
    signature = loaded.signatures[SIGNATURE]

    def outputs_of(stamps: np.ndarray) -> dict[str, np.ndarray]:
        # The signature lives only as long as what it was loaded with.
        assert loaded is not None
        parts = np.array_split(stamps, -(-len(stamps) // 256))
        found = [signature(**{INPUT: part}) for part in parts]
        return {name: np.concatenate([each[name] for each in found]) for name in OUTPUTS}

    return outputs_of


def _need_room(folder: Path) -> None:
    """See that a SavedModel takes the place of nothing but a SavedModel."""
    ours = (folder / own_notes.SAVED_MODEL_NOTES).exists()
    if folder.is_dir() and any(folder.iterdir()) and not ours:
        raise InputError(f"{folder}: expected a model of rbkeras.export or nothing, found a folder")


def _need_packages(formats: Sequence[str]) -> None:
    """Find a missing package before anything is loaded or converted."""
    from importlib.util import find_spec

    needed = {
        "onnx": ("onnx", ("tf2onnx", "onnx", "onnxruntime")),
        "litert": ("litert", ("ai_edge_litert",)),
        "int8": ("litert", ("ai_edge_litert", "ai_edge_quantizer")),
        "onnx_int8": ("onnx", ("tf2onnx", "onnx", "onnxruntime")),
    }
    for name in formats:
        extra, packages = needed.get(name, ("", ()))
        missing = [package for package in packages if find_spec(package) is None]
        if missing:
            raise InputError(
                f"--formats {name}: expected the package {missing[0].replace('_', '-')}, found it "
                f"is not installed; pip install 'rbkeras[{extra}]', or leave {name} out"
            )


def _sentence(written: Written) -> str:
    found, path = written.parity, written.path
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    size = sum(file.stat().st_size for file in files) / 2**20
    text = f"{path}: {size:.1f} MiB, scores differ by at most {found.largest_difference:.1e}"
    if written.format not in CALIBRATED:
        return text
    text += f" ({found.median_difference:.1e} in the median)"
    if found.changed is not None:
        text += f", {found.changed:.2%} of the decisions change"
    if found.auc is not None and found.keras_auc is not None:
        text += f", AUC {found.auc:.5f} for {found.keras_auc:.5f}"
    return text


def _summarise(folder: Path, written: Sequence[Written], check: _Check, digest: str) -> None:
    """Write `export.json`; entries of other formats, from earlier calls, stay."""
    path = folder / EXPORT_SUMMARY
    entries = {}
    if path.exists():
        try:
            entries = dict(read_json(path)["files"])
        except (InputError, KeyError, TypeError, ValueError):
            entries = {}
    for item in written:
        entries[item.format] = {
            "path": FILES[item.format],
            "rbkeras": __version__,
            "model_sha256": digest,
            "compared_on": check.sample.source,
            **asdict(item.parity),
            "notes": item.notes,
        }
    write_json(path, {"files": entries})
