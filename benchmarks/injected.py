"""What stamps made of a survey's own ones are worth, where many of its labels are wrong.

For each seed a survey of 6,000 simulated stamps has a fraction of either class mislabelled. Both
stages are done on the survey as it is, and on it together with the reals and bogus that
`rbkeras.inject` makes of it; stage 2 alone on the same stamps with their true labels is the limit.
Called again, nothing is trained twice.
"""

import json
from pathlib import Path
from typing import Any

import pandas as pd
from commands import call, make_parser
from measure import machine
from sklearn.metrics import f1_score

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


def train(folder: Path, *, test: Path, **options: Any) -> dict[str, float]:
    tests = {"test_real": test / "real.npy", "test_bogus": test / "bogus.npy"}
    common = {"data": folder / "records", "out": folder / "run"}
    call(fit, [], common | tests | options)
    return json.loads((folder / "run" / "evaluation" / "metrics.json").read_text())


def found_errors(survey: Path, run: Path) -> str:
    """F1 of the suspects among the survey's own stamps, against the truth."""
    truth = pd.read_csv(survey / "truth.csv")
    table = pd.read_csv(run / "label_errors.csv")
    both = table.merge(truth, on=["detector_id", "sample_index"], validate="1:1")
    return f"{f1_score(both['given_label'] != both['true_label'], both['suspect'] == 1):.3f}"


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
            figures = {}
            call(convert, [raw, folder / "alone" / "records"], {})
            figures["as it is"] = train(folder / "alone", test=test, **options)
            made = folder / "injected"
            if not made.exists():
                call(inject, [raw, made], {"count": arguments.count, "seed": seed})
            call(convert, [raw, made, folder / "both" / "records"], {})
            figures["with what is made of it"] = train(folder / "both", test=test, **options)
            make_survey(folder / "true", seed=seed, rate=0, test=False)
            call(convert, [folder / "true" / "survey" / "raw", folder / "true" / "records"], {})
            figures["true labels"] = train(folder / "true", test=test, seed=seed, policy="keep")
            for (name, found), run in zip(figures.items(), ("alone", "both", ""), strict=True):
                f1 = found_errors(folder / "survey", folder / run / "run") if run else ""
                rates = found["fpr_at_tpr90"], found["fpr_at_tpr95"], 1 - found["auc"]
                rows.append([f"{rate:g}", seed, name, f1, *(f"{value:.5f}" for value in rates)])
    print("\n| wrong labels | seed | survey | F1 of suspects | at 0.9 | at 0.95 | 1 - AUC |")
    print("|---|---|---|---|---|---|---|")
    for row in rows:
        print(f"| {' | '.join(map(str, row))} |")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
