"""What unlabelled stamps are worth where few have a label and many have none.

Of each simulated survey a number of labels is kept, as many for every detector and kind of object,
all of them right; the others are taken away. Stage 2 alone is trained, with and without the stamps
that have lost theirs, and tested on first scores. Called again, it trains nothing twice.
"""

from pathlib import Path

import numpy as np
import pandas as pd
from commands import FIGURES, call, figures, make_parser, print_markdown, read_metrics
from measure import machine

from rbkeras import convert, fit, simulate

EXAMPLES = """\
examples:
  python benchmarks/few_labels.py --work few --seeds 51 52
  python benchmarks/few_labels.py --work few --labels 200 --sides "labelled alone" "half labelled"
"""

WITHOUT = ("--loss.lambda_vat", "0")
AS_THEY_COME = ("--training.labelled_share", "0")
WHOLE = ("--loss.vat_share", "1")
#: Which records, and flags of fit.
SIDES = {
    "labelled alone": ("labelled", WITHOUT),
    "labelled alone, as long": ("labelled", (*WITHOUT, "--training.min_steps", "2550")),
    "as they come, without VAT": ("all", (*AS_THEY_COME, *WITHOUT)),
    "as they come": ("all", AS_THEY_COME),
    "as they come, VAT on whole batches": ("all", (*AS_THEY_COME, *WHOLE)),
    "half labelled, without VAT": ("all", WITHOUT),
    "half labelled": ("all", ()),
    "half labelled, VAT on the other half": ("all", ("--loss.vat_share", "0.5")),
    "a quarter labelled": ("all", ("--training.labelled_share", "0.25")),
    "three quarters labelled": ("all", ("--training.labelled_share", "0.75")),
}


def make_survey(folder: Path, *, seed: int, labels: int) -> None:
    """Simulate a survey, and convert it with few labels and once more without the rest of it."""
    survey = folder / "survey"
    options = {"seed": seed, "label_error": 0, "test_real": 5000, "test_bogus": 50000}
    call(simulate, [survey], options)
    rng = np.random.default_rng(seed)
    tables = sorted((survey / "raw").glob("params*.csv"))
    for name in ("all", "labelled"):
        (folder / f"raw-{name}").mkdir(parents=True, exist_ok=True)
    for path in tables:
        images = path.with_name(path.name.replace("params", "images")).with_suffix(".npy")
        table, stamps = pd.read_csv(path), np.load(images, mmap_mode="r")
        order = table.assign(draw=rng.random(len(table))).groupby("object_type")["draw"].rank()
        share = labels / len(tables) / len(table)
        known = order <= table.groupby("object_type")["object_type"].transform("size") * share
        few = table.assign(object_type=table["object_type"].where(known, "unlabelled"))
        for name, chosen in (("all", np.ones(len(table), bool)), ("labelled", known.to_numpy())):
            few[chosen].to_csv(folder / f"raw-{name}" / path.name, index=False)
            np.save(folder / f"raw-{name}" / images.name, stamps[chosen])
    for name in ("all", "labelled"):
        call(convert, [folder / f"raw-{name}", folder / f"records-{name}"], {})
    (folder / "made").touch()


def train(folder: Path, side: str, *, seed: int) -> dict[str, float]:
    """Train one side, unless that is done, and return its figures."""
    records, flags = SIDES[side]
    run, test = folder / side.replace(" ", "-").replace(",", ""), folder / "survey" / "test"
    options = {
        "data": folder / f"records-{records}",
        "out": run,
        "test_real": test / "real.npy",
        "test_bogus": test / "bogus.npy",
        "seed": seed,
        "policy": "keep",
        "decision.second_look": 0,
    }
    call(fit, flags, options)
    return read_metrics(run / "evaluation")


def main() -> int:
    parser = make_parser(__doc__, EXAMPLES)
    parser.add_argument("--seeds", type=int, nargs="+", default=[51, 52], help="(default: 51 52)")
    parser.add_argument("--labels", type=int, default=600, help="of 6,000 (default: 600)")
    parser.add_argument("--sides", nargs="+", choices=SIDES, default=list(SIDES), metavar="SIDE")
    arguments = parser.parse_args()
    print(machine())
    rows = []
    for seed in arguments.seeds:
        folder = arguments.work / f"{arguments.labels}-of-seed{seed}"
        if not (folder / "made").exists():
            make_survey(folder, seed=seed, labels=arguments.labels)
        for side in arguments.sides:
            found = train(folder, side, seed=seed)
            rows.append([side, seed, *figures(found)])
    rows.sort(key=lambda row: arguments.sides.index(row[0]))
    print_markdown(["stamps and loss", "seed", *FIGURES], rows)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
