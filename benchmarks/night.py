"""Stamps per second and peak memory of scoring a short and a long night, files included."""

import argparse
import itertools
import shutil
from pathlib import Path

import numpy as np
from measure import Side, Work, compare, print_table, temporary_folder, write_results


def predict(model: Path, inputs: list[Path], out: Path, options: dict) -> Work:
    from rbkeras.scoring import score_inputs

    def work() -> int:
        skipped = score_inputs(model, inputs, out=out, progress=False, **options)
        if skipped:
            raise RuntimeError(skipped[0])
        return _rows(out)

    return work


def _rows(out: Path) -> int:
    if out.suffix == ".parquet":
        import pyarrow.parquet

        return pyarrow.parquet.read_metadata(out).num_rows
    with out.open("rb") as file:
        return sum(1 for _ in file) - 1


def write_model(path: Path, *, network: str) -> Path:
    """Save a network of random weights."""
    from rbkeras.cli import load_tensorflow

    load_tensorflow()
    from rbkeras.models.classifier import build_classifier

    build_classifier((29, 29, 3), network=network).save(path)
    return path


def copy_alerts(folder: Path, *, stamps: int, packets: Path) -> list[Path]:
    """Copy alert packets, by turns, until there are so many."""
    folder.mkdir()
    ours = itertools.cycle(sorted(packets.glob("*.avro")))
    for number, packet in zip(range(stamps), ours, strict=False):
        shutil.copyfile(packet, folder / f"{number:07d}.avro")
    return [folder]


def write_night(folder: Path, *, stamps: int, per_file: int, records: bool) -> list[Path]:
    """Write stamps of noise as `.npy` files, or convert them to one records directory."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    files: list[Path] = []
    for first in range(0, stamps, per_file):
        count = min(per_file, stamps - first)
        files.append(folder / f"images{len(files)}.npy")
        noise = rng.standard_normal((count, 29, 29, 3), dtype=np.float32)
        np.save(files[-1], 100 + 15 * noise)
        if records:
            table = "object_type\n" + "unlabelled\n" * count
            files[-1].with_name(f"params{len(files) - 1}.csv").write_text(table)
    if not records:
        return files
    from rbkeras.data.write_records import convert_survey

    convert_survey(folder, folder / "records", progress=False)
    for file in files:
        file.unlink()
    return [folder / "records"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--stamps", type=int, nargs="+", default=[20_000, 200_000], help="(default: %(default)s)"
    )
    parser.add_argument("--per_file", type=int, default=10_000, help="(default: %(default)s)")
    parser.add_argument("--records", action="store_true", help="a records directory, not .npy")
    parser.add_argument(
        "--alerts",
        type=Path,
        metavar="FOLDER",
        help="copies of the alert packets there, a file for each stamp, not .npy",
    )
    parser.add_argument(
        "--dask", nargs="+", metavar="WHO", default=[None], help="each of these, such as local:2"
    )
    parser.add_argument("--network", default="compact", help="(default: %(default)s)")
    parser.add_argument(
        "--model", type=Path, help="of stamps 29 x 29 x 3 (a network of random weights)"
    )
    parser.add_argument("--engine", default="keras", help="(default: %(default)s)")
    parser.add_argument("--threads", type=int, help="(the engine's choice)")
    parser.add_argument("--batch_size", type=int, default=512, help="(default: %(default)s)")
    parser.add_argument("--ending", choices=(".csv", ".parquet"), default=".csv")
    parser.add_argument("--repeats", type=int, default=5, help="(default: %(default)s)")
    parser.add_argument("--warm_up", type=int, default=1, help="(default: %(default)s)")
    parser.add_argument("--work", type=Path, help="folder for temporary files")
    parser.add_argument("--json", type=Path, metavar="FILE", help="store the results")
    arguments = parser.parse_args()
    options = {name: getattr(arguments, name) for name in ("engine", "threads", "batch_size")}
    with temporary_folder(arguments.work) as folder:
        model = arguments.model or write_model(folder / "model.keras", network=arguments.network)
        sides = []
        for stamps in arguments.stamps:
            night = folder / str(stamps)
            if arguments.alerts is not None:
                inputs = copy_alerts(night, stamps=stamps, packets=arguments.alerts)
            else:
                shape = {"per_file": arguments.per_file, "records": arguments.records}
                inputs = write_night(night, stamps=stamps, **shape)
            for dask in arguments.dask:
                name = f"{stamps:,}" + (f" {dask}" if dask else "")
                out = folder / f"{name}{arguments.ending}"
                made = {"model": model, "inputs": inputs, "out": out}
                sides.append(Side(name, predict, made | {"options": options | {"dask": dask}}))
        measurements = compare(sides, arguments.repeats, warm_up=arguments.warm_up)
    header = ("stamps", "stamps/s", "peak MiB", "of it before MiB")
    body = [
        (m.name, f"{m.rate:,.0f}", f"{m.peak_mib:,.0f}", f"{m.import_mib:,.0f}")
        for m in measurements
    ]
    print_table([header, *body])
    first, last = measurements[0], measurements[-1]
    print(
        f"{last.name} against {first.name}: {last.rate / first.rate:.2f} times the rate, "
        f"{last.peak_mib / first.peak_mib:.2f} times the memory"
    )
    write_results(arguments.json, vars(arguments), measurements)


if __name__ == "__main__":
    main()
