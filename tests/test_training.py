import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from rbkeras.errors import InputError
from rbkeras.files import read_json
from rbkeras.losses import RealBogusLoss
from rbkeras.models.classifier import build_classifier
from rbkeras.training import (
    compile_classifier,
    enough_epochs,
    epochs_done,
    fit_classifier,
    forget_backup,
    learning_rate_schedule,
    make_optimizer,
    set_seed,
)

SHAPE = (13, 13, 2)


def draw(count=16, seed=0):
    labels = np.tile([0, 1], count // 2).astype(np.int32)
    stamps = np.random.default_rng(seed).normal(size=(count, *SHAPE)).astype(np.float32)
    stamps[labels == 1, 5:8, 5:8] += 3
    return tf.data.Dataset.from_tensor_slices((stamps, labels)).batch(8)


def make_model(optimizer=None, *, eager=True):
    """Eager unless told: tracing would take longer than the few steps of most tests."""
    set_seed(0)
    model = build_classifier(SHAPE, network="simple", width=0.125, dropout=0.0)
    optimizer = optimizer or make_optimizer(total_steps=100, schedule="constant")
    compile_classifier(model, optimizer=optimizer, loss=RealBogusLoss())
    model.run_eagerly = eager
    return model


def fit(model, folder, **options):
    options = {"epochs": 5, "keep_best": True} | options
    return fit_classifier(model, draw(), draw(seed=1), folder=folder, **options)


class Script(keras.callbacks.Callback):
    """Dictates the validation losses, notes the epochs and weights, interrupts where told."""

    def __init__(self, losses, interrupt_in=None):
        super().__init__()
        self.losses, self.interrupt_in = losses, interrupt_in
        self.epochs, self.weights, self.kept = [], {}, None

    def on_epoch_begin(self, epoch, logs=None):
        self.epochs.append(epoch)

    def on_train_batch_begin(self, batch, logs=None):
        if self.epochs[-1] == self.interrupt_in and batch == 1:
            raise KeyboardInterrupt

    def on_test_end(self, logs=None):
        self.weights[self.epochs[-1]] = self.model.get_weights()

    def on_train_end(self, logs=None):
        self.kept = self.model.get_weights()


@pytest.fixture
def dictate(monkeypatch):
    """Return a model whose validation losses are those of a `Script`."""

    def build(script):
        model = make_model()
        evaluate = model.evaluate

        def dictated(*args, **kwargs):
            logs = evaluate(*args, **kwargs)
            if isinstance(logs, dict):
                logs["loss"] = script.losses[script.epochs[-1]]
            return logs

        monkeypatch.setattr(model, "evaluate", dictated)
        return model

    return build


def same(first, second):
    return all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


# --- optimizers -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("adamw", keras.optimizers.AdamW),
        ("adam", keras.optimizers.Adam),
        ("sgd", keras.optimizers.SGD),
        ("adadelta", keras.optimizers.Adadelta),
    ],
)
def test_optimizers_by_name(name, kind):
    optimizer = make_optimizer(name=name, total_steps=10, schedule="constant", learning_rate=0.25)
    assert type(optimizer) is kind
    assert float(optimizer.learning_rate) == 0.25


def test_momentum_and_clipping_reach_the_optimizer():
    assert make_optimizer(name="sgd", total_steps=1, momentum=0.9).momentum == 0.9
    assert make_optimizer(total_steps=1, clip_value=0.5).clipvalue == 0.5
    assert make_optimizer(total_steps=1, clip_norm=2.0).global_clipnorm == 2.0
    optimizer = make_optimizer(total_steps=1)
    assert optimizer.clipvalue is None
    assert optimizer.global_clipnorm is None


def test_clipping_bounds_the_step():
    for options, expected in [({"clip_value": 0.5}, [0.5, 0.5]), ({"clip_norm": 0.5}, [0.3, 0.4])]:
        variable = keras.Variable([0.0, 0.0])
        optimizer = make_optimizer(
            name="sgd", total_steps=1, schedule="constant", learning_rate=1.0, **options
        )
        optimizer.apply([np.array([3.0, 4.0], np.float32)], [variable])
        np.testing.assert_allclose(-variable.numpy(), expected, rtol=1e-5)


def test_both_clippings_are_refused():
    with pytest.raises(InputError, match=r"clip_value and --optimizer\.clip_norm"):
        make_optimizer(total_steps=1, clip_value=1.0, clip_norm=1.0)


@pytest.mark.parametrize("options", [{"name": "lion"}, {"schedule": "steps"}])
def test_unknown_choices_are_named(options):
    (key, value), *_ = options.items()
    with pytest.raises(ValueError, match=f"{key}: .*{value}"):
        make_optimizer(total_steps=10, **options)


def test_weight_decay_spares_biases_and_normalisation():
    model = build_classifier(SHAPE, network="complex", width=0.125, depth=1)
    optimizer = make_optimizer(
        total_steps=1, schedule="constant", learning_rate=0.5, weight_decay=0.5
    )
    for variable in model.trainable_variables:
        variable.assign(np.ones(variable.shape))
    zeros = [np.zeros(v.shape, np.float32) for v in model.trainable_variables]
    optimizer.apply(zeros, model.trainable_variables)
    names = {v.name for v in model.trainable_variables}
    assert names == {"kernel", "bias", "gamma", "beta", "tau"}
    for variable in model.trainable_variables:
        expected = 0.75 if variable.name == "kernel" else 1.0
        np.testing.assert_allclose(variable, expected, rtol=1e-6)


def test_cosine_schedule_warms_up_and_falls_to_zero():
    rate = learning_rate_schedule(0.8, schedule="cosine", warmup=0.1, total_steps=100)
    values = np.array([float(rate(step)) for step in range(101)])
    assert values[0] == pytest.approx(0.08)
    assert values[10] == pytest.approx(0.8)
    assert values.argmax() == 10
    assert values[55] == pytest.approx(0.4)
    assert values[100] == pytest.approx(0, abs=1e-6)
    assert (np.diff(values[:11]) > 0).all()
    assert (np.diff(values[10:]) < 0).all()


def test_cosine_schedule_without_warm_up_starts_at_its_peak():
    rate = learning_rate_schedule(0.8, schedule="cosine", warmup=0.0, total_steps=100)
    assert float(rate(0)) == pytest.approx(0.8)
    assert float(rate(50)) == pytest.approx(0.4)


# --- fitting ----------------------------------------------------------------------------------


def test_training_logs_every_epoch(tmp_path):
    history = fit(make_model(eager=False), tmp_path, epochs=3)
    assert history["epoch"].tolist() == [0, 1, 2]
    logged = {"loss", "ce", "auc_hinge", "vat", "auc", "val_loss", "val_auc", "val_fpr_at_tpr90"}
    assert logged <= set(history)
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "log.csv"), history)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["backup", "log.csv", "tensorboard"]
    forget_backup(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["log.csv", "tensorboard"]


@pytest.mark.parametrize("best", [1, 4])
def test_interrupted_training_goes_on_and_keeps_the_best_weights(tmp_path, dictate, best):
    losses = [5.0, 4.0, 4.5, 4.6, 4.7]
    losses[best] = 1.0
    first = Script(losses, interrupt_in=3)
    with pytest.raises(KeyboardInterrupt):
        fit(dictate(first), tmp_path, callbacks=[first])
    assert first.epochs == [0, 1, 2, 3]
    second = Script(losses)
    model = dictate(second)
    history = fit(model, tmp_path, callbacks=[second])
    assert second.epochs == [3, 4]
    assert history["epoch"].tolist() == [0, 1, 2, 3, 4]
    assert pd.read_csv(tmp_path / "log.csv")["epoch"].tolist() == [0, 1, 2, 3, 4]
    assert history["val_loss"].tolist() == losses
    expected = (first.weights | second.weights)[best]
    assert same(model.get_weights(), expected)
    # Later callbacks, which save and predict, see the kept weights.
    assert same(second.kept, expected)


def test_interrupted_training_ends_where_an_uninterrupted_one_does(tmp_path):
    whole = make_model()
    fit(whole, tmp_path / "whole", keep_best=False, epochs=4)
    with pytest.raises(KeyboardInterrupt):
        fit(
            make_model(),
            tmp_path / "parts",
            keep_best=False,
            epochs=4,
            callbacks=[Script([], interrupt_in=3)],
        )
    model = make_model()
    fit(model, tmp_path / "parts", keep_best=False, epochs=4)
    for a, b in zip(whole.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)
    assert int(model.optimizer.iterations) == 8


def test_a_row_of_which_a_full_disk_left_a_part_costs_nothing(tmp_path, dictate):
    losses = [5.0, 4.0, 3.0, 2.0, 1.0]
    first = Script(losses, interrupt_in=3)
    with pytest.raises(KeyboardInterrupt):
        fit(dictate(first), tmp_path, callbacks=[first])
    with open(tmp_path / "log.csv", "a") as log:
        log.write("3,0.12")
    second = Script(losses)
    history = fit(dictate(second), tmp_path, callbacks=[second])
    assert second.epochs == [3, 4]
    assert history["epoch"].tolist() == [0, 1, 2, 3, 4]
    assert history["val_loss"].tolist() == losses


def test_without_keep_best_the_last_weights_stay(tmp_path, dictate):
    script = Script([1.0, 2.0, 3.0])
    model = dictate(script)
    fit(model, tmp_path, epochs=3, keep_best=False, callbacks=[script])
    assert same(model.get_weights(), script.weights[2])


@pytest.mark.slow
def test_a_kill_while_training_ends_does_not_change_what_is_kept(tmp_path, dictate):
    class Killed(keras.callbacks.Callback):
        def on_train_end(self, logs=None):
            raise KeyboardInterrupt

    script = Script([2.0, 1.0, 3.0])
    with pytest.raises(KeyboardInterrupt):
        fit(dictate(script), tmp_path, epochs=3, callbacks=[script, Killed()])
    again = make_model()
    fit(again, tmp_path, epochs=3)
    assert same(again.get_weights(), script.weights[1])
    # And once more, as after a kill before the training is marked as finished.
    history = fit(make_model(), tmp_path, epochs=3, callbacks=[later := Script([])])
    assert later.epochs == []
    assert same(later.kept, script.weights[1])
    assert history["epoch"].tolist() == [0, 1, 2]
    forget_backup(tmp_path)
    assert not (tmp_path / "backup").exists()


def test_patience_stops(tmp_path, dictate):
    script = Script([3.0, 2.0, 2.5, 2.5, 1.0])
    model = dictate(script)
    history = fit(model, tmp_path, patience=2, callbacks=[script])
    assert len(history) == 4
    assert same(model.get_weights(), script.weights[1])


def test_a_kill_once_patience_is_spent_trains_no_further(tmp_path, dictate):
    class Killed(keras.callbacks.Callback):
        def on_train_end(self, logs=None):
            raise KeyboardInterrupt

    script = Script([3.0, 2.0, 2.5, 2.5, 1.0])
    with pytest.raises(KeyboardInterrupt):
        fit(dictate(script), tmp_path, patience=2, callbacks=[script, Killed()])
    again = make_model()
    history = fit(again, tmp_path, patience=2, callbacks=[later := Script([])])
    assert later.epochs == []
    assert history["epoch"].tolist() == [0, 1, 2, 3]
    assert same(again.get_weights(), script.weights[1])


def test_a_second_training_starts_its_log_anew(tmp_path):
    fit(make_model(), tmp_path, epochs=2)
    forget_backup(tmp_path)
    assert fit(make_model(), tmp_path, epochs=1)["epoch"].tolist() == [0]


def test_divergence_is_told_with_advice(tmp_path):
    optimizer = make_optimizer(name="sgd", total_steps=10, schedule="constant", learning_rate=1e38)
    with pytest.raises(InputError, match=r"expected a finite training loss.*learning_rate"):
        fit(make_model(optimizer), tmp_path)


@pytest.mark.parametrize(
    ("samples", "expected"), [(6400, 10), (640, 75), (1, 750), (0, 750), (650, 69)]
)
def test_small_surveys_get_more_epochs(samples, expected):
    assert enough_epochs(10, min_steps=750, samples=samples, batch_size=64) == expected


def test_a_training_whose_states_are_damaged_begins_anew_altogether(tmp_path, dictate):
    first = Script([5.0, 1.0, 4.0, 4.0, 4.0], interrupt_in=3)
    with pytest.raises(KeyboardInterrupt):
        fit(dictate(first), tmp_path, callbacks=[first])
    states = list((tmp_path / "backup").glob("epoch-*.h5"))
    assert len(states) == 2
    for path in states:
        path.write_bytes(b"damaged")
    second = Script([5.0, 4.0, 3.0, 2.0, 1.0])
    history = fit(dictate(second), tmp_path, callbacks=[second])
    assert second.epochs == history["epoch"].tolist() == [0, 1, 2, 3, 4]
    # Nothing of the first one's best is left.
    assert read_json(tmp_path / "backup" / "best" / "best.json")["epoch"] == 4
    assert epochs_done(tmp_path) == 5
