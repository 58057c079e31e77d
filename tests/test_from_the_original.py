"""Every command of docs/from-the-original.md runs as it stands there, in a tiny setting."""

import importlib
import re
import shlex
from pathlib import Path

import pytest
from tiny import SMALL, data_flags

PAGE = Path(__file__).parents[1] / "docs" / "from-the-original.md"
TINY = [*SMALL, "--model.width", "0.25", "--loss.lambda_vat", "0", "--training.epochs", "1"]
#: What the commands need beside their own flags, to be small.
EXTRA = {
    "convert": [],
    "predict": [],
    "evaluate": [],
    "find_label_errors": TINY,
    "fit": TINY,
    "experiment": [*TINY, "--seeds", "0"],
}


def commands(table):
    """Commands of rbkeras in the table of that heading, in their order."""
    section = PAGE.read_text().split(f"## {table}\n")[1].split("\n## ")[0]
    return re.findall(r"`python -m rbkeras\.(\w+) ([^`]*)`", section)


def substitute(text, places):
    """Put paths in the place of the names that the page uses."""
    words = []
    for word in shlex.split(text.replace("...", "--data RECORDS --test_real R --test_bogus B")):
        head, _, tail = word.partition("/")
        if word in places:
            words.append(str(places[word]))
        elif head in places:
            words.append(f"{places[head]}/{tail}")
        else:
            words.append(word)
    return words


@pytest.fixture
def places(tiny_survey, tiny_run, tmp_path):
    flags = data_flags(tiny_survey)
    bins = tmp_path / "bins.csv"
    bins.write_text("r1,r2,probability\n0,0.5,0.05\n0.5,1,0.1\n")
    return {
        "data/raw/real_bogus1": tiny_survey / "sim" / "raw",
        "data/processed/real_bogus1": tmp_path / "converted",
        "RECORDS": flags[1],
        "R": flags[3],
        "B": flags[5],
        "STAMPS.npy": flags[3],
        "BINS.csv": bins,
        "DIR": tiny_run,
        "RUN": tmp_path / "run",
        "STUDY": tmp_path / "study",
        "OUT": tmp_path / "out",
        "scores.csv": tmp_path / "scores.csv",
    }


def run(verb, text, places):
    arguments = [*substitute(text, places), *EXTRA[verb]]
    if verb == "fit":
        arguments += ["--out", str(places["RUN"])]
    return importlib.import_module(f"rbkeras.{verb}").main(arguments)


def test_the_page_has_an_equivalent_of_every_original_command():
    verbs = [verb for verb, _ in commands("Commands")]
    assert verbs == [
        *("convert", "find_label_errors", "fit", "predict", "evaluate"),
        *["experiment"] * 4,
    ]


@pytest.mark.parametrize(
    ("verb", "text"), [c for c in commands("Commands") if c[0] != "experiment"]
)
def test_command_runs(verb, text, places):
    assert run(verb, text, places) == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("verb", "text"), [c for c in commands("Commands") if c[0] == "experiment"]
)
def test_experiment_runs(verb, text, places):
    assert run(verb, text, places) == 0
