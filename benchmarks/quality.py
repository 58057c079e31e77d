"""How well both stages do on a simulated survey whose truth is known.

Stage 1 is judged by recall and precision of its suspects; stage 2, once per policy, by the test
set. The policy `truth` trains on the true labels: what no treatment of label errors can beat.
Called again with the same settings, it goes on where it was interrupted.
"""

import argparse
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import pandas as pd
from measure import machine, print_table

from rbkeras.cli import load_tensorflow, run_command
from rbkeras.config import FitConfig
from rbkeras.errors import InputError
from rbkeras.files import read_json, write_json
from rbkeras.options import checked, make_parser, parse_config, write_config
from rbkeras.resume import claim, mark_finished

POLICIES = ("unlabel", "keep", "remove", "flip", "threshold", "truth")
EXAMPLES = """\
examples:
  python benchmarks/quality.py --work quality
  python benchmarks/quality.py --work long --policies unlabel keep -- --training.epochs 30

After -- come flags of rbkeras.fit, which hold for both stages of every run.
"""
Result = TypeVar("Result")


# --- data -----------------------------------------------------------------------------------------


def make_survey(work: Path, settings: dict[str, float]) -> None:
    """Simulate the survey; convert it, and once more with the true labels."""
    from rbkeras.data.simulation import simulate_survey
    from rbkeras.data.write_records import convert_survey

    survey, truth = work / "survey", work / "survey-truth"
    marker = work / "survey.json"
    if claim(marker, settings, products=[], overwrite=False):
        return
    for folder in (survey, truth):
        shutil.rmtree(folder, ignore_errors=True)
    simulate_survey(survey, **settings)
    convert_survey(survey / "raw", work / "records")
    write_true_labels(survey, truth)
    convert_survey(truth, work / "records-truth")
    # The records hold it all.
    shutil.rmtree(truth)
    mark_finished(marker, settings)


def write_true_labels(survey: Path, out: Path) -> None:
    """Copy the survey directory, with every stamp labelled as what it is."""
    shutil.copytree(survey / "raw", out)
    truth = pd.read_csv(survey / "truth.csv")
    for detector_id, rows in truth.groupby("detector_id"):
        path = out / f"params{detector_id}.csv"
        params = pd.read_csv(path)
        true_label = rows.sort_values("sample_index")["true_label"].to_numpy()
        params["object_type"] = np.where(true_label == 1, "real", "bogus")
        params.to_csv(path, index=False)


# --- stage 1 --------------------------------------------------------------------------------------


def run_stage1(config: FitConfig) -> dict[str, float | bool]:
    """Find label errors; return what it took."""
    from rbkeras.data.records import open_records
    from rbkeras.rundir import Run
    from rbkeras.stage1 import find_label_errors

    checked(config)
    config.out.mkdir(parents=True, exist_ok=True)
    write_config(config.out / "config.yaml", config)
    run = Run(config, open_records(config.data))
    _, took = recorded(config.out, lambda: find_label_errors(run))
    return took


def suspect_quality(rated: pd.DataFrame, truth: pd.DataFrame) -> dict[str, dict[str, float]]:
    """Recall and precision of the suspects: by given label, and of all."""
    key = ["detector_id", "sample_index"]
    table = rated.merge(truth[[*key, "true_label"]], on=key, validate="one_to_one")
    groups = {
        "labelled real": table[table["label"] == 1],
        "labelled bogus": table[table["label"] == 0],
        "all": table,
    }
    return {name: _counts(rows) for name, rows in groups.items()}


def _counts(rows: pd.DataFrame) -> dict[str, float]:
    wrong = rows["label"] != rows["true_label"]
    suspect = rows["suspect"] == 1
    found = int((wrong & suspect).sum())
    return {
        "labelled": len(rows),
        "errors": int(wrong.sum()),
        "suspects": int(suspect.sum()),
        "found": found,
        # Nothing to find, or nothing suspected: NaN, which JSON shows as null.
        "recall": found / wrong.sum() if wrong.any() else float("nan"),
        "precision": found / suspect.sum() if suspect.any() else float("nan"),
    }


# --- stage 2 --------------------------------------------------------------------------------------


def run_stage2(config: FitConfig) -> dict[str, object]:
    """Train with one policy and score the test set; return the metrics and what it took."""
    from rbkeras import evaluation
    from rbkeras.data.records import open_records
    from rbkeras.rundir import Run
    from rbkeras.stage1 import find_label_errors
    from rbkeras.stage2 import train_final

    checked(config)
    config.out.mkdir(parents=True, exist_ok=True)
    write_config(config.out / "config.yaml", config)
    run = Run(config, open_records(config.data))
    # Reads the table of stage 1, or trains nothing: see `policy_config`.
    rated = find_label_errors(run)
    model, took = recorded(config.out, lambda: train_final(run, rated))
    scores = evaluation.score_test_set(model, real=config.test_real, bogus=config.test_bogus)
    return took | evaluation.write_evaluation(config.out / "evaluation", *scores)


def policy_config(config: FitConfig, policy: str, work: Path) -> FitConfig:
    """Point the settings at a policy's own run directory and at the table of stage 1."""
    config = replace(config, out=work / f"stage2-{policy}")
    if policy == "truth":
        return replace(config, data=work / "records-truth", policy="keep")
    table = work / "stage1" / "label_errors.csv"
    return replace(config, policy=policy, label_errors=replace(config.label_errors, table=table))


def recorded(
    folder: Path, function: Callable[[], Result]
) -> tuple[Result, dict[str, float | bool]]:
    """Call, and keep the duration in `folder`: a finished run, called again, trains nothing."""
    clock, started = folder / "seconds.json", folder / "started"
    # The time of an attempt that was interrupted is lost; the rest is less than the whole.
    interrupted = started.exists()
    started.touch()
    start = time.perf_counter()
    result = function()
    if not clock.exists():
        seconds = time.perf_counter() - start
        write_json(clock, {"seconds": seconds, "interrupted": interrupted})
    return result, read_json(clock)


# --- report ---------------------------------------------------------------------------------------


def print_report(results: dict[str, dict]) -> None:
    stage1 = results["stage1"]
    print(f"\nstage 1: {_seconds(stage1)} s")
    columns = ("labelled", "errors", "suspects", "found", "recall", "precision")
    rows = [("", *columns)]
    for name, counts in stage1["suspects"].items():
        cells = (f"{counts[key]:.3f}" for key in ("recall", "precision"))
        rows.append((name, *(str(counts[key]) for key in columns[:4]), *cells))
    print_table(rows)
    print("\nstage 2:")
    rows = [("policy", "AUC", "95%", "FPR at TPR 0.9", "95%", "seconds")]
    for policy, result in results["stage2"].items():
        auc, rate = result["auc_ci95"], result["fpr_at_tpr90_ci95"]
        rows.append(
            (
                policy,
                f"{result['auc']:.5f}",
                f"[{auc[0]:.5f}, {auc[1]:.5f}]",
                f"{result['fpr_at_tpr90']:.5f}",
                f"[{rate[0]:.5f}, {rate[1]:.5f}]",
                _seconds(result),
            )
        )
    print_table(rows)


def _seconds(took: dict) -> str:
    return f"{'over ' if took['interrupted'] else ''}{took['seconds']:.0f}"


def run_benchmark(arguments: argparse.Namespace, flags: list[str]) -> None:
    """Do what is not done yet, and report."""
    work = arguments.work
    config = fit_config(work, arguments.seed, flags)
    keys = ("detectors", "per_detector", "label_error", "test_real", "test_bogus", "seed")
    survey = {key: getattr(arguments, key) for key in keys}
    load_tensorflow()
    make_survey(work, survey)
    results = {"machine": machine(), "survey": survey, "fit_flags": flags, "stage2": {}}
    took = run_stage1(replace(config, out=work / "stage1"))
    rated = pd.read_csv(work / "stage1" / "label_errors.csv")
    truth = pd.read_csv(work / "survey" / "truth.csv")
    results["stage1"] = took | {"suspects": suspect_quality(rated, truth)}
    for policy in arguments.policies:
        results["stage2"][policy] = run_stage2(policy_config(config, policy, work))
        if arguments.json:
            write_json(arguments.json, results)
    print_report(results)


def fit_config(work: Path, seed: int, flags: list[str]) -> FitConfig:
    """Turn flags of fit into the settings of the runs in a work folder."""
    parser = make_parser(prog="quality.py ... --", description="Settings of fit.", examples="")
    # Naming the data chooses the default preset rather than the quick one.
    config, _ = parse_config(parser, ["--data", str(work / "records"), *flags])
    if config.overwrite:
        raise InputError("--overwrite: expected another --work folder for other settings")
    test = work / "survey" / "test"
    return replace(
        config,
        data=work / "records",
        test_real=test / "real.npy",
        test_bogus=test / "bogus.npy",
        seed=seed,
        policy="unlabel",
        label_errors=replace(config.label_errors, table=None),
    )


def _parser() -> argparse.ArgumentParser:
    from rbkeras.config import SimulationConfig

    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        usage="%(prog)s --work DIR [options] [-- FIT FLAGS]",
    )
    parser.add_argument("--work", type=Path, required=True, help="folder of all runs")
    parser.add_argument(
        "--policies",
        nargs="+",
        choices=POLICIES,
        default=["unlabel", "keep", "remove", "truth"],
        help="of stage 2 (default: unlabel keep remove truth)",
    )
    parser.add_argument("--seed", type=int, default=0, help="of survey and runs (default: 0)")
    for name, default in asdict(SimulationConfig()).items():
        parser.add_argument(
            f"--{name}", type=type(default), default=default, help="(default: %(default)s)"
        )
    parser.add_argument("--json", type=Path, metavar="FILE", help="store the results")
    return parser


def main() -> int:
    argv = sys.argv[1:]
    split = argv.index("--") if "--" in argv else len(argv)
    arguments = _parser().parse_args(argv[:split])
    return run_command(lambda: run_benchmark(arguments, argv[split + 1 :]))


if __name__ == "__main__":
    raise SystemExit(main())
