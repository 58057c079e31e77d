"""Run directories: the batches that a training sees."""

from collections import Counter

import keras
import numpy as np
import pytest
from detectors import write_detector

from rbkeras.config import FitConfig, TrainingConfig
from rbkeras.data.labels import SKIP
from rbkeras.data.records import open_records
from rbkeras.data.write_records import convert_survey
from rbkeras.errors import InputError
from rbkeras.losses import RealBogusLoss
from rbkeras.rundir import Run


def test_validation_batches_of_a_survey_sorted_by_class_have_both(tmp_path, random_stamps):
    names = ["artifact"] * 600 + ["real"] * 600
    (tmp_path / "survey").mkdir()
    write_detector(tmp_path / "survey", 1, random_stamps(1200), names)
    convert_survey(tmp_path / "survey", tmp_path / "records", progress=False)
    records = open_records(tmp_path / "records")
    run = Run(FitConfig(data=records.directory, out=tmp_path / "run"), records)
    batches = run.batches.dataset(run.labels, training=False)
    epochs = [[labels.numpy() for _, labels in batches] for _ in range(2)]
    # The last batch has 176 stamps.
    assert all(0.3 < labels.mean() < 0.7 for labels in epochs[0])
    assert np.array_equal(np.concatenate(epochs[0]), np.concatenate(epochs[1]))


def survey_with_trust(folder, random_stamps, trusted):
    folder.mkdir()
    names = ["artifact", "real"] * (len(trusted) // 2)
    write_detector(folder, 1, random_stamps(len(trusted)), names, trusted=trusted)
    write_detector(folder, 2, random_stamps(4), ["artifact", "real"] * 2)
    convert_survey(folder, folder.parent / "records", progress=False)
    records = open_records(folder.parent / "records")
    return Run(FitConfig(data=records.directory, out=folder.parent / "run"), records)


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (["1", "0", "", "1"], [1, 0, 0, 1]),
        (["1.0", "0.0", "1.0", "0"], [1, 0, 1, 0]),
        (["True", "False", "True", "False"], [1, 0, 1, 0]),
    ],
)
def test_labels_are_trusted_where_a_column_says_so(tmp_path, random_stamps, column, expected):
    run = survey_with_trust(tmp_path / "survey", random_stamps, column)
    # The second detector's table has no such column.
    assert run.trusted.tolist() == [*map(bool, expected), False, False, False, False]


def test_other_words_than_one_and_zero_are_no_trust(tmp_path, random_stamps):
    run = survey_with_trust(tmp_path / "survey", random_stamps, ["1", "perhaps", "0", ""])
    with pytest.raises(InputError, match="expected 0, 1 or nothing in the column trusted"):
        run.trusted  # noqa: B018


def test_without_such_a_column_no_label_is_trusted(tmp_path, records_dir):
    run = Run(FitConfig(data=records_dir, out=tmp_path / "run"), open_records(records_dir))
    assert not run.trusted.any()


@pytest.mark.parametrize("cache", ["none", "memory", "disk"])
def test_few_labelled_stamps_have_their_share_of_every_batch(tmp_path, records_dir, cache):
    records = open_records(records_dir)
    targets = np.full(len(records), -1, np.int8)
    targets[:4] = [0, 1, 0, 1]
    targets[4] = SKIP
    training = TrainingConfig(batch_size=8, labelled_share=0.25, augment=False, cache=cache)
    run = Run(FitConfig(data=records_dir, out=tmp_path / "run", training=training), records)
    dataset = run.batches.dataset(targets, training=True)
    epochs = [list(dataset.as_numpy_iterator()) for _ in range(2)]
    label_of = dict(zip(range(1000, 1004), [0, 1, 0, 1], strict=True))
    for epoch in epochs:
        # As many batches as 35 stamps take.
        assert len(epoch) == int(dataset.cardinality()) == 5
        stamps, labels = (np.stack(part) for part in zip(*epoch, strict=True))
        assert labels.shape == (5, 8)
        assert ((labels >= 0).sum(axis=1) == 2).all()
        who = stamps[:, :, 0, 0, 0].astype(int)
        assert [label_of[one] for one in who[labels >= 0]] == labels[labels >= 0].tolist()
        # Ten places for four labelled stamps, thirty for 31 unlabelled ones.
        assert set(Counter(who[labels >= 0].tolist()).values()) == {2, 3}
        assert len(set(who[labels < 0].tolist())) == 30
    assert any((a != b).any() for (a, _), (b, _) in zip(*epochs, strict=True))
    run.batches.forget(targets)
    assert not list((tmp_path / "run").rglob("*labelled*"))


def test_parts_of_a_batch_are_turned_each_by_itself(tmp_path, records_dir):
    records = open_records(records_dir)
    targets = np.full(len(records), -1, np.int8)
    targets[:4] = [0, 1, 0, 1]
    training = TrainingConfig(batch_size=8, labelled_share=0.5, shift=0)
    run = Run(FitConfig(data=records_dir, out=tmp_path / "run", training=training), records)
    batches = run.batches.dataset(targets, training=True).as_numpy_iterator()
    stamps = np.stack([stamps for stamps, _ in batches])
    # The pixel that tells who a stamp is, in the thousands, lies in the corner it was turned to.
    corners = stamps[:, :, ::6, ::6, 0].reshape(*stamps.shape[:2], 4)
    turned = np.argmax(np.nan_to_num(corners), axis=2)
    assert set(turned.ravel()) == {0, 1, 2, 3}
    assert (turned[:, :4] != turned[:, 4:]).any()


@pytest.mark.parametrize("unlabelled", [0, 6])
def test_the_rarer_class_has_its_share_of_every_batch(tmp_path, records_dir, unlabelled):
    records = open_records(records_dir)
    targets = np.zeros(len(records), np.int8)
    targets[[5, 30]] = 1
    targets[6 : 6 + unlabelled] = -1
    training = TrainingConfig(batch_size=12, minority_share=0.25, augment=False)
    run = Run(FitConfig(data=records_dir, out=tmp_path / "run", training=training), records)
    dataset = run.batches.dataset(targets, training=True)
    batches = list(dataset.as_numpy_iterator())
    assert len(batches) == int(dataset.cardinality()) == 3
    stamps, labels = (np.stack(part) for part in zip(*batches, strict=True))
    assert (labels == 1).sum(axis=1).tolist() == [3] * 3
    who = stamps[:, :, 0, 0, 0].astype(int)
    # 1000 times the detector and the row: of detectors 1, 10 and 2 with twelve stamps each.
    assert set(who[labels == 1].tolist()) == {1005, 2006}
    # The others come as they come, none of them twice.
    others = who[labels != 1].tolist()
    assert len(set(others)) == len(others) == 27
    assert set(who[labels == -1].tolist()) <= {1006 + row for row in range(unlabelled)}
    assert (labels == -1).sum() >= unlabelled - 7


def test_what_batches_are_made_of_is_a_setting_and_devices_are_none(tmp_path, records_dir):
    training = TrainingConfig(minority_share=0.5, devices=3)
    run = Run(
        FitConfig(data=records_dir, out=tmp_path, training=training), open_records(records_dir)
    )
    # Three devices are not asked for, which this machine may lack.
    assert run.batches.mixing(run.labels) == {"mixture": {"minority_share": 0.5}}
    assert run.batches.mixing(np.where(np.arange(len(run.labels)) % 2, 0, 1)) == {}


@pytest.mark.parametrize("cache", ["none", "memory"])
def test_an_interrupted_training_does_not_draw_its_first_epoch_again(tmp_path, records_dir, cache):
    training = TrainingConfig(batch_size=8, shift=1, cache=cache)
    run = Run(
        FitConfig(data=records_dir, out=tmp_path, training=training), open_records(records_dir)
    )

    def drawn(begun):
        dataset = run.batches.dataset(run.labels, training=True, begun=begun)
        return np.concatenate([stamps for stamps, _ in dataset.as_numpy_iterator()])

    first, after_two, after_three = drawn(0), drawn(2), drawn(3)
    np.testing.assert_array_equal(drawn(2), after_two)
    assert not np.array_equal(after_two, first)
    assert not np.array_equal(after_three, after_two)
    # The same stamps: neither orientations nor shifts move the sum by much.
    assert len(first) == len(after_two) == len(run.labels)


@pytest.fixture
def corners(tmp_path, records_dir):
    """Count the stamps of an epoch that have their first pixel in each corner."""

    def count(**options):
        training = TrainingConfig(batch_size=36, **options)
        run = Run(
            FitConfig(data=records_dir, out=tmp_path, training=training), open_records(records_dir)
        )
        ((stamps, _),) = run.batches.dataset(run.labels, training=True).as_numpy_iterator()
        firsts = [1000 * detector + row for detector in (1, 2, 10) for row in range(12)]
        return [
            int(np.isin(np.round(stamps[:, y, x, 0]), firsts).sum())
            for y in (0, -1)
            for x in (0, -1)
        ]

    return count


def test_stamps_that_are_not_augmented_stay_as_they_are(corners):
    assert corners(augment=False) == [36, 0, 0, 0]


def test_augmented_stamps_are_turned(corners):
    counts = corners(augment=True, shift=0)
    assert sum(counts) == 36
    assert max(counts) < 36


def test_augmented_stamps_are_moved_where_that_is_asked_for(corners):
    # Of some the first pixel leaves the stamp, or its corner.
    assert sum(corners(augment=True, shift=2)) < 36


def test_whether_stamps_are_kept_is_a_setting_and_where_is_not(tmp_path, records_dir):
    def settings(cache):
        training = TrainingConfig(cache=cache)
        config = FitConfig(data=records_dir, out=tmp_path, training=training)
        return Run(config, open_records(records_dir)).settings()

    assert settings("memory") == settings("disk") != settings("none")


def test_samples_are_dealt_out_once(tmp_path, records_dir, monkeypatch):
    run = Run(FitConfig(data=records_dir, out=tmp_path), open_records(records_dir))
    first, second = run.folds(0), run.folds(1)
    assert not np.array_equal(first, second)
    monkeypatch.setattr("rbkeras.rundir.stratified_folds", None)
    assert run.folds(0) is first
    assert run.folds(1) is second


def steps_of(run, stamps, labels):
    """Compile a network as runs do, train it twice on a batch, and give it with the losses."""
    keras.utils.set_random_seed(0)
    model = run.compiled({"network": "compact", "width": 0.25, "dropout": 0.0}, RealBogusLoss(), 4)
    return model, [model.train_on_batch(stamps, labels, return_dict=True) for _ in range(2)]


def test_precision_and_xla_are_those_of_the_settings(tmp_path, records_dir, random_stamps):
    records = open_records(records_dir)
    stamps, labels = random_stamps(8), np.array([0, 1, -1, 0, 1, -1, 0, 1], np.int32)
    found = {}
    for name, options in {
        "usual": {},
        "xla": {"jit_compile": True},
        "bfloat16": {"precision": "mixed_bfloat16"},
    }.items():
        config = FitConfig(
            data=records_dir, out=tmp_path / "run", training=TrainingConfig(**options)
        )
        found[name] = steps_of(Run(config, records), stamps, labels)
        # What else this process does stays as it was.
        assert keras.config.dtype_policy().name == "float32"
    assert {name: model.jit_compile for name, (model, _) in found.items()} == {
        "usual": False,
        "xla": True,
        "bfloat16": False,
    }
    for name, (model, _) in found.items():
        computed_in = {layer.compute_dtype for layer in model.layers}
        assert ("bfloat16" in computed_in) == (name == "bfloat16")
    # Cross-entropy has no draws of its own, so XLA computes the very same.
    for first, second in zip(found["usual"][1], found["xla"][1], strict=True):
        assert second["ce"] == pytest.approx(first["ce"], rel=1e-3)
    for first, second in zip(found["usual"][1], found["bfloat16"][1], strict=True):
        assert second["ce"] == pytest.approx(first["ce"], rel=0.1)
        assert second["ce"] != first["ce"]
