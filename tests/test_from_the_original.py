"""Every command of docs/from-the-original.md runs as it stands there, in a tiny setting."""

import importlib
import re
import shlex
from pathlib import Path

import pytest
from tiny import SMALL, SMALL_TRAININGS, data_flags

from rbkeras import experiment
from rbkeras.options import make_parser, parse_config
from rbkeras.studies.grid import POLICY_NAMES

PAGE = Path(__file__).parents[1] / "docs" / "from-the-original.md"
NARROW = ["--model.width", "0.25", "--training.epochs", "1"]
TINY = [*SMALL, *NARROW, "--loss.lambda_vat", "0"]
#: Every option that stands in a command of the original's README.
OPTIONS = [
    *("train_data_dir", "test_data_dir", "test_real_name", "test_bogus_name", "output_dir"),
    *("filter_result_dir", "seed", "batch_size", "train_cfg.target_fold", "train_cfg.epochs"),
    *("train_cfg.selection_mode=0", "train_cfg.selection_mode=2", "train_cfg.lambda_ce"),
    *("lambda_auc", "lambda_vat", "train_cfg.optimizer", "train_cfg.small_mix_dataset"),
    *("model_cfg.model_type", "model_cfg.padding", "model_cfg.detector_id", "model_cfg.norm_type"),
]
#: What the commands need beside their own flags, to be small.
EXTRA = {
    "convert": [],
    "predict": [],
    "evaluate": [],
    "find_label_errors": TINY,
    "fit": TINY,
    "experiment": [*SMALL_TRAININGS, *NARROW, "--seeds", "0"],
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
        # As the rows before would have left them; what writes there writes to folders of its own.
        "STAGE1": tiny_run,
        "RUN": tiny_run,
        "STUDY": tmp_path / "study",
        "OUT": tmp_path / "out",
        "scores.csv": tmp_path / "scores.csv",
        "own": tmp_path / "own",
    }


WRITTEN = {"find_label_errors": "STAGE1", "fit": "RUN"}


def run(verb, text, places):
    if verb in WRITTEN:
        assert f"--out {WRITTEN[verb]}" in text
        places = {**places, WRITTEN[verb]: places["own"]}
    arguments = [*substitute(text, places), *EXTRA[verb]]
    return importlib.import_module(f"rbkeras.{verb}").main(arguments)


def test_the_page_has_an_equivalent_of_every_original_command():
    verbs = [verb for verb, _ in commands("Commands")]
    assert verbs == [
        *("convert", "find_label_errors", "fit", "fit", "fit", "predict", "evaluate"),
        *["experiment"] * 4,
    ]


@pytest.mark.parametrize(
    ("verb", "text"), [c for c in commands("Commands") if c[0] != "experiment"]
)
def test_command_runs(verb, text, places):
    assert run(verb, text, places) == 0


EXPERIMENTS = [command for command in commands("Commands") if command[0] == "experiment"]


@pytest.mark.parametrize(
    ("command", "arms"),
    list(
        zip(
            EXPERIMENTS,
            [
                ["simple-each 1", "simple-each 2", "simple-mix mix", "simple-all"],
                [f"{n}, {p}" for n in ("simple", "complex") for p in POLICY_NAMES.values()],
                ["simple, all labels", *(f"simple, errors x {k}, all labels" for k in (2, 3, 4))],
                ["simple, CE", "simple, CE + AUC", "simple, CE + VAT", "simple, CE + AUC + VAT"],
            ],
            strict=True,
        )
    ),
)
def test_experiment_has_the_rows_of_the_original(command, arms, places, capsys):
    arguments = [*substitute(command[1], places), *EXTRA["experiment"], "--plan"]
    assert experiment.main(arguments) == 0
    planned = capsys.readouterr().out.splitlines()
    assert {f"{arm}, seed 0" for arm in arms} <= set(planned)


@pytest.mark.slow
@pytest.mark.parametrize(("verb", "text"), EXPERIMENTS)
def test_experiment_runs(verb, text, places):
    assert run(verb, text, places) == 0


def option_rows():
    section = PAGE.read_text().split("## Options\n")[1].split("\n## ")[0]
    return [row.strip("|").split(" | ") for row in section.splitlines() if row.startswith("| `")]


@pytest.mark.parametrize("option", OPTIONS)
def test_every_option_of_the_original_has_an_equivalent(option):
    rows = [row for row in option_rows() if f"`{option}`" in row[0] or f"`{option} " in row[0]]
    assert rows
    assert all("`--" in row[1] or "`rbkeras.experiment treatments`" in row[1] for row in rows)


def test_every_equivalent_option_is_one_and_takes_its_value():
    flags = re.findall(r"`(--[^`]+)`", "\n".join(row[1] for row in option_rows()))
    parser = make_parser(prog="test", description="", examples="")
    parser.add_argument("--fold", type=int)
    known = set(re.findall(r"--[\w.]+", parser.format_help()))
    for flag in flags:
        assert flag.split()[0] in known
        if " " in flag:
            parse_config(parser, flag.split())
    assert len(flags) > 15


def test_the_names_of_normalisations_are_translated():
    row = next(row for row in option_rows() if "norm_type" in row[0])
    parser = make_parser(prog="test", description="", examples="")
    for name in re.findall(r"`(\w+)`", row[1]):
        config, _ = parse_config(parser, ["--model.normalisation", name])
        assert config.model.normalisation == name
