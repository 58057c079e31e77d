"""Settings arrive where they act: at the optimizer, the loss, the seeds, the end of a training."""

from dataclasses import fields

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from rbkeras import crossval, metrics, stage1, stage2
from rbkeras.config import (
    FitConfig,
    LabelErrorConfig,
    LossConfig,
    OptimizerConfig,
    TrainingConfig,
    lookup,
)
from rbkeras.data.records import open_records
from rbkeras.losses import RealBogusLoss
from rbkeras.options import make_parser, parse_config
from rbkeras.presets import PRESETS
from rbkeras.rundir import Run
from rbkeras.training import set_seed


@pytest.fixture
def make_run(records_dir, tmp_path):
    def make(**options):
        own = LabelErrorConfig(folds=2, epochs=7, min_steps=0)
        config = FitConfig(data=records_dir, out=tmp_path / "run", label_errors=own, **options)
        return Run(config, open_records(records_dir))

    return make


# --- what a training is asked for -----------------------------------------------------------------


@pytest.fixture
def trainings(monkeypatch):
    """Options of `fit_classifier`, `Run.compiled` and `set_seed`, one of each for a training."""
    calls = {"fit": [], "compiled": [], "seed": []}

    def compiled(run, model, loss, total_steps, *, start):
        calls["compiled"].append({"loss": loss, "total_steps": total_steps})

    monkeypatch.setattr(Run, "compiled", compiled)
    for module in (crossval, stage2):
        monkeypatch.setattr(module, "fit_classifier", lambda *_, **own: calls["fit"].append(own))
        monkeypatch.setattr(
            module, "set_seed", lambda seed, **own: calls["seed"].append({"seed": seed, **own})
        )
    return calls


@pytest.mark.parametrize(
    ("keep", "patience", "keep_best"),
    [("last", None, False), ("best", None, True), ("best", 4, True)],
)
def test_stage_two_keeps_and_stops_as_it_is_told(make_run, trainings, keep, patience, keep_best):
    training = TrainingConfig(epochs=11, min_steps=0, keep=keep, patience=patience)
    stage2.train_final(make_run(training=training), None)
    (own,) = trainings["fit"]
    assert (own["keep_best"], own["patience"], own["epochs"]) == (keep_best, patience, 11)


def test_no_fold_chooses_by_what_it_holds_out(make_run, trainings):
    stage1.train_folds(make_run(training=TrainingConfig(keep="best", patience=2)))
    assert len(trainings["fit"]) == 2
    for own in trainings["fit"]:
        assert own["keep_best"] is False
        assert own.get("patience") is None
        assert own["epochs"] == 7


@pytest.mark.parametrize("deterministic", [False, True])
def test_every_training_is_seeded_and_ordered_as_it_is_told(make_run, trainings, deterministic):
    run = make_run(seed=5, deterministic=deterministic)
    stage1.train_folds(run)
    stage2.train_final(run, None)
    assert trainings["seed"] == [
        {"seed": seed, "deterministic": deterministic} for seed in (5, 6, 5)
    ]


def test_a_schedule_spans_all_steps_of_its_training(make_run, trainings):
    training = TrainingConfig(epochs=11, min_steps=0, batch_size=4, validation_fraction=0.2)
    run = make_run(training=training)
    stage1.train_folds(run)
    stage2.train_final(run, None)
    # Of 30 labelled stamps a fold has 15, stage 2 a fifth less and 6 without a label.
    assert [own["total_steps"] for own in trainings["compiled"]] == [7 * 4, 7 * 4, 11 * 8]


def test_what_is_looked_at_twice_has_a_threshold_of_its_own(make_run, monkeypatch):
    labels = np.tile([0, 1], 20)
    looks = {False: np.linspace(-1, 3, 40), True: np.linspace(-1, 3, 40)[::-1] + 5}

    def predicted(*_, again_from=None):
        score = looks[again_from is not None]
        return pd.DataFrame({"label": labels, "prediction0": 0.0, "prediction1": score})

    monkeypatch.setattr(stage2, "predicted", predicted)
    run = make_run()
    run.folder.mkdir()
    decision = stage2._decide(run, None, run.labels, run.labels)
    for found, twice in ((decision, False), (decision.final, True)):
        expected = metrics.threshold_at_tpr(looks[twice][labels == 1], 0.9)
        assert found.operating_point.threshold == expected


def test_weights_of_the_loss_are_for_stage_two_alone(make_run, trainings):
    own = {
        "lambda_ce": 0.5,
        "lambda_auc": 0.25,
        "lambda_vat": 0.75,
        "auc_margin": 0.125,
        "auc_beta": 0.3,
        "vat_epsilon": 0.7,
        "vat_xi": 0.01,
        "vat_iterations": 3,
        "vat_space": "input",
        "vat_share": 0.6,
    }
    assert set(own) == {field.name for field in fields(LossConfig)}
    run = make_run(loss=LossConfig(**own))
    stage1.train_folds(run)
    stage2.train_final(run, None)
    *folds, final = [call["loss"].get_config() for call in trainings["compiled"]]
    assert {name: final[name] for name in own} == own
    assert len(folds) == 2
    for fold in folds:
        # Cross-entropy: there is nothing unlabelled in a fold, and nothing but it to be learnt.
        assert (fold["lambda_ce"], fold["lambda_auc"], fold["lambda_vat"]) == (1.0, 0.0, 0.0)


# --- repeatability --------------------------------------------------------------------------------


@pytest.mark.parametrize("deterministic", [False, True])
def test_arithmetic_is_ordered_where_that_is_asked_for(monkeypatch, deterministic):
    calls = []
    monkeypatch.setattr(
        tf.config.experimental, "enable_op_determinism", lambda: calls.append("ordered")
    )
    set_seed(3, deterministic=deterministic)
    assert calls == ["ordered"] * deterministic
    first = float(tf.random.uniform(()))
    set_seed(3)
    assert float(tf.random.uniform(())) == first


# --- the optimizer --------------------------------------------------------------------------------


@pytest.fixture
def optimizer_of(make_run, monkeypatch):
    """The optimizer of a run's networks, for 100 steps."""
    monkeypatch.setattr(
        Run, "built", lambda *_: keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    )

    def find(**own):
        run = make_run(optimizer=OptimizerConfig(**own))
        return run.compiled({}, RealBogusLoss(), 100).optimizer

    return find


def rate(optimizer, step):
    optimizer.iterations.assign(step)
    return float(optimizer.learning_rate)


#: For each setting: another value and what goes with it, where to look, what is there with and
#: without it.
REACHED = {
    "name": ({"name": "sgd"}, lambda found: type(found).__name__, "SGD", "AdamW"),
    "learning_rate": ({"learning_rate": 0.5}, lambda found: rate(found, 5), 0.5, 1e-3),
    "schedule": ({"schedule": "constant"}, lambda found: rate(found, 100), 1e-3, 0.0),
    # Of a rise to 0.001 the first of twenty steps, or of five.
    "warmup": ({"warmup": 0.2}, lambda found: rate(found, 0), 5e-5, 2e-4),
    "weight_decay": ({"weight_decay": 0.125}, lambda found: found.weight_decay, 0.125, 0.01),
    "momentum": (
        {"momentum": 0.9, "name": "sgd"},
        lambda found: getattr(found, "momentum", None),
        0.9,
        None,
    ),
    "clip_value": ({"clip_value": 0.5}, lambda found: found.clipvalue, 0.5, None),
    "clip_norm": ({"clip_norm": 2.0}, lambda found: found.global_clipnorm, 2.0, None),
}


def test_every_setting_of_the_optimizer_is_looked_for():
    assert set(REACHED) == {field.name for field in fields(OptimizerConfig)}


@pytest.mark.parametrize("name", REACHED)
def test_a_setting_of_the_optimizer_reaches_it(optimizer_of, name):
    own, look, expected, usual = REACHED[name]
    assert own[name] != getattr(OptimizerConfig(), name)
    for options, value in ((own, expected), ({}, usual)):
        found = look(optimizer_of(**options))
        assert found == (pytest.approx(value, abs=1e-9) if isinstance(value, float) else value)


@pytest.mark.parametrize("name", ["adamw", "adam", "sgd", "adadelta"])
def test_rates_of_a_run_rise_and_fall_over_its_steps(optimizer_of, name):
    optimizer = optimizer_of(name=name, learning_rate=0.5, warmup=0.2)
    # A twentieth of it, half-way up, the peak after a fifth; half-way down, the end.
    rates = [rate(optimizer, step) for step in (0, 10, 20, 60, 100)]
    assert rates == pytest.approx([0.025, 0.2625, 0.5, 0.25, 0.0], abs=1e-6)
    assert type(optimizer).__name__.lower() == name


# --- the published recipe -------------------------------------------------------------------------

#: The recipe of Takahashi et al. 2022 and their scripts, whatever the defaults are here.
ORIGINAL = {
    # "complex", and its "simple" normalisation: min-max.
    "model.network": "complex",
    "model.normalisation": "minmax",
    "model.width": None,
    "model.depth": None,
    "model.dropout": None,
    "loss.lambda_ce": 0.1,
    "loss.lambda_auc": 1.0,
    "loss.lambda_vat": 0.1,
    "loss.auc_margin": 0.25,
    "loss.auc_beta": 1.0,
    # All stamps, on raw pixels, with one power iteration.
    "loss.vat_epsilon": 0.1,
    "loss.vat_xi": 1.0,
    "loss.vat_iterations": 1,
    "loss.vat_space": "input",
    "loss.vat_share": 1.0,
    # Plain SGD.
    "optimizer.name": "sgd",
    "optimizer.learning_rate": 0.001,
    "optimizer.schedule": "constant",
    "optimizer.weight_decay": 0.0,
    "optimizer.momentum": 0.0,
    "optimizer.clip_value": None,
    "optimizer.clip_norm": None,
    "training.epochs": 1000,
    "training.min_steps": 0,
    "training.batch_size": 256,
    "training.keep": "best",
    "training.patience": 10,
    "training.augment": False,
    "training.shift": 0,
    "training.labelled_share": 0.0,
    "training.minority_share": 0.0,
    "training.precision": "float32",
    # Five folds of the simple network; suspect is whatever contradicts its label.
    "label_errors.folds": 5,
    "label_errors.repeats": 1,
    "label_errors.epochs": 100,
    "label_errors.min_steps": 0,
    "label_errors.network": "simple",
    "label_errors.rule": "argmax",
    "label_errors.group": None,
    "policy": "unlabel",
}


def test_the_preset_original_is_the_published_recipe():
    parser = make_parser(prog="test", description="A test.", examples="examples:")
    config, _ = parse_config(parser, ["--data", "records", "--preset", "original"])
    assert {flag: lookup(config, flag) for flag in ORIGINAL} == ORIGINAL
    assert PRESETS["original"].keys() <= ORIGINAL.keys()
