"""Two networks on the same stamps: what they share cancels."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from rbkeras import metrics
from rbkeras.comparison import compare_scores, format_comparison
from rbkeras.merit import FIGURES


def made_up(shift, seed=0, own=0.3):
    """Scores of a network on stamps that are easy or hard for all; `own` is its own opinion."""
    stamps, noise = np.random.default_rng(1), np.random.default_rng([2, seed])
    real, bogus = stamps.normal(2 + shift, 1, 400), stamps.normal(-1, 1, 2000)
    return real + own * noise.normal(size=400), bogus + own * noise.normal(size=2000)


def row(table, figure="fpr_at_tpr90"):
    return table.set_index("figure").loc[figure]


def test_figures_are_those_of_each_and_their_difference():
    ours, theirs = made_up(1.0), made_up(0.0, seed=1)
    table = compare_scores(ours, theirs)
    assert table["figure"].tolist() == list(FIGURES)
    found = row(table)
    assert found.ours == metrics.fpr_at_tpr(*ours, 0.9)
    assert found.theirs == metrics.fpr_at_tpr(*theirs, 0.9)
    np.testing.assert_allclose(table["difference"], table["ours"] - table["theirs"])
    assert (table["low"] <= table["difference"]).all()
    assert (table["difference"] <= table["high"]).all()
    assert found.p_value < 0.01
    assert found.difference < 0
    assert "may be chance" not in format_comparison(table)[1]


def test_a_network_beside_itself_differs_by_nothing():
    scores = made_up(0.0)
    table = compare_scores(scores, scores)
    assert (table[["difference", "low", "high"]] == 0).all(axis=None)
    assert (table["p_value"] == 1).all()
    assert "may be chance" in format_comparison(table)[1]


@pytest.mark.parametrize(
    ("options", "tail"),
    [({}, 0.025), ({"confidence": 0.5}, 0.25)],
    ids=["95 percent", "50 percent"],
)
def test_networks_that_make_no_mistake_differ_by_what_the_stamps_can_tell(options, tail):
    stamps = np.linspace(0, 1, 200), np.linspace(-9, -8, 300)
    table = compare_scores(stamps, (stamps[0] + 1, stamps[1]), **options)
    found = row(table)
    # Clopper-Pearson with no success among 300 bogus, for either of them.
    bound = 1 - tail ** (1 / 300)
    assert (found.difference, found.low, found.high) == pytest.approx((0, -bound, bound))


def test_intervals_are_of_the_confidence_asked_for():
    ours, theirs = made_up(1.0), made_up(0.0, seed=1)
    half, most = (
        row(compare_scores(ours, theirs, confidence=level), "auc") for level in (0.5, 0.95)
    )
    expected = stats.norm.ppf(0.75) / stats.norm.ppf(0.975)
    assert (half.high - half.low) / (most.high - most.low) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("low", "p_value", "chance"), [(0.1, 0.03, False), (-0.1, 0.03, True), (0.1, 0.06, True)]
)
def test_what_either_the_test_or_the_interval_allows_may_be_chance(low, p_value, chance):
    found = {"figure": "auc", "ours": 0.9, "theirs": 0.7, "difference": 0.2, "high": 0.3}
    lines = format_comparison(pd.DataFrame([found | {"low": low, "p_value": p_value}]))
    assert ("may be chance" in lines[1]) == chance


@pytest.mark.parametrize(("more", "chance"), [(5, True), (8, False)])
def test_few_false_positives_may_be_chance(more, chance):
    """Five of 20,000 that one network alone lets through are a coin that fell five times alike."""
    real, bogus = np.linspace(1, 2, 1000), np.zeros(20_000)
    worse = bogus.copy()
    worse[:more] = 1.5
    found = row(compare_scores((real, worse), (real, bogus)))
    assert found.p_value >= 2 * 0.5**more
    assert (found.low <= 0) == chance


@pytest.mark.parametrize(("bogus", "certain"), [(3600, False), (3700, True)])
def test_few_bogus_tell_nothing_at_a_low_rate(bogus, certain):
    """Where none but the highest bogus decide, every resample says much the same."""
    rng = np.random.default_rng(0)
    ours = rng.normal(4, 1, 400), rng.normal(-4, 1, bogus)
    theirs = rng.normal(2, 1, 400), rng.normal(-1, 1, bogus)
    table = compare_scores(ours, theirs)
    for figure in ("tpr_at_fpr1e-3", "partial_auc"):
        found = row(table, figure)
        assert ((found.low, found.high, found.p_value) == (-1, 1, 1)) == (not certain)
    assert row(table, "tpr_at_fpr1e-4").p_value == 1
    assert row(table).p_value < 0.01


def test_scores_in_single_precision_that_tie_count_against_the_classifier():
    real, bogus = np.float32([0.1, 0.1, 0.3]), np.float32([0.1, 0.0])
    assert FIGURES["tpr_at_fpr1e-3"](real, bogus) == metrics.tpr_at_fpr(real, bogus) == 1 / 3


def test_a_difference_whose_interval_includes_none_may_be_chance():
    """Every resample says the same; the exact interval of three bogus knows better."""
    real = np.linspace(1, 2, 20)
    table = compare_scores((real, np.zeros(3)), (real, np.full(3, 3.0)))
    found = row(table)
    assert found.p_value == 0.25
    # Clopper-Pearson of none of three, up to 1 - b, minus that of three of three, from b on.
    bound = 0.025 ** (1 / 3)
    assert (found.low, found.high) == pytest.approx((-1, 1 - 2 * bound))
    (line,) = [text for text in format_comparison(table) if text.startswith("FPR at TPR 0.9 ")]
    assert "may be chance" in line


@pytest.mark.parametrize(("p_value", "chance"), [(0.07, True), (0.03, False)])
def test_a_difference_of_more_than_one_in_twenty_may_be_chance(p_value, chance):
    table = pd.DataFrame({"figure": ["auc"], "ours": 0.9, "theirs": 0.7, "difference": 0.2})
    table = table.assign(low=0.1, high=0.3, p_value=p_value)
    assert ("may be chance" in format_comparison(table)[1]) == chance


def test_what_is_hard_for_both_cancels():
    """The interval of the difference is narrower than that of either rate."""
    ours, theirs = made_up(0.0, seed=1, own=0.05), made_up(0.0, seed=2, own=0.05)
    found = row(compare_scores(ours, theirs), "auc")
    low, high = metrics.auc_interval(*ours)
    assert found.high - found.low < 0.5 * (high - low)


def test_scores_of_other_stamps_are_refused():
    real, bogus = made_up(0.0)
    with pytest.raises(ValueError, match=r"same stamps, got \(400, 2000\) and \(400, 1999\)"):
        compare_scores((real, bogus), (real, bogus[1:]))


@pytest.mark.parametrize("counts", [(1, 2000), (50, 1)])
def test_a_single_stamp_of_a_class_tells_nothing_of_others(counts):
    ours, theirs = ([each[:n] for each, n in zip(made_up(s), counts, strict=True)] for s in (2, 0))
    table = compare_scores(ours, theirs)
    assert (table["low"] == -1).all()
    assert (table["high"] == 1).all()
    assert all("may be chance" in line for line in format_comparison(table)[1:])
