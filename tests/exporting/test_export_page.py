"""The programs on the page about exported models do what it says of them."""

import os
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from rbkeras import predict
from rbkeras.decision import SecondLook
from rbkeras.engines import LookingAgain, load_engine
from rbkeras.exporting.notes import make_notes

PAGE = Path(__file__).parents[2] / "docs" / "export.md"


def program(heading):
    """The Python below a heading of the page."""
    section = PAGE.read_text().split(f"## {heading}\n")[1].split("\n## ")[0]
    return re.search(r"```python\n(.*?)```", section, re.DOTALL)[1]


@pytest.fixture
def night(exported, tmp_path, monkeypatch):
    """A folder with the exported files and a night's stamps, and the run."""
    run, _, stamps, _ = exported
    for path in (run / "exported").iterdir():
        os.symlink(path, tmp_path / path.name)
    np.save(tmp_path / "night.npy", stamps)
    monkeypatch.chdir(tmp_path)
    return run


def scores(run, *flags):
    assert predict.main([str(run), "night.npy", "--out", "scores.csv", *flags]) == 0
    return pd.read_csv("scores.csv")


@pytest.mark.parametrize("kind", ["ONNX", "LiteRT"])
def test_files_without_rbkeras_score_as_predict_does_once(night, kind, capsys):
    known = {}
    exec(program(f"{kind} without rbkeras"), known)
    printed = capsys.readouterr().out
    found = known["score"] if kind == "ONNX" else known["outputs"]["score"]
    expected = scores(night, "--once")
    np.testing.assert_allclose(found, expected["score"], atol=1e-4)
    real = np.flatnonzero(expected["decision"])
    assert printed.startswith(str(real)[:20])


@pytest.mark.parametrize("kind", ["ONNX", "LiteRT"])
def test_a_second_look_without_rbkeras_is_that_of_the_engines(night, kind):
    known = {}
    exec(program(f"{kind} without rbkeras"), known)
    exec(program("The second look without rbkeras"), known)
    logits_of = {
        "ONNX": lambda part: known["session"].run(["logits"], {"stamp": part})[0],
        "LiteRT": lambda part: known["run"](stamp=part)["logits"],
    }[kind]
    # That of a model which asks for one at half of the stamps.
    engine = load_engine(night, engine="keras")
    first = engine.logits(known["stamps"])
    middle = float(np.median(first[:, 1] - first[:, 0]))
    again = SecondLook(from_score=middle, share=0.5, decision=engine.decision)
    engine.decision = replace(engine.decision, second_look=again)
    expected = LookingAgain(engine).logits(known["stamps"])
    notes = make_notes(engine.stamp_shape, engine.decision, precision="float32")
    found, threshold = known["second_look"](logits_of, known["stamps"], notes)
    np.testing.assert_allclose(found, expected[:, 1] - expected[:, 0], atol=1e-4)
    assert np.abs(found - (first[:, 1] - first[:, 0])).max() > 1e-3
    assert threshold == engine.decision.operating_point.threshold


def test_without_one_the_second_look_is_the_first(night):
    known = {}
    exec(program("ONNX without rbkeras"), known)
    exec(program("The second look without rbkeras"), known)
    first = np.float32([[0, 1], [2, 0]])
    found, threshold = known["second_look"](lambda part: first, known["stamps"], known["notes"])
    assert found.tolist() == [1, -2]
    assert threshold == known["notes"]["threshold"]
