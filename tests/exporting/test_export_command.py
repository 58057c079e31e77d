"""export: what it writes works without rbkeras and TensorFlow, and nothing wrong is written."""

import importlib.util
import json
import shutil
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from rbkeras import __version__, export
from rbkeras.engines import load_engine
from rbkeras.exporting import job, parity, serving
from rbkeras.file_states import checksum
from rbkeras.models.classifier import build_classifier

# Stands for an environment in which these packages are not installed.
BLOCKED = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {blocked!r}:
            raise ImportError(f"{{name}} is blocked")
sys.meta_path.insert(0, Blocked())
import numpy as np
stamps = np.load("stamps.npy")
"""
ONNX = """
import onnxruntime
session = onnxruntime.InferenceSession("exported/{file}")
names = ["logits", "score", "probability"]
found = dict(zip(names, session.run(names, {{"stamp": stamps}})))
notes = session.get_modelmeta().custom_metadata_map["rbkeras"]
"""
LITERT = """
from ai_edge_litert.interpreter import Interpreter
found = Interpreter("exported/{file}").get_signature_runner("serving_default")(stamp=stamps)
content = open("exported/{file}", "rb").read()
import json
text = content[content.index(b'{{"format": 1') :].decode(errors="replace")
notes = json.dumps(json.JSONDecoder().raw_decode(text)[0])
"""
SAVED_MODEL = """
import tensorflow as tf
loaded = tf.saved_model.load("exported/saved_model/1")
found = {k: v.numpy() for k, v in loaded.signatures["serving_default"](stamp=stamps).items()}
notes = open("exported/saved_model/1/assets.extra/rbkeras.json").read()
"""
STORE = """
np.savez(sys.argv[1], **found)
open(sys.argv[2], "w").write(notes)
"""
EVERYTHING = ("tensorflow", "keras", "rbkeras")


@pytest.mark.parametrize(
    ("blocked", "code", "within"),
    [
        (EVERYTHING, ONNX.format(file="model.onnx"), 1e-4),
        (EVERYTHING, ONNX.format(file="model_int8.onnx"), 0.2),
        (EVERYTHING, LITERT.format(file="model.tflite"), 1e-4),
        (EVERYTHING, LITERT.format(file="model_int8.tflite"), 0.2),
        # TensorFlow loads Keras itself.
        (("rbkeras",), SAVED_MODEL, 1e-4),
    ],
    ids=["onnx", "onnx_int8", "litert", "int8", "saved_model"],
)
def test_files_score_alike_without_rbkeras(exported, tmp_path, blocked, code, within):
    run, model, stamps, logits = exported
    out = tmp_path / "found.npz", tmp_path / "notes.json"
    subprocess.run(
        [sys.executable, "-c", BLOCKED.format(blocked=blocked) + code + STORE, *map(str, out)],
        cwd=run,
        check=True,
        capture_output=True,
    )
    found, notes = np.load(out[0]), json.loads(out[1].read_text())
    score = logits[:, 1] - logits[:, 0]
    np.testing.assert_allclose(found["logits"], logits, atol=within)
    np.testing.assert_allclose(found["score"], score, atol=within)
    if within < 1e-3:
        expected = model.decision.probability(score)
        np.testing.assert_allclose(found["probability"], expected, atol=1e-4)
    assert notes["rbkeras"] == __version__
    assert notes["classes"] == ["bogus", "real"]
    assert notes["precision"] == ("int8" if within > 1e-3 else "float32")
    assert notes["stamp_shape"] == list(stamps.shape[1:])
    assert notes["channels"] == 2
    assert notes["labels"] == {"star": 1}
    assert notes["calibration"] == "isotonic"
    assert notes["threshold"] == model.decision.operating_point.threshold
    assert notes["decision"] == json.loads(json.dumps(model.decision.to_json()))


def test_serving_takes_any_number_of_stamps_by_name(exported):
    import tensorflow as tf

    run, _, stamps, _ = exported
    loaded = tf.saved_model.load(str(run / "exported" / "saved_model" / "1"))
    signature = loaded.signatures["serving_default"]
    _, inputs = signature.structured_input_signature
    assert {name: spec.shape.as_list() for name, spec in inputs.items()} == {
        "stamp": [None, *stamps.shape[1:]]
    }
    assert set(signature.structured_outputs) == {"logits", "score", "probability"}
    assert signature(stamp=stamps[:1])["score"].shape == (1,)


def test_the_summary_says_how_well_they_agree(exported):
    run = exported[0]
    files = json.loads((run / "exported" / "export.json").read_text())["files"]
    assert set(files) == set(job.FORMATS)
    for name, entry in files.items():
        assert (run / "exported" / entry["path"]).exists()
        assert entry["keras_auc"] > 0.5
        assert entry["largest_difference"] < (0.5 if name in job.CALIBRATED else 1e-4)
        assert entry["changed"] <= 0.02
    for name in job.CALIBRATED:
        assert files[name]["stamps"] == 120 < files["onnx"]["stamps"]


@pytest.fixture
def model(exported, tmp_path):
    """The same model in a folder of its own, and flags to check it by."""
    run = exported[0]
    shutil.copy(run / "model.keras", tmp_path)
    return [tmp_path, "--test_real", run / "real.npy", "--test_bogus", run / "bogus.npy"]


def test_a_file_is_of_the_model_that_was_read(model, tmp_path, monkeypatch):
    """Another fit may replace the model while it is converted."""
    read, digest = job.load_classifier, checksum(tmp_path / "model.keras")

    def replaced(path):
        classifier = read(path)
        (tmp_path / "model.keras").write_bytes(b"another one")
        return classifier

    monkeypatch.setattr(job, "load_classifier", replaced)
    assert export.main([*map(str, model), "--formats", "litert"]) == 0
    entry = json.loads((tmp_path / "exported" / "export.json").read_text())["files"]["litert"]
    assert entry["model_sha256"] == digest


@pytest.mark.parametrize("name", ["onnx", "litert", "saved_model"])
def test_a_file_that_scores_otherwise_gets_no_name(
    model, exported, tmp_path, fails_with, monkeypatch, name
):
    before = exported[0] / "exported"
    shutil.copytree(before, tmp_path / "exported")
    keras_logits = job.predict_logits
    monkeypatch.setattr(job, "predict_logits", lambda *a: keras_logits(*a) + np.float32([0, 1e-3]))
    said = fails_with(export.main, [*model, "--formats", name])
    assert f"{job.FILES[name]}: expected scores within 0.0001 of Keras's" in said
    names = {path.relative_to(before) for path in before.rglob("*")}
    assert {p.relative_to(tmp_path / "exported") for p in (tmp_path / "exported").rglob("*")} == (
        names
    )
    file = before / job.FILES[name]
    file = file / "saved_model.pb" if name == "saved_model" else file
    same = tmp_path / "exported" / file.relative_to(before)
    assert same.read_bytes() == file.read_bytes()


def test_a_folder_of_other_things_is_not_replaced(model, tmp_path, fails_with):
    theirs = tmp_path / "out" / "saved_model" / "1" / "mine.txt"
    theirs.parent.mkdir(parents=True)
    theirs.write_text("mine")
    said = fails_with(export.main, [model[0], "--out", tmp_path / "out"])
    assert "expected a model of rbkeras.export or nothing" in said
    assert theirs.read_text() == "mine"
    assert export.main([str(model[0]), "--out", str(tmp_path / "out"), "--formats", "onnx"]) == 0


def test_a_file_with_another_probability_gets_no_name(model, tmp_path, fails_with, monkeypatch):
    right = serving._log_odds
    monkeypatch.setattr(serving, "_log_odds", lambda score, decision: right(score, decision) + 0.1)
    said = fails_with(export.main, [*model, "--formats", "onnx"])
    assert "expected a probability from" in said
    assert not list((tmp_path / "exported").glob("[!.]*.*"))


@pytest.mark.parametrize("name", job.CALIBRATED)
def test_int8_that_decides_otherwise_gets_no_name(model, tmp_path, fails_with, monkeypatch, name):
    monkeypatch.setattr(parity, "MOST_CHANGED", -1.0)
    monkeypatch.setattr(parity, "LARGEST_AUC_LOSS", 1.0)
    calibration = ["--calibration", model[2]]
    said = fails_with(export.main, [*model, "--formats", name, *calibration])
    assert "of the decisions" in said
    assert not (tmp_path / "exported" / job.FILES[name]).exists()


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (["--formats", "onnx", "tensorrt"], "got tensorrt"),
        (["--formats", "int8"], "--calibration"),
        (["--formats", "onnx_int8"], "--calibration"),
        (["--formats", "int8", "--calibration", "none.npy"], "none.npy"),
        (["--test_real", "none.npy"], "none.npy"),
    ],
)
def test_bad_options_are_one_sentence(model, fails_with, flags, named):
    assert named in fails_with(export.main, [*model, *flags])


def test_a_model_that_is_none_is_named(tmp_path, fails_with):
    assert "found none" in fails_with(export.main, [tmp_path])
    (tmp_path / "model.keras").write_bytes(b"PK")
    assert "expected a .keras file" in fails_with(export.main, [tmp_path / "model.keras"])


@pytest.mark.parametrize(
    ("name", "package", "extra"),
    [
        ("onnx", "tf2onnx", "rbkeras[onnx]"),
        ("litert", "ai_edge_litert", "rbkeras[litert]"),
        ("int8", "ai_edge_quantizer", "rbkeras[litert]"),
        ("onnx_int8", "onnxruntime", "rbkeras[onnx]"),
    ],
)
def test_missing_packages_are_named(model, fails_with, monkeypatch, name, package, extra):
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda wanted: None if wanted == package else found(wanted)
    )
    said = fails_with(export.main, [*model, "--formats", name])
    assert extra in said
    assert package.replace("_", "-") in said


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_a_network_of_half_precision_is_exported_in_single(tmp_path, policy, capsys):
    shape = (13, 13, 2)
    keras.utils.set_random_seed(0)
    keras.mixed_precision.set_dtype_policy(policy)
    try:
        half = build_classifier(shape, width=0.25)
    finally:
        keras.mixed_precision.set_dtype_policy("float32")
    half.save(tmp_path / "model.keras")
    assert export.main([str(tmp_path), "--formats", "onnx", "litert", "saved_model"]) == 0
    assert "trained in half precision" in capsys.readouterr().out
    single = build_classifier(shape, width=0.25)
    single.set_weights(half.get_weights())
    stamps = np.random.default_rng(0).normal(size=(5, *shape)).astype(np.float32)
    for engine in ("onnx", "litert"):
        found = load_engine(tmp_path, engine=engine).logits(stamps)
        np.testing.assert_allclose(found, single(stamps), atol=1e-4)
    # In half precision it is not the same.
    assert not np.allclose(half(stamps), single(stamps), atol=1e-4)


def test_a_folder_may_have_the_name_of_a_pattern(model, tmp_path):
    out = tmp_path / "night [1] *"
    assert export.main([str(model[0]), "--formats", "saved_model", "--out", str(out)]) == 0
    assert (out / "saved_model" / "1" / "saved_model.pb").exists()


class FullArchive:
    """Stands for Keras's where TensorFlow finds no room."""

    def track(self, _):
        pass

    def add_endpoint(self, *_, **__):
        pass

    def write_out(self, *_, **__):
        reason = "somewhere/.1.part/variables; No space left on device"
        raise tf.errors.ResourceExhaustedError(None, None, reason)


def no_room(*_, **__):
    raise shutil.Error([("from", "to", "No space left on device")])


@pytest.mark.parametrize(
    ("name", "place", "fails"),
    [
        ("out", "rbkeras.exporting.serving.keras.export.ExportArchive", FullArchive),
        ("out [1]", "rbkeras.exporting.job.shutil.copytree", no_room),
    ],
    ids=["TensorFlow", "copy"],
)
def test_a_full_disk_is_one_sentence(model, tmp_path, fails_with, monkeypatch, name, place, fails):
    monkeypatch.setattr(place, fails)
    out = tmp_path / name
    said = fails_with(export.main, [model[0], "--formats", "saved_model", "--out", out], 1)
    assert f"error: {out / 'saved_model' / '1'}: cannot be written: No space left on device" in said
    assert not (out / "saved_model" / "1").exists()
