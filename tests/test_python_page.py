"""The programs on the page about Python run, one after the other as they stand there."""

import re
from pathlib import Path

import keras
import numpy as np
import pytest

PAGE = Path(__file__).parents[1] / "docs" / "python.md"


@pytest.fixture
def place(tiny_run, tiny_survey, tmp_path, monkeypatch):
    """A folder with what the page takes for granted."""
    (tmp_path / "RUN").symlink_to(tiny_run)
    (tmp_path / "RECORDS").symlink_to(tiny_survey / "records")
    real = np.load(tiny_survey / "sim" / "test" / "real.npy")
    np.save(tmp_path / "night.npy", real[:5])
    monkeypatch.chdir(tmp_path)


def test_programs_of_the_page_run(place, capsys):
    known = {}
    programs = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert len(programs) == 5
    exec(programs[0], known)
    assert known["probability"].shape == known["real"].shape == (5,)
    for program in programs[1:]:
        exec(program, known)
    assert "fpr_at_tpr90_ci95" in capsys.readouterr().out
    known["evaluation"].require_scores(known["real"], known["bogus"])
    assert (known["targets"][known["labels"] < 0] == -1).all()
    keras.models.load_model("mine.keras")
