import csv
import re
import subprocess
import sys
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from scipy.special import logit

from rbkeras.label_errors import most_suspicious, rate_labels
from rbkeras.review.gallery import stamp_address, write_gallery
from rbkeras.verdicts import VERDICTS

LABELS = np.array([1, 0, 1, 0, 1, 0])
PROBABILITY = np.array([0.9, 0.2, 0.05, 0.9, 0.8, 0.1])


@pytest.fixture
def rated():
    table = pd.DataFrame({"unique_index": range(6), "detector_id": [3, 3, 3, 8, 8, 8]})
    table["sample_index"] = [0, 1, 2, 0, 1, 2]
    return rate_labels(
        table.assign(label=LABELS, prediction0=0.0, prediction1=logit(PROBABILITY)), rule="argmax"
    )


@pytest.fixture
def page(tmp_path, rated, random_stamps):
    def make(shown=4, shape=(7, 5, 3), verdicts=None, title="records", **columns):
        verdicts = pd.Series(verdicts or {}, dtype=object)
        write_gallery(
            tmp_path / "label_errors.html",
            rated,
            random_stamps(shown, shape),
            samples=rated.assign(**columns),
            verdicts=verdicts,
            title=title,
        )
        return (tmp_path / "label_errors.html").read_text(encoding="utf-8")

    return make


class Elements(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.found = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))

    def of(self, tag):
        return [attributes for name, attributes in self.found if name == tag]


def test_the_most_suspicious_stamps_come_first(page, rated):
    cards = Elements(page()).of("article")
    shown = most_suspicious(rated).head(4)
    assert [int(card["data-rank"]) for card in cards] == [1, 2, 3, 4]
    found = [(int(card["data-detector"]), int(card["data-sample"])) for card in cards]
    assert found[:2] == [(3, 2), (8, 0)]
    assert found == list(zip(shown["detector_id"], shown["sample_index"], strict=True))
    assert [card["data-suspect"] for card in cards] == ["1", "1", "0", "0"]


def test_a_page_of_too_many_suspects_says_so(page, rated):
    assert "Mind that" in page()
    rated["suspect"] = 0
    assert "Mind that" not in page()


def test_numbers_are_written_out(page):
    text = page()
    assert "The 4 most suspicious of 6 labelled stamps" in text
    assert "2 labels are suspect." in text
    assert "P(real) 0.0500" in text
    assert "new, reference, difference" in text


def test_suspects_beyond_the_page_are_told(page):
    assert "2 labels are suspect; 1 of them are not on this page" in page(shown=1)


def test_every_stamp_has_a_button_per_verdict(page):
    buttons = [b["value"] for b in Elements(page()).of("button") if "value" in b]
    assert buttons == [*VERDICTS] * 4


def test_earlier_verdicts_are_pressed_and_those_not_shown_are_carried(page):
    text = page(verdicts={2: "bogus", 5: "ok"})
    parsed = Elements(text)
    assert parsed.of("article")[0]["data-verdict"] == "bogus"
    pressed = [b["value"] for b in parsed.of("button") if b.get("aria-pressed") == "true"]
    assert pressed == ["bogus"]
    assert re.search(rf'id="hidden">\[\["8,2,{LABELS[5]}", "ok"\]\]<', text)


def test_verdicts_name_the_alert_where_there_is_one(page, rated):
    (body,) = Elements(page()).of("body")
    assert body["data-header"] == "detector_id,sample_index,label"
    ids = ["a", 'b, "c"', "d\ne", "e", "f", "g"]
    text = page(verdicts={5: "ok"}, alert_id=ids)
    parsed = Elements(text)
    assert parsed.of("body")[0]["data-header"] == "detector_id,sample_index,label,alert_id"
    shown = most_suspicious(rated).head(4)
    lines = [card["data-identity"].splitlines(keepends=True) for card in parsed.of("article")]
    rows = [next(csv.reader(line)) for line in lines]
    assert [(int(row[0]), int(row[1])) for row in rows] == list(
        zip(shown["detector_id"], shown["sample_index"], strict=True)
    )
    assert [row[3] for row in rows] == [ids[index] for index in shown["unique_index"]]


def test_cards_say_what_a_stamp_is_called_elsewhere(page):
    names = [f"ZTF{number}" for number in range(6)]
    text = page(objectId=names, alert_id=[f"9{number}" for number in range(6)])
    assert "ZTF2, 92" in text
    assert "ZTF" not in page()


def test_the_page_needs_nothing_else(page):
    text = page()
    parsed = Elements(text)
    assert not parsed.of("link")
    assert all("src" not in script for script in parsed.of("script"))
    assert all(i["src"].startswith("data:image/png;base64,") for i in parsed.of("img"))
    assert "default-src 'none'" in text
    assert not re.search(r"https?://", text)


def test_names_cannot_smuggle_in_markup(page):
    text = page(title="<script>alert(1)</script> & \"quoted'")
    assert "<script>alert(1)" not in text
    assert "&lt;script&gt;alert(1)" in text


@pytest.mark.parametrize("shape", [(7, 5, 1), (6, 9, 2)])
def test_any_number_of_channels_is_shown(page, shape):
    image = Elements(page(shape=shape)).of("img")[0]
    height, width, channels = shape
    assert int(image["height"]) == height
    assert int(image["width"]) == channels * (width + 1) - 1


def test_pictures_are_the_stamp_pixel_by_pixel():
    import base64
    import io

    from matplotlib.image import imread

    stamp = np.zeros((4, 3, 2), np.float32)
    stamp[3, 0, 0] = 5.0
    stamp[0, 2, 1] = np.nan
    address = stamp_address(stamp)
    picture = imread(io.BytesIO(base64.b64decode(address.partition(",")[2])))
    assert picture.shape == (4, 7, 4)
    # Row 0 of a stamp is at the bottom, as in the other pictures.
    assert picture[0, 0, 0] > picture[1, 0, 0]
    missing = picture[3, 6, :3]
    assert missing[2] > missing[0]


def test_a_new_page_forgets_what_the_browser_kept_of_another(page):
    keys = {
        re.search(r'data-key="(\w+)"', page(**options)).group(1)
        for options in ({}, {"shown": 3}, {"verdicts": {2: "ok"}})
    }
    assert len(keys) == 3


def test_the_gallery_needs_no_tensorflow():
    code = "import sys, rbkeras.review.gallery; assert 'tensorflow' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
