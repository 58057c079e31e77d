"""What a person sees: TensorBoard's pictures, the last lines printed, progress bars."""

import json
import re

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from rbkeras import convert, stage1_results
from rbkeras.config import FitConfig
from rbkeras.data.records import open_records
from rbkeras.label_errors import rate_labels
from rbkeras.run_summary import summary
from rbkeras.rundir import Run

# --- TensorBoard ----------------------------------------------------------------------------------


def pictures_in(folder):
    """Decode the pictures that are logged there: arrays (H, W, 3) by tag."""
    events = EventAccumulator(str(folder), size_guidance={"tensors": 0}).Reload()
    found = {}
    for tag in events.Tags()["tensors"]:
        # The last, since a run that is called again shows all of it again.
        width, height, png = events.Tensors(tag)[-1].tensor_proto.string_val
        found[tag] = tf.io.decode_png(png).numpy()
        assert found[tag].shape == (int(height), int(width), 3)
    return found


@pytest.mark.parametrize(
    ("folder", "tags"),
    [
        ("label_errors", {"suspects", "cross_validation/roc", "cross_validation/scores"}),
        ("test", {"test/roc", "test/scores"}),
    ],
)
def test_tensorboard_shows_suspects_and_curves(tiny_run, folder, tags):
    pictures = pictures_in(tiny_run / "tensorboard" / folder)
    assert set(pictures) == tags
    for picture in pictures.values():
        # Neither thumbnails nor empty pages.
        assert min(picture.shape[:2]) > 100
        assert picture.std() > 10


def test_tensorboard_shows_the_validation_and_every_epoch(tiny_run):
    folder = tiny_run / "tensorboard"
    events = EventAccumulator(str(folder / "validation"), size_guidance={"tensors": 0}).Reload()
    assert {"validation/roc", "validation/worst_mistakes"} <= set(events.Tags()["tensors"])
    epochs = len(pd.read_csv(tiny_run / "log.csv"))
    for name in ("train", "validation"):
        events = EventAccumulator(str(folder / name), size_guidance={"tensors": 0}).Reload()
        assert [event.step for event in events.Tensors("epoch_loss")] == list(range(epochs))


@pytest.fixture
def rated(records_dir):
    """Labels of the records and predictions that agree with them, but for two."""
    table = open_records(records_dir).samples
    table = table.loc[table["label"] >= 0, ["unique_index", "detector_id", "sample_index", "label"]]
    score = np.where(table["label"] == 1, 5.0, -5.0)
    # Of detector 1: an artifact that is real, and a real that is a bogus, for certain.
    score[table["unique_index"] == 4] = 4.0
    score[table["unique_index"] == 8] = -6.0
    return rate_labels(table.assign(prediction0=0.0, prediction1=score), rule="argmax")


def test_suspects_are_shown_with_label_and_probability(records_dir, tmp_path, rated, monkeypatch):
    drawn = []
    figure = stage1_results.stamps_figure

    def noted(stamps, captions):
        drawn.append((stamps[:, 0, 0, 0].tolist(), captions))
        return figure(stamps, captions)

    monkeypatch.setattr(stage1_results, "stamps_figure", noted)
    config = FitConfig(data=records_dir, out=tmp_path)
    stage1_results.tell_suspects(Run(config, open_records(records_dir)), rated)
    # 1 / (1 + e^6) and 1 / (1 + e^-4); the first pixel says which stamp is above which.
    captions = {1008: "labelled real, P(real) 0.002", 1004: "labelled bogus, P(real) 0.982"}
    assert [dict(zip(*one, strict=True)) for one in drawn] == [captions]
    assert "suspects" in pictures_in(tmp_path / "tensorboard" / "label_errors")


def test_without_suspects_none_are_shown(records_dir, tmp_path, rated):
    config = FitConfig(data=records_dir, out=tmp_path)
    none = rated.assign(suspect=0)
    stage1_results.tell_suspects(Run(config, open_records(records_dir)), none)
    assert set(pictures_in(tmp_path / "tensorboard" / "label_errors")) == {
        "cross_validation/roc",
        "cross_validation/scores",
    }


# --- the last lines -------------------------------------------------------------------------------


def figures(auc, fpr):
    return {
        "auc": auc[0],
        "auc_ci95": list(auc[1:]),
        "fpr_at_tpr90": fpr[0],
        "fpr_at_tpr90_ci95": list(fpr[1:]),
        "n_real": 60,
        "n_bogus": 200,
    }


def test_the_summary_says_what_came_out_and_where_it_is(tmp_path):
    out = figures((0.9, 0.85, 0.95), (0.3, 0.2, 0.4))
    (tmp_path / "evaluation").mkdir()
    (tmp_path / "evaluation" / "cross_validation.json").write_text(json.dumps(out))
    labels, suspect = np.repeat([0, 1], [40, 8]), np.r_[[1] * 3, [0] * 37, [1] * 2, [0] * 6]
    rated = pd.DataFrame({"label": labels, "suspect": suspect})
    test = figures((0.99512, 0.991, 0.998), (0.015, 0.00125, 0.045))
    assert summary(FitConfig(out=tmp_path), rated, test) == [
        "",
        "suspects labelled bogus       3 of 40 (7.5%)",
        "suspects labelled real        2 of 8 (25.0%)",
        "cross-validation, against the labels as given:",
        "  AUC                          0.90000  [0.85000, 0.95000]",
        "  false positive rate at 0.9   0.30000  [0.20000, 0.40000]",
        "test set, 60 real and 200 bogus:",
        "  AUC                          0.99512  [0.99100, 0.99800]",
        "  false positive rate at 0.9   0.01500  [0.00125, 0.04500]",
        f"everything is in {tmp_path}",
        f"tensorboard --logdir {tmp_path}",
    ]


def test_too_many_suspects_are_a_warning(tmp_path):
    (tmp_path / "evaluation").mkdir()
    path = tmp_path / "evaluation" / "cross_validation.json"
    path.write_text(json.dumps(figures((0.6, 0.5, 0.7), (0.8, 0.7, 0.9))))
    labels = np.repeat([0, 1], 10)
    rated = pd.DataFrame({"label": labels, "suspect": np.r_[[1] * 3, [0] * 7, [1] * 4, [0] * 6]})
    lines = summary(FitConfig(out=tmp_path), rated, None)
    assert lines[1] == "suspects labelled bogus       3 of 10 (30.0%)"
    assert lines[2] == "suspects labelled real        4 of 10 (40.0%)"
    (warning,) = [line for line in lines if line.startswith("warning")]
    assert "40% of the labels real are suspect" in warning
    assert "a higher --label_errors.min_steps" in warning


def test_the_summary_without_stage_one_and_test_set_says_where_everything_is(tmp_path):
    lines = summary(FitConfig(out=tmp_path), None, None)
    assert lines == ["", f"everything is in {tmp_path}", f"tensorboard --logdir {tmp_path}"]


def test_commands_to_copy_are_quoted(tmp_path):
    lines = summary(FitConfig(out=tmp_path / "my run"), None, None)
    assert lines[-1] == f"tensorboard --logdir '{tmp_path}/my run'"


# --- progress -------------------------------------------------------------------------------------


def test_convert_shows_how_far_it_is_with_each_detector(survey, tmp_path, capsys):
    assert convert.main([str(survey), str(tmp_path / "records")]) == 0
    shown = capsys.readouterr().err
    for name in ("data1.tfrecord", "data10.tfrecord", "data2.tfrecord"):
        assert re.search(rf"{name}: +100%\|.*?\| 12/12 \[", shown)
    assert "stamp/s" in shown
