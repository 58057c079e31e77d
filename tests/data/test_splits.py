import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rbkeras.data.splits import (
    _fill_empty,
    stratified_folds,
    stratified_sample,
    validation_mask,
)
from rbkeras.errors import InputError

seeds = st.integers(0, 2**31 - 1)


def spread(assigned, folds, selected):
    """Difference between the fold with most and the fold with fewest of the selected samples."""
    counts = np.bincount(assigned[selected], minlength=folds)
    return counts.max() - counts.min()


samples = st.lists(
    st.tuples(st.sampled_from([0, 1, -1]), st.integers(1, 6)), min_size=10, max_size=150
)


@settings(max_examples=150, deadline=None)
@given(samples, st.integers(2, 10), seeds)
def test_labels_and_strata_are_as_even_as_whole_samples_allow(pairs, folds, seed):
    labels, detectors = np.array(pairs).T
    assigned = stratified_folds(labels, detectors, folds=folds, seed=seed)
    assert spread(assigned, folds, slice(None)) <= 1
    for label in np.unique(labels):
        assert spread(assigned, folds, labels == label) <= 1
        for detector in np.unique(detectors):
            assert spread(assigned, folds, (labels == label) & (detectors == detector)) <= 1


@pytest.mark.parametrize("grouped", [False, True])
def test_a_seed_gives_the_same_folds_again_and_another_seed_others(grouped):
    rng = np.random.default_rng(0)
    labels, detectors = rng.integers(-1, 2, 300), rng.integers(1, 4, 300)
    groups = rng.integers(0, 60, 300) if grouped else None
    first, again, other = (
        stratified_folds(labels, detectors, folds=5, seed=seed, groups=groups) for seed in (3, 3, 4)
    )
    np.testing.assert_array_equal(first, again)
    assert (first != other).mean() > 0.3


def test_folds_do_not_follow_the_order_of_the_samples():
    assigned = stratified_folds(np.zeros(1000, int), np.ones(1000, int), folds=5, seed=0)
    thirds = [np.bincount(part, minlength=5) for part in np.array_split(assigned, 3)]
    assert np.min(thirds) > 40
    assert (np.diff(assigned) % 5 == 1).mean() < 0.5


def test_few_bogus_of_many_detectors_still_spread_evenly():
    detectors = np.repeat(np.arange(20), 10)
    labels = np.tile([0] + [1] * 9, 20)
    assigned = stratified_folds(labels, detectors, folds=5, seed=1)
    assert np.bincount(assigned[labels == 0]).tolist() == [4] * 5


def test_strata_that_are_all_smaller_than_the_number_of_folds_are_still_stratified():
    detectors = np.repeat(np.arange(10), 4)
    labels = np.tile([0, 0, 1, 1], 10)
    assigned = stratified_folds(labels, detectors, folds=5, seed=1)
    for label in (0, 1):
        assert np.bincount(assigned[labels == label]).tolist() == [4] * 5


def test_a_sample_of_one_in_many_is_stratified():
    detectors = np.repeat(np.arange(150), 20)
    labels = np.tile([0, 1], 1500)
    chosen = stratified_sample(labels, detectors, one_in=150, seed=4)
    assert chosen.sum() == 20
    assert labels[chosen].sum() == 10
    assert len(np.unique(detectors[chosen])) == 10
    assert stratified_sample(labels, detectors, one_in=1, seed=4).all()
    part = validation_mask(labels, detectors, fraction=0.1, seed=4)
    np.testing.assert_array_equal(part, stratified_sample(labels, detectors, one_in=10, seed=4))


def test_one_detector_alone():
    labels = np.repeat([0, 1], [90, 10])
    assigned = stratified_folds(labels, np.ones(100, int), folds=5, seed=0)
    assert np.bincount(assigned[labels == 1]).tolist() == [2] * 5


group_members = st.lists(
    st.tuples(st.sampled_from([0, 1, -1]), st.integers(1, 4), st.integers(0, 25)),
    min_size=12,
    max_size=120,
)


@settings(max_examples=60, deadline=None)
@given(group_members, st.integers(2, 5), seeds)
def test_groups_are_never_split_and_no_fold_is_left_out(triples, folds, seed):
    labels, detectors, groups = np.array(triples).T
    if len(np.unique(groups)) < folds:
        with pytest.raises(InputError, match=f"at least {folds} groups"):
            stratified_folds(labels, detectors, folds=folds, seed=seed, groups=groups)
        return
    assigned = stratified_folds(labels, detectors, folds=folds, seed=seed, groups=groups)
    for group in np.unique(groups):
        assert len(np.unique(assigned[groups == group])) == 1
    assert set(assigned) == set(range(folds))


def test_few_groups_of_one_class_each_leave_no_fold_out():
    sizes, classes = [19, 18, 5, 23, 17], [0, 0, 1, 1, 1]
    groups, labels = np.repeat(np.arange(5), sizes), np.repeat(classes, sizes)
    assigned = stratified_folds(labels, np.ones(82, int), folds=5, seed=3, groups=groups)
    assert sorted(np.bincount(assigned)) == sorted(sizes)


def test_an_empty_fold_gets_the_smallest_group_of_the_fullest_one():
    assigned, groups = np.zeros(6, np.int8), np.array([0, 0, 0, 1, 2, 2])
    _fill_empty(assigned, groups, 2)
    assert assigned.tolist() == [0, 0, 0, 1, 0, 0]


def test_folds_of_equal_groups_are_stratified():
    rng = np.random.default_rng(0)
    labels = np.repeat(rng.permutation(np.repeat([0, 1], [150, 50])), 3)
    detectors = np.repeat(rng.integers(1, 3, 200), 3)
    groups = np.repeat([f"object{i}" for i in range(200)], 3)
    assigned = stratified_folds(labels, detectors, folds=5, seed=0, groups=groups)
    for label, expected in ((0, 90), (1, 30)):
        np.testing.assert_allclose(np.bincount(assigned[labels == label]), expected, atol=7)


def test_grouped_tiny_strata_are_stratified_by_label():
    detectors = np.repeat(np.arange(25), 4)
    labels = np.tile([0, 0, 1, 1], 25)
    groups = np.arange(100)
    assigned = stratified_folds(labels, detectors, folds=5, seed=0, groups=groups)
    assert spread(assigned, 5, labels == 1) <= 1


def test_detectors_of_as_many_samples_as_folds_have_one_in_each():
    detectors = np.repeat(np.arange(20), 5)
    assigned = stratified_folds(
        np.zeros(100, int), detectors, folds=5, seed=0, groups=np.arange(100)
    )
    for detector in range(20):
        assert sorted(assigned[detectors == detector]) == [0, 1, 2, 3, 4]


def test_small_detectors_are_in_every_fold():
    # 64 detectors with 8 of either class, objects of two detections.
    labels, detectors = np.tile(np.repeat([0, 1], 8), 64), np.repeat(np.arange(64), 16)
    groups = np.arange(len(labels)) // 2
    assigned = stratified_folds(labels, detectors, folds=5, seed=0, groups=groups)
    for detector in range(64):
        shares = np.bincount(assigned[detectors == detector], minlength=5) / 16
        assert shares.max() <= 0.25


@pytest.mark.parametrize("folds", [5, 10])
@pytest.mark.parametrize("seed", [0, 1])
def test_a_rare_class_of_many_detectors_is_in_every_fold(folds, seed):
    # 16 detectors with some 70 real and 2 to 10 bogus each, objects of one detection or two.
    rng = np.random.default_rng(seed)
    bogus = rng.integers(2, 11, 16)
    labels = np.r_[np.repeat(0, bogus.sum()), np.repeat(1, 16 * 70)]
    detectors = np.r_[np.repeat(np.arange(16), bogus), np.repeat(np.arange(16), 70)]
    groups = np.arange(len(labels)) // rng.integers(1, 3, len(labels))
    assigned = stratified_folds(labels, detectors, folds=folds, seed=seed, groups=groups)
    for label in (0, 1):
        counts = np.bincount(assigned[labels == label], minlength=folds)
        assert counts.min() >= 0.75 * counts.mean()
        assert counts.max() <= 1.25 * counts.mean()


@pytest.mark.parametrize("missing", [None, np.nan])
def test_a_missing_group_is_a_group_of_its_own(missing):
    groups = np.array(["a", "a", "b", "b", *[missing] * 96], dtype=object)
    labels = np.tile([0, 1], 50)
    assigned = stratified_folds(labels, np.ones(100, int), folds=5, seed=0, groups=groups)
    assert assigned[0] == assigned[1]
    assert assigned[2] == assigned[3]
    assert np.bincount(assigned, minlength=5).min() >= 18


def test_missing_groups_count_among_those_that_the_folds_need():
    groups, labels = np.array(["a", "b", None, None], dtype=object), np.array([0, 1, 0, 1])
    assigned = stratified_folds(labels, np.ones(4, int), folds=4, seed=0, groups=groups)
    assert sorted(assigned) == [0, 1, 2, 3]


@pytest.mark.parametrize(("fraction", "expected"), [(0.1, 20), (0.2, 40), (0.5, 100), (0.34, 67)])
def test_validation_part_has_the_wished_size_and_share_of_each_label(fraction, expected):
    labels = np.repeat([0, 1], [150, 50])
    mask = validation_mask(labels, np.tile([1, 2], 100), fraction=fraction, seed=0)
    assert mask.dtype == bool
    assert abs(mask.sum() - expected) <= 1
    assert abs(mask[labels == 1].sum() - expected / 4) <= 1


def test_the_smallest_validation_part_is_a_hundredth():
    mask = validation_mask(np.zeros(200, int), np.ones(200, int), fraction=0.01, seed=0)
    assert mask.sum() == 2


def test_validation_part_never_splits_a_group():
    groups = np.repeat(np.arange(40), 5)
    mask = validation_mask(
        np.tile([0, 1], 100), np.ones(200, int), fraction=0.2, seed=0, groups=groups
    )
    assert set(groups[mask]).isdisjoint(groups[~mask])


@pytest.mark.parametrize("folds", [-1, 0, 1, 101])
def test_a_number_of_folds_out_of_range_is_named(folds):
    with pytest.raises(InputError, match=f"got {folds}"):
        stratified_folds(np.zeros(300, int), np.zeros(300, int), folds=folds, seed=0)


def test_fewer_samples_than_folds():
    with pytest.raises(InputError, match="at least 5 samples for 5 folds, got 4"):
        stratified_folds(np.zeros(4, int), np.zeros(4, int), folds=5, seed=0)


def test_as_many_samples_as_folds():
    assigned = stratified_folds(np.zeros(5, int), np.zeros(5, int), folds=5, seed=0)
    assert sorted(assigned) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("fraction", [0, -0.1, 1e-310, 0.009, 0.6, 1])
def test_a_validation_fraction_out_of_range_is_named(fraction):
    with pytest.raises(InputError, match=f"got {fraction}"):
        validation_mask(np.zeros(9, int), np.zeros(9, int), fraction=fraction, seed=0)
