"""`python -m rbkeras.export`: a trained model as SavedModel, ONNX or LiteRT."""

import argparse
from collections.abc import Sequence

from rbkeras.cli import load_tensorflow, run_command, words_of
from rbkeras.model_file import trained_model

_EXAMPLES = """\
examples:
  python -m rbkeras.export RUN
  python -m rbkeras.export RUN --formats onnx
  python -m rbkeras.export RUN/model.keras --out EXPORTED --formats litert int8 \\
      --test_real real.npy --test_bogus bogus.npy --calibration RECORDS

Formats, and what they become in the output folder:
  saved_model   saved_model/1       for TensorFlow Serving
  onnx          model.onnx          for ONNX Runtime; needs pip install 'rbkeras[onnx]'
  litert        model.tflite        for LiteRT; needs pip install 'rbkeras[litert]'
  int8          model_int8.tflite   the same with 8-bit convolutions
  onnx_int8     model_int8.onnx     ONNX with 8-bit convolutions

Each takes raw stamps, NaN allowed, and gives logits, score and calibrated probability; threshold,
calibration, labels and stamp shape are inside. A file gets its name once its scores agree with
Keras's. How well they did is printed, and kept in export.json.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; see `--help`."""
    parser = argparse.ArgumentParser(
        prog="rbkeras export",
        description="Write a trained model in formats that run without rbkeras.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("model", help="model.keras, or the run directory that holds it")
    parser.add_argument(
        "--formats",
        nargs="+",
        default=["saved_model", "onnx", "litert"],
        metavar="FORMAT",
        help="saved_model, onnx, litert, int8, onnx_int8 (those without int8)",
    )
    parser.add_argument("--out", metavar="FOLDER", help="where to (exported, beside the model)")
    parser.add_argument("--test_real", metavar="FILE", help="real stamps to compare on, .npy")
    parser.add_argument(
        "--test_bogus",
        metavar="FILE",
        help="bogus stamps to compare on, .npy (the run's own test set or records; else simulated)",
    )
    parser.add_argument(
        "--calibration",
        metavar="PATH",
        help=".npy file or records directory that int8 takes its ranges from (the run's records)",
    )
    arguments = vars(parser.parse_args(words_of(argv)))

    def work() -> None:
        # Found missing before TensorFlow is loaded.
        trained_model(arguments["model"])
        load_tensorflow()
        from rbkeras.exporting.job import export_model

        export_model(arguments.pop("model"), **arguments)

    return run_command(work)


if __name__ == "__main__":
    raise SystemExit(main())
