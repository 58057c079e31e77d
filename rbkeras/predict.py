"""`python -m rbkeras.predict`: score stamps with a trained model."""

import argparse
from collections.abc import Sequence

from rbkeras.cli import load_tensorflow, run_command

_EXAMPLES = """\
examples:
  python -m rbkeras.predict RUN/model.keras night1.npy night2.npy --out scores.csv
  python -m rbkeras.predict RUN RECORDS --out scores.parquet

The output has a row per stamp: source, sample_index, detector_id (of records), score (log-odds of
real) and probability_real.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; see `--help`."""
    parser = argparse.ArgumentParser(
        prog="rbkeras predict",
        description="Score stamps with a trained model.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("model", help="model.keras, or the run directory that holds it")
    parser.add_argument(
        "inputs", nargs="+", metavar="INPUT", help=".npy file (N, H, W, C) or records directory"
    )
    parser.add_argument("--out", required=True, help="scores.csv or scores.parquet")
    parser.add_argument("--batch_size", type=int, default=512, help="stamps at once (512)")
    arguments = parser.parse_args(argv)

    def work() -> None:
        load_tensorflow()
        from rbkeras.scoring import score_inputs

        score_inputs(
            arguments.model, arguments.inputs, out=arguments.out, batch_size=arguments.batch_size
        )

    return run_command(work)


if __name__ == "__main__":
    raise SystemExit(main())
