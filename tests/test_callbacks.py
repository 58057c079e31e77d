import errno
import json

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from rbkeras.callbacks import (
    Backup,
    BestWeights,
    Decide,
    OutOfFoldPredictions,
    SaveModel,
    ValidationPictures,
    readable_states,
)
from rbkeras.decision_fit import fit_decision
from rbkeras.inference import load_classifier
from rbkeras.models.classifier import build_classifier

SHAPE = (13, 13, 2)


class Recorder(keras.callbacks.Callback):
    def __init__(self, stop_in=None):
        super().__init__()
        self.stop_in, self.epochs, self.weights = stop_in, [], None

    def on_epoch_begin(self, epoch, logs=None):
        if not self.epochs:
            self.weights = self.model.get_weights()
        self.epochs.append(epoch)
        if epoch == self.stop_in:
            raise KeyboardInterrupt


def tiny_model():
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile(optimizer="sgd", loss="mse", run_eagerly=True)
    return model


def fit_tiny(*callbacks, epochs=5):
    x = np.arange(12, dtype=np.float32).reshape(4, 3) / 12
    model = tiny_model()
    model.fit(x, x[:, :1], epochs=epochs, verbose=0, shuffle=False, callbacks=list(callbacks))
    return model


@pytest.fixture
def interrupted(tmp_path):
    """A backup folder of a training that finished three epochs."""
    with pytest.raises(KeyboardInterrupt):
        fit_tiny(Recorder(stop_in=3), Backup(tmp_path / "backup"))
    return tmp_path / "backup"


def resume(folder):
    recorder = Recorder()
    # The backup is restored when training begins, ahead of the first epoch.
    fit_tiny(Backup(folder), recorder)
    return recorder


def test_backup_goes_on_after_the_last_epoch(interrupted):
    recorder = resume(interrupted)
    assert recorder.epochs == [3, 4]
    expected = fit_tiny(epochs=3).get_weights()
    for a, b in zip(recorder.weights, expected, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


def test_the_end_of_training_can_be_gone_through_again(tmp_path):
    """What is done with the weights then may fail, or be killed, without losing the training."""
    model = fit_tiny(Backup(tmp_path / "backup"))
    recorder = resume(tmp_path / "backup")
    assert recorder.epochs == []
    for a, b in zip(recorder.model.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("content", ["", '{"epoch": 2}', "\x00\x00", None])
def test_a_kill_between_weights_and_their_epoch_changes_nothing(interrupted, content):
    metadata = interrupted / "training_metadata.json"
    metadata.unlink()
    if content is not None:
        metadata.write_text(content)
    recorder = resume(interrupted)
    assert recorder.epochs == [3, 4]
    expected = fit_tiny(epochs=3).get_weights()
    for a, b in zip(recorder.weights, expected, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


def test_the_state_before_takes_the_place_of_one_cut_short(interrupted):
    names = sorted(path.name for path in interrupted.glob("*.h5"))
    assert names == ["epoch-2.weights.h5", "epoch-3.weights.h5"]
    path = interrupted / "epoch-3.weights.h5"
    path.write_bytes(path.read_bytes()[:100])
    recorder = resume(interrupted)
    assert recorder.epochs == [2, 3, 4]
    expected = fit_tiny(epochs=2).get_weights()
    for a, b in zip(recorder.weights, expected, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


def test_a_first_state_cut_short_begins_anew(tmp_path):
    folder = tmp_path / "backup"
    folder.mkdir()
    (folder / "epoch-1.weights.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(40))
    assert resume(folder).epochs == [0, 1, 2, 3, 4]
    assert [epoch for epoch, _ in readable_states(folder)] == [4, 5]


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(start=st.floats(0, 0.95), share=st.floats(0.05, 0.5))
def test_damage_inside_a_state_is_no_defect(interrupted, capsys, start, share):
    path = interrupted / "epoch-3.weights.h5"
    whole = path.read_bytes()
    first, last = (int(len(whole) * place) for place in (start, min(start + share, 1)))
    try:
        path.write_bytes(whole[:first] + bytes(last - first) + whole[last:])
        states = [epoch for epoch, _ in readable_states(interrupted)]
        assert states in ([2], [2, 3])
        assert path.exists() == (3 in states)
        assert ("damaged" in capsys.readouterr().out) == (3 not in states)
    finally:
        path.write_bytes(whole)


def test_a_state_that_may_not_be_read_is_not_removed(interrupted, monkeypatch):
    def refused(path):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr("rbkeras.callbacks.h5py.File", refused)
    with pytest.raises(PermissionError):
        readable_states(interrupted)
    assert len(list(interrupted.glob("*.h5"))) == 2


def test_more_than_nine_epochs_are_in_order(tmp_path):
    folder = tmp_path / "backup"
    with pytest.raises(KeyboardInterrupt):
        fit_tiny(Recorder(stop_in=10), Backup(folder), epochs=12)
    recorder = Recorder()
    fit_tiny(Backup(folder), recorder, epochs=12)
    assert recorder.epochs == [10, 11]


def test_best_weights_of_an_interrupted_training_are_remembered(tmp_path):
    callback = BestWeights(tmp_path)
    model = tiny_model()
    callback.set_model(model)
    callback.on_train_begin()
    callback.on_epoch_end(0, {"val_loss": 1.0})
    best = model.get_weights()
    model.set_weights([w + 1 for w in best])
    callback.on_epoch_end(1, {"val_loss": float("nan")})
    assert callback.epochs(9) == 9
    again = BestWeights(tmp_path, patience=3)
    again.set_model(model)
    again.on_train_begin()
    assert (again.best, again.best_epoch) == (1.0, 0)
    again.on_epoch_end(2, {"val_loss": 2.0})
    assert not model.stop_training
    again.on_epoch_end(3, {"val_loss": 2.0})
    assert model.stop_training
    assert again.epochs(9) == 4
    again.on_train_end()
    for a, b in zip(model.get_weights(), best, strict=True):
        np.testing.assert_array_equal(a, b)
    # Whoever is killed by now, while other callbacks end the training, ends it with them again.
    assert (tmp_path / "best.weights.h5").exists()


def test_out_of_fold_predictions_are_written_whole(tmp_path):
    path = tmp_path / "fold" / "validation_result.csv"
    seen = []

    def predict(model):
        seen.append(model)
        return pd.DataFrame({"unique_index": [4, 2], "prediction0": [0.5, -1.0]})

    model = fit_tiny(OutOfFoldPredictions(predict, path), epochs=2)
    assert seen == [model]
    assert path.read_text() == "unique_index,prediction0\n4,0.5\n2,-1.0\n"
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_predictions_that_fail_leave_the_earlier_file(tmp_path):
    class Table:
        def to_csv(self, path, index):
            path.write_text("unique_ind")
            raise OSError("disk full")

    path = tmp_path / "validation_result.csv"
    path.write_text("earlier")
    with pytest.raises(OSError, match="disk full"):
        fit_tiny(OutOfFoldPredictions(lambda model: Table(), path), epochs=1)
    assert path.read_text() == "earlier"
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


@pytest.fixture(scope="module")
def classifier():
    keras.utils.set_random_seed(0)
    return build_classifier(SHAPE, network="simple", width=0.125)


def test_saved_model_loads(classifier, tmp_path):
    callback = SaveModel(tmp_path / "model.keras")
    callback.set_model(classifier)
    callback.on_train_end()
    stamps = np.random.default_rng(0).normal(size=(2, *SHAPE)).astype(np.float32)
    np.testing.assert_array_equal(load_classifier(tmp_path)(stamps), classifier(stamps))
    assert [p.name for p in tmp_path.iterdir()] == ["model.keras"]


def test_decision_is_measured_before_the_model_is_saved(classifier, tmp_path):
    labels, scores = np.tile([0, 1], 10), np.arange(20.0)
    trained = keras.models.clone_model(classifier)
    decide = Decide(lambda model: fit_decision(labels, scores))
    for callback in (decide, SaveModel(tmp_path / "m.keras")):
        callback.set_model(trained)
        callback.on_train_end()
    assert load_classifier(tmp_path / "m.keras").decision == fit_decision(labels, scores)


def pictures_of(classifier, labels, folder):
    stamps = np.random.default_rng(0).normal(size=(len(labels), *SHAPE)).astype(np.float32)
    validation = tf.data.Dataset.from_tensor_slices((stamps, np.array(labels))).batch(4)
    callback = ValidationPictures(validation, folder, every=2, worst=3)
    callback.set_model(classifier)
    return callback


def test_pictures_are_logged_every_so_many_epochs_and_at_the_end(classifier, tmp_path):
    callback = pictures_of(classifier, [0, 1, -1, 0, 1, 1], tmp_path)
    for epoch in range(3):
        callback.on_epoch_end(epoch)
    callback.on_train_end()
    events = EventAccumulator(str(tmp_path), size_guidance={"tensors": 0}).Reload()
    steps = {tag: [e.step for e in events.Tensors(tag)] for tag in events.Tags()["tensors"]}
    tags = ["validation/roc", "validation/scores", "validation/worst_mistakes"]
    assert set(steps) == {*tags, "scores/real", "scores/bogus"}
    assert all(logged == [1, 3] for logged in steps.values())
    for tag in tags:
        width, height, png = events.Tensors(tag)[0].tensor_proto.string_val
        assert png.startswith(b"\x89PNG")
        assert int(width) > 100
        assert int(height) > 100


def test_pictured_mistakes_are_the_worst_labelled_ones(classifier, tmp_path):
    labels = np.array([-1, 0, 0, 1, -1, 1, 1, 0])
    callback = pictures_of(classifier, labels, tmp_path)
    found_labels, scores, worst = callback._collect()
    assert found_labels.tolist() == labels[labels >= 0].tolist()
    wrongness = np.sort(np.where(found_labels == 1, -scores, scores))[::-1]
    np.testing.assert_allclose([w for w, _, _ in worst], wrongness[:3], rtol=1e-5)


@pytest.mark.parametrize("labels", [[1, 1, -1], [0, 0], [-1, -1]])
def test_validation_without_a_class_has_no_pictures(classifier, tmp_path, labels):
    callback = pictures_of(classifier, labels, tmp_path)
    callback.on_epoch_end(1)
    assert not list(tmp_path.iterdir())


def test_backup_metadata_are_what_the_tests_take_them_for(interrupted):
    assert json.loads((interrupted / "training_metadata.json").read_text())["epoch"] == 3
