"""`python -m rbkeras.inject`: stamps whose labels are right, made of a survey's own ones."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from shlex import quote

from rbkeras.cli import add_labels, run_command, words_of

_DESCRIPTION = """\
Make reals and bogus whose labels are right. A point source, as each detector's own bright reals
show it, is added to the new image and to the difference of the detector's own stamps, away from
what was detected there; peaks of the noise in such places are bogus. Worth it where many labels
are wrong."""
_EXAMPLES = """\
examples:
  python -m rbkeras.inject SURVEY INJECTED
  python -m rbkeras.convert SURVEY INJECTED RECORDS
  python -m rbkeras.inject SURVEY INJECTED --count 5000 --label_errors RUN/label_errors.csv

  python -m rbkeras.convert ALERTS RECORDS --size 29 --labels_csv labels.csv
  python -m rbkeras.inject RECORDS INJECTED
  python -m rbkeras.convert RECORDS INJECTED NEW_RECORDS

INJECTED is a survey directory of the same detectors. Convert it together with the survey, or with
its records: a detector's injected stamps then follow its own.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; see `--help`."""
    parser = argparse.ArgumentParser(
        prog="rbkeras inject",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("survey", type=Path, metavar="SURVEY", help="survey directory, or records")
    parser.add_argument("out", type=Path, metavar="INJECTED", help="folder to write")
    parser.add_argument(
        "--count",
        type=int,
        metavar="N",
        help="stamps to make of either class (default: as many as are labelled real)",
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="(default: 0)")
    parser.add_argument(
        "--channels",
        type=int,
        nargs=3,
        default=[0, 1, 2],
        metavar=("NEW", "REFERENCE", "DIFFERENCE"),
        help="which channel is which, counted from 0 (default: 0 1 2)",
    )
    parser.add_argument(
        "--label_errors",
        type=Path,
        metavar="FILE",
        help="label_errors.csv of a run on the survey's records: suspects do not count as reals "
        "(default: wrong labels are told by their shape)",
    )
    add_labels(parser, "what names in object_type")
    parser.add_argument("--overwrite", action="store_true", help="replace earlier injected reals")
    parser.add_argument(
        "--no_progress", dest="progress", action="store_false", help="show no progress bar"
    )
    arguments = parser.parse_args(words_of(argv))

    def work() -> None:
        from rbkeras.data.injection import SUSPECT_COLUMNS, Channels, inject_survey
        from rbkeras.data.labels import parse_labels
        from rbkeras.tables import read_table

        named = arguments.label_errors
        found = inject_survey(
            arguments.survey,
            arguments.out,
            count=arguments.count,
            seed=arguments.seed,
            channels=Channels(*arguments.channels),
            suspects=None if named is None else read_table(named, SUSPECT_COLUMNS),
            labels=parse_labels(arguments.labels),
            overwrite=arguments.overwrite,
            progress=arguments.progress,
        )
        for number, sources in found.items():
            print(
                f"detector {number}: point sources of {sources.psf.fwhm:.2f} pixels (FWHM), from "
                f"{sources.used} reals"
            )
        folders = f"{quote(str(arguments.survey))} {quote(str(arguments.out))}"
        print(f"convert both: python -m rbkeras.convert {folders} NEW_RECORDS")

    return run_command(work)


if __name__ == "__main__":
    raise SystemExit(main())
