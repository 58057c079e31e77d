"""What it is worth that the rarer class comes more often, where one class has few stamps.

Surveys of 6,000 simulated stamps, all labels right, are made for each fraction of reals; stage 2
alone is trained with several shares of the rarer class in each batch. Called again, it trains
nothing twice.
"""

from pathlib import Path
from typing import Any

from commands import FIGURES, call, figures, make_parser, print_markdown, read_metrics
from measure import machine

from rbkeras import convert, fit, simulate

EXAMPLES = """\
examples:
  python benchmarks/rare_class.py --work rare --real_fractions 0.1 0.9 --seeds 71 72
"""


def make_survey(folder: Path, *, seed: int, real_fraction: float) -> None:
    options = {"seed": seed, "label_error": 0, "real_fraction": real_fraction}
    options |= {"test_real": 5000, "test_bogus": 50000}
    call(simulate, [folder / "survey"], options)
    call(convert, [folder / "survey" / "raw", folder / "records"], {})
    (folder / "made").touch()


def train(folder: Path, share: float, *, seed: int) -> dict[str, dict[str, float]]:
    """Train, unless that is done, and return the figures of first scores and of second ones."""
    test = folder / "survey" / "test"
    options = {
        "data": folder / "records",
        "out": folder / f"share-{share:g}",
        "test_real": test / "real.npy",
        "test_bogus": test / "bogus.npy",
        "seed": seed,
        "policy": "keep",
        "training.minority_share": share,
    }
    found = {}
    # The network is trained once; the second look is measured without training.
    for name, second_look in (("once", 0), ("second look", 0.98)):
        call(fit, [], options | {"decision.second_look": second_look})
        found[name] = read_metrics(folder / f"share-{share:g}" / "evaluation")
    return found


def main() -> int:
    parser = make_parser(__doc__, EXAMPLES)
    parser.add_argument("--seeds", type=int, nargs="+", default=[71, 72], help="(default: 71 72)")
    parser.add_argument(
        "--real_fractions", type=float, nargs="+", default=[0.1, 0.9], help="(default: 0.1 0.9)"
    )
    parser.add_argument(
        "--shares", type=float, nargs="+", default=[0, 0.25, 0.5], help="(default: 0 0.25 0.5)"
    )
    arguments = parser.parse_args()
    print(machine())
    rows: list[list[Any]] = []
    for fraction in arguments.real_fractions:
        for seed in arguments.seeds:
            folder = arguments.work / f"{fraction:g}-seed{seed}"
            if not (folder / "made").exists():
                make_survey(folder, seed=seed, real_fraction=fraction)
            for share in arguments.shares:
                for name, found in train(folder, share, seed=seed).items():
                    rows.append([f"{fraction:g}", seed, f"{share:g}", name, *figures(found)])
    print_markdown(["reals", "seed", "share", "scored", *FIGURES], rows)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
