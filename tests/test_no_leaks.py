"""What training and validation are made of: the batches themselves, of every fold and of stage 2.

Every stamp's brightest pixel says which one it is, so no index of the code under test is believed.
"""

from functools import partial

import numpy as np
import pytest

from rbkeras import crossval, stage1, stage2
from rbkeras.config import FitConfig, LabelErrorConfig, TrainingConfig
from rbkeras.data.records import open_records
from rbkeras.rundir import Run

FOLDS = 3
#: Labels of the rows of each detector, over and over; see `NAMES` in conftest.
LABEL_OF_ROW = (0, 1, 1, -1, 0, 1)
#: Label of each sample, by 1000 times its detector and its row.
GIVEN = {
    1000 * detector + row: LABEL_OF_ROW[row % 6] for detector in (1, 2, 10) for row in range(12)
}
LABELLED = {one for one, label in GIVEN.items() if label >= 0}

#: Shares that apply to 12 bogus, 18 real and 6 unlabelled, or to a part of these.
SHARES = {
    "as they come": {"labelled_share": 0.0, "minority_share": 0.0},
    "mixed": {"labelled_share": 0.8, "minority_share": 0.5},
}
each_cache = pytest.mark.parametrize("cache", ["none", "memory", "disk"])
each_mixture = pytest.mark.parametrize("shares", SHARES.values(), ids=SHARES)


def drawn(dataset):
    """List (sample, label) in the order of one epoch."""
    pairs = []
    for stamps, labels in dataset.as_numpy_iterator():
        # Whatever the orientation; all other pixels are drawn from a normal distribution.
        samples = np.nanmax(stamps[..., 0], axis=(1, 2)).round().astype(int)
        pairs += zip(samples.tolist(), labels.tolist(), strict=True)
    return pairs


def samples_of(epochs):
    return {sample for epoch in epochs for sample, _ in epoch}


@pytest.fixture
def seen(monkeypatch):
    """Of each training its epochs and two of its validation, in place of fitting a network."""
    trainings = []

    def instead(model, training, validation, **_):
        epochs = [drawn(training) for _ in range(4)]
        trainings.append((epochs, [drawn(validation) for _ in range(2)]))

    for module in (crossval, stage2):
        monkeypatch.setattr(module, "fit_classifier", instead)
    monkeypatch.setattr(Run, "compiled", lambda *_, **__: None)
    return trainings


@pytest.fixture
def make_run(records_dir, tmp_path):
    def make(*, training=None, label_errors=None, **options):
        training = {"batch_size": 8, "shift": 0, "validation_fraction": 0.25} | (training or {})
        config = FitConfig(
            data=records_dir,
            out=tmp_path / "run",
            training=TrainingConfig(**training),
            label_errors=LabelErrorConfig(folds=FOLDS, **(label_errors or {})),
            **options,
        )
        return Run(config, open_records(records_dir))

    return make


def require_separate(datasets, expected, *, mixed):
    """Check one training's batches; return the samples that it trains and validates on."""
    epochs, (validation, again) = datasets
    assert validation == again
    trained, validated = {pair for epoch in epochs for pair in epoch}, set(validation)
    assert len(validation) == len(validated)
    # No sample in both, none with two labels.
    assert len(trained) + len(validated) == len(expected)
    assert dict(trained) | dict(validated) == expected
    for epoch in epochs:
        # Of kinds that have a share of their own some come twice, and others in another epoch.
        assert mixed == (sorted(epoch) != sorted(trained))
    return set(dict(trained)), set(dict(validated))


@each_cache
@each_mixture
def test_no_fold_trains_on_what_it_holds_out(make_run, seen, cache, shares):
    run = make_run(training={"cache": cache, **shares})
    stage1.train_folds(run)
    assert len(seen) == FOLDS
    expected = {one: GIVEN[one] for one in LABELLED}
    check = partial(require_separate, expected=expected, mixed=shares["minority_share"] > 0)
    held_out = [check(datasets)[1] for datasets in seen]
    assert set.union(*held_out) == LABELLED
    assert {len(samples) for samples in held_out} == {len(LABELLED) // FOLDS}


SUSPECTS = {1000, 1001, 2007, 10004}


def rated(run):
    """A table of stage 1 with these suspects."""
    table = run.records.samples
    samples = 1000 * table["detector_id"] + table["sample_index"]
    table = table.assign(suspect=samples.isin(SUSPECTS).astype(int), label_quality=0.1)
    return table[table["label"] >= 0]


@each_cache
@each_mixture
def test_stage_two_does_not_train_on_what_it_validates_on(make_run, seen, cache, shares):
    run = make_run(training={"cache": cache, **shares})
    stage2.train_final(run, rated(run))
    (datasets,) = seen
    expected = GIVEN | dict.fromkeys(SUSPECTS, -1)
    mixed = shares["minority_share"] > 0
    trained, validated = require_separate(datasets, expected, mixed=mixed)
    assert len(validated) == pytest.approx(0.25 * len(LABELLED - SUSPECTS), abs=2)
    assert {expected[one] for one in validated} == {0, 1}
    assert {one for one, label in expected.items() if label < 0} <= trained


def test_suspects_that_are_removed_are_in_no_batch(make_run, seen):
    run = make_run(policy="remove", training=SHARES["as they come"])
    stage2.train_final(run, rated(run))
    expected = {one: label for one, label in GIVEN.items() if one not in SUSPECTS}
    require_separate(seen[0], expected, mixed=False)


def test_what_is_held_out_for_the_test_is_seen_by_no_training(make_run, seen):
    run = make_run(hold_out=0.2)
    stage1.train_folds(run)
    stage2.train_final(run, None)
    assert len(seen) == FOLDS + 1
    used = [set.union(*map(samples_of, datasets)) for datasets in seen]
    left = used[-1]
    assert len(GIVEN) - len(left) == pytest.approx(0.2 * len(LABELLED), abs=2)
    assert {GIVEN[one] for one in GIVEN.keys() - left} == {0, 1}
    assert used[:-1] == [left & LABELLED] * FOLDS


def test_stamps_of_one_object_are_on_one_side(make_run, seen):
    run = make_run(label_errors={"group": "objectId"})
    stage1.train_folds(run)
    stage2.train_final(run, None)
    assert len(seen) == FOLDS + 1
    for datasets in seen:
        # Two rows after one another are one object.
        training, validation = ({one // 2 for one in samples_of(part)} for part in datasets)
        assert training
        assert validation
        assert not training & validation
