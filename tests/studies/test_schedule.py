"""Studies taken apart into pieces, and put together again by workers."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from rbkeras.config import FitConfig, LabelErrorConfig
from rbkeras.files import write_json
from rbkeras.pieces import thread_limits
from rbkeras.studies.grid import make_grid
from rbkeras.studies.noise_settings import Noise
from rbkeras.studies.schedule import study_pieces

CONFIG = FitConfig(out=Path("study"), label_errors=LabelErrorConfig(folds=2))


def pieces_of(study, *, config=CONFIG, noise=None, seeds=(0, 3), errors=(1.0, 2.0)):
    policies = ["keep", "unlabel", "remove", "truth"]
    grid = make_grid(study, networks=["simple"], errors=errors, detectors=[1, 2], policies=policies)
    pieces = study_pieces(config, noise or Noise(), seeds=seeds, arms=grid.arms)
    by_name = {piece.name: piece for piece in pieces}
    assert len(by_name) == len(pieces)
    # As they travel.
    assert all(json.loads(json.dumps(piece.order())) == piece.order() for piece in pieces)
    known = set()
    for piece in pieces:
        assert set(piece.after) <= known
        known.add(piece.name)
    return by_name


def test_trainings_wait_for_the_stage_one_of_their_own_seed():
    pieces = pieces_of("label-errors")
    folds = {s: tuple(f"fold {k}, errors x 1, seed {s}" for k in (0, 1)) for s in (0, 3)}
    for seed in (0, 3):
        survey = (f"survey, seed {seed}",)
        for name in folds[seed]:
            assert pieces[name].after == survey
        assert pieces[f"simple, unlabelled, seed {seed}"].after == survey + folds[seed]
        assert pieces[f"simple, removed, seed {seed}"].after == survey + folds[seed]
        # These need none, and run at once.
        assert pieces[f"simple, all labels, seed {seed}"].after == survey
        assert pieces[f"simple, true labels, seed {seed}"].after == survey
    assert len(pieces) == 2 * (1 + 2 + 4)


def test_errors_like_those_that_are_there_wait_for_the_first_stage_one():
    pieces = pieces_of("label-noise", noise=Noise(kind="score", table=Path("bins.csv")), seeds=(0,))
    first = tuple(f"fold {k}, errors x 1, seed 0" for k in (0, 1))
    second = tuple(f"fold {k}, errors x 2, seed 0" for k in (0, 1))
    assert pieces[second[0]].after == first
    assert pieces["simple, errors x 2, all labels, seed 0"].after == first
    assert pieces["simple, errors x 2, removed, seed 0"].after == first + second
    assert pieces["simple, true labels, seed 0"].after == ("survey, seed 0",)
    table = pieces[second[0]].arguments["noise"]["table"]
    assert table == str(Path("bins.csv").absolute())


def test_a_rate_from_a_review_waits_for_the_first_stage_one():
    pieces = pieces_of("label-noise", noise=Noise(reviewed=Path("verdicts.csv")), seeds=(0,))
    folds = [name for name in pieces if name.startswith("fold")]
    first = tuple(name for name in folds if "errors x 1" in name)
    assert first
    assert pieces["simple, errors x 2, all labels, seed 0"].after == first
    assert pieces["simple, true labels, seed 0"].after == ("survey, seed 0",)


def test_files_about_label_errors_are_found_from_any_folder():
    noise = Noise(reviewed=Path("verdicts.csv"), truth=Path("truth.csv"))
    (arguments,) = {
        json.dumps(piece.arguments["noise"])
        for piece in pieces_of("label-errors", noise=noise, seeds=(0,)).values()
    }
    assert json.loads(arguments) == {
        "kind": "uniform",
        "rate": None,
        "table": None,
        "reviewed": str(Path("verdicts.csv").absolute()),
        "truth": str(Path("truth.csv").absolute()),
    }


def test_parts_of_given_data_need_nothing_and_have_logs_of_their_own():
    pieces = pieces_of("treatments", config=replace(CONFIG, data=Path("records")), seeds=(0,))
    assert {piece.after for piece in pieces.values()} == {()}
    assert {piece.arguments["part"] for piece in pieces.values()} == {1, 2, "mix", None}
    assert len({piece.log for piece in pieces.values()}) == len(pieces) == 4
    (settings,) = {json.dumps(piece.arguments["settings"]) for piece in pieces.values()}
    assert json.loads(settings)["data"] == str(Path("records").absolute())


def test_what_is_finished_has_no_piece(tmp_path):
    config = replace(CONFIG, out=tmp_path)
    everything = pieces_of("label-errors", config=config, seeds=(0,))

    def finish(*names):
        for name in names:
            write_json(tmp_path / "seed0" / name, {"finished": True})

    finish("simulation.json", "stage1/errors-x1/folds/0/fold.json")
    finish("runs/simple__removed/stage2.json", "runs/simple__removed/test_scores.json")
    # Trained, and not scored yet.
    finish("runs/simple__all_labels/stage2.json")
    left = pieces_of("label-errors", config=config, seeds=(0,))
    gone = {"survey, seed 0", "fold 0, errors x 1, seed 0", "simple, removed, seed 0"}
    assert set(everything) - set(left) == gone
    assert left["simple, unlabelled, seed 0"].after == ("fold 1, errors x 1, seed 0",)
    overwriting = pieces_of("label-errors", config=replace(config, overwrite=True), seeds=(0,))
    assert set(overwriting) == set(everything)

    finish("runs/simple__unlabelled/stage2.json", "runs/simple__unlabelled/test_scores.json")
    assert set(pieces_of("label-errors", config=config, seeds=(0,))) == {
        "simple, all labels, seed 0",
        "simple, true labels, seed 0",
    }


@pytest.mark.slow
def test_workers_make_the_same_study(tmp_path):
    """Byte for byte, when every process has one thread."""
    tables = []
    for name, more in (("alone", []), ("shared", ["--dask", "local:2"])):
        command = [
            *(sys.executable, "-m", "rbkeras.experiment", "label-noise", "--seeds", "0", "1"),
            *("--out", name, "--errors", "2", "--noise", "score", "--policies", "keep", "remove"),
            *("--model.network", "simple", "--model.width", "0.2", "--deterministic"),
            *("--loss.lambda_vat", "0", "--simulation.detectors", "2"),
            *("--simulation.per_detector", "60", "--simulation.label_error", "0.1"),
            *("--simulation.test_real", "40", "--simulation.test_bogus", "60"),
            *("--training.epochs", "1", "--training.min_steps", "0", "--label_errors.epochs", "1"),
            *("--label_errors.min_steps", "20", "--label_errors.folds", "2"),
            *more,
        ]
        # In a folder of its own, so that relative paths have to reach the workers.
        done = subprocess.run(
            command,
            cwd=tmp_path,
            env=os.environ | thread_limits(1),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        out = tmp_path / name
        tables.append([(out / f"{t}.csv").read_bytes() for t in ("arms", "suspects")])
    assert tables[0] == tables[1]
    assert "training on" not in done.stdout
    # A survey, two times two folds and two trainings of each seed.
    assert len(list(out.glob("seed1/logs/*.txt"))) == 7
