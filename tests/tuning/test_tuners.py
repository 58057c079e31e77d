"""KerasTuner's searches with trials that cost nothing."""

import json

import pytest
from keras_tuner import HyperParameters

from rbkeras.config import FitConfig
from rbkeras.errors import InputError
from tuning.space import choose_rows, make_space
from tuning.tuners import SCORE, Limits, SweepTuner, make_oracle
from tuning.words import TUNER_NAMES


class Search:
    """A search whose trials are made up."""

    def __init__(self, folder, name="random", *, fails=lambda trial: False):
        self.folder, self.name, self.fails = folder, name, fails
        self.done, self.seen = [], []

    def evaluate(self, trial, values):
        if self.fails(trial):
            return {"trial": trial, "status": "failed", "error": "it broke"}
        self.done.append((trial, values))
        score = abs(values.get("loss.lambda_auc", 1.0) - 0.3)
        return {"trial": trial, "status": "completed", SCORE: score}

    def oracle(
        self, max_trials, *, rows=("use_auc", "loss.lambda_auc", "loss.auc_margin"), **limits
    ):
        rows = choose_rows("none", vary=rows)
        space = make_space(rows, FitConfig(), grid_points=3 if self.name == "grid" else None)
        return make_oracle(
            self.name,
            space,
            limits=Limits(max_trials=max_trials, **limits),
            seed=0,
            max_epochs=9,
        )

    def run(self, max_trials, **options):
        oracle = self.oracle(max_trials, **options)
        tuner = SweepTuner(
            oracle, folder=str(self.folder), evaluate=self.evaluate, after=self.seen.append
        )
        tuner.search()
        return oracle


@pytest.mark.parametrize("name", TUNER_NAMES)
def test_what_is_not_accepted_is_no_trial(name, tmp_path):
    search = Search(tmp_path, name)
    search.run(6, accepts=lambda values: values.get("loss.auc_margin", 0) < 1.5)
    assert [int(trial) for trial, _ in search.done] == list(range(len(search.done)))
    margins = [values.get("loss.auc_margin", 0) for _, values in search.done]
    assert len(margins) >= 5
    assert max(margins) < 1.5


@pytest.mark.parametrize("name", ["random", "bayesian"])
def test_a_search_may_begin_with_given_values(name, tmp_path):
    first = {"use_auc": True, "loss.lambda_auc": 0.1, "loss.auc_margin": 0.25}
    search = Search(tmp_path / "begun", name)
    search.run(4, first=first)
    assert search.done[0] == ("0", first)
    assert len(search.done) == 4
    assert first not in [values for _, values in search.done[1:]]
    refused = Search(tmp_path / "refused", name)
    refused.run(4, first=first, accepts=lambda values: values != first)
    assert len(refused.done) == 4
    assert first not in [values for _, values in refused.done]


@pytest.mark.parametrize("name", TUNER_NAMES)
def test_a_search_ends_when_nothing_is_acceptable(name, tmp_path):
    search = Search(tmp_path, name)
    search.run(3, accepts=lambda values: False)
    assert not search.done


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=[pytest.mark.slow] * (n == "bayesian")) for n in TUNER_NAMES],
)
def test_every_tuner_goes_on_where_it_stopped(name, tmp_path):
    first = Search(tmp_path / "parted", name)
    first.run(6)
    assert [int(trial) for trial, _ in first.done] == list(range(6))
    second = Search(tmp_path / "parted", name)
    second.run(9)
    assert [int(trial) for trial, _ in second.done] == list(range(6, 9))
    values = [json.dumps(v, sort_keys=True) for _, v in first.done + second.done]
    if name in ("random", "grid"):
        assert len(set(values)) == 9
        whole = Search(tmp_path / "whole", name)
        whole.run(9)
        assert [json.dumps(v, sort_keys=True) for _, v in whole.done] == values
    if name == "hyperband":
        assert {v["tuner/epochs"] for _, v in first.done + second.done} <= {1, 3, 9}


def test_a_grid_ends_when_everything_has_been_tried(tmp_path):
    search = Search(tmp_path, "grid")
    search.run(100)
    assert len(search.done) == 3 * 3 + 1


def test_hyperband_prolongs_the_best(tmp_path):
    search = Search(tmp_path, "hyperband")
    search.run(14)
    prolonged = [values for _, values in search.done if values.get("tuner/trial_id")]
    assert {values["tuner/epochs"] for values in prolonged} == {3, 9}


def test_failures_are_told_and_end_the_search_only_in_a_row(tmp_path):
    search = Search(tmp_path / "some", fails=lambda trial: int(trial) % 2)
    oracle = search.run(8, failures=2)
    assert [result["status"] for result in search.seen] == ["completed", "failed"] * 4
    assert oracle.trials["1"].status == "FAILED"
    assert "it broke" in oracle.trials["1"].message
    search = Search(tmp_path / "all", fails=lambda trial: True)
    search.run(8, failures=3)
    assert len(search.seen) == 3
    # What broke may be mended by the next call, which tries new ones.
    search.fails = lambda trial: False
    search.run(5, failures=3)
    assert [result["status"] for result in search.seen] == ["failed"] * 3 + ["completed"] * 2


@pytest.mark.parametrize("name", ["random", "bayesian"])
def test_nothing_is_tried_twice(name, tmp_path):
    search = Search(tmp_path, name)
    search.run(9, rows=["use_auc"])
    tried = [tuple(sorted(values.items())) for _, values in search.done]
    # There are two settings, and the search ends when both are tried.
    assert len(tried) == len(set(tried)) == 2


def test_values_from_a_chief_are_those_that_mean_something(tmp_path, capfd):
    space = make_space(choose_rows("architecture"), FitConfig())
    oracle = make_oracle("random", space, limits=Limits(max_trials=30), seed=0, max_epochs=1)
    seen = []

    def evaluate(trial, values):
        seen.append(values)
        return {"trial": trial, "status": "completed", SCORE: 0.5}

    tuner = SweepTuner(oracle, folder=str(tmp_path), evaluate=evaluate, after=lambda _: None)
    for number in range(30):
        trial = oracle.create_trial("here")
        sent = dict(trial.hyperparameters.values)
        trial.hyperparameters = HyperParameters.from_proto(trial.hyperparameters.to_proto())
        tuner.run_trial(trial)
        assert seen[number].keys() == sent.keys()
        oracle.update_trial(trial.trial_id, {SCORE: 0.5})
        trial.status = "COMPLETED"
        oracle.end_trial(trial)
    # Nor does KerasTuner print what it sends.
    assert "compact" not in capfd.readouterr().out


def test_hours_end_the_search(tmp_path):
    search = Search(tmp_path)
    search.run(5, hours=1e-9)
    assert not search.done


def test_what_was_killed_anywhere_is_done_again(tmp_path):
    class Killed(BaseException):
        pass

    def kill(trial):
        if trial == "1":
            raise Killed
        return False

    with pytest.raises(Killed):
        Search(tmp_path, "bayesian", fails=kill).run(4)
    # As if killed after the trial was written and before the list of trials was.
    path = tmp_path / "keras_tuner" / "oracle.json"
    state = json.loads(path.read_text())
    assert list(state["ongoing_trials"].values()) == ["1"]
    state["ongoing_trials"] = {}
    state["start_order"].remove("1")
    path.write_text(json.dumps(state))
    search = Search(tmp_path, "bayesian")
    search.run(4)
    assert [trial for trial, _ in search.done] == ["1", "2", "3"]


@pytest.mark.parametrize("name", ["random", "grid"])
def test_values_proposed_before_a_kill_are_not_proposed_again(name, tmp_path):
    Search(tmp_path, name).run(1)
    path = tmp_path / "keras_tuner" / "oracle.json"
    state = json.loads(path.read_text())
    # As if a chief had been killed after the trial was written and before its own state was.
    trial = json.loads((tmp_path / "keras_tuner" / "trial_0" / "trial.json").read_text())
    trial["status"] = "RUNNING"
    (tmp_path / "keras_tuner" / "trial_0" / "trial.json").write_text(json.dumps(trial))
    state |= {"tried_so_far": [], "id_to_hash": {}, "start_order": [], "end_order": []}
    path.write_text(json.dumps(state))
    oracle = Search(tmp_path, name).oracle(4)
    oracle._set_project_dir(str(tmp_path), "keras_tuner")
    oracle.reload()
    # Both at once, as a chief of two workers would hand them out.
    first, second = oracle.create_trial("worker0"), oracle.create_trial("worker1")
    assert (first.trial_id, second.trial_id) == ("0", "1")
    assert first.hyperparameters.values != second.hyperparameters.values


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        *(("tuner.json", damage) for damage in ("", "{")),
        *(
            (name, damage)
            for name in ("oracle.json", "trial_1/trial.json")
            for damage in ("", "{", "[]", None)
        ),
    ],
)
def test_a_damaged_state_is_one_sentence(name, damage, tmp_path):
    Search(tmp_path).run(3)
    path = tmp_path / "keras_tuner" / name
    path.unlink()
    if damage is not None:
        path.write_text(damage)
    with pytest.raises(InputError, match=r"keras_tuner: expected the state .* --overwrite"):
        Search(tmp_path).run(4)


def test_what_had_ended_when_a_chief_was_killed_is_not_done_again(tmp_path):
    Search(tmp_path).run(3)
    path = tmp_path / "keras_tuner" / "oracle.json"
    state = json.loads(path.read_text())
    state["ongoing_trials"] = {"worker0": "2"}
    path.write_text(json.dumps(state))
    search = Search(tmp_path)
    search.run(4)
    assert [trial for trial, _ in search.done] == ["3"]


def test_a_defect_is_no_failed_trial(tmp_path):
    def broken(trial):
        raise KeyError("a defect")

    with pytest.raises(Exception, match="a defect") as caught:
        Search(tmp_path, fails=broken).run(4)
    assert isinstance(caught.value.__cause__, KeyError)


def test_a_trial_whose_folder_would_be_elsewhere_is_damage(tmp_path):
    Search(tmp_path / "sweep").run(2)
    folder = tmp_path / "sweep" / "keras_tuner"
    for path in (folder / "oracle.json", folder / "trial_1" / "trial.json"):
        path.write_text(path.read_text().replace('"1"', '"../../other"'))
    with pytest.raises(InputError, match=r"keras_tuner: expected the state .* no number"):
        Search(tmp_path / "sweep").run(3)
