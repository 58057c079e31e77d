"""Stamps per second of converting a survey to records, ours and the original's way.

Each repeat's records are removed before the next, which so writes into memory that the system has
at hand. In a virtual machine memory that was never used costs more than all the work, see
docs/benchmarks.md; `--keep` measures with it.
"""

import argparse
import itertools
import shutil
from pathlib import Path

from measure import Side, Work, compare, print_comparison, temporary_folder, write_results
from surveys import write_random_survey


def ours(survey: Path, out: Path) -> Work:
    from rbkeras.data.records import open_records
    from rbkeras.data.write_records import convert_survey

    counter = itertools.count()

    def work() -> int:
        # A new folder each time: a finished conversion would not be done again.
        records = out / str(next(counter))
        convert_survey(survey, records, progress=False)
        return len(open_records(records))

    return work


def original(survey: Path, out: Path) -> Work:
    import original_way

    counter = itertools.count()
    return lambda: original_way.convert(survey, out / str(next(counter)))


def remove_records(survey: Path, out: Path) -> None:
    shutil.rmtree(out, ignore_errors=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--detectors", type=int, default=4, help="(default: %(default)s)")
    parser.add_argument(
        "--per_detector", type=int, default=1500, help="stamps of each (default: %(default)s)"
    )
    parser.add_argument(
        "--original_per_detector",
        type=int,
        default=250,
        help="stamps of each for the original's way, which is slow (default: %(default)s)",
    )
    parser.add_argument("--repeats", type=int, default=5, help="(default: %(default)s)")
    parser.add_argument(
        "--keep",
        action="store_true",
        help="keep every repeat's records until the end, so that none finds memory given back",
    )
    parser.add_argument("--work", type=Path, help="folder for temporary files")
    parser.add_argument("--json", type=Path, metavar="FILE", help="store the results")
    arguments = parser.parse_args()
    with temporary_folder(arguments.work) as folder:
        sides = []
        for side, make, stamps in (
            ("ours", ours, arguments.per_detector),
            ("original's way", original, arguments.original_per_detector),
        ):
            survey = write_random_survey(
                folder / make.__name__ / "survey",
                detectors=arguments.detectors,
                per_detector=stamps,
            )
            out = folder / make.__name__ / "out"
            before_each = None if arguments.keep else remove_records
            sides.append(Side(side, make, {"survey": survey, "out": out}, before_each=before_each))
        mine, theirs = compare(sides, arguments.repeats)
    print_comparison([("conversion", mine, theirs)], "stamps/s")
    write_results(arguments.json, vars(arguments), [mine, theirs])


if __name__ == "__main__":
    main()
