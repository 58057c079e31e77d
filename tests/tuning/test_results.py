"""Tables, best settings, page and HParams of made-up trials."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from tensorboard.plugins.hparams import plugin_data_pb2

from rbkeras.config import FitConfig
from rbkeras.files import write_json
from tuning import page
from tuning.hparams import write_hparams
from tuning.importance import importances
from tuning.messages import conclude
from tuning.page import write_page
from tuning.plan import Plan, read_plan, read_results, read_settings, write_plan
from tuning.results import best_result, trials_table, write_best
from tuning.space import choose_rows, make_space
from tuning.tuners import Limits


@pytest.fixture
def plan(tmp_path):
    return Plan(config=FitConfig(data=tmp_path, out=tmp_path / "sweep"), cost=True)


def result(number, score, *, status="completed", **values):
    figures = {"fpr_at_tpr90": score, "auc": 1 - score, "n_bogus": 100, "seconds": 2.0}
    parts = [] if status == "failed" else [figures] * 3
    values = {"use_auc": True, "loss.lambda_auc": 0.1 * (number + 1)} | values
    return {
        "trial": str(number),
        "status": status,
        "values": values,
        "error": "<b>broke</b>" if status == "failed" else "",
        "score": None if status == "failed" else score,
        "score_error": 0.01,
        "seconds": 6.0,
        "parts": parts,
        "epochs": 2,
        "parameters": 10,
        "multiply_adds": 1000 + 10 * number,
        "stamps_per_second": 5.0,
        **({} if status == "failed" else {"fpr_at_tpr90": score, "auc": 1 - score}),
    }


@pytest.fixture
def results():
    found = [result(n, 0.1 + 0.01 * n) for n in range(9)]
    found[8] = result(8, 0.01, status="abandoned")
    found.append(result(9, 0.0, status="failed"))
    off = result(10, 0.05)
    off["values"] = {"use_auc": False, "model.network": "simple"}
    return [*found, off]


def test_plan_and_values_survive_their_files(plan):
    write_plan(plan)
    read = read_plan(plan.folder)
    assert read == replace(plan, config=replace(plan.config, preset=read.config.preset))


def test_abandoned_and_failed_trials_are_never_the_best(plan, results):
    assert best_result(results, plan)["trial"] == "10"
    assert best_result([r for r in results if r["status"] != "completed"], plan) is None
    auc = replace(plan, objective="auc")
    assert best_result([result(0, 0.9), result(1, 0.8)], auc)["trial"] == "0"


def test_hyperband_compares_its_longest_trainings(plan):
    short = result(0, 0.01, **{"tuner/epochs": 1})
    long = result(1, 0.05, **{"tuner/epochs": 9})
    assert best_result([short, long], plan)["trial"] == "1"
    table = trials_table([short, long, result(2, 0.2, **{"tuner/epochs": 9})], plan)
    # The first costs least and has the lowest rate, in a training that says nothing of the others.
    assert table["pareto"].tolist() == [False, True, False]


def test_hyperbands_importance_is_of_one_length(plan, tmp_path, monkeypatch):
    judged = []

    def seen(table, names):
        judged.append(table)
        return importances(table, names)

    monkeypatch.setattr(page, "importances", seen)
    results = [
        result(n, 0.1 + 0.01 * n, **{"tuner/epochs": 9 if n % 3 == 0 else 3}) for n in range(12)
    ]
    write_page(tmp_path / "sweep.html", results, plan, begun=0)
    assert judged[0]["trial"].tolist() == ["1", "2", "4", "5", "7", "8", "10", "11"]


def test_a_hyperband_of_failures_has_a_page(plan, tmp_path):
    failed = [result(n, 1.0, status="failed", **{"tuner/epochs": 3}) for n in range(2)]
    write_page(tmp_path / "sweep.html", failed, plan, begun=2)
    assert "failed" in (tmp_path / "sweep.html").read_text()


def test_the_table_has_every_trial(plan, results):
    table = trials_table(results, plan)
    assert list(table["status"].value_counts().items()) == [
        ("completed", 9),
        ("abandoned", 1),
        ("failed", 1),
    ]
    assert np.isnan(table.loc[9, "objective"])
    assert table.loc[9, "error"] == "<b>broke</b>"
    assert np.isnan(table.loc[10, "loss.lambda_auc"])
    assert table.loc[table["pareto"], "trial"].tolist() == ["0", "10"]


def test_best_settings_are_a_config_file(plan, results, tmp_path):
    write_best(tmp_path / "best.yaml", results[3], plan, policy="unlabel")
    config = read_settings(tmp_path / "best.yaml")
    assert config.loss.lambda_auc == pytest.approx(0.4)
    assert config.policy == "unlabel"
    assert config.data.is_absolute()
    assert config.out == plan.folder.resolve() / "best"
    assert "stage 1 first" in (tmp_path / "best.yaml").read_text()
    for name in ("table", "start_from"):
        errors = replace(plan.config.label_errors, **{name: Path("given")})
        own = replace(plan, config=replace(plan.config, label_errors=errors))
        write_best(tmp_path / "best.yaml", results[3], own, policy="unlabel")
        config = read_settings(tmp_path / "best.yaml")
        assert getattr(config.label_errors, name) == Path("given").absolute()
    write_best(tmp_path / "off.yaml", results[10], plan, policy="keep")
    config = read_settings(tmp_path / "off.yaml")
    assert (config.loss.lambda_auc, config.model.network) == (0.0, "simple")


@pytest.mark.parametrize(("order", "status"), [((0, 2, 1), 1), ((1, 0, 2), 0), ((2, 1, 0), 0)])
def test_a_search_is_given_up_by_its_last_failures_in_time(plan, capsys, order, status):
    results = [result(0, 0.1), *(result(n, 0.0, status="failed") for n in (1, 2))]
    for moment, number in enumerate(order):
        results[number]["ended"] = float(moment)
    limits = Limits(max_trials=3, failures=2)
    assert conclude(results, plan, limits) == status
    assert ("given up after 2 failures in a row" in capsys.readouterr().err) is bool(status)


def test_importance_finds_what_matters():
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"strong": rng.random(40), "idle": rng.random(40), "same": 1.0})
    table["name"] = rng.choice(["a", "b"], 40)
    table["objective"] = table["strong"] ** 3 + 0.3 * (table["name"] == "b")
    table.loc[:5, "idle"] = np.nan
    found = importances(table, ["idle", "strong", "same", "name"]).set_index("name")
    assert list(found.index) == ["strong", "name", "idle"]
    assert found.loc["strong", "correlation"] > 0.7
    assert found.loc["idle", "trials"] == 34
    assert np.isnan(found.loc["name", "correlation"])
    assert importances(table[:4], ["strong"]).empty


def test_the_page_is_whole_and_escapes(plan, results):
    for one in results:
        write_json(plan.trial_folder(one["trial"]) / "result.json", one)
    assert [r["trial"] for r in read_results(plan)] == [str(n) for n in range(11)]
    log = pd.DataFrame({"epoch": [0, 1], "val_auc": [0.5, 0.9], "val_fpr_at_tpr90": [0.5, 0.0]})
    part = plan.trial_folder("10") / "parts" / "0"
    part.mkdir(parents=True)
    log.to_csv(part / "log.csv", index=False)
    write_json(part / "part.json", {})
    path = plan.folder / "sweep.html"
    write_page(path, results, plan, begun=1)
    text = path.read_text()
    assert "<b>broke" not in text
    assert "&lt;b&gt;broke" in text
    assert "9 trials completed, 1 abandoned, 1 failed, 1 not finished" in text
    assert "http" not in text
    assert text.count("data:image/png") == 4
    write_page(path, results[9:10], replace(plan, cost=False), begun=0)
    assert "there is no best one" in path.read_text()


def test_tensorboard_gets_hyperparameters_and_figures(plan, results, tmp_path):
    space = make_space(choose_rows("all"), plan.config)
    write_hparams(tmp_path / "tb", results, space, plan)
    write_hparams(tmp_path / "tb", results, space, plan)
    contents = {"experiment": 0, "session_start_info": 0}
    tags, trials, axes = set(), {}, {}
    for path in (tmp_path / "tb").rglob("*tfevents*"):
        for event in tf.compat.v1.train.summary_iterator(str(path)):
            for value in event.summary.value:
                tags.add(value.tag)
                if value.metadata.plugin_data.plugin_name == "hparams":
                    data = plugin_data_pb2.HParamsPluginData.FromString(
                        value.metadata.plugin_data.content
                    )
                    contents[data.WhichOneof("data")] += 1
                    trials[data.session_start_info.group_name] = data.session_start_info.hparams
                    axes |= {info.name: info for info in data.experiment.hparam_infos}
    assert contents == {"experiment": 1, "session_start_info": 10}
    assert {"objective", "fpr_at_tpr90", "auc", "multiply_adds"} <= tags
    # Parallel coordinates show a trial only if it has a value on every axis.
    assert {"loss.lambda_auc", "model.depth", "model.network"} <= set(axes)
    assert not [name for name in axes if "@" in name]
    of_trials = [hparams for name, hparams in trials.items() if name]
    assert len(of_trials) == 10
    assert all(set(hparams) == set(axes) for hparams in of_trials)
    values = sorted(hparams["loss.lambda_auc"].number_value for hparams in of_trials)
    # The last trial had no AUC hinge.
    assert values == pytest.approx([0.0] + [0.1 * n for n in range(1, 10)])
    assert axes["loss.lambda_auc"].domain_interval.min_value == 0
    assert axes["loss.lambda_auc"].domain_interval.max_value == 10
    assert axes["model.depth"].domain_discrete.values[-1].number_value == 6
