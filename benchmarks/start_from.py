"""What it is worth to begin with the network of another survey, where few stamps are labelled.

For each seed one network is trained on a survey of 6,000 simulated stamps whose labels are right,
and a detector of another survey, with seeing, sky and crowding of its own, has a few hundred
stamps, 5% of them mislabelled. Both stages are done on these from random weights, and from that
network's with several learning rates; that network scores the detector's test stamps as it is; and
stage 2 alone is trained on the stamps of both. Called again, nothing is trained twice.
"""

from pathlib import Path
from typing import Any

from commands import (
    FIGURES,
    call,
    f1_of_suspects,
    figures,
    make_parser,
    print_markdown,
    read_metrics,
)
from measure import machine

from rbkeras import convert, evaluate, fit, simulate

EXAMPLES = """\
examples:
  python benchmarks/start_from.py --work START --seeds 91 92 93 94
"""
#: Seeds of the networks to begin with are those of the new detectors and this.
OTHER_SURVEY = 1000


def make_survey(folder: Path, *, seed: int, **options: Any) -> None:
    if not (folder / "made").exists():
        options |= {"seed": seed, "test_real": 5000, "test_bogus": 50000}
        call(simulate, [folder / "survey"], options)
        call(convert, [folder / "survey" / "raw", folder / "records"], {})
        (folder / "made").touch()


def test_flags(folder: Path) -> dict[str, Any]:
    test = folder / "survey" / "test"
    return {"test_real": test / "real.npy", "test_bogus": test / "bogus.npy"}


def train(folder: Path, out: str, *, seed: int, **options: Any) -> Path:
    common = {"data": folder / "records", "out": folder / out, "seed": seed}
    call(fit, [], common | test_flags(folder) | options)
    return folder / out


def main() -> int:
    parser = make_parser(__doc__, EXAMPLES)
    parser.add_argument("--seeds", type=int, nargs="+", default=[91, 92], help="(default: 91 92)")
    parser.add_argument("--stamps", type=int, default=300, help="of the detector (default: 300)")
    parser.add_argument(
        "--rates", type=float, nargs="+", default=[1e-3, 1e-4], help="(default: 1e-3 1e-4)"
    )
    arguments = parser.parse_args()
    print(machine())
    rows = []
    for seed in arguments.seeds:
        other = arguments.work / f"other-{seed + OTHER_SURVEY}"
        make_survey(other, seed=seed + OTHER_SURVEY, label_error=0)
        start = train(other, "run", seed=seed, policy="keep")
        new = arguments.work / f"new-{seed}-{arguments.stamps}"
        one = {"detectors": 1, "per-detector": arguments.stamps, "label_error": 0.05}
        make_survey(new, seed=seed, **one)
        runs = {"random weights": train(new, "random", seed=seed)}
        begun = {"training.start_from": start, "label_errors.start_from": start}
        for rate in arguments.rates:
            options = begun | {"optimizer.learning_rate": rate}
            name = f"its weights, learning rate {rate:g}"
            runs[name] = train(new, f"started-{rate:g}", seed=seed, **options)
        for name, run in runs.items():
            f1 = f1_of_suspects(new / "survey", run)
            rows.append([seed, name, f1, *figures(read_metrics(run / "evaluation"))])
        call(evaluate, [start], test_flags(new) | {"out": new / "as-it-is"})
        found = read_metrics(new / "as-it-is")
        rows.append([seed, "(the other network as it is)", "", *figures(found)])
        together = new / "together"
        surveys = [folder / "survey" / "raw" for folder in (other, new)]
        call(convert, [*surveys, together / "records"], {})
        both = {"data": together / "records", "policy": "keep"}
        run = train(new, "of-both", seed=seed, **both)
        found = read_metrics(run / "evaluation")
        rows.append([seed, "(trained on both, all labels kept)", "", *figures(found)])
    print_markdown(["seed", "stage 2 begins with", "F1 of suspects", *FIGURES], rows)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
