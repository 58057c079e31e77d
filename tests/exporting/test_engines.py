"""Engines: the same scores whoever computes them, and clear words about what cannot be loaded."""

import copy
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from rbkeras.decision import SecondLook
from rbkeras.engines import LookingAgain, load_engine, model_file
from rbkeras.errors import InputError
from rbkeras.exporting import job, runtimes
from rbkeras.exporting.parity import awkward_stamps

ENGINES = ("keras", "onnx", "litert")
FILES = {"onnx": "model.onnx", "litert": "model.tflite"}


@pytest.fixture(scope="module")
def engines(exported):
    return {name: load_engine(exported[0], engine=name) for name in ENGINES}


def test_all_carry_shape_and_decision(exported, engines):
    _, model, stamps, _ = exported
    for engine in engines.values():
        assert engine.stamp_shape == stamps.shape[1:]
        assert engine.decision == model.decision


def test_a_file_of_an_earlier_model_is_not_run(exported, tmp_path, monkeypatch):
    run = shutil.copytree(exported[0], tmp_path / "run")
    changed = bytearray((run / "model.keras").read_bytes())
    changed[-1] ^= 1
    (run / "model.keras").write_bytes(changed)
    stale = r"another model by now; `python -m rbkeras.export .* --formats {}`"
    with pytest.raises(InputError, match=stale.format("onnx")):
        load_engine(run, engine="onnx")
    # Asked for by its name too, beside that model; those of int8 have no other.
    for name, file in job.FILES.items():
        if name == "saved_model":
            continue
        with pytest.raises(InputError, match=stale.format(name)):
            load_engine(run / "exported" / file)
    with monkeypatch.context() as patch:
        patch.chdir(run / "exported")
        with pytest.raises(InputError, match=stale.format("onnx")):
            load_engine("model.onnx")
    # Elsewhere it runs, and so it does where nothing is known of its origin.
    assert load_engine(shutil.copy(run / "exported" / "model.onnx", tmp_path))
    (run / "exported" / "export.json").write_text("[]")
    assert load_engine(run, engine="onnx")


@pytest.mark.parametrize("name", ENGINES)
def test_any_number_of_stamps_in_their_order(exported, engines, name):
    _, _, stamps, logits = exported
    many = np.concatenate([stamps] * 6)
    for count in (0, 1, 63, 64, 65, 700):
        found = engines[name].logits(many[:count])
        assert found.dtype == np.float32
        assert found.shape == (count, 2)
        np.testing.assert_allclose(found, np.concatenate([logits] * 6)[:count], atol=1e-4)


def test_a_second_look_is_the_same_with_every_engine(exported, engines):
    _, _, stamps, first = exported
    middle = float(np.median(first[:, 1] - first[:, 0]))
    found = {}
    for name, engine in engines.items():
        engine = copy.copy(engine)
        again = SecondLook(from_score=middle, share=0.5, decision=engine.decision)
        engine.decision = replace(engine.decision, second_look=again)
        twice = LookingAgain(engine)
        assert twice.decision is again.decision
        found[name] = twice.logits(stamps)
        assert twice.logits(stamps[:0]).shape == (0, 2)
    np.testing.assert_allclose(found["onnx"], found["keras"], atol=1e-4)
    np.testing.assert_allclose(found["litert"], found["keras"], atol=1e-4)
    changed = np.abs(found["keras"] - first).max(axis=1) > 1e-3
    above = first[:, 1] - first[:, 0] > middle
    assert changed.any()
    assert not changed[~above].any()


@pytest.mark.parametrize("name", ["onnx", "litert"])
def test_awkward_stamps_score_alike(exported, engines, name):
    awkward = awkward_stamps(exported[2][5:6])
    expected = engines["keras"].logits(awkward)
    assert np.isfinite(expected).all()
    np.testing.assert_allclose(engines[name].logits(awkward), expected, atol=1e-4)


@pytest.mark.parametrize("name", ENGINES)
def test_other_shapes_and_types(exported, engines, name):
    stamps = exported[2]
    with pytest.raises(
        ValueError, match=r"expected shape \(N, 13, 13, 2\), got \(120, 13, 13, 1\)"
    ):
        engines[name].logits(stamps[..., :1])
    counts = np.nan_to_num(stamps).astype(np.int16)
    found = engines[name].logits(counts)
    np.testing.assert_array_equal(found, engines[name].logits(counts.astype(np.float32)))


@pytest.mark.parametrize("name", ["onnx", "litert"])
def test_a_file_says_which_engine_runs_it(exported, engines, name):
    run, _, stamps, _ = exported
    path = run / "exported" / FILES[name]
    engine = load_engine(path, threads=1)
    assert type(engine) is type(engines[name])
    np.testing.assert_allclose(engine.logits(stamps), engines[name].logits(stamps), atol=1e-5)
    assert type(load_engine(run / "model.keras", engine=name)) is type(engine)
    other = "litert" if name == "onnx" else "onnx"
    with pytest.raises(InputError, match=f"engine {other} runs, found one of {name}"):
        load_engine(path, engine=other)


def test_exported_engines_do_without_tensorflow(exported, tmp_path):
    run, _, _, logits = exported
    code = (
        "import sys\n"
        "for name in ('tensorflow', 'keras', 'pandas', 'sklearn', 'scipy.stats'):\n"
        "    sys.modules[name] = None\n"
        "import numpy as np\n"
        "from rbkeras.engines import load_engine\n"
        "stamps = np.load(sys.argv[1] + '/stamps.npy')\n"
        "for name in ('onnx', 'litert'):\n"
        "    engine = load_engine(sys.argv[1], engine=name)\n"
        "    logits = engine.logits(stamps)\n"
        "    engine.decision.probability(logits[:, 1] - logits[:, 0])\n"
        "    np.save(sys.argv[2] + f'/{name}.npy', logits)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(run), str(tmp_path)], check=True)
    for name in ("onnx", "litert"):
        np.testing.assert_allclose(np.load(tmp_path / f"{name}.npy"), logits, atol=1e-4)


@pytest.mark.parametrize("name", ["keras", "onnx", "litert"])
def test_an_engine_takes_as_many_threads_as_it_is_given(exported, monkeypatch, name):
    taken = []

    class Pool(ThreadPoolExecutor):
        def __init__(self, threads, *arguments):
            taken.append(threads)
            super().__init__(threads, *arguments)

    monkeypatch.setattr(runtimes, "ThreadPoolExecutor", Pool)
    for kind in ("intra", "inter"):
        place = f"set_{kind}_op_parallelism_threads"
        monkeypatch.setattr(tf.config.threading, place, taken.append)
    load_engine(exported[0], engine=name, threads=3)
    assert taken == ([3, 3] if name == "keras" else [3])


@pytest.mark.parametrize("name", ["onnx", "litert"])
def test_a_run_without_exported_files_says_what_makes_them(exported, tmp_path, name):
    shutil.copy(exported[0] / "model.keras", tmp_path)
    with pytest.raises(InputError, match=rf"rbkeras\.export .*model\.keras --formats {name}"):
        load_engine(tmp_path, engine=name)


@pytest.mark.parametrize("engine", ENGINES)
def test_no_model_is_named(tmp_path, engine):
    with pytest.raises(InputError, match="found none"):
        load_engine(tmp_path, engine=engine)
    with pytest.raises(InputError, match="no such file"):
        load_engine(tmp_path / "model", engine=engine)


def test_a_run_directory_is_not_looked_through(exported, monkeypatch):
    monkeypatch.setattr(Path, "glob", lambda *_: pytest.fail("looked through"))
    assert model_file(exported[0], "keras") == (exported[0] / "model.keras", "keras")


def test_a_saved_model_is_for_others(exported):
    with pytest.raises(InputError, match="TensorFlow Serving"):
        load_engine(exported[0] / "exported" / "saved_model")


@pytest.mark.parametrize("keep", [0, 10, 0.5, 0.99])
@pytest.mark.parametrize("name", ["onnx", "litert"])
def test_damaged_files_are_named(exported, tmp_path, name, keep):
    content = (exported[0] / "exported" / FILES[name]).read_bytes()
    path = tmp_path / FILES[name]
    path.write_bytes(content[: int(keep * len(content)) if keep < 1 else keep])
    with pytest.raises(InputError, match=rf"{path.name}: expected"):
        load_engine(path)


def test_weights_in_other_files_are_not_read(exported, tmp_path, monkeypatch):
    import onnx

    model = onnx.load(exported[0] / "exported" / "model.onnx")
    outside = {"save_as_external_data": True, "location": "weights", "size_threshold": 0}
    onnx.save(model, tmp_path / "model.onnx", **outside)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"model\.onnx: expected"):
        load_engine(tmp_path / "model.onnx")


def test_models_of_others_are_refused(tmp_path):
    import onnx
    from onnx import TensorProto, helper

    value = helper.make_tensor_value_info("stamp", TensorProto.FLOAT, [1])
    out = helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1])
    graph = helper.make_graph([helper.make_node("Abs", ["stamp"], ["logits"])], "g", [value], [out])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, tmp_path / "other.onnx")
    with pytest.raises(InputError, match=r"expected a model that rbkeras\.export wrote"):
        load_engine(tmp_path / "other.onnx")
    model.metadata_props.add(key="rbkeras", value='{"format": 99, "rbkeras": "9.9"}')
    onnx.save(model, tmp_path / "later.onnx")
    with pytest.raises(InputError, match=r"format 99, written by rbkeras 9\.9"):
        load_engine(tmp_path / "later.onnx")


@pytest.mark.parametrize(
    ("name", "module"), [("onnx", "onnxruntime"), ("litert", "ai_edge_litert.interpreter")]
)
def test_missing_packages_are_named(exported, monkeypatch, name, module):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(InputError, match=rf"pip install 'rbkeras\[{name}\]'"):
        load_engine(exported[0], engine=name)


def test_bad_arguments_are_named(exported):
    with pytest.raises(InputError, match="--engine: expected keras, onnx or litert, got tpu"):
        load_engine(exported[0], engine="tpu")
    with pytest.raises(InputError, match="--threads: expected at least 1, got 0"):
        load_engine(exported[0], engine="onnx", threads=0)
