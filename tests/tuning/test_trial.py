"""Trials whose trainings are made up: folds, abandonment, failures, processes."""

import errno
import subprocess
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from rbkeras.config import FitConfig, TrainingConfig
from rbkeras.data.labels import SKIP
from rbkeras.data.records import open_records
from rbkeras.errors import InputError, WorkError
from rbkeras.files import write_json
from rbkeras.rundir import Run
from tuning import parts
from tuning import trial as trial_module
from tuning.objectives import OBJECTIVES
from tuning.parts import check_parts, split, targets_of
from tuning.pictures import learning_curve
from tuning.plan import Plan, read_results, write_values
from tuning.trial import do_trial


@pytest.fixture
def plan(records_dir, tmp_path):
    return Plan(config=FitConfig(data=records_dir, out=tmp_path, policy="keep"), folds=3)


@pytest.fixture
def made_up(monkeypatch):
    """Trainings that reach lambda_auc; returns the numbers of those that were done."""
    done = []

    def train(plan, run, number, training, validation, folder):
        from rbkeras.files import read_json, write_json

        path = folder / "part.json"
        if path.exists():
            return read_json(path)
        done.append(number)
        score = run.config.loss.lambda_auc
        if score > 1:
            raise ValueError("it\nbroke")
        figures = dict.fromkeys(("fpr_at_tpr90", "fpr_at_tpr90_tied", "auc"), score)
        write_json(path, figures | {"n_real": 5, "n_bogus": 5, "seconds": 1.0, "epochs": 1})
        return read_json(path)

    monkeypatch.setattr(trial_module, "train_part", train)
    return done


def test_folds_are_disjoint_and_cover_the_labelled(plan):
    records = open_records(plan.config.data)
    run, targets = Run(plan.config, records), targets_of(plan, records)
    plan = replace(plan, executions=2)
    pairs = list(split(plan, run, targets))
    assert len(pairs) == 6
    for training, validation in pairs:
        assert not ((training != SKIP) & (validation != SKIP)).any()
        assert ((training == -1) == (targets == -1)).all()
    for first in (0, 3):
        held_out = sum((validation != SKIP).astype(int) for _, validation in pairs[first:][:3])
        assert (held_out == (targets >= 0)).all()
    assert any((a[1] != b[1]).any() for a, b in zip(pairs[:3], pairs[3:], strict=True))


def test_groups_are_held_out_whole(plan):
    own = replace(plan.config.label_errors, group="objectId")
    plan = replace(plan, config=replace(plan.config, label_errors=own))
    records = open_records(plan.config.data)
    run = Run(plan.config, records)
    for training, validation in split(plan, run, targets_of(plan, records)):
        assert not set(run.groups[training != SKIP]) & set(run.groups[validation != SKIP])


def test_one_fold_holds_out_the_validation_fraction(plan):
    own = TrainingConfig(validation_fraction=0.25)
    plan = replace(plan, folds=1, config=replace(plan.config, training=own))
    records = open_records(plan.config.data)
    targets = targets_of(plan, records)
    [(_, validation)] = split(plan, Run(plan.config, records), targets)
    assert (validation != SKIP).sum() == pytest.approx((targets >= 0).sum() / 4, abs=2)


def test_labels_come_from_the_table_of_an_earlier_stage(plan, tiny_run, tiny_survey, tmp_path):
    config = FitConfig(data=tiny_survey / "records", out=tmp_path)
    table = tiny_run / "label_errors.csv"
    config = replace(config, label_errors=replace(config.label_errors, table=table))
    records = open_records(config.data)
    unlabelled = targets_of(Plan(config=config), records)
    kept = targets_of(Plan(config=replace(config, policy="keep")), records)
    suspects = np.genfromtxt(table, delimiter=",", names=True, usecols=range(9))["suspect"] == 1
    assert (unlabelled == -1).sum() - (kept == -1).sum() == suspects.sum() > 0


def test_parts_without_a_class_are_found_before_the_search(plan):
    with pytest.raises(InputError, match=r"found no .*; choose fewer --folds"):
        check_parts(replace(plan, folds=20), open_records(plan.config.data))


def test_every_part_has_a_seed_of_its_own(plan, tmp_path, monkeypatch):
    seeds = []

    def begun(seed, **_):
        seeds.append(seed)
        raise InterruptedError

    monkeypatch.setattr(parts, "set_seed", begun)
    run = Run(plan.config, open_records(plan.config.data))
    for number in range(6):
        with pytest.raises(InterruptedError):
            parts.train_part(replace(plan, executions=2), run, number, None, None, tmp_path)
    assert len(set(seeds)) == 6


def test_a_trial_is_the_mean_of_its_parts_and_done_once(plan, made_up):
    result = do_trial(plan, "0", {"loss.lambda_auc": 0.25})
    assert (result["status"], result["score"], result["score_error"]) == ("completed", 0.25, 0)
    assert (len(result["parts"]), result["seconds"]) == (3, 3.0)
    assert do_trial(plan, "0", {"loss.lambda_auc": 0.25}) == result
    assert made_up == [0, 1, 2]
    # Other values under the same number are another trial.
    assert do_trial(plan, "0", {"loss.lambda_auc": 0.5})["score"] == 0.5


def test_hopeless_trials_are_abandoned_and_not_failed(plan, made_up):
    for number, value in enumerate((0.1, 0.2, 0.3)):
        do_trial(plan, str(number), {"loss.lambda_auc": value})
    made_up.clear()
    values = {"loss.lambda_auc": 0.9}
    result = do_trial(plan, "3", values)
    assert (result["status"], result["score"], len(result["parts"])) == ("abandoned", 0.9, 1)
    assert made_up == [0]
    # The best is 0.1 on all folds alike, and this one 9 times worse on the one it has seen.
    assert result["projected"] == pytest.approx(0.9)
    # A training of another length is not compared, and neither is anything if not wished.
    assert do_trial(plan, "4", values | {"tuner/epochs": 3})["status"] == "completed"
    assert do_trial(replace(plan, abandon=False), "5", values)["status"] == "completed"
    assert do_trial(plan, "6", {"loss.lambda_auc": 0.05})["status"] == "completed"
    assert len(read_results(plan)) == 7


def test_parts_finished_before_an_interruption_all_count(plan, made_up):
    for number, value in enumerate((0.1, 0.2, 0.3)):
        do_trial(plan, str(number), {"loss.lambda_auc": value})
    made_up.clear()
    # Worse than all in the first fold, better in the second.
    values = {"loss.lambda_auc": 0.9}
    for part, score in ((0, 0.9), (1, 0.01)):
        figures = dict.fromkeys(("fpr_at_tpr90", "fpr_at_tpr90_tied", "auc"), score)
        path = plan.trial_folder("3") / "parts" / str(part) / "part.json"
        write_json(path, figures | {"n_real": 5, "n_bogus": 5, "seconds": 1.0, "epochs": 1})
    write_values(plan, "3", values)
    assert do_trial(plan, "3", values)["status"] == "completed"
    assert made_up == [2]


def test_logs_of_unfinished_parts_are_in_no_curve(tmp_path):
    log = pd.DataFrame({"epoch": [0, 1], "val_auc": [0.8, 0.9], "val_fpr_at_tpr90": [0.2, 0.1]})
    for part in ("0", "1", "2"):
        (tmp_path / "parts" / part).mkdir(parents=True)
        log.to_csv(tmp_path / "parts" / part / "log.csv", index=False)
    (tmp_path / "parts" / "0" / "part.json").write_text("{}")
    # What a kill in the first epoch leaves, and one in a later epoch.
    (tmp_path / "parts" / "1" / "log.csv").write_bytes(b"")
    log.assign(val_auc=0.1).to_csv(tmp_path / "parts" / "2" / "log.csv", index=False)
    assert learning_curve(tmp_path)["val_auc"].tolist() == [0.8, 0.9]


def test_failures_keep_their_error(plan, made_up):
    result = do_trial(plan, "0", {"loss.lambda_auc": 2.0})
    assert (result["status"], result["error"]) == ("failed", "ValueError: it broke")
    assert result["score"] is None
    assert "Traceback" in (plan.trial_folder("0") / "traceback.txt").read_text()
    result = do_trial(plan, "1", {"loss.vat_epsilon": -1.0})
    assert result["error"] == "--loss.vat_epsilon: expected a number above 0, got -1.0"


def test_a_full_disk_is_no_fault_of_the_trial(plan, made_up, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(trial_module, "train_part", full)
        with pytest.raises(OSError, match="No space left"):
            do_trial(plan, "0", {})
    assert do_trial(plan, "0", {})["status"] == "completed"


def test_a_process_that_cannot_write_ends_the_search(plan, monkeypatch):
    class CannotWrite:
        def __init__(self, command, **_):
            pass

        def wait(self):
            return 1

    monkeypatch.setattr(subprocess, "Popen", CannotWrite)
    with pytest.raises(WorkError, match="trial 0: its process could not go on"):
        do_trial(plan, "0", {}, own_process=True)
    assert not (plan.trial_folder("0") / "result.json").exists()


def test_a_process_that_is_killed_is_a_failed_trial(plan, monkeypatch):
    class Killed:
        def __init__(self, command, **_):
            pass

        def wait(self):
            return -9

    monkeypatch.setattr(subprocess, "Popen", Killed)
    result = do_trial(plan, "0", {}, own_process=True)
    assert (result["status"], result["error"]) == (
        "failed",
        "the trial's process was killed by signal 9",
    )


def test_names_of_flags_are_those_of_the_modules():
    from tuning.space import SPACES
    from tuning.words import OBJECTIVE_NAMES, SPACE_NAMES

    assert tuple(SPACES) == SPACE_NAMES
    assert tuple(OBJECTIVES) == OBJECTIVE_NAMES
