"""Stamps per second of reading four fifths of the samples, shuffled and in batches.

That is what a fold of stage 1 reads in an epoch. Ours reads our records and the original's own
files; the original's way reads its own files.
"""

import argparse
from pathlib import Path

import numpy as np
from measure import Side, Work, compare, print_comparison, temporary_folder, write_results
from surveys import write_random_survey


def selection(samples: int) -> np.ndarray:
    """Four fifths of the unique indices, drawn at random."""
    return np.sort(np.random.default_rng(0).permutation(samples)[: samples * 4 // 5])


def ours(directory: Path, batch_size: int, shuffle_buffer: int) -> Work:
    from rbkeras.data.labels import SKIP
    from rbkeras.data.pipeline import stamp_dataset
    from rbkeras.data.records import open_records

    records = open_records(directory)
    chosen = selection(len(records))
    targets = np.full(len(records), SKIP, np.int8)
    targets[chosen] = records.samples["label"].to_numpy()[chosen]
    dataset = stamp_dataset(
        records, targets, batch_size=batch_size, shuffle_buffer=shuffle_buffer, seed=0
    )
    return lambda: sum(len(labels) for _, labels in dataset)


def original(
    directory: Path, samples: int, batch_size: int, shuffle_buffer: int, parallel_calls: int | None
) -> Work:
    import original_way

    dataset = original_way.stamp_dataset(
        directory,
        selection(samples),
        stamp_shape=(29, 29, 3),
        batch_size=batch_size,
        shuffle_buffer=shuffle_buffer,
        parallel_calls=parallel_calls,
    )
    return lambda: sum(len(labels) for _, labels in dataset)


def make_sides(folder: Path, arguments: argparse.Namespace) -> list[Side]:
    """Write both kinds of records of one survey, and say who reads which."""
    import original_way

    from rbkeras.data.write_records import convert_survey

    survey = write_random_survey(
        folder / "survey", detectors=arguments.detectors, per_detector=arguments.per_detector
    )
    convert_survey(survey, folder / "ours", progress=False)
    samples = original_way.convert(survey, folder / "original")
    common = {"batch_size": arguments.batch_size, "shuffle_buffer": arguments.shuffle_buffer}
    return [
        Side("ours on our records", ours, {"directory": folder / "ours", **common}),
        Side("ours on the original's files", ours, {"directory": folder / "original", **common}),
        Side(
            "original's way on its own files",
            original,
            {
                "directory": folder / "original",
                "samples": samples,
                "parallel_calls": arguments.original_parallel_calls,
                **common,
            },
        ),
    ]


def main() -> None:
    from rbkeras.cli import load_tensorflow

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--detectors", type=int, default=4, help="(default: %(default)s)")
    parser.add_argument(
        "--per_detector", type=int, default=1500, help="stamps of each (default: %(default)s)"
    )
    parser.add_argument("--batch_size", type=int, default=64, help="(default: %(default)s)")
    parser.add_argument("--shuffle_buffer", type=int, default=8192, help="(default: %(default)s)")
    parser.add_argument(
        "--original_parallel_calls",
        type=int,
        metavar="N",
        help="parse N records at a time in the original's way (default: one)",
    )
    parser.add_argument("--repeats", type=int, default=5, help="(default: %(default)s)")
    parser.add_argument("--work", type=Path, help="folder for temporary files")
    parser.add_argument("--json", type=Path, metavar="FILE", help="store the results")
    arguments = parser.parse_args()
    load_tensorflow()
    with temporary_folder(arguments.work) as work:
        measurements = compare(make_sides(work, arguments), arguments.repeats)
    counts = {measurement.stamps for measurement in measurements}
    if len(counts) > 1:
        raise SystemExit(f"expected the same number of stamps from all sides, found {counts}")
    own, theirs, reference = measurements
    rows = [("our records", own, reference), ("the original's files", theirs, reference)]
    print_comparison(rows, "stamps/s")
    write_results(arguments.json, vars(arguments), measurements)


if __name__ == "__main__":
    main()
