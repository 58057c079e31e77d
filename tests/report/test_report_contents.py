"""What the page shows of made-up scores and stamps: probabilities, rates, bands and galleries."""

import base64
import io
import re
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.image import imread
from scipy.stats import binomtest

from rbkeras import metrics, saliency
from rbkeras.data.records import open_records
from rbkeras.decision import Decision, OperatingPoint
from rbkeras.evaluation import scores_of_arrays
from rbkeras.operating_points import operating_points, roc_band
from rbkeras.report import charts, galleries, words
from rbkeras.report.blocks import Text
from rbkeras.report.gather import Findings, Scored
from rbkeras.report.sections_calibration import calibration
from rbkeras.report.sections_samples import mistakes, suspects
from rbkeras.report.sections_scores import curves, headline, thresholds


def findings(real, bogus, **more):
    test = Scored("test set", scores_of_arrays(np.asarray(real), np.asarray(bogus)))
    return Findings(title="made up", test=test, **more)


def test_the_figures_of_scores_are_measured_once(monkeypatch):
    measured = []

    def counting(real, bogus, measure=metrics.auc_interval):
        measured.append(len(real))
        return measure(real, bogus)

    monkeypatch.setattr(metrics, "auc_interval", counting)
    page = headline(findings([1.0, 2.0, 3.0], [-1.0, 0.0, 1.5]))
    assert measured == [3]
    assert len(page.blocks[0].cards) == 3


def model(shape=(), **calibrated):
    """Stand in for a network: its threshold is 0."""
    point = OperatingPoint(true_positive_rate=0.9, threshold=0.0, false_positive_rate=0.1)
    decision = Decision(operating_point=point, n_real=9, n_bogus=9, **calibrated)
    return SimpleNamespace(decision=decision, input_shape=(None, *shape))


@pytest.fixture
def drawn(monkeypatch):
    """The axes of every chart, in the order of drawing."""
    axes = []
    monkeypatch.setattr(Canvas, "savefig", lambda canvas, *_, **__: axes.extend(canvas.axes))
    return axes


def test_a_run_without_a_model_is_said_to_be_unfinished():
    said = "".join(one.text for one in headline(Findings(title="begun")).blocks)
    assert "There is no model here" in said
    with_model = headline(Findings(title="done", model=model())).blocks
    assert "There is no model" not in "".join(one.text for one in with_model)


@pytest.mark.parametrize(("temperature", "lines"), [(1.0, 1), (1.3, 2)])
def test_a_temperature_of_1_is_no_second_line(temperature, lines, drawn):
    real, bogus = np.linspace(-1, 5, 50), np.linspace(-5, 1, 50)
    own = model(calibration="temperature", temperature=temperature, training_prevalence=0.5)
    calibration(findings(real, bogus, model=own))
    assert len(drawn[0].get_legend().get_texts()) == lines


def test_too_many_suspects_are_doubted_where_they_are_told():
    real, bogus = np.linspace(0, 5, 10), np.linspace(-5, 0, 10)
    for suspect, doubted in ((0, False), (1, True)):
        rated = pd.DataFrame({"label": [0, 0, 1, 1], "suspect": [suspect, 0, 0, 0]})
        rated = rated.assign(error_probability=0.9, label_quality=0.1, probability_real=0.1)
        rated = rated.assign(unique_index=range(4), detector_id=1, sample_index=range(4))
        made = findings(real, bogus, rated=rated)
        for section in (headline(made), suspects(made)):
            said = "".join(one.text for one in section.blocks if isinstance(one, Text))
            assert ("50% of the labels bogus are suspect" in said) == doubted


# --- probabilities --------------------------------------------------------------------------------

# 30 stamps to which the network gives odds of 1/4, none of them real; 2 of 10 at 4; 8 of 10 at 36.
PASSED, OF = np.array([0, 2, 8]), np.array([30, 10, 10])
ODDS_OF_REALS = np.log(np.repeat([0.25, 4.0, 36.0], PASSED))
ODDS_OF_BOGUS = np.log(np.repeat([0.25, 4.0, 36.0], OF - PASSED))
# The network learnt where half were real; here are four bogus to a real: a quarter of the odds.
PLAIN = [1 / 17, 1 / 2, 9 / 10]
# Divided by a temperature of 2, log-odds are those of 1/2, 2 and 6; a quarter of them.
CALIBRATED = [1 / 9, 1 / 3, 3 / 5]


@pytest.fixture
def calibrated():
    own = model(
        calibration="temperature",
        temperature=2.0,
        network_prevalence=0.5,
        training_prevalence=0.3,
        prevalence=0.01,
    )
    return findings(ODDS_OF_REALS, ODDS_OF_BOGUS, model=own)


@pytest.mark.parametrize(
    ("position", "name", "predicted"),
    [(0, "as the network says", PLAIN), (1, "calibrated (temperature)", CALIBRATED)],
)
def test_probabilities_are_judged_at_the_fraction_of_reals_there_is(
    calibrated, monkeypatch, position, name, predicted
):
    given = []
    monkeypatch.setattr(charts, "reliability", lambda curves: given.append(curves) or "")
    table = calibration(calibrated).blocks[1]
    curve = given[0][name]
    assert list(given[0])[position] == name
    assert curve["predicted"].tolist() == pytest.approx(predicted)
    assert curve["observed"].tolist() == pytest.approx(PASSED / OF)
    error = np.sum(OF / OF.sum() * np.abs(predicted - PASSED / OF))
    entropy = -np.sum(PASSED * np.log(predicted) + (OF - PASSED) * np.log1p(-np.array(predicted)))
    assert table.rows[position] == [name, f"{error:.4f}", f"{entropy / OF.sum():.4f}"]


def test_the_reliability_diagram_shows_what_came_true_over_what_was_said(calibrated, drawn):
    calibration(calibrated)
    exact = [binomtest(k, n).proportion_ci() for k, n in zip(PASSED, OF, strict=True)]
    for container, predicted in zip(drawn[0].containers, (PLAIN, CALIBRATED), strict=True):
        line, _, (bars,) = container.lines
        np.testing.assert_allclose(line.get_xydata(), np.stack([predicted, PASSED / OF], axis=1))
        ends = [segment[:, 1] for segment in bars.get_segments()]
        np.testing.assert_allclose(ends, [(one.low, one.high) for one in exact], atol=1e-9)


# --- rates ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def gaussian():
    rng = np.random.default_rng(0)
    return rng.normal(2, 1, 300), rng.normal(0, 1, 2000)


def test_rates_stand_in_their_own_columns_with_their_own_intervals(gaussian):
    real, bogus = gaussian
    rows = thresholds(findings(real, bogus)).blocks[0].rows
    points = operating_points(real, bogus)
    assert len(rows) == len(points)
    for (chosen, score, *cells), point in zip(rows, points.itertuples(), strict=True):
        assert chosen == f"{point.chosen.upper()} {point.target:g}"
        assert score == words.signed(point.threshold)
        passing = np.mean(real >= point.threshold), np.mean(bogus >= point.threshold)
        of_reals = passing[0], point.tpr_low, point.tpr_high
        of_bogus = passing[1], point.fpr_low, point.fpr_high
        assert cells == [words.rate(*of_reals), words.rate(*of_bogus), words.per_million(*of_bogus)]
        # Else a cell could be the other one's.
        assert cells[0] != cells[1]


def test_the_band_of_the_roc_curve_is_the_bootstraps(gaussian, drawn, monkeypatch):
    real, bogus = gaussian
    bands = []
    monkeypatch.setattr(
        Axes, "fill_between", lambda _, x, low, high, **__: bands.append((x, low, high))
    )
    curves(findings(real, bogus))
    rates, low, high = bands[0]
    np.testing.assert_allclose((low, high), roc_band(real, bogus, rates), atol=0.02)
    middle = (rates > 0.01) & (rates < 0.3)
    assert middle.any()
    # So wide that it says something, and the curve lies inside of it.
    assert (high - low)[middle].max() < 0.25
    passing = np.array([np.mean(real > np.quantile(bogus, 1 - rate)) for rate in rates[middle]])
    assert (low[middle] <= passing + 0.01).all()
    assert (passing <= high[middle] + 0.01).all()


# --- galleries ------------------------------------------------------------------------------------

SHAPE = (5, 6, 2)


@pytest.fixture
def shown(monkeypatch):
    """First pixels of the stamps on cards, and of the maps beside them, which are twice those."""
    pixels = []

    def picture(stamp, heat):
        pixels.append((stamp[0, 0, 0], None if heat is None else heat[0, 0]))
        return ""

    monkeypatch.setattr(galleries, "picture", picture)
    monkeypatch.setattr(saliency, "saliency", lambda model, stamps: 2 * stamps[..., 0])
    return pixels


@pytest.fixture
def mistaken(tmp_path):
    """Scores of which 14 reals and 13 bogus are on the wrong side of 0, and numbered stamps."""
    rng = np.random.default_rng(0)
    real = rng.permutation(np.r_[-np.arange(1, 15), np.arange(1, 7)])
    bogus = rng.permutation(np.r_[np.arange(1, 14), -np.arange(1, 8)])
    files = {1: tmp_path / "real.npy", 0: tmp_path / "bogus.npy"}
    for label, path in files.items():
        np.save(path, np.full((20, *SHAPE), 1000.0 * label) + np.arange(20)[:, None, None, None])
    return real.astype(float), bogus.astype(float), files


def test_the_worst_mistakes_come_first(mistaken, shown):
    real, bogus, files = mistaken
    found = findings(real, bogus, model=model(SHAPE), test_files=files)
    of_reals, of_bogus = mistakes(found).blocks
    minus = "\N{MINUS SIGN}"
    assert [card.title for card in of_reals.cards] == [
        f"real, score {minus}{score}.0" for score in range(14, 2, -1)
    ]
    assert [card.title for card in of_bogus.cards] == [
        f"bogus, score +{score}.0" for score in range(13, 1, -1)
    ]
    assert "14 of 20" in of_reals.caption
    assert "13 of 20" in of_bogus.caption
    # Each with its own stamp.
    rows = [np.flatnonzero(real == -score)[0] for score in range(14, 2, -1)]
    assert [card.lines[-1] for card in of_reals.cards] == [f"row {row}" for row in rows]
    assert [pixel for pixel, _ in shown[:12]] == [1000 + row for row in rows]
    rows = [np.flatnonzero(bogus == score)[0] for score in range(13, 1, -1)]
    assert [pixel for pixel, _ in shown[12:]] == rows


def test_mistakes_have_the_names_that_the_survey_gave_them(mistaken, shown):
    real, bogus, files = mistaken
    found = findings(real, bogus, model=model(SHAPE), test_files=files)
    table = found.test.table
    table["objectId"] = [f"ZTF{row}" if row % 2 else None for row in range(len(table))]
    named = {(row.label, row.sample_index): row.objectId for row in table.itertuples()}
    for label, gallery in zip((1, 0), mistakes(found).blocks, strict=True):
        for card in gallery.cards:
            row = int(re.search(r"row (\d+)", " ".join(card.lines))[1])
            name = named[label, row]
            assert card.lines[-1] == (name if isinstance(name, str) else f"row {row}")


def test_galleries_of_mistakes_show_where_the_network_looked(mistaken, shown):
    real, bogus, files = mistaken
    blocks = mistakes(findings(real, bogus, model=model(SHAPE), test_files=files)).blocks
    assert len(shown) == 24
    assert all(heat == 2 * pixel for pixel, heat in shown)
    assert all("where the network looked" in gallery.caption for gallery in blocks)
    assert all("saliency" in card.alt for gallery in blocks for card in gallery.cards)


def test_a_network_that_does_not_take_the_stamps_looks_nowhere(mistaken, shown):
    real, bogus, files = mistaken
    blocks = mistakes(findings(real, bogus, model=model((9, 9, 2)), test_files=files)).blocks
    assert {heat for _, heat in shown} == {None}
    assert not any("where the network looked" in gallery.caption for gallery in blocks)


def test_the_gallery_of_suspects_begins_with_the_most_suspicious(records_dir, shown):
    records = open_records(records_dir)
    samples = records.samples
    rated = samples[samples["label"] >= 0].assign(suspect=0, probability_real=0.5)
    rated = rated.assign(error_probability=0.1, label_quality=0.9).set_index("unique_index")
    suspected = {rated.index[2]: 0.7, rated.index[9]: 0.99, rated.index[20]: 0.8}
    for sample, probability in suspected.items():
        rated.loc[sample, ["suspect", "error_probability"]] = 1, probability
    found = Findings(
        title="made up",
        model=model(records.stamp_shape),
        records=records,
        rated=rated.reset_index(),
    )
    *_, gallery = suspects(found).blocks
    first = samples.loc[[rated.index[position] for position in (9, 20, 2)]]
    pixels = (1000 * first["detector_id"] + first["sample_index"]).tolist()
    assert shown == [(pixel, 2 * pixel) for pixel in pixels]
    assert [card.lines[-1] for card in gallery.cards] == [
        f"detector {row.detector_id}, row {row.sample_index}" for row in first.itertuples()
    ]


def test_a_picture_ends_with_the_saliency_in_colour():
    stamp, heat = np.zeros(SHAPE), np.zeros(SHAPE[:2])
    stamp[1, 2, 0] = heat[1, 2] = 7.0
    plain, heated = (decoded(galleries.picture(stamp, map_)) for map_ in (None, heat))
    height, width, _ = SHAPE
    # Two channels and, if any, the map, with a pixel between them.
    assert plain.shape == (height, 2 * width + 1, 3)
    assert heated.shape == (height, 3 * width + 2, 3)
    np.testing.assert_array_equal(heated[:, : 2 * width + 1], plain)
    assert np.ptp(plain, axis=-1).max() == 0
    coloured = heated[:, -width:]
    at = np.unravel_index(plain[:, :width, 0].argmax(), (height, width))
    expected = np.tile(colormaps["inferno"](0.0)[:3], (height, width, 1))
    expected[at] = colormaps["inferno"](1.0)[:3]
    np.testing.assert_allclose(coloured, expected, atol=1 / 200)


def decoded(uri):
    """RGB of a picture without its enlargement."""
    pixels = imread(io.BytesIO(base64.b64decode(uri.split(",")[1])))[..., :3]
    step = pixels.shape[0] // SHAPE[0]
    return pixels[::step, ::step]
