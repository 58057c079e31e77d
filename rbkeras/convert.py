"""`python -m rbkeras.convert`: survey directory to records."""

import argparse
from collections.abc import Sequence

from rbkeras.cli import load_tensorflow, run_command

_EXAMPLES = """\
examples:
  python -m rbkeras.convert data/raw/real_bogus1 data/processed/real_bogus1
  python -m rbkeras.convert SURVEY RECORDS --labels asteroid=1 variable=1 junk=0
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; see `--help`."""
    parser = argparse.ArgumentParser(
        prog="rbkeras convert",
        description="Convert a survey directory (images<ID>.npy, params<ID>.csv) to TFRecords.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("survey", help="survey directory")
    parser.add_argument("records", help="records directory to write")
    parser.add_argument(
        "--labels",
        nargs="+",
        default=[],
        metavar="NAME=VALUE",
        help="what names in object_type mean: 1 real, 0 bogus, -1 unlabelled",
    )
    parser.add_argument("--compress", action="store_true", help="write GZIP (smaller, slower)")
    parser.add_argument("--overwrite", action="store_true", help="replace records of another kind")
    arguments = parser.parse_args(argv)

    def work() -> None:
        from rbkeras.data.labels import parse_labels
        from rbkeras.data.survey import find_detectors

        labels = parse_labels(arguments.labels)
        # TensorFlow takes seconds to load; a wrong path should not have to wait for it.
        find_detectors(arguments.survey)
        load_tensorflow()
        from rbkeras.data.write_records import convert_survey

        convert_survey(
            arguments.survey,
            arguments.records,
            labels=labels,
            compress=arguments.compress,
            overwrite=arguments.overwrite,
        )

    return run_command(work)


if __name__ == "__main__":
    raise SystemExit(main())
