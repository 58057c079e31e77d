"""`python -m rbkeras.check`: say what is wrong with a survey or records directory."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from rbkeras.cli import load_tensorflow, run_command
from rbkeras.errors import InputError

_EXAMPLES = """\
examples:
  python -m rbkeras.check data/raw/real_bogus1
  python -m rbkeras.check data/processed/real_bogus1
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; see `--help`."""
    parser = argparse.ArgumentParser(
        prog="rbkeras check",
        description="Read all of a survey directory (images<ID>.npy, params<ID>.csv) or records "
        "directory and list every problem, a line each. Exit status 0 when there is none, else 2.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("path", type=Path, help="survey or records directory")
    parser.add_argument(
        "--labels",
        nargs="+",
        default=[],
        metavar="NAME=VALUE",
        help="what names in a survey's object_type mean: 1 real, 0 bogus, -1 unlabelled",
    )
    arguments = parser.parse_args(argv)
    path = arguments.path

    def work() -> None:
        from rbkeras.data.checking import check_records, check_survey, is_records, is_survey
        from rbkeras.data.labels import parse_labels

        labels = parse_labels(arguments.labels)
        reports = {}
        if is_survey(path):
            reports["survey"] = check_survey(path, labels=labels)
        if is_records(path):
            load_tensorflow()
            reports["records"] = check_records(path)
        if not reports:
            raise InputError(f"{path}: expected a survey or records directory, found neither")
        problems = [text for report in reports.values() for text in report.problems]
        print("\n".join(problems), end="\n" if problems else "", flush=True)
        if problems:
            count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
            raise InputError(f"{path}: expected a sound directory, found {count}")
        for kind, report in reports.items():
            print(f"{path}: sound {kind}")
            for name, value in report.summary.items():
                print(f"  {name:<27} {value}")

    return run_command(work)


if __name__ == "__main__":
    raise SystemExit(main())
