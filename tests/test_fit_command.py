"""The main job end to end, on a small simulated survey, through the commands."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import yaml
from detectors import write_detector
from tiny import SMALL, data_flags

from rbkeras import evaluate, find_label_errors, fit, metrics, predict, stage1
from rbkeras.data.records import open_records
from rbkeras.data.write_records import convert_survey
from rbkeras.inference import load_classifier
from rbkeras.merit import FIGURES


@pytest.fixture
def survey(tiny_survey):
    return tiny_survey


@pytest.fixture
def run(tiny_run):
    return tiny_run


def test_fit_leaves_everything_that_the_documentation_names(run):
    for name in (
        "config.yaml",
        "environment.json",
        "label_errors.csv",
        "model.keras",
        "log.csv",
        "validation.csv",
        "report.html",
        "evaluation/metrics.json",
        "evaluation/scores.csv",
        "evaluation/cross_validation.json",
    ):
        assert (run / name).is_file(), name
    for fold in ("0", "1"):
        assert (run / "folds" / fold / "model.keras").is_file()
        assert (run / "folds" / fold / "log.csv").is_file()
        assert list((run / "folds" / fold / "tensorboard").rglob("events.*"))
    assert list((run / "tensorboard").rglob("events.*"))
    assert not (run / "backup").exists()
    assert not [path for path in run.rglob("*") if ".part." in path.name]


def test_metrics_have_intervals_around_them(run):
    metrics = json.loads((run / "evaluation" / "metrics.json").read_text())
    assert metrics["n_real"] == 60
    assert metrics["n_bogus"] == 200
    assert metrics["auc_ci95"][0] <= metrics["auc"] <= metrics["auc_ci95"][1]
    low, high = metrics["fpr_at_tpr90_ci95"]
    assert low <= metrics["fpr_at_tpr90"] <= high


def test_metrics_are_those_of_the_saved_scores(run):
    from sklearn.metrics import roc_auc_score

    metrics = json.loads((run / "evaluation" / "metrics.json").read_text())
    scores = pd.read_csv(run / "evaluation" / "scores.csv")
    assert metrics["auc"] == pytest.approx(roc_auc_score(scores["label"], scores["score"]))
    assert metrics["auc"] > 0.6


def test_every_labelled_sample_is_judged_once_by_a_fold_that_did_not_train_on_it(run, survey):
    judged = pd.read_csv(run / "label_errors.csv")
    labels = open_records(survey / "records").samples["label"]
    assert judged["unique_index"].tolist() == list(range(len(labels)))
    assert (judged["label"] == labels).all()
    held_out = [
        set(pd.read_csv(run / "folds" / fold / "validation_result.csv")["unique_index"])
        for fold in ("0", "1")
    ]
    assert not held_out[0] & held_out[1]
    assert len(held_out[0] | held_out[1]) == len(labels)


def test_fit_again_trains_nothing(run, survey, capsys):
    model = run / "model.keras"
    before = model.stat().st_mtime_ns
    assert fit.main([*data_flags(survey), "--out", str(run), *SMALL]) == 0
    printed = capsys.readouterr().out
    assert printed.count("finished already") == 3
    assert "Epoch" not in printed
    assert model.stat().st_mtime_ns == before
    # It ends as the first time.
    assert "\ntest set, 60 real and 200 bogus:\n  AUC " in printed
    places = f"everything is in {run}\ntensorboard --logdir {run}\nopen {run / 'report.html'}\n"
    assert printed.endswith(places)


def test_its_own_config_file_repeats_the_run(run, capsys):
    assert fit.main(["--config", str(run / "config.yaml")]) == 0
    assert capsys.readouterr().out.count("finished already") == 3
    written = yaml.safe_load((run / "config.yaml").read_text())
    assert written["model"]["network"] == "simple"
    assert written["seed"] == 3


def test_a_changed_setting_is_noticed_and_named(run, survey, capsys):
    arguments = [*data_flags(survey), "--out", str(run), *SMALL, "--optimizer.learning_rate", "0.5"]
    model = (run / "model.keras").read_bytes()
    config = (run / "config.yaml").read_bytes()
    assert fit.main(arguments) == 2
    message = capsys.readouterr().err
    assert "optimizer.learning_rate was 0.002, is 0.5" in message
    assert "--overwrite" in message
    assert (run / "model.keras").read_bytes() == model
    # It goes on telling of the run that is there.
    assert (run / "config.yaml").read_bytes() == config


@pytest.mark.parametrize(
    "dask",
    [
        pytest.param([], id="here"),
        pytest.param(["--dask", "local:1"], id="dask", marks=pytest.mark.slow),
    ],
)
def test_what_is_refused_changes_nothing(run, survey, dask):
    """Other suspects make another model, but only stage 2 notices; workers tell by sentences."""
    names = ("config.yaml", "label_errors.csv", "label_errors.html", "model.keras")
    before = {name: (run / name).read_bytes() for name in names}
    own = "--optimizer.learning_rate" if dask else "--label_errors.threshold"
    arguments = [*data_flags(survey), "--out", str(run), *SMALL, own, "0.9", *dask]
    assert fit.main(arguments) == 2
    assert {name: (run / name).read_bytes() for name in names} == before


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        (["--label_errors.group", "nosuch"], "error: --label_errors.group: expected a column of"),
        (["--label_errors.table", "nosuch.csv"], "nosuch.csv: expected"),
    ],
)
def test_settings_that_fail_are_not_told_of_the_model(run, survey, fails_with, flags, complaint):
    names = ("config.yaml", "label_errors.csv", "model.keras")
    before = {name: (run / name).read_bytes() for name in names}
    arguments = [*data_flags(survey), "--out", str(run), *SMALL, *flags]
    assert complaint in fails_with(fit.main, arguments)
    assert {name: (run / name).read_bytes() for name in names} == before


def test_a_kill_before_stage_two_leaves_what_is_said_of_the_model(run, survey, monkeypatch):
    def killed(*_, **__):
        raise KeyboardInterrupt

    names = ("config.yaml", "label_errors.csv", "label_errors.html", "model.keras")
    before = {name: (run / name).read_bytes() for name in names}
    monkeypatch.setattr("rbkeras.stage2.claim", killed)
    more = ["--label_errors.threshold", "0.9", "--overwrite"]
    assert fit.main([*data_flags(survey), "--out", str(run), *SMALL, *more]) == 1
    assert {name: (run / name).read_bytes() for name in names} == before


def test_what_stage_two_is_sure_to_refuse_is_told_before_stage_one(run, survey, fails_with):
    folds = len(list((run / "folds").iterdir()))
    # Further folds would be trained.
    more = ["--policy", "flip", "--label_errors.repeats", "2"]
    said = fails_with(fit.main, [*data_flags(survey), "--out", str(run), *SMALL, *more])
    assert "stage2.json: expected the settings of this run" in said
    assert "policy was unlabel, is flip" in said
    assert len(list((run / "folds").iterdir())) == folds


def test_another_network_takes_what_was_said_of_the_first_with_it(run, survey, tmp_path):
    out = shutil.copytree(run, tmp_path / "run")
    more = ["--overwrite", "--training.epochs", "1", "--policy", "keep"]
    # No test set this time.
    assert fit.main([*data_flags(survey)[:2], "--out", str(out), *SMALL, *more]) == 0
    assert not (out / "evaluation" / "scores.csv").exists()
    assert not (out / "evaluation" / "metrics.json").exists()
    assert "The run has no test set" in (out / "report.html").read_text()


def test_the_model_carries_a_threshold_measured_on_the_validation_part(run):
    first = load_classifier(run).decision
    decision = first.final
    table = pd.read_csv(run / "validation.csv")
    score = table["prediction1"] - table["prediction0"]
    real = score[table["label"] == 1]
    assert decision.n_real == len(real)
    assert decision.n_bogus == (table["label"] == 0).sum()
    threshold = metrics.threshold_at_tpr(real.to_numpy(), 0.9)
    assert decision.operating_point.threshold == pytest.approx(threshold, abs=1e-4)
    assert decision.labels["artifact"] == 0
    assert first.second_look.decision is decision
    assert first.second_look.from_score <= first.operating_point.threshold
    assert 0 < first.second_look.share <= 1


def test_another_calibration_trains_nothing(run, survey, tmp_path, capsys):
    out = shutil.copytree(run, tmp_path / "run")
    arguments = [*data_flags(survey), "--out", str(out), *SMALL]
    before = load_classifier(out)
    assert fit.main([*arguments, "--decision.true_positive_rate", "0.8"]) == 0
    printed = capsys.readouterr().out
    assert "threshold and calibration anew" in printed
    assert "Epoch" not in printed
    after = load_classifier(out, compile=True)
    assert after.decision.operating_point.true_positive_rate == 0.8
    assert before.decision.operating_point in after.decision.others
    assert after.optimizer.iterations > 0
    for a, b in zip(before.get_weights(), after.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert fit.main([*arguments, "--decision.second_look", "0"]) == 0
    once = load_classifier(out).decision
    assert once == replace(before.decision, second_look=None)


@pytest.mark.slow
def test_a_stage_one_table_can_be_used_again(run, survey, tmp_path):
    out = tmp_path / "again"
    table = ["--label_errors.table", str(run / "label_errors.csv"), "--policy", "remove"]
    arguments = [*data_flags(survey), "--out", str(out), *SMALL, *table]
    assert fit.main([*arguments, "--training.epochs", "1"]) == 0
    assert not (out / "folds").exists()
    assert (out / "model.keras").is_file()


def test_folds_can_be_trained_apart_and_merged(survey, tmp_path, capsys):
    data = ["--data", str(survey / "records"), "--out", str(tmp_path / "apart"), *SMALL]
    data += ["--label_errors.epochs", "1"]
    assert find_label_errors.main([*data, "--fold", "1"]) == 0
    assert "needs 0 too" in capsys.readouterr().out
    assert find_label_errors.main([*data, "--merge"]) == 2
    assert "missing 0" in capsys.readouterr().err
    assert find_label_errors.main([*data, "--fold", "0"]) == 0
    assert (tmp_path / "apart" / "label_errors.csv").is_file()
    assert find_label_errors.main([*data, "--fold", "2"]) == 2


def test_predictions_in_a_fresh_process_are_those_of_the_run(run, survey, tmp_path):
    out = tmp_path / "scores.csv"
    real = survey / "sim" / "test" / "real.npy"
    command = [sys.executable, "-m", "rbkeras.predict", str(run), str(real), "--out", str(out)]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    scores = pd.read_csv(out)
    of_run = pd.read_csv(run / "evaluation" / "scores.csv").query("label == 1")["score"]
    np.testing.assert_allclose(scores["score"], of_run, atol=1e-4)
    decision = load_classifier(run).decision.final
    expected = decision.probability(scores["score"].to_numpy())
    np.testing.assert_allclose(scores["probability_real"], expected, rtol=1e-4)
    threshold = decision.operating_point.threshold
    assert (scores["decision"] == (scores["score"] >= threshold)).all()


def test_records_are_predicted_into_parquet(run, survey, tmp_path):
    out = tmp_path / "scores.parquet"
    assert predict.main([str(run), str(survey / "records"), "--out", str(out)]) == 0
    scores = pd.read_parquet(out)
    assert len(scores) == 300
    assert set(scores["detector_id"]) == {1, 2}


@pytest.mark.parametrize(
    "shape", [(4, 15, 15, 3), (4, 21, 21, 1)], ids=["other size", "other channels"]
)
def test_predict_refuses_stamps_of_another_shape(run, tmp_path, capsys, shape):
    wrong = tmp_path / "wrong.npy"
    np.save(wrong, np.zeros(shape, np.float32))
    out = tmp_path / "scores.csv"
    out.write_text("source,score\nearlier,1\n")
    assert predict.main([str(run), str(wrong), "--out", str(out)]) == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert "wrong.npy" in message
    assert str(shape[1:]) in message
    assert out.read_text() == "source,score\nearlier,1\n"


def test_evaluate_repeats_the_run_s_metrics(run, survey, tmp_path, capsys):
    arguments = [str(run), *data_flags(survey)[2:], "--out", str(tmp_path / "evaluation")]
    assert evaluate.main([*arguments, "--beside", str(run / "model.keras")]) == 0
    assert f"beside {run / 'model.keras'}:" in capsys.readouterr().out
    comparison = pd.read_csv(tmp_path / "evaluation" / "comparison.csv")
    assert (comparison["difference"] == 0).all()
    assert comparison["figure"].tolist() == list(FIGURES)
    again = json.loads((tmp_path / "evaluation" / "metrics.json").read_text())
    assert again == json.loads((run / "evaluation" / "metrics.json").read_text())
    # Alone, what was said beside another model is of the past.
    assert evaluate.main(arguments) == 0
    assert not (tmp_path / "evaluation" / "comparison.csv").exists()


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--data", "nowhere"], "nowhere"),
        (["--training.epochs", "0"], "--training.epochs"),
        (["--test_real", "real.npy"], "--test_bogus"),
        (["--hold_out", "0.7", "--data", "."], "--hold_out"),
        (["--hold_out", "0.2"], "--data"),
        (["--hold_out", "0.2", "--test_real", ".", "--test_bogus", "."], "got both"),
        (["--decision.true_positive_rate", "1.5"], "--decision.true_positive_rate"),
        (["--decision.prevalence", "0"], "--decision.prevalence"),
        (["--decision.second_look", "1"], "--decision.second_look"),
        (["--training.patience", "3"], "--training.keep best"),
        (["--loss.lambda_ce", "0", "--loss.lambda_auc", "0"], "lambda_ce"),
    ],
)
def test_bad_settings_are_one_sentence(arguments, named, tmp_path, capsys):
    assert fit.main([*arguments, "--out", str(tmp_path / "run")]) == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert named in message


def test_unknown_flags_are_refused(tmp_path):
    with pytest.raises(SystemExit) as stopped:
        fit.main(["--no_such_flag", "1"])
    assert stopped.value.code == 2


@pytest.mark.parametrize(("name", "missing"), [("artifact", "real"), ("unlabelled", "real")])
def test_records_without_a_class_are_named_before_training(name, missing, tmp_path, fails_with):
    stamps = np.random.default_rng(0).normal(size=(12, 21, 21, 3)).astype(np.float32)
    write_detector(tmp_path / "survey", 1, stamps, [name] * 12)
    convert_survey(tmp_path / "survey", tmp_path / "records", progress=False)
    arguments = ["--data", tmp_path / "records", "--out", tmp_path / "run", *SMALL]
    expected = f"{tmp_path / 'records'}: expected labels of both classes, found no {missing}"
    assert expected in fails_with(fit.main, arguments)
    assert not (tmp_path / "run" / "folds").exists()


def test_probabilities_are_of_the_training_set_whatever_batches_are_made_of(
    tmp_path, capsys, monkeypatch
):
    stamps = np.random.default_rng(0).normal(size=(100, 21, 21, 3)).astype(np.float32)
    names = ["real" if row % 10 == 0 else "bogus" for row in range(100)]
    write_detector(tmp_path / "survey", 1, stamps, names)
    convert_survey(tmp_path / "survey", tmp_path / "records", progress=False)
    monkeypatch.chdir(tmp_path)
    for name in ("real", "bogus"):
        np.save(f"{name}.npy", stamps[:5])
    tests = ["--test_real", "real.npy", "--test_bogus", "bogus.npy"]
    arguments = ["--data", "records", "--out", "run", *tests, *SMALL]
    assert fit.main([*arguments, "--policy", "keep", "--training.epochs", "1"]) == 0
    # The report finds them from elsewhere.
    source = json.loads((tmp_path / "run" / "evaluation" / "source.json").read_text())
    assert source["test_real"] == str(tmp_path / "real.npy")
    assert "in each batch of 64: 16 real, 48 bogus" in capsys.readouterr().out
    decision = load_classifier(tmp_path / "run").decision
    for one in (decision, decision.final):
        assert one.network_prevalence == 0.25
        # Nine of ninety: a tenth of either class is the validation part.
        assert one.training_prevalence == 0.1
        assert one.prevalence is None
    given = ["--policy", "keep", "--training.epochs", "1", "--decision.prevalence", "1e-4"]
    assert fit.main([*arguments, *given]) == 0
    decision = load_classifier(tmp_path / "run").decision
    assert (decision.network_prevalence, decision.prevalence) == (0.25, 1e-4)


def test_labels_that_suspicion_has_used_up_are_told_from_labels_that_never_were(
    tiny_survey, tmp_path, fails_with, monkeypatch
):
    """Where stage 1 has learnt nothing, a small class may have no label left."""
    rate = stage1.rate_labels

    def all_bogus_suspect(*args, **kwargs):
        rated = rate(*args, **kwargs)
        rated.loc[rated["label"] == 0, "suspect"] = 1
        return rated

    monkeypatch.setattr(stage1, "rate_labels", all_bogus_suspect)
    arguments = [*data_flags(tiny_survey), *SMALL, "--out", tmp_path / "run"]
    line = fails_with(fit.main, arguments)
    assert "part of stage 2, found no bogus, since" in line
    assert "train with --policy keep" in line
