"""Peak memory of an epoch of training on a small and on a large survey, nine tenths of it.

Memory shall not grow with the data. The network matters little to that, so a fast one is the
default; `--network compact --vat 1` is what stage 2 does.
"""

import argparse
from pathlib import Path

from measure import Side, compare, print_table, temporary_folder, write_results
from surveys import write_random_survey
from training_step import epochs_of


def main() -> None:
    from rbkeras.cli import load_tensorflow

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--stamps", type=int, nargs=2, default=[20_000, 200_000], help="(default: 20000 200000)"
    )
    parser.add_argument("--network", default="simple", help="(default: %(default)s)")
    parser.add_argument("--vat", type=float, default=0.0, help="weight of VAT (default: 0)")
    parser.add_argument("--batch_size", type=int, default=256, help="(default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=1, help="epochs (default: %(default)s)")
    parser.add_argument("--work", type=Path, help="folder for temporary files, some 4 GB of them")
    parser.add_argument("--json", type=Path, metavar="FILE", help="store the results")
    arguments = parser.parse_args()
    load_tensorflow()
    from rbkeras.data.write_records import convert_survey

    settings = {"precision": "float32", "jit_compile": False, "vat_share": 1.0}
    settings |= {key: getattr(arguments, key) for key in ("network", "vat", "batch_size")}
    with temporary_folder(arguments.work) as below:
        sides = []
        for stamps in arguments.stamps:
            folder = below / str(stamps)
            survey = write_random_survey(folder / "survey", detectors=8, per_detector=stamps // 8)
            convert_survey(survey, folder / "records", progress=False)
            count = stamps // 8 * 8
            work = {
                "folder": folder,
                "training": count * 9 // 10,
                "settings": settings | {"stamps": count},
                "original": False,
            }
            sides.append(Side(f"{stamps:,} stamps", epochs_of, work))
        measurements = compare(sides, arguments.repeats, warm_up=0)
    rows = [("", "stamps/s", "peak MiB", "of it TensorFlow")]
    for one in measurements:
        row = (one.name, f"{one.rate:,.0f}", f"{one.peak_mib:,.0f}", f"{one.import_mib:,.0f}")
        rows.append(row)
    print_table(rows)
    small, large = measurements
    print(f"ratio of the peaks: {large.peak_mib / small.peak_mib:.3f}")
    write_results(arguments.json, vars(arguments), measurements)


if __name__ == "__main__":
    main()
