"""What a second look costs, and what it does to the false positive rate, for a finished run.

Timed is scoring the run's bogus test stamps from memory: among a night's detections nearly all are
bogus, and those that get a second look are what it costs.
"""

import argparse
from pathlib import Path

import numpy as np
import yaml
from measure import Side, Work, compare, print_table, write_results

from rbkeras.engines import Engine, EngineName

EXAMPLES = """\
examples:
  python -m rbkeras.fit --preset default --seed 21 --out RUN \\
      --simulation.test_real 5000 --simulation.test_bogus 50000
  python benchmarks/second_look.py RUN
"""

#: Ways to score, and the options of `load_engine` that ask for them.
WAYS = {"once": {"once": True}, "second look": {}}


def scoring(
    run: Path, stamps: Path, engine: EngineName, options: dict[str, bool], size: int
) -> Work:
    """Prepare an engine; each call of the work scores all stamps, batch by batch."""
    from rbkeras.engines import load_engine

    network, array = load_engine(run, engine=engine, **options), np.load(stamps)

    def work() -> int:
        scores_of(network, array, size)
        return len(array)

    return work


def scores_of(network: Engine, stamps: np.ndarray, size: int) -> np.ndarray:
    parts = [network.logits(stamps[at : at + size]) for at in range(0, len(stamps), size)]
    return np.diff(np.concatenate(parts))[:, 0]


def symmetric_scores(network: Engine, stamps: np.ndarray, size: int) -> np.ndarray:
    """Score every stamp in every orientation; the mean."""
    from rbkeras.second_look import look_again

    parts = []
    for at in range(0, len(stamps), size):
        part = stamps[at : at + size]
        first = network.logits(part)
        parts.append(look_again(network.logits, part, first, from_score=-np.inf))
    return np.diff(np.concatenate(parts))[:, 0]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("run", type=Path, help="finished run of rbkeras.fit, with a test set")
    parser.add_argument("--engine", default="keras", help="(default: %(default)s)")
    parser.add_argument("--batch_size", type=int, default=512, help="(default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=5, help="(default: %(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="store the results")
    arguments = parser.parse_args()
    from rbkeras.cli import load_tensorflow

    load_tensorflow()
    from rbkeras import metrics
    from rbkeras.engines import load_engine

    config = yaml.safe_load((arguments.run / "config.yaml").read_text(encoding="utf-8"))
    files = [config["test_real"], config["test_bogus"]]
    size = arguments.batch_size
    made = {"run": arguments.run, "stamps": files[1], "engine": arguments.engine, "size": size}
    sides = [Side(way, scoring, {"options": options, **made}) for way, options in WAYS.items()]
    measured = compare(sides, arguments.repeats)
    rows: list[tuple[str, ...]]
    rows = [("", "at 0.9", "at 0.95", "1 - AUC", "stamps/s", "ratio", "peak MiB")]
    for way in (*WAYS, "every stamp again"):
        network = load_engine(arguments.run, engine=arguments.engine, **WAYS.get(way, WAYS["once"]))
        score = scores_of if way in WAYS else symmetric_scores
        real, bogus = (score(network, np.load(file), size) for file in files)
        rates = [f"{metrics.fpr_at_tpr(real, bogus, rate):.5f}" for rate in (0.9, 0.95)]
        rows.append((way, *rates, f"{1 - metrics.auc(real, bogus):.5f}", "", "", ""))
    for number, one in enumerate(measured):
        cost = (f"{one.rate:,.0f}", f"{one.rate / measured[0].rate:.2f}", f"{one.peak_mib:,.0f}")
        rows[number + 1] = rows[number + 1][:4] + cost
    print_table(rows)
    write_results(arguments.json, vars(arguments), measured)


if __name__ == "__main__":
    main()
