"""Memory of a sweep's process after 2 and after 20 trials, in one process or with one for each."""

import argparse
import multiprocessing
import tempfile
from pathlib import Path

from measure import print_table, resident_mib
from surveys import write_random_survey


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=20, help="(default: %(default)s)")
    parser.add_argument("--stamps", type=int, default=600, help="(default: %(default)s)")
    arguments = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        _make_records(work, arguments.stamps)
        for way, flags in {
            "a process per trial": [],
            "one process": ["--process_per_trial", "false"],
        }.items():
            context = multiprocessing.get_context("spawn")
            with context.Pool(1) as pool:
                first, last = pool.apply(_sweep, (work, way, flags, arguments.trials))
            print(f"{way}: {first:,.0f} MiB after 2, {last:,.0f} MiB after {arguments.trials}")
            rows.append((way, f"{first:,.0f}", f"{last:,.0f}", f"{last / first:.2f}"))
    print_table([("", "MiB after 2", f"MiB after {arguments.trials}", "ratio"), *rows])


def _make_records(work: Path, stamps: int) -> None:
    from rbkeras.data.write_records import convert_survey

    survey = write_random_survey(work / "survey", detectors=2, per_detector=stamps // 2)
    convert_survey(survey, work / "records", progress=False)


def _sweep(work: Path, way: str, flags: list[str], trials: int) -> tuple[float, float]:
    """Search in this process, first two trials, then the others; return the memory after each."""
    from tuning import search

    found = []
    for count in (2, trials):
        status = search.main(
            [
                *("--data", str(work / "records"), "--out", str(work / way)),
                *("--space", "architecture", "--tuner", "random", "--seed", "0"),
                # A network of many times the size would take its memory for itself.
                *("--max_multiply_adds", "2e7"),
                *("--policy", "keep", "--epochs", "1", "--max_trials", str(count), *flags),
            ]
        )
        if status:
            raise RuntimeError(f"the sweep ended with status {status}")
        found.append(resident_mib())
    return found[0], found[1]


if __name__ == "__main__":
    main()
