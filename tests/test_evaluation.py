"""Figures of an evaluation, and what it leaves when it does not come to its end."""

import json

import numpy as np
import pytest

from rbkeras import pictures
from rbkeras.errors import InputError
from rbkeras.evaluation import scores_of_arrays, summarise, write_evaluation


@pytest.mark.parametrize(
    ("real", "bogus", "message"),
    [
        ([], [0.0], "found no real"),
        ([1.0], [], "found no bogus"),
        ([1.0, np.nan], [0.0], "among the real"),
        ([1.0], [0.0, np.inf], "among the bogus"),
    ],
    ids=["no real", "no bogus", "NaN", "infinity"],
)
def test_scores_that_cannot_be_summarised_are_named(real, bogus, message):
    with pytest.raises(InputError, match=message):
        summarise(np.array(real), np.array(bogus))


@pytest.mark.parametrize(("real", "expected"), [(9998.5, 1), (9997.5, 0)])
def test_the_lowest_false_positive_rate_lets_one_bogus_in_ten_thousand_pass(real, expected):
    found = summarise(np.array([real]), np.arange(10_000.0))
    assert found["tpr_at_fpr1e-4"] == expected
    assert found["threshold_at_fpr1e-4"] is None
    for name in ("1e-2", "1e-3"):
        threshold = found[f"threshold_at_fpr{name}"]
        assert np.mean(np.arange(10_000.0) >= threshold) == float(name)
        assert (real >= threshold) == found[f"tpr_at_fpr{name}"]


def test_a_threshold_of_too_few_bogus_is_none():
    found = summarise(np.ones(5), np.linspace(-1, 0, 3600))
    assert found["threshold_at_fpr1e-3"] is found["threshold_at_fpr1e-4"] is None
    assert found["threshold_at_fpr1e-2"] < 0


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
