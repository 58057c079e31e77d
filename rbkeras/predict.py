"""`python -m rbkeras.predict`: score stamps with a trained model, and decide on them."""

import argparse
import sys
from collections.abc import Sequence

from rbkeras.cli import continues, load_tensorflow, run_command, words_of
from rbkeras.distribution import check_dask

_EXAMPLES = """\
examples:
  python -m rbkeras.predict RUN/model.keras night1.npy night2.npy --out scores.csv
  python -m rbkeras.predict RUN RECORDS --out scores.parquet
  python -m rbkeras.predict RUN night*.npy --out scores.csv --prevalence 1e-5 --skip_bad
  python -m rbkeras.predict RUN ALERTS --out scores.csv --skip_bad
  python -m rbkeras.predict RUN archive/*.npy --out scores.parquet --dask scheduler.json

The output has a row per stamp: source, what tells stamps apart (sample_index, detector_id of
records, alert_id of packets and more), score (log-odds of real), probability_real (calibrated) and
decision (1 real, 0 bogus). Exit status 1 with --skip_bad means that files were left out, or packets
have no score (column fault); they are named on stderr, and all others are in the output.

Memory stays the same however many stamps there are. Finished rows are kept beside the output, in
OUT.parts, until it is whole: the same command goes on where an earlier one was stopped.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; see `--help`."""
    arguments = vars(_parser().parse_args(words_of(argv)))

    def work() -> int:
        check_dask(arguments["dask"])
        from rbkeras.engines import model_file

        # The other engines do without it, and start much faster for it.
        _, engine = model_file(arguments["model"], arguments["engine"], check_origin=False)
        if engine == "keras":
            load_tensorflow()
        from rbkeras.scoring import score_inputs

        skipped = score_inputs(arguments.pop("model"), arguments.pop("inputs"), **arguments)
        for sentence in skipped:
            print(f"skipped: {sentence}", file=sys.stderr)
        return 1 if skipped else 0

    return run_command(work, interrupted=continues(overwrite=arguments["overwrite"]))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="rbkeras predict",
        description="Score stamps with a trained model, and decide which are real.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "model", help="run directory, its model.keras, or an exported .onnx or .tflite file"
    )
    parser.add_argument(
        "inputs",
        nargs="+",
        metavar="INPUT",
        help=".npy file (N, H, W, C) or a folder of some, records directory, file or folder of "
        "alert packets, or table of FITS stamps, or its folder",
    )
    parser.add_argument("--out", required=True, help="scores.csv or scores.parquet")
    parser.add_argument(
        "--engine",
        choices=("keras", "onnx", "litert"),
        default="keras",
        help="what runs the network",
    )
    parser.add_argument(
        "--threads",
        type=int,
        metavar="N",
        help="most threads to compute with (the engine's choice)",
    )
    parser.add_argument("--batch_size", type=int, default=512, help="stamps at once (512)")
    parser.add_argument(
        "--prevalence",
        type=float,
        metavar="P",
        help="fraction of reals among these stamps, for probability_real (the model's own)",
    )
    parser.add_argument(
        "--threshold", type=float, metavar="S", help="score from which on a stamp is called real"
    )
    parser.add_argument(
        "--true_positive_rate",
        type=float,
        metavar="T",
        help="use the threshold that the model keeps for this rate, such as 0.95",
    )
    parser.add_argument(
        "--probability",
        type=float,
        metavar="P",
        help="call a stamp real from this calibrated probability on: with --prevalence 1e-5, 0.5 "
        "keeps what is more likely real than not",
    )
    parser.add_argument(
        "--once",
        action="store_true",
        help="score every stamp once; models ask for a second look, in every orientation, at those "
        "near or above the threshold",
    )
    parser.add_argument(
        "--skip_bad", action="store_true", help="score the others when an input is at fault"
    )
    parser.add_argument(
        "--overwrite",
        action="store_true",
        help="begin anew, whatever a stopped command has left, and replace whatever --out is",
    )
    parser.add_argument(
        "--dask",
        metavar="WHO",
        help="have the inputs scored on Dask: local:N workers here, a scheduler's address, or its "
        "file",
    )
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
