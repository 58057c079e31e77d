"""What stamps made of a survey's own ones are worth, where many of its labels are wrong.

For each seed a survey of 6,000 simulated stamps has a fraction of either class mislabelled. Both
stages are done on the survey as it is, and on it together with the reals and bogus that
`rbkeras.inject` makes of it; stage 2 alone on the same stamps with their true labels is the limit.
Called again, nothing is trained twice.
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

from rbkeras import convert, fit, inject, simulate

EXAMPLES = """\
examples:
  python benchmarks/injected.py --work INJECTED --rates 0.05 0.2 --seeds 61 62
"""


def make_survey(folder: Path, *, seed: int, rate: float, test: bool) -> None:
    """Simulate; the same seed gives the same stamps whatever the rate."""
    if (folder / "survey" / "truth.csv").exists():
        return
    count = {"test_real": 5000, "test_bogus": 50000} if test else {"test_real": 0, "test_bogus": 0}
    call(simulate, [folder / "survey"], {"seed": seed, "label_error": rate} | count)


def train(folder: Path, *, test: Path, **options: Any) -> dict[str, Any]:
    tests = {"test_real": test / "real.npy", "test_bogus": test / "bogus.npy"}
    common = {"data": folder / "records", "out": folder / "run"}
    call(fit, [], common | tests | options)
    return read_metrics(folder / "run" / "evaluation")


def main() -> int:
    parser = make_parser(__doc__, EXAMPLES)
    parser.add_argument("--seeds", type=int, nargs="+", default=[61, 62], help="(default: 61 62)")
    parser.add_argument("--rates", type=float, nargs="+", default=[0.2], help="(default: 0.2)")
    parser.add_argument("--count", type=int, default=3000, help="of either class (default: 3000)")
    parser.add_argument("--dask", help="for the folds of stage 1")
    arguments = parser.parse_args()
    print(machine())
    rows = []
    for rate in arguments.rates:
        for seed in arguments.seeds:
            folder = arguments.work / f"seed{seed}-{rate:g}"
            make_survey(folder, seed=seed, rate=rate, test=True)
            raw, test = folder / "survey" / "raw", folder / "survey" / "test"
            options = {"seed": seed} | ({"dask": arguments.dask} if arguments.dask else {})
            trained = {}
            call(convert, [raw, folder / "alone" / "records"], {})
            trained["as it is"] = train(folder / "alone", test=test, **options)
            made = folder / "injected"
            if not made.exists():
                call(inject, [raw, made], {"count": arguments.count, "seed": seed})
            call(convert, [raw, made, folder / "both" / "records"], {})
            trained["with what is made of it"] = train(folder / "both", test=test, **options)
            make_survey(folder / "true", seed=seed, rate=0, test=False)
            call(convert, [folder / "true" / "survey" / "raw", folder / "true" / "records"], {})
            trained["true labels"] = train(folder / "true", test=test, seed=seed, policy="keep")
            for (name, found), run in zip(trained.items(), ("alone", "both", ""), strict=True):
                f1 = f1_of_suspects(folder / "survey", folder / run / "run") if run else ""
                rows.append([f"{rate:g}", seed, name, f1, *figures(found)])
    print_markdown(["wrong labels", "seed", "survey", "F1 of suspects", *FIGURES], rows)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
