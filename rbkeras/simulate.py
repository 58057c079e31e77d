"""Write a simulated survey: python -m rbkeras.simulate OUT."""

import argparse

from rbkeras.cli import run_command, words_of

EXAMPLES = """
examples:
  python -m rbkeras.simulate sim
  python -m rbkeras.simulate sim --detectors 16 --per-detector 5000 --label-error 0.1 --seed 7

OUT/raw is a survey directory whose labels are partly wrong, OUT/truth.csv has the right ones,
and OUT/test/real.npy and OUT/test/bogus.npy are a correctly labelled test set, with a table of
its stamps beside each (real.csv, bogus.csv).
"""


def main(argv: list[str] | None = None) -> int:
    """Run the command and return its exit status."""
    arguments = vars(_parser().parse_args(words_of(argv)))

    def work() -> None:
        from rbkeras.data.simulation import simulate_survey

        simulate_survey(**arguments)

    return run_command(work)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="rbkeras simulate",
        description="Write a simulated transient survey: stamps with known truth and label errors.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("out", metavar="OUT", help="folder to write, empty or absent")
    for name, default, text in (
        ("detectors", 4, "number of detectors"),
        ("per-detector", 1500, "stamps per detector"),
        ("label-error", 0.05, "fraction of either class with the wrong label, in [0, 0.5)"),
        ("real-fraction", 0.5, "fraction of reals among the stamps"),
        ("test-real", 1000, "reals in the test set"),
        ("test-bogus", 10000, "bogus in the test set"),
        ("size", 29, "side of a stamp in pixels"),
        ("seed", 0, "seed of everything"),
    ):
        parser.add_argument(
            # The second spelling is that of every other command.
            *dict.fromkeys((f"--{name}", f"--{name.replace('-', '_')}")),
            type=type(default),
            default=default,
            metavar="N" if isinstance(default, int) else "FRACTION",
            help=f"{text} (default: {default})",
        )
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier survey in OUT")
    parser.add_argument(
        "--no-progress", dest="progress", action="store_false", help="show no progress bar"
    )
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
