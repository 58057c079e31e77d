"""Tables of a study as they are printed, on the page and as Markdown: each number in its place."""

import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

from rbkeras.merit import FIGURE_NAMES, FIGURES
from rbkeras.studies import page
from rbkeras.studies.grid import Arm, Grid
from rbkeras.studies.results import (
    arms_markdown,
    differences_markdown,
    summarise_study,
    suspect_intervals,
    suspects_markdown,
)


class Tables(HTMLParser):
    """Collects the body rows of every table as lists of cells' texts."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.tables, self.inside = [], False
        self.feed(text)
        # The head of a table has other cells, and leaves an empty row to the table before.
        self.tables = [[row for row in table if row] for table in self.tables]

    def handle_starttag(self, tag, attrs):
        if tag == "tbody":
            self.tables.append([])
        elif tag == "tr" and self.tables:
            self.tables[-1].append([])
        elif tag == "td":
            self.tables[-1][-1].append("")
            self.inside = True

    def handle_endtag(self, tag):
        self.inside = self.inside and tag != "td"

    def handle_data(self, data):
        if self.inside:
            self.tables[-1][-1][-1] += f" {data.strip()}"


def markdown(text):
    """Cells of the rows below a Markdown table's head."""
    return [line.strip("| ").split("|") for line in text.splitlines()[2:]]


def numbers(cell):
    return [float(number) for number in re.findall(r"[-+]?\d+\.\d+", cell)]


def near(*values, digits=5):
    return pytest.approx(values, abs=0.51 * 10**-digits)


@pytest.fixture(scope="module")
def tables():
    """Tables of a study: b is better than a by far, c is a with other noise."""
    rng = np.random.default_rng(0)
    seeds = [(rng.normal(2, 1, 200), rng.normal(0, 1, 800)) for _ in range(3)]
    scores = {
        "a": [seeds],
        "b": [[(real + 2, bogus) for real, bogus in seeds]],
        "c": [[(real + rng.normal(0, 0.01, 200), bogus) for real, bogus in seeds]],
    }
    grid = Grid(tuple(Arm(name=name) for name in "abc"), (("b", "a"), ("c", "a")))
    arms, differences = summarise_study(scores, grid, seeds=[0, 1, 2], shared=False, resamples=50)
    wrong, suspect = np.arange(200) < 20, (np.arange(200) >= 5) & (np.arange(200) < 27)
    found = {"errors_x": 2.0, "seed": 4, "errors": 20, "suspects": 22}
    found |= {"recall": 15 / 20, "precision": 15 / 22, "f1": 30 / 42}
    suspects = pd.DataFrame([found | suspect_intervals(wrong, suspect)])
    return {"arms": arms, "differences": differences, "suspects": suspects}


@pytest.fixture(scope="module")
def printed(tables, tmp_path_factory):
    """The page's three tables."""
    path = tmp_path_factory.mktemp("page") / "report.html"
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(page, "png_bytes", lambda *_, **__: b"")
        page.write_page(path, "losses", [], tables)
    return Tables(path.read_text()).tables


def test_arms_are_printed_with_both_ends_of_their_intervals(tables, printed):
    arms = tables["arms"].set_index(["arm", "figure"])
    assert (arms["low"] < arms["high"]).all()
    for rows in printed[0], markdown(arms_markdown(tables["arms"])):
        assert [row[0].strip() for row in rows] == ["a", "b", "c"]
        for name, *cells in rows:
            for cell, figure in zip(cells, FIGURES, strict=True):
                row = arms.loc[(name.strip(), figure)]
                assert numbers(cell) == near(row["mean"], row["low"], row["high"])


def test_differences_are_printed_with_both_ends_of_their_intervals(tables, printed):
    differences = tables["differences"]
    first = differences[differences["figure"] == next(iter(FIGURES))]
    assert (differences["low"] < differences["high"]).all()
    of_page = [row[1:] for row in printed[1]]
    assert [row[0].strip() for row in printed[1]] == [
        FIGURE_NAMES[name] for name in differences["figure"]
    ]
    for rows, table in (of_page, differences), (markdown(differences_markdown(differences)), first):
        for cells, row in zip(rows, table.itertuples(), strict=True):
            arm, beside, difference, interval, ratio, _ = (cell.strip() for cell in cells)
            assert (arm, beside) == (row.arm, row.beside)
            assert numbers(difference) == near(row.difference)
            assert numbers(interval) == near(row.low, row.high)
            assert numbers(ratio) == near(row.ratio, digits=2)


def test_what_is_called_significant_is(tables, printed):
    differences = tables["differences"]
    first = differences[differences["figure"] == next(iter(FIGURES))]
    assert first["significant"].tolist() == [True, False]
    in_markdown = markdown(differences_markdown(differences))
    for rows, table in (printed[1], differences), (in_markdown, first):
        for cells, row in zip(rows, table.itertuples(), strict=True):
            verdict = cells[-1].strip()
            assert ("not significant" in verdict) != row.significant
            if row.significant:
                assert f"{row.p_value:.2g}" in verdict


def test_suspects_are_printed_with_both_ends_of_their_intervals(tables, printed):
    row = tables["suspects"].iloc[0]
    for (cells,) in printed[2], markdown(suspects_markdown(tables["suspects"])):
        assert [cell.strip() for cell in cells[:4]] == ["x 2", "4", "20", "22"]
        for cell, name in zip(cells[4:], ("recall", "precision", "f1"), strict=True):
            ends = row[f"{name}_low"], row[f"{name}_high"]
            assert ends[0] < row[name] < ends[1]
            assert numbers(cell) == near(row[name], *ends, digits=3)


def test_bars_of_the_picture_are_the_intervals(tables):
    rows = tables["arms"][tables["arms"]["figure"] == "auc"]
    (axes,) = page.arms_figure(tables["arms"], "auc").axes
    (container,) = axes.containers
    line, _, (bars,) = container.lines
    assert [label.get_text() for label in axes.get_yticklabels()] == rows["arm"].tolist()
    # The first arm stands at the top.
    np.testing.assert_allclose(line.get_xydata(), np.c_[rows["mean"], [2, 1, 0]])
    ends = [segment[:, 0] for segment in bars.get_segments()]
    np.testing.assert_allclose(ends, rows[["low", "high"]])
