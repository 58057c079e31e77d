"""How well stage 1 finds planted label errors: every rule, threshold and score on known truth.

Each folder holds the tables of stage 1, one per factor of added label errors, and the truth about
them, as the folders `seed<N>` of a study and of `benchmarks/quality.py` do. With --work such
folders are made, one per seed and error rate; called again, it goes on where it was interrupted.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from measure import print_table
from scipy.special import expit
from sklearn.metrics import average_precision_score

from rbkeras.cli import load_tensorflow, run_command
from rbkeras.errors import InputError
from rbkeras.files import write_json
from rbkeras.label_errors import rate_labels
from rbkeras.options import make_parser, parse_config
from rbkeras.studies.trainings import suspect_quality
from rbkeras.suspicion import adjusted_confidence, noise_rates, self_confidence

EXAMPLES = """\
examples:
  python benchmarks/label_errors.py quality/seed0
  python benchmarks/label_errors.py --work lab --rates 0.05 0.1 0.2 --seeds 0 1 2 --repeats 3
  python benchmarks/label_errors.py --work lab --rates 0.2 --seeds 0 -- --model.network simple

After -- come flags of rbkeras.fit.
"""
THRESHOLDS = (0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.7)
# Of the other class, with the threshold 0.2.
CERTAINTIES = (0.6, 2 / 3, 0.75)
KEY = ["detector_id", "sample_index"]


# --- judging --------------------------------------------------------------------------------------


def judged_rules(
    predictions: pd.DataFrame, truth: np.ndarray, thresholds: Sequence[float]
) -> Iterator[dict[str, object]]:
    """Yield, per rule, recall, precision and F1 of the suspects."""
    rules: dict[str, dict[str, Any]]
    rules = {name: {"rule": name} for name in ("argmax", "confident", "prune")}
    for threshold in thresholds:
        rules[f"posterior {threshold:g}"] = {"threshold": threshold, "certainty": 0.0}
    for certainty in CERTAINTIES:
        rules[f"posterior 0.2, {certainty:.2f}"] = {"threshold": 0.2, "certainty": certainty}
    for name, options in rules.items():
        rated = rate_labels(predictions, **options)
        found = suspect_quality(rated, truth)
        yield {"rule": name, "suspects": found["suspects"], "precision": found["precision"]} | {
            "recall": found["recall"],
            "F1": found["f1"],
        }


def average_precisions(rated: pd.DataFrame, wrong: np.ndarray) -> dict[str, float]:
    """Average precision of every score as a ranking of all labels, and the best F1 of any cut."""
    labels = rated["label"].to_numpy()
    score = (rated["prediction1"] - rated["prediction0"]).to_numpy()
    suspicion = {
        "self-confidence": -self_confidence(labels, expit(score)),
        "adjusted": -adjusted_confidence(labels, expit(score)),
        # Ties of certain errors are broken as the gallery does.
        "error probability": rated["error_probability"] - 1e-6 * rated["label_quality"],
    }
    return {name: average_precision_score(wrong, values) for name, values in suspicion.items()}


def best_f1(wrong: np.ndarray, suspicion: np.ndarray) -> float:
    """Largest F1 that a cut on this ranking reaches: what no rule on it can beat."""
    found = np.cumsum(wrong[np.argsort(-suspicion, kind="stable")])
    return float((2 * found / (np.arange(1, len(wrong) + 1) + wrong.sum())).max())


# --- folders --------------------------------------------------------------------------------------


def finished_stages(folder: Path) -> list[Path]:
    """Directories of the finished stages 1 of a folder."""
    found = sorted(folder.glob("stage1/errors-x*/label_errors.csv"))
    if not found:
        expected = folder / "stage1" / "errors-x1" / "label_errors.csv"
        raise InputError(f"{expected}: expected a table of a finished stage 1, found none")
    return [path.parent for path in found]


def read_stage(stage: Path) -> tuple[pd.DataFrame, np.ndarray]:
    """Out-of-fold predictions in order of unique_index, and the true labels in that order."""
    path, known = stage / "label_errors.csv", stage.parents[1] / "survey" / "truth.csv"
    if not known.exists():
        raise InputError(f"{known}: expected the true labels of a simulated survey, found none")
    rated, truth = pd.read_csv(path), pd.read_csv(known)
    joined = rated.sort_values("unique_index")[KEY].merge(
        truth[[*KEY, "true_label"]], on=KEY, how="left", validate="one_to_one"
    )
    if joined["true_label"].isna().any():
        raise InputError(f"{known}: expected every sample of {path}, found some missing")
    return rated.sort_values("unique_index", ignore_index=True), joined["true_label"].to_numpy(int)


def by_repeats(stage: Path) -> Iterator[tuple[int, pd.DataFrame]]:
    """Merge the first 1, 2, ... repeats, where the folds are still there."""
    from rbkeras.crossval import merge_folds
    from rbkeras.files import read_json

    folds = stage / "folds"
    if not (folds / "0" / "fold.json").exists():
        return
    size = read_json(folds / "0" / "fold.json")["settings"]["folds"]
    finished = 0
    while (folds / str(finished) / "validation_result.csv").exists():
        finished += 1
    for repeats in range(1, finished // size + 1):
        paths = [folds / str(k) for k in range(size * repeats)]
        merged = merge_folds(paths, repeats=repeats)
        yield repeats, merged.sort_values("unique_index", ignore_index=True)


def evaluate_stage(stage: Path, thresholds: Sequence[float]) -> dict[str, object]:
    """Judge a stage's table, and one per number of repeats where there are several."""
    rated, truth = read_stage(stage)
    wrong = rated["label"].to_numpy() != truth
    tables = dict(by_repeats(stage)) or {1: rated}
    # A factor multiplies about the same rate everywhere; what comes out differs a little.
    factor = stage.name.removeprefix("errors-")
    group = f"{wrong.mean():.2f}" if factor == "x1" else factor
    result: dict[str, object] = {"folder": str(stage), "group": group}
    result |= {"labels": len(rated), "errors": wrong.sum()}
    for repeats, predictions in tables.items():
        again = rate_labels(predictions)
        labels, probability = again["label"].to_numpy(), again["probability_real"].to_numpy()
        result[f"repeats {repeats}"] = {
            "rules": list(judged_rules(predictions, truth, thresholds)),
            "average precision": average_precisions(again, wrong),
            "best F1": best_f1(wrong, again["error_probability"] - 1e-6 * again["label_quality"]),
            "estimated rates": noise_rates(labels, probability),
            "true rates": tuple(wrong[truth == kind].mean() for kind in (0, 1)),
        }
    return result


# --- making folders -------------------------------------------------------------------------------


def make_folders(arguments: argparse.Namespace, flags: list[str]) -> list[Path]:
    """Simulate, convert and find label errors, for every seed and rate."""
    from rbkeras.simulated import simulated
    from rbkeras.studies.trainings import Noise, Seed

    parser = make_parser(prog="label_errors.py ... --", description="Settings of fit.", examples="")
    config, _ = parse_config(parser, flags, preset_without_data="default")
    folders = []
    for seed in arguments.seeds:
        for rate in arguments.rates:
            folder = arguments.work / f"s{seed}_{rate:g}"
            folder.mkdir(parents=True, exist_ok=True)
            # Stage 1 alone needs no test stamps; the simulation wants some.
            simulation = replace(config.simulation, label_error=rate, test_real=10, test_bogus=10)
            own = replace(config.label_errors, repeats=arguments.repeats)
            settings = replace(config, out=folder, seed=seed)
            settings = simulated(replace(settings, simulation=simulation, label_errors=own))
            Seed(settings, folder, Noise()).rated(errors=1.0, part=None)
            folders.append(folder)
    return folders


# --- report ---------------------------------------------------------------------------------------


def print_folder(result: dict) -> None:
    print(f"\n{result['folder']}: {result['labels']} labels, {result['errors']} of them wrong")
    for name, judged in result.items():
        if not name.startswith("repeats"):
            continue
        estimated, true = (judged[f"{kind} rates"] for kind in ("estimated", "true"))
        print(
            f"{name}: bogus labelled real {true[0]:.3f} (estimated {estimated[0]:.3f}), "
            f"real labelled bogus {true[1]:.3f} ({estimated[1]:.3f}); "
            f"best F1 of any cut {judged['best F1']:.3f}"
        )
        scores = judged["average precision"].items()
        print("average precision: " + ", ".join(f"{key} {value:.4f}" for key, value in scores))
        print_rules(judged["rules"])


def print_rules(rules: list[dict]) -> None:
    rows = [tuple(rules[0])]
    rows += [
        tuple(f"{v:.3f}" if isinstance(v, float) else str(v) for v in row.values()) for row in rules
    ]
    print_table(rows)


def print_means(results: list[dict]) -> None:
    """Means over the tables of one rate or factor of label errors, and the worst."""
    rows = [
        {"errors": result["group"], "repeats": name, **rule}
        for result in results
        for name, judged in result.items()
        if name.startswith("repeats")
        for rule in judged["rules"]
    ]
    table = pd.DataFrame(rows).groupby(["errors", "repeats", "rule"], sort=False)
    summary = table.agg(
        tables=("F1", "size"),
        F1=("F1", "mean"),
        lowest_F1=("F1", "min"),
        precision=("precision", "mean"),
        lowest_precision=("precision", "min"),
        recall=("recall", "mean"),
        lowest_recall=("recall", "min"),
    )
    print("\nmeans over tables:")
    print(summary.to_string(float_format="{:.3f}".format))


def run_benchmark(arguments: argparse.Namespace, flags: list[str]) -> None:
    load_tensorflow()
    folders = list(arguments.folders)
    if arguments.work:
        folders += make_folders(arguments, flags)
    if not folders:
        raise InputError("expected folders of finished stages 1, or --work to make some")
    stages = [stage for folder in folders for stage in finished_stages(folder)]
    results = [evaluate_stage(stage, arguments.thresholds) for stage in stages]
    for result in results:
        print_folder(result)
    print_means(results)
    if arguments.json:
        write_json(arguments.json, results)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        usage="%(prog)s [FOLDER ...] [--work DIR] [options] [-- FIT FLAGS]",
    )
    parser.add_argument("folders", nargs="*", type=Path, metavar="FOLDER")
    parser.add_argument("--work", type=Path, help="where to make folders s<seed>_<rate>")
    parser.add_argument("--rates", type=float, nargs="+", default=[0.05, 0.1, 0.2])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--repeats", type=int, default=1, help="cross-validations (default: 1)")
    parser.add_argument("--thresholds", type=float, nargs="+", default=THRESHOLDS)
    parser.add_argument("--json", type=Path, metavar="FILE", help="store the results")
    return parser


def main() -> int:
    argv = sys.argv[1:]
    split = argv.index("--") if "--" in argv else len(argv)
    arguments = _parser().parse_args(argv[:split])
    return run_command(lambda: run_benchmark(arguments, argv[split + 1 :]))


if __name__ == "__main__":
    raise SystemExit(main())
