"""`python -m rbkeras.check`: say what is wrong with a survey, records, alert packets or FITS."""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rbkeras.cli import add_labels, load_tensorflow, run_command, words_of
from rbkeras.errors import InputError

if TYPE_CHECKING:
    from rbkeras.data.checking import Report

_EXAMPLES = """\
examples:
  python -m rbkeras.check data/raw/real_bogus1
  python -m rbkeras.check data/processed/real_bogus1
  python -m rbkeras.check ALERTS
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; see `--help`."""
    parser = argparse.ArgumentParser(
        prog="rbkeras check",
        description="Read all of a survey directory (images<ID>.npy, params<ID>.csv), records "
        "directory, alert packets (*.avro) or FITS stamps (stamps.csv) and list every problem, a "
        "line each. Exit status 0 when there is none, else 2.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("path", type=Path, help="directory, Avro file, or table of FITS stamps")
    add_labels(parser, "what names in a survey's object_type")
    arguments = parser.parse_args(words_of(argv))
    path = arguments.path

    def work() -> None:
        from rbkeras.data.checking import check_records, check_survey
        from rbkeras.data.labels import parse_labels
        from rbkeras.data.records import is_records
        from rbkeras.data.survey import is_survey

        labels = parse_labels(arguments.labels)
        reports = {}
        if is_survey(path):
            reports["survey"] = check_survey(path, labels=labels)
        if is_records(path):
            load_tensorflow()
            reports["records"] = check_records(path)
        reports |= _foreign_reports(path, labels)
        if not reports:
            raise InputError(
                f"{path}: expected a survey or records directory, alert packets or FITS stamps, "
                f"found {'none of them' if path.exists() else 'nothing there'}"
            )
        problems = [text for report in reports.values() for text in report.problems]
        print("\n".join(problems), end="\n" if problems else "", flush=True)
        if problems:
            count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
            what = "file" if path.is_file() else "directory"
            raise InputError(f"{path}: expected a sound {what}, found {count}")
        for kind, report in reports.items():
            print(f"{path}: sound {kind}")
            for name, value in report.summary.items():
                print(f"  {name:<27} {value}")
            for remark in report.remarks():
                print(f"  note: {remark}")

    return run_command(work)


def _foreign_reports(path: Path, labels: Mapping[str, int]) -> "dict[str, Report]":
    from rbkeras.data.avro import is_alerts
    from rbkeras.data.checking_source import check_alerts, check_fits
    from rbkeras.data.fits_source import is_fits_table

    reports = {}
    if is_alerts(path):
        reports["alerts"] = check_alerts(path)
    if is_fits_table(path):
        reports["FITS stamps"] = check_fits(path, labels=labels)
    return reports


if __name__ == "__main__":
    raise SystemExit(main())
