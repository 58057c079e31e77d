import zipfile

import keras
import numpy as np
import pytest
import scipy

from rbkeras.data.pipeline import array_dataset
from rbkeras.errors import InputError
from rbkeras.inference import check_stamp_shape, load_classifier, predict_logits, score_array
from rbkeras.models.classifier import build_classifier

SHAPE = (13, 13, 2)


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    return build_classifier(SHAPE, network="simple", width=0.25)


@pytest.fixture(scope="module")
def stamps():
    drawn = np.random.default_rng(0).normal(100, 10, (11, *SHAPE)).astype(np.float32)
    drawn[3, 2:5] = np.nan
    return drawn


@pytest.fixture
def saved(model, tmp_path):
    path = tmp_path / "model.keras"
    model.save(path)
    return path


@pytest.mark.parametrize("batch_size", [1, 4, 11, 64])
def test_logits_are_those_of_predict_in_order(model, stamps, batch_size):
    found = predict_logits(model, array_dataset(stamps, batch_size=batch_size))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, model.predict(stamps, verbose=0), atol=1e-5)


def test_no_batches_give_no_logits(model):
    assert predict_logits(model, []).shape == (0, 2)
    assert predict_logits(model, [], symmetries=True).shape == (0, 2)


def test_symmetries_are_averaged(model, stamps):
    turned = [np.rot90(stamps, k, axes=(1, 2)) for k in range(4)]
    views = [view for turn in turned for view in (turn, turn[:, :, ::-1])]
    real = [scipy.special.softmax(model.predict(view, verbose=0), axis=1)[:, 1] for view in views]
    dataset = array_dataset(stamps, batch_size=4)
    found = predict_logits(model, dataset, symmetries=True)
    score = scipy.special.logit(np.mean(real, axis=0))
    np.testing.assert_allclose(found[:, 1] - found[:, 0], score, atol=1e-5)
    # So a stamp and its mirror image get the same answer.
    mirrored = predict_logits(
        model, array_dataset(stamps[:, ::-1].copy(), batch_size=4), symmetries=True
    )
    np.testing.assert_allclose(found, mirrored, atol=1e-5)


def test_many_inputs_trace_the_network_once(model, stamps, monkeypatch):
    fresh = keras.models.clone_model(model)
    calls = []
    original = type(fresh).call
    monkeypatch.setattr(
        type(fresh), "call", lambda self, *a, **k: (calls.append(1), original(self, *a, **k))[1]
    )
    for count in (1, 5, 11):
        score_array(fresh, stamps[:count], source="x", batch_size=3)
    assert len(calls) == 1


def test_logits_follow_weights_that_change(model, stamps):
    fresh = keras.models.clone_model(model)
    before = score_array(fresh, stamps, source="x")
    fresh.set_weights([w + 0.1 for w in fresh.get_weights()])
    after = score_array(fresh, stamps, source="x")
    np.testing.assert_allclose(after, fresh(stamps), atol=1e-5)
    assert not np.allclose(before, after)


@pytest.mark.parametrize("dtype", [np.float64, np.int16, ">f4"])
def test_arrays_of_other_types_are_scored(model, stamps, dtype):
    whole = np.round(np.nan_to_num(stamps))
    found = score_array(model, whole.astype(dtype), source="x")
    np.testing.assert_allclose(found, score_array(model, whole, source="x"), atol=1e-5)


@pytest.mark.parametrize("shape", [(13, 13, 3), (12, 13, 2), (13, 13)])
def test_wrong_shape_names_source_and_both_shapes(model, shape):
    with pytest.raises(InputError, match=r"night7\.npy: .*\(13, 13, 2\).*found \(1[23], 13"):
        score_array(model, np.zeros((2, *shape), np.float32), source="night7.npy")
    with pytest.raises(InputError, match="there"):
        check_stamp_shape(model, shape, source="there")


def test_models_load_from_file_and_run_directory(model, saved, stamps):
    for path in (saved, str(saved), saved.parent):
        np.testing.assert_array_equal(load_classifier(path)(stamps), model(stamps))


def test_missing_model_is_named(tmp_path):
    with pytest.raises(InputError, match=r"model\.keras: expected a trained model, found none"):
        load_classifier(tmp_path)


def test_other_files_are_refused(tmp_path):
    path = tmp_path / "notes.keras"
    path.write_text("not a model")
    with pytest.raises(InputError, match=r"notes\.keras: expected a \.keras file"):
        load_classifier(path)


def test_models_of_another_ending_are_refused(saved):
    """Which Keras would read in another way, without looking at what passed here."""
    path = saved.rename(saved.with_suffix(".h5"))
    with pytest.raises(InputError, match=r"model\.h5: expected a \.keras file"):
        load_classifier(path)


@pytest.mark.parametrize("part", [0.0, 0.3, 0.9])
def test_truncated_models_are_refused(saved, part):
    content = saved.read_bytes()
    saved.write_bytes(content[: int(part * len(content))])
    with pytest.raises(InputError, match=r"model\.keras: expected"):
        load_classifier(saved)


@pytest.mark.parametrize("member", ["config.json", "model.weights.h5"])
@pytest.mark.parametrize("content", [None, b"", b"{"])
def test_models_with_a_broken_part_are_refused(saved, member, content):
    with zipfile.ZipFile(saved) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    members[member] = content
    with zipfile.ZipFile(saved, "w") as archive:
        for name, data in members.items():
            if data is not None:
                archive.writestr(name, data)
    with pytest.raises(InputError, match=r"model\.keras: expected"):
        load_classifier(saved)


def test_other_archives_are_refused(tmp_path):
    path = tmp_path / "model.keras"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(InputError, match=r"model\.keras: expected"):
        load_classifier(path)


def test_other_kinds_of_model_are_refused(tmp_path):
    path = tmp_path / "other.keras"
    keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]).save(path)
    with pytest.raises(
        InputError, match=r"other\.keras: expected a RealBogusClassifier, found Seq"
    ):
        load_classifier(path)


def test_models_that_carry_code_are_refused(tmp_path):
    path = tmp_path / "lambda.keras"
    keras.Sequential([keras.Input((3,)), keras.layers.Lambda(lambda x: x + 1)]).save(path)
    with pytest.raises(InputError, match=r"lambda\.keras: .*"):
        load_classifier(path)


def test_errors_without_words_still_name_the_file(saved, monkeypatch):
    def fail(*args, **kwargs):
        raise KeyError

    monkeypatch.setattr(keras.saving, "load_model", fail)
    with pytest.raises(InputError, match=r"model\.keras: .*KeyError"):
        load_classifier(saved)
