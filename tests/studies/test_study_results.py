from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

from rbkeras.merit import FIGURES
from rbkeras.studies.grid import STUDIES, Arm, Grid, make_grid
from rbkeras.studies.page import write_page
from rbkeras.studies.results import (
    arms_markdown,
    differences_markdown,
    summarise_study,
    suspect_intervals,
)


@pytest.mark.parametrize("study", STUDIES)
@pytest.mark.parametrize("truth", [True, False])
def test_grids_name_every_arm_once_and_compare_arms_they_have(study, truth):
    policies = ["keep", "unlabel", "flip"] + (["truth", "oracle"] if truth else [])
    grid = make_grid(
        study, networks=["simple", "compact"], errors=[1, 2], detectors=[3, 5], policies=policies
    )
    names = [arm.name for arm in grid.arms]
    assert len(set(names)) == len(names)
    assert {name for pair in grid.pairs for name in pair} <= set(names)
    known = truth and study in ("label-errors", "label-noise")
    assert any(arm.true_labels for arm in grid.arms) == known
    assert any(arm.oracle for arm in grid.arms) == known


def test_policies_without_the_default_one_have_nothing_to_compare():
    grid = make_grid(
        "label-errors", networks=["simple"], errors=[1], detectors=[3], policies=["keep", "truth"]
    )
    assert [arm.name for arm in grid.arms] == ["simple, all labels", "simple, true labels"]
    assert grid.pairs == ()


def test_losses_are_compared_at_each_factor_on_the_label_errors():
    grid = make_grid("losses", networks=["simple"], errors=[1, 4], detectors=[3], policies=[])
    assert {arm.errors for arm in grid.arms} == {1, 4}
    factor = {arm.name: arm.errors for arm in grid.arms}
    assert len(grid.pairs) == 10
    assert all(factor[one] == factor[other] for one, other in grid.pairs)


@pytest.mark.parametrize("study", ["label-noise", "losses"])
def test_more_factors_leave_the_names_of_arms(study):
    names = [
        {
            arm.name
            for arm in make_grid(
                study, networks=["simple"], errors=errors, detectors=[3], policies=["keep", "truth"]
            ).arms
        }
        for errors in ([1], [2], [1, 2])
    ]
    # What the true labels give is the same for all factors.
    assert names[0] & names[1] <= {"simple, true labels"}
    assert names[0] | names[1] == names[2]


def test_treatments_use_each_detector():
    grid = make_grid("treatments", networks=["simple"], errors=[1], detectors=[3, 5], policies=[])
    assert [arm.parts for arm in grid.arms] == [(3, 5), ("mix",), (None,)]


def make_study():
    """Arm b is better than arm a by far; c is a again, with other noise."""
    rng = np.random.default_rng(0)
    reals = [rng.normal(2, 1, 300) for _ in range(3)]
    bogus = [rng.normal(0, 1, 2000) for _ in range(3)]
    noise = [rng.normal(0, 0.01, 300) for _ in range(3)]
    scores = {
        "a": [list(zip(reals, bogus, strict=True))],
        "b": [[(real + 2, other) for real, other in zip(reals, bogus, strict=True)]],
        "c": [
            [(real + e, other) for real, e, other in zip(reals, noise, bogus, strict=True)],
            [(real - e, other) for real, e, other in zip(reals, noise, bogus, strict=True)],
        ],
    }
    grid = Grid(tuple(Arm(name=name) for name in "abc"), (("b", "a"), ("c", "a")))
    return scores, grid


@pytest.fixture(scope="module")
def summary():
    scores, grid = make_study()
    return summarise_study(scores, grid, seeds=[7, 8, 9], shared=False, resamples=60)


def test_arms_have_their_figures(summary):
    scores, _ = make_study()
    arms, _ = summary
    assert len(arms) == 3 * len(FIGURES)
    row = arms[(arms["figure"] == "fpr_at_tpr90") & (arms["arm"] == "a")].iloc[0]
    expected = [FIGURES["fpr_at_tpr90"](*one) for one in scores["a"][0]]
    assert row[["seed 7", "seed 8", "seed 9"]].tolist() == pytest.approx(expected)
    assert row["mean"] == pytest.approx(np.mean(expected))
    assert row["low"] < row["mean"] < row["high"]


def test_parts_of_an_arm_are_averaged(summary):
    scores, _ = make_study()
    arms, _ = summary
    row = arms[(arms["figure"] == "auc") & (arms["arm"] == "c")].iloc[0]
    expected = np.mean([[FIGURES["auc"](*one) for one in part] for part in scores["c"]])
    assert row["mean"] == pytest.approx(expected)


def test_only_a_real_difference_is_significant(summary):
    _, differences = summary
    rows = differences[differences["figure"] == "fpr_at_tpr90"].set_index("arm")
    assert rows.loc["b", "significant"]
    assert rows.loc["b", "high"] < 0
    assert rows.loc["b", "ratio"] < 0.2
    assert not rows.loc["c", "significant"]
    text = differences_markdown(differences)
    assert text.count("not significant") == 1
    assert "p = " in text


def test_markdown_has_a_row_per_arm(summary):
    lines = arms_markdown(summary[0]).splitlines()
    assert [line.split("|")[1].strip() for line in lines[2:]] == ["a", "b", "c"]
    assert len({line.count("|") for line in lines}) == 1


def test_a_rate_of_nothing_is_not_certain():
    # 2 seeds with 500 bogus each, all far below the reals: up to 1 - 0.025^(1/1000) may pass.
    one = (np.full(50, 9.0), np.zeros(500))
    grid = Grid((Arm(name="a"), Arm(name="b")), (("a", "b"),))
    scores = {name: [[one, one]] for name in "ab"}
    for shared, tested in ((False, 1000), (True, 500)):
        arms, differences = summarise_study(scores, grid, seeds=[0, 1], shared=shared, resamples=50)
        row = arms[arms["figure"] == "fpr_at_tpr90"].iloc[0]
        assert (row["mean"], row["low"]) == (0, 0)
        assert row["high"] == pytest.approx(1 - 0.025 ** (1 / tested))
        between = differences[differences["figure"] == "fpr_at_tpr90"].iloc[0]
        assert (between["low"], between["high"]) == pytest.approx((-row["high"], row["high"]))
    assert not differences["significant"].any()
    assert "nan" not in differences_markdown(differences)


def test_one_seed_cannot_tell_a_difference_from_chance(tmp_path):
    apart = (np.full(500, 9.0), np.zeros(500)), (np.zeros(500), np.full(500, 9.0))
    grid = Grid((Arm(name="a"), Arm(name="b")), (("a", "b"),))
    scores = {name: [[one]] for name, one in zip("ab", apart, strict=True)}
    arms, differences = summarise_study(scores, grid, seeds=[7], shared=True, resamples=50)
    assert not differences["significant"].any()
    assert differences["p_value"].isna().all()
    assert "| cannot tell from one seed |" in differences_markdown(differences)
    tables = {"arms": arms, "differences": differences, "suspects": pd.DataFrame()}
    write_page(tmp_path / "study.html", "losses", [], tables)
    page = (tmp_path / "study.html").read_text()
    assert page.count("cannot tell from one seed") == len(FIGURES)


def test_an_interval_that_includes_0_is_no_significant_difference():
    # Few stamps, and the same on all of them: Student's p is 0, the exact intervals overlap.
    apart = (np.full(3, 9.0), np.zeros(3)), (np.zeros(3), np.full(3, 9.0))
    grid = Grid((Arm(name="a"), Arm(name="b")), (("a", "b"),))
    scores = {name: [[one, one]] for name, one in zip("ab", apart, strict=True)}
    _, differences = summarise_study(scores, grid, seeds=[0, 1], shared=True, resamples=50)
    found = differences[differences["figure"] == "fpr_at_tpr90"].iloc[0]
    assert found["difference"] == -1
    assert found["low"] <= 0 <= found["high"]
    assert not found["significant"]


def test_suspect_intervals_are_those_of_a_bootstrap():
    rng = np.random.default_rng(0)
    wrong = rng.random(800) < 0.1
    suspect = np.where(wrong, rng.random(800) < 0.8, rng.random(800) < 0.02)
    found = suspect_intervals(wrong, suspect)
    drawn = rng.integers(0, 800, (2000, 800))
    both = np.sum(wrong[drawn] & suspect[drawn], axis=1)
    errors, suspects = wrong[drawn].sum(axis=1), suspect[drawn].sum(axis=1)
    for name, values in (
        ("recall", both / errors),
        ("precision", both / suspects),
        ("f1", 2 * both / (errors + suspects)),
    ):
        edges = np.quantile(values, [0.025, 0.975])
        assert (found[f"{name}_low"], found[f"{name}_high"]) == pytest.approx(edges, abs=0.02)
    all_found = suspect_intervals(np.arange(100) < 10, np.arange(100) < 12)
    assert all_found["recall_low"] == pytest.approx(0.025 ** (1 / 10))
    assert all_found["recall_high"] == 1
    nothing = suspect_intervals(np.zeros(9, bool), np.zeros(9, bool))
    assert np.isnan(list(nothing.values())).all()


def test_page_stands_alone_and_escapes(summary, tmp_path):
    arms, differences = (table.replace("a", "<script>a</script>") for table in summary)
    path = tmp_path / "report.html"
    suspects = pd.DataFrame([{"errors_x": 1.0, "seed": 0, "errors": 5, "suspects": 6}]).assign(
        recall=1.0, precision=5 / 6, f1=10 / 11
    )
    ends = [f"{name}_{end}" for name in ("recall", "precision", "f1") for end in ("low", "high")]
    suspects[ends] = 0.5
    tables = {"arms": arms, "differences": differences, "suspects": suspects}
    write_page(path, "losses", ["a remark"], tables)
    text = path.read_text()
    assert "<script>" not in text
    assert "http" not in text
    assert "a remark" in text
    assert text.count("data:image/png;base64,") == len(FIGURES)
    HTMLParser().feed(text)
