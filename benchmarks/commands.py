"""Commands of rbkeras, called from Python, and what benchmarks of quality have in common."""

import argparse
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd
from sklearn.metrics import f1_score

#: Titles of `figures`.
FIGURES = ("at 0.9", "at 0.95", "1 - AUC")


def call(command: ModuleType, words: Sequence[Any], options: Mapping[str, Any]) -> None:
    """Call a command with words and with options by their flags; end where it fails."""
    flags = [f"--{name}={value}" for name, value in options.items()]
    status = command.main([*map(str, words), *flags])
    if status:
        raise SystemExit(status)


def make_parser(description: str | None, examples: str) -> argparse.ArgumentParser:
    """Make a parser of a benchmark that leaves surveys and runs in a folder."""
    parser = argparse.ArgumentParser(
        description=description,
        epilog=examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--work", type=Path, required=True, help="folder of surveys and runs")
    return parser


def read_metrics(evaluation: Path) -> dict[str, Any]:
    """Read what an evaluation has found."""
    return json.loads((evaluation / "metrics.json").read_text())


def figures(found: Mapping[str, Any]) -> list[str]:
    """Write the false positive rates at 0.9 and 0.95, and 1 - AUC."""
    values = found["fpr_at_tpr90"], found["fpr_at_tpr95"], 1 - found["auc"]
    return [f"{value:.5f}" for value in values]


def f1_of_suspects(survey: Path, run: Path) -> str:
    """Write the F1 of a run's suspects among a simulated survey's stamps, against the truth."""
    truth = pd.read_csv(survey / "truth.csv")
    table = pd.read_csv(run / "label_errors.csv")
    both = table.merge(truth, on=["detector_id", "sample_index"], validate="1:1")
    return f"{f1_score(both['given_label'] != both['true_label'], both['suspect'] == 1):.3f}"


def print_markdown(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Print a table as `docs/results.md` has them."""
    print()
    for cells in (header, ["---"] * len(header), *rows):
        print(f"| {' | '.join(map(str, cells))} |")
