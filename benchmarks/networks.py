"""False positive rate and scoring rate of several networks, trained on the same simulated survey.

A network that scores faster is no gain where it lets more bogus through. Stage 1 is done once, with
the first network; stage 2 with each, on the same suspects, by default settings. Then all of them
score by turns, beside eager calls of the last network, the original's way. Called again, it trains
nothing twice.
"""

from pathlib import Path

from commands import FIGURES, call, figures, make_parser, read_metrics
from measure import Side, compare, machine, print_table
from scoring import calling, scoring

from rbkeras import convert, export, fit, simulate

EXAMPLES = """\
examples:
  python benchmarks/networks.py --work networks
  python benchmarks/networks.py --work networks --networks compact residual complex --seed 22
"""
STAMPS = 2048
BATCH_SIZE = 512


def make_survey(folder: Path, *, seed: int) -> None:
    options = {"seed": seed, "test_real": 5000, "test_bogus": 50000}
    call(simulate, [folder / "survey"], options)
    call(convert, [folder / "survey" / "raw", folder / "records"], {})
    (folder / "made").touch()


def train(folder: Path, network: str, *, seed: int, table: Path | None) -> Path:
    """Train, unless that is done; return the run directory."""
    test = folder / "survey" / "test"
    out = folder / network
    options = {
        "data": folder / "records",
        "out": out,
        "test_real": test / "real.npy",
        "test_bogus": test / "bogus.npy",
        "seed": seed,
        "model.network": network,
    }
    call(fit, [], options | ({} if table is None else {"label_errors.table": table}))
    if not (out / "exported" / "model.onnx").exists():
        call(export, [out, "--formats", "onnx"], {})
    return out


def main() -> int:
    from rbkeras.cli import load_tensorflow

    parser = make_parser(__doc__, EXAMPLES)
    parser.add_argument("--seed", type=int, default=21, help="of the survey (default: 21)")
    parser.add_argument("--networks", nargs="+", default=["compact", "complex"], metavar="N")
    parser.add_argument("--engine", default="onnx", choices=("keras", "onnx"), help="(onnx)")
    parser.add_argument("--repeats", type=int, default=5, help="(default: %(default)s)")
    arguments = parser.parse_args()
    load_tensorflow()
    print(machine())
    folder = arguments.work / f"seed{arguments.seed}"
    if not (folder / "made").exists():
        make_survey(folder, seed=arguments.seed)
    runs: dict[str, Path] = {}
    for network in arguments.networks:
        # All but the first take its suspects.
        first = runs.get(arguments.networks[0])
        table = first / "label_errors.csv" if first else None
        runs[network] = train(folder, network, seed=arguments.seed, table=table)

    size = {"batch_size": BATCH_SIZE, "threads": None, "stamps": STAMPS}
    sides = [
        Side(
            network,
            scoring,
            {"path": run, "engine": arguments.engine, **size},
            tensorflow=arguments.engine == "keras",
        )
        for network, run in runs.items()
    ]
    last = list(runs)[-1]
    sides.append(Side(f"eager calls of {last}", calling, {"path": runs[last], **size}))
    measured = compare(sides, repeats=arguments.repeats)
    rows: list[tuple[str, ...]]
    rows = [("", *FIGURES, "stamps/s", "ratio", "peak MiB")]
    for m in measured:
        trained = m.name in runs
        cells = figures(read_metrics(runs[m.name] / "evaluation")) if trained else ["", "", ""]
        rate = f"{m.rate:,.0f}", f"{m.rate / measured[-1].rate:.2f}", f"{m.peak_mib:,.0f}"
        rows.append((m.name, *cells, *rate))
    print_table(rows)
    print("second look included in the rates of false positives, and not in stamps/s")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
