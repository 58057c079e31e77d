"""What an evaluation leaves when it does not come to its end."""

import json

import numpy as np
import pytest

from rbkeras import pictures
from rbkeras.evaluation import scores_of_arrays, write_evaluation


def test_figures_never_stand_beside_other_scores(tmp_path, monkeypatch):
    first = scores_of_arrays(np.r_[1.0, 2.0], np.r_[0.0, 1.5])
    write_evaluation(tmp_path, first, source={"test_real": "first.npy"})
    assert json.loads((tmp_path / "metrics.json").read_text())["auc"] == 0.75

    def full(*arguments, **options):
        raise OSError("no space left")

    monkeypatch.setattr(pictures, "roc_figure", full)
    second = scores_of_arrays(np.r_[1.0, 2.0], np.r_[0.0, 0.5])
    with pytest.raises(OSError, match="no space"):
        write_evaluation(tmp_path, second, source={"test_real": "second.npy"})
    assert "second" in (tmp_path / "source.json").read_text()
    assert not (tmp_path / "metrics.json").exists()
