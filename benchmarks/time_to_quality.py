"""Seconds of stage 2, and the false positive rate it ends with, beside the original's recipe.

Both ways train on the data, the table of suspects and the test set of a finished run, by turns
and each in a process of its own. Timed is the training from its first step to its saved model,
evaluation on the validation part included, stage 1 and the test set not.
"""

import argparse
import multiprocessing
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml
from measure import machine, median, peak_memory_mib, print_table

EXAMPLES = """\
examples:
  python -m rbkeras.fit --preset default --seed 21 --out RUN \\
      --simulation.test_real 5000 --simulation.test_bogus 50000
  python benchmarks/time_to_quality.py --run RUN
"""


def train(
    run: dict[str, Any], settings: dict[str, Any], out: str, seed: int
) -> tuple[float, float, float]:
    """Train stage 2 in this process; return seconds, false positive rate at 0.9 and peak MiB."""
    from rbkeras.cli import load_tensorflow

    load_tensorflow()
    from rbkeras import evaluation, metrics, stage1, stage2
    from rbkeras.config import FitConfig
    from rbkeras.data.records import open_records
    from rbkeras.options import with_settings
    from rbkeras.rundir import Run

    table = Path(run["out"]) / "label_errors.csv"
    config = FitConfig(data=Path(run["data"]), out=Path(out), seed=seed)
    config = with_settings(config, settings | {"label_errors.table": table})
    config.out.mkdir()
    this = Run(config, open_records(config.records_directory))
    rated = stage1.find_label_errors(this)
    start = time.perf_counter()
    model = stage2.train_final(this, rated)
    seconds = time.perf_counter() - start
    scores = evaluation.score_test_set(model, real=run["test_real"], bogus=run["test_bogus"])
    return seconds, float(metrics.fpr_at_tpr(*scores, 0.9)), peak_memory_mib()


def main() -> None:
    from rbkeras.presets import PRESETS

    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--run", type=Path, required=True, help="finished run of rbkeras.fit")
    parser.add_argument("--repeats", type=int, default=5, help="trainings (default: %(default)s)")
    parser.add_argument(
        "--original_network", default="simple", help="of the original's recipe (default: simple)"
    )
    parser.add_argument(
        "--original_epochs", type=int, default=20, help="of it (default: %(default)s)"
    )
    arguments = parser.parse_args()
    run = yaml.safe_load((arguments.run / "config.yaml").read_text(encoding="utf-8"))
    shorter = {
        "model.network": arguments.original_network,
        "training.epochs": arguments.original_epochs,
    }
    ways = {"default": PRESETS["default"], "original's recipe": PRESETS["original"] | shorter}
    found: dict[str, list[tuple[float, float, float]]] = {way: [] for way in ways}
    # A fresh process each, since TensorFlow keeps memory and threads of what went before.
    spawn = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as work:
        for turn in range(arguments.repeats):
            for number, (way, settings) in enumerate(ways.items()):
                out = str(Path(work) / f"{number}-{turn}")
                with spawn.Pool(1) as pool:
                    found[way].append(pool.apply(train, (run, settings, out, run["seed"] + turn)))
    print(machine())
    rows = [("", "seconds of stage 2", "false positive rate at 0.9", "peak MiB")]
    for way, each in found.items():
        seconds, rates, memory = zip(*each, strict=True)
        listed = ", ".join(f"{rate:.5f}" for rate in rates)
        rows.append((way, f"{median(seconds):.0f}", listed, f"{max(memory):,.0f}"))
    print_table(rows)


if __name__ == "__main__":
    main()
