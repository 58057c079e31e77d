"""The report of a tiny finished run, of runs that lack things, and of hostile names."""

import base64
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from tiny import data_flags

from rbkeras import evaluate
from rbkeras.label_errors import COLUMNS
from rbkeras.report import charts, command, gather, words
from rbkeras.report.blocks import Card, Gallery, Section, Settings, Table, Text
from rbkeras.report.gather import gather_evaluation, gather_run
from rbkeras.report.page import render, write_report
from rbkeras.report.rates import rates_by_bin, rates_by_group
from rbkeras.report.sections_samples import brightness, detectors

VOID = {"meta", "img", "br", "hr", "link", "input"}
HOSTILE = "<script>alert(1)</script>\"'&$\\frac$"


class Page(HTMLParser):
    """Checks nesting, and collects what a test asks for."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.open, self.tags, self.attributes, self.texts = [], [], [], {}
        self.section = None
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag == "section":
            self.section = dict(attrs)["id"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag
        if tag == "section":
            self.section = None

    def handle_data(self, data):
        if data.strip():
            self.texts.setdefault(self.section, []).append(" ".join(data.split()))

    def text(self, section):
        return " ".join(self.texts[section])

    def loaded(self):
        return [value for name, value in self.attributes if name in ("src", "href", "srcset")]


@pytest.fixture(scope="module")
def page(tiny_run):
    return Page((tiny_run / "report.html").read_text())


@pytest.fixture
def own_run(tiny_run, tmp_path):
    """A copy of the run, to take things away from."""
    return shutil.copytree(tiny_run, tmp_path / "run")


def reported(run, tmp_path):
    out = tmp_path / "page.html"
    assert command.main([str(run), "--out", str(out)]) == 0
    return Page(out.read_text())


def point(run, old, new):
    """Let a run and its evaluation name other files."""
    for path in (run / "config.yaml", run / "evaluation" / "source.json"):
        path.write_text(path.read_text().replace(str(old), str(new)))


SECTIONS = [
    *("headline", "curves", "thresholds", "calibration", "detectors", "brightness", "families"),
    *("mistakes", "suspects", "training", "settings"),
]


def test_fit_leaves_a_page_with_every_section(page):
    assert [name for name in page.texts if name] == SECTIONS
    for name in SECTIONS:
        quiet = [text for text in page.texts[name][1:] if "The run has no" in text]
        assert quiet == [], name


def test_the_page_loads_nothing(page, tiny_run):
    for value in page.loaded():
        assert value.startswith(("#", "data:image/png;base64,", "data:image/svg+xml;base64,"))
    assert "script" not in page.tags
    text = (tiny_run / "report.html").read_text()
    assert not re.search(r"https?:|//|@import|url\(", re.sub(r'data:image/[^"]+', "", text))


def test_pictures_are_whole(page):
    pictures = [value for value in page.loaded() if value.startswith("data:")]
    assert len(pictures) > 20
    for uri in pictures:
        content = base64.b64decode(uri.split(",", 1)[1], validate=True)
        assert content.startswith((b"\x89PNG", b"<?xml"))
        if content.startswith(b"<?xml"):
            # The markers' and clip paths' own ids; nothing from elsewhere.
            assert not re.search(rb'href="(?!#)', content)


def test_numbers_are_those_of_the_run(page, tiny_run):
    from rbkeras.files import read_json

    metrics = read_json(tiny_run / "evaluation" / "metrics.json")
    assert words.rate(metrics["fpr_at_tpr90"]) in page.text("headline")
    assert words.rate(metrics["auc"]) in page.text("headline")
    suspects = int(pd.read_csv(tiny_run / "label_errors.csv")["suspect"].sum())
    assert f"{suspects:,}" in page.texts["headline"]
    assert "validation part of stage 2" in page.text("headline")
    assert "FPR 0.0001" in page.text("thresholds")
    assert "200 bogus are too few for a false positive rate of 0.01, 0.001" in page.text(
        "thresholds"
    )
    assert "Some 37,000 would do" in page.text("thresholds")


def test_kinds_and_detectors_come_from_the_tables_beside_the_test_stamps(page):
    assert "cosmic_ray" in page.text("families")
    assert "near_galaxy" in page.text("families")
    assert "Detectors of the test set" in page.text("detectors")
    assert "min_steps" in page.text("settings")
    assert "tensorflow" in page.text("settings")


def test_without_tables_the_validation_part_serves(own_run, tmp_path, tiny_survey):
    """The settings point at test stamps that have gone, so that no table is beside them."""
    point(own_run, tiny_survey / "sim" / "test", tmp_path / "gone")
    page = reported(own_run, tmp_path)
    assert "Detectors of the validation part" in page.text("detectors")
    assert "galx_artificial_real" in page.text("families")
    assert "not where the settings say" in page.text("mistakes")


@pytest.mark.parametrize(
    ("columns", "known"),
    [
        ({"magpsf": 18.0}, {"magnitude": 18.0}),
        ({"mag": 17.0, "s2n": 9.0}, {"magnitude": 17.0, "snr": 9.0}),
        ({"magnitude": 16.0, "mag": 1.0}, {"magnitude": 16.0}),
        ({"mag": 17.0, "magpsf": 18.0}, {"magnitude": 18.0}),
    ],
)
def test_brightness_goes_by_other_names_too(columns, known, tmp_path):
    files = {name: tmp_path / f"{name}.npy" for name in ("real", "bogus")}
    for path in files.values():
        pd.DataFrame([columns] * 3).to_csv(path.with_suffix(".csv"), index=False)
    scores = np.zeros(3), np.zeros(3)
    table = gather_evaluation("model", None, scores, metrics={}, **files).test.table
    for name, value in known.items():
        assert table[name].tolist() == [value] * 6


def test_everything_but_the_settings_may_be_missing(own_run, tmp_path):
    for path in own_run.iterdir():
        if path.name != "config.yaml":
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    page = reported(own_run, tmp_path)
    assert [name for name in page.texts if name] == SECTIONS
    assert "neither a scored test set nor a validation part" in page.text("curves")
    assert "No table of suspects" in page.text("suspects")
    assert "no log.csv" in page.text("training")
    assert "policy" in page.text("settings")


def test_without_test_set_and_records(own_run, tmp_path, tiny_survey):
    shutil.rmtree(own_run / "evaluation")
    config = (own_run / "config.yaml").read_text()
    (own_run / "config.yaml").write_text(config.replace(str(tiny_survey), str(tmp_path / "gone")))
    page = reported(own_run, tmp_path)
    assert "The run has no test set" in page.text("headline")
    assert "better than it is" in page.text("calibration")
    assert "records are not where the settings say" in page.text("suspects")
    assert "have a column family" in page.text("families")


def test_damaged_files_are_as_good_as_missing(own_run, tmp_path):
    (own_run / "label_errors.csv").write_text("unique_index\n")
    (own_run / "evaluation" / "metrics.json").write_text("{")
    (own_run / "log.csv").write_bytes(b"\xff\xfe\x00")
    (own_run / "model.keras").write_bytes(b"PK")
    (own_run / "environment.json").write_text("[]")
    (own_run / "validation.csv").write_text("")
    page = reported(own_run, tmp_path)
    assert "carries no calibration" in page.text("calibration")
    assert "No table of suspects" in page.text("suspects")


@pytest.mark.parametrize(
    ("file", "text", "section", "said"),
    [
        ("label_errors.csv", ",".join(COLUMNS) + "\n", "suspects", "No table of suspects"),
        (
            "label_errors.csv",
            ",".join(COLUMNS) + f"\n{'yes,' * 9}yes\n",
            "suspects",
            "No table of suspects",
        ),
        ("evaluation/metrics.json", '{"auc": "0.9"}', "headline", "test set"),
        ("evaluation/metrics.json", '{"auc": NaN}', "headline", "test set"),
        ("evaluation/scores.csv", "label,sample_index,score\n7,0,1.5\n", "headline", "no test set"),
        ("config.yaml", "label_errors: {folds: five}\n", "training", "Stage 2"),
        ("config.yaml", "data: 5\nout: [1]\ntest_real: 7\n", "settings", "data"),
        ("stage2.json", '{"settings": {"records": "others"}}', "suspects", "not where"),
        ("stage2.json", "[]", "suspects", "Suspect"),
    ],
)
def test_files_that_say_something_else_are_as_good_as_missing(
    own_run, tmp_path, file, text, section, said
):
    (own_run / file).write_text(text)
    assert said in reported(own_run, tmp_path).text(section)


def test_mistakes_of_our_own_show(own_run, monkeypatch):
    def broken(*arguments):
        raise KeyError("ours")

    monkeypatch.setattr(gather, "_with_tables", broken)
    with pytest.raises(KeyError, match="ours"):
        gather_run(own_run)


def test_the_real_that_is_the_threshold_passes(own_run, tmp_path):
    """As texts of float32 read as float64, half of such differences would be below themselves."""
    rng = np.random.default_rng(0)
    for _ in range(20):
        logits = rng.normal(size=(40, 2)).astype(np.float32) * 3
        table = pd.DataFrame(logits, columns=["prediction0", "prediction1"])
        table = table.assign(unique_index=np.arange(40), label=np.arange(40) % 2, sample_index=0)
        table.to_csv(own_run / "validation.csv", index=False)
        threshold = (logits[:, 1] - logits[:, 0])[1::2].min()
        found = gather_run(own_run, model=object()).validation
        assert (found.real >= float(threshold)).all()


def test_a_table_beside_the_test_stamps_does_not_say_where_they_are_in_the_records(tmp_path):
    files = {name: tmp_path / f"{name}.npy" for name in ("real", "bogus")}
    pd.DataFrame({"unique_index": [5, 6, 7], "snr": 1.0}).to_csv(tmp_path / "real.csv")
    found = gather_evaluation("m", None, (np.zeros(3), np.zeros(3)), metrics={}, **files)
    assert "snr" in found.test.table
    assert "unique_index" not in found.test.table


def test_a_column_of_one_class_alone_keeps_its_whole_numbers(tmp_path):
    files = {name: tmp_path / f"{name}.npy" for name in ("real", "bogus")}
    table = pd.DataFrame({"detector_id": [2, 10, 2, 10], "snr": [5, 6, 7, 8]})
    table.to_csv(tmp_path / "real.csv", index=False)
    scores = np.arange(4.0), np.arange(4.0) - 2
    findings = gather_evaluation("m", None, scores, metrics={}, **files)
    found = rates_by_group(findings.test.table, "detector_id", label=1, threshold=1.0)
    assert found["name"].tolist() == ["2", "10"]
    _, table = detectors(findings).blocks
    dash = "\N{EN DASH}"
    assert [row[0] for row in table.rows] == ["2", "10"]
    assert [row[3:] for row in table.rows] == [[dash, dash]] * 2
    assert rates_by_bin(findings.test.table, "snr", threshold=1.0) is not None


def test_detectors_stand_in_the_order_of_their_numbers(tmp_path):
    files = {name: tmp_path / f"{name}.npy" for name in ("real", "bogus")}
    for name in files:
        table = pd.DataFrame({"detector_id": np.arange(24) % 12 + 1})
        table.to_csv(tmp_path / f"{name}.csv", index=False)
    scores = np.zeros(24), np.zeros(24)
    _, table = detectors(gather_evaluation("m", None, scores, metrics={}, **files)).blocks
    assert [row[0] for row in table.rows] == [str(number) for number in range(1, 13)]


def test_brightness_of_the_bogus_alone_is_no_completeness(own_run, tmp_path, tiny_survey):
    test = shutil.copytree(tiny_survey / "sim" / "test", tmp_path / "test")
    table = pd.read_csv(test / "real.csv").drop(columns=["snr", "magnitude"], errors="ignore")
    table.to_csv(test / "real.csv", index=False)
    point(own_run, tiny_survey / "sim" / "test", test)
    assert "validation part" in str(brightness(gather_run(own_run, model=object())))


def test_precision_between_the_corners_of_a_roc_curve():
    """One bogus above all reals: the ROC curve is straight from there on, precision is not."""
    real, bogus = np.linspace(1, 2, 100), np.r_[3.0, np.linspace(-2, -1, 999)]
    tpr, fpr = charts.rates_at_reals(real, bogus)
    assert fpr.tolist() == pytest.approx([0.001] * 100)
    assert tpr.tolist() == pytest.approx(np.arange(1, 101) / 100)
    few = charts.rates_at_reals(real, bogus, points=5)
    assert few[0].tolist() == pytest.approx([0.01, 0.26, 0.51, 0.75, 1.0], abs=0.011)


def test_hostile_names_are_texts(own_run, tmp_path, tiny_survey):
    test = shutil.copytree(tiny_survey / "sim" / "test", tmp_path / "test")
    for name in ("real", "bogus"):
        table = pd.read_csv(test / f"{name}.csv")
        table["detector_id"] = table["detector_id"].astype(str) + HOSTILE
        table.loc[::2, "family"] = HOSTILE
        table["magnitude"] = HOSTILE
        table.to_csv(test / f"{name}.csv", index=False)
    point(own_run, tiny_survey / "sim" / "test", test)
    with (own_run / "config.yaml").open("a") as config:
        config.write(f"'{HOSTILE.replace(chr(39), '')}': 1\n")
    hostile = own_run.rename(tmp_path / "<b>run & co<")
    page = reported(hostile, tmp_path)
    assert "script" not in page.tags
    assert "b" not in page.tags
    assert "<b>run & co<" in " ".join(page.texts[None])
    assert "<script>" in page.text("families")
    assert "1<script>" in page.text("detectors")


def test_a_folder_that_is_no_run_is_status_2(tmp_path, fails_with):
    assert "expected a run directory" in fails_with(command.main, [tmp_path])


def test_evaluate_writes_one_too(tiny_run, tiny_survey, tmp_path):
    out = tmp_path / "evaluation"
    arguments = [str(tiny_run / "model.keras"), *data_flags(tiny_survey)[2:], "--out", str(out)]
    assert evaluate.main(arguments) == 0
    # Whole paths, since a report may be written from elsewhere.
    source = json.loads((out / "source.json").read_text())
    assert all(Path(path).is_absolute() for path in source.values())
    page = Page((out / "report.html").read_text())
    assert "near_galaxy" in page.text("families")
    assert "no log.csv" in page.text("training")


def test_a_run_that_was_moved_finds_its_own_records(own_run, tiny_survey):
    """Paths inside the run that fit knew are looked for inside the run as it is now."""
    (own_run / "config.yaml").write_text("out: /was/rbkeras-run\ndata: /was/rbkeras-run/records\n")
    shutil.copytree(tiny_survey / "records", own_run / "records")
    tests = {f"test_{name}": f"/was/rbkeras-run/test/{name}.npy" for name in ("real", "bogus")}
    (own_run / "evaluation" / "source.json").write_text(json.dumps(tests))
    shutil.copytree(tiny_survey / "sim" / "test", own_run / "test")
    findings = gather_run(own_run)
    # From the tables beside them.
    assert "family" in findings.test.table
    assert findings.records.directory == own_run / "records"
    assert "object_type" in findings.validation.table


def test_every_block_escapes(tmp_path):
    card = Card(title=HOSTILE, lines=[HOSTILE], uri='x" onerror="alert(1)', alt=HOSTILE)
    blocks = [
        Text(HOSTILE),
        Table(HOSTILE, [HOSTILE], [[HOSTILE]]),
        Gallery(HOSTILE, [card]),
        Settings({HOSTILE: {HOSTILE: HOSTILE}}),
    ]
    page = Page(render(HOSTILE, [Section(HOSTILE, HOSTILE, blocks)], where=HOSTILE))
    assert "script" not in page.tags
    assert not [name for name, _ in page.attributes if name == "onerror"]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", [HOSTILE, "a\x00b\x01c\x0cd", "e\ufffef"])
def test_charts_take_any_name(name):
    table = pd.DataFrame({"name": [name, "b"], "rate": [0.5, 0], "low": [0.4, 0]})
    uri = charts.rates_by_name(
        table.assign(high=[0.6, 0.1]), rate="rate", colour="k", label="completeness"
    )
    svg = base64.b64decode(uri.split(",")[1])
    assert b"<script>" not in svg
    ElementTree.fromstring(svg)


def test_rates_by_group_by_hand():
    table = pd.DataFrame(
        {"label": [1, 1, 1, 0], "score": [2.0, 0.0, 3.0, 9.0], "kind": ["a", "a", "b", "a"]}
    )
    found = rates_by_group(table, "kind", label=1, threshold=1.0)
    assert found["name"].tolist() == ["a", "b"]
    assert found["count"].tolist() == [2, 1]
    assert found["rate"].tolist() == [0.5, 1.0]


def test_bins_hold_equally_many_reals():
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"label": 1, "score": np.arange(400.0), "snr": rng.permutation(400)})
    table.loc[::50, "snr"] = np.nan
    found = rates_by_bin(table, "snr", threshold=200.0, bins=4)
    assert found["count"].tolist() == [98] * 4
    assert found["passed"].sum() == (table["snr"].notna() & (table["score"] >= 200)).sum()
    # At least ten in each.
    assert rates_by_bin(table[1:31], "snr", threshold=200.0)["count"].tolist() == [10] * 3
    assert rates_by_bin(table.assign(snr="x"), "snr", threshold=0) is None
    assert rates_by_bin(table.assign(snr=1.0), "snr", threshold=0) is None


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ((0.00175,), "0.00175"),
        ((0.99551,), "0.99551"),
        ((0.0, 0.0, 0.00092), "0  (0 to 0.00092)"),
        ((0.9, 0.8797, 0.9179), "0.900  (0.880 to 0.918)"),
        ((float("nan"),), "\N{EN DASH}"),
        ((float("nan"), float("nan"), float("nan")), "\N{EN DASH}"),
        ((1.0, 1.0, 1.0), "1  (1 to 1)"),
    ],
)
def test_rates_in_words(value, text):
    assert words.rate(*value) == text


def test_other_numbers_in_words():
    assert words.per_million(0.00175, 0.0005, 0.0036) == "1,800  (500 to 3,600)"
    assert words.per_million(0.115) == "115,000"
    assert words.signed(-2.345) == "\N{MINUS SIGN}2.35"
    assert words.probability(1e-9) == "< 0.001"
    assert words.clipped("x" * 50, 10) == "x" * 9 + "…"


def test_a_page_is_written_whole(tiny_run, tmp_path, monkeypatch):
    out = tmp_path / "report.html"
    out.write_text("earlier")
    monkeypatch.setattr("rbkeras.report.page.render", lambda *a, **k: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_report(out, gather_run(tiny_run))
    assert out.read_text() == "earlier"
