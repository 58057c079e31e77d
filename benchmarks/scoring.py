"""Stamps per second of each engine, beside eager calls of the Keras model."""

import argparse
from pathlib import Path
from typing import Any

from exported import random_stamps, write_exported
from measure import Measurement, Side, Work, compare, print_table, temporary_folder, write_results

ENGINES = ("keras", "onnx", "litert", "int8", "onnx_int8")
# Engines that a file asks for by its ending.
FILES = {"int8": "model_int8.tflite", "onnx_int8": "model_int8.onnx"}
REFERENCE = "eager calls"


def scoring(path: Path, engine: Any, batch_size: int, threads: int | None, stamps: int) -> Work:
    """Prepare an engine; each call of the work scores all stamps, batch by batch."""
    from rbkeras.engines import load_engine

    if engine in FILES:
        loaded = load_engine(path / "exported" / FILES[engine], threads=threads)
    else:
        loaded = load_engine(path, engine=engine, threads=threads)
    batches = _batches(stamps, batch_size)

    def work() -> int:
        for batch in batches:
            loaded.logits(batch)
        return stamps

    return work


def calling(path: Path, batch_size: int, threads: int | None, stamps: int) -> Work:
    """Prepare the original's way: the Keras model called batch by batch, nothing traced."""
    import tensorflow as tf

    if threads is not None:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
    from rbkeras.inference import load_classifier

    model = load_classifier(path)
    batches = _batches(stamps, batch_size)

    def work() -> int:
        for batch in batches:
            model(batch, training=False).numpy()
        return stamps

    return work


def _batches(stamps: int, batch_size: int) -> list:
    drawn = random_stamps(stamps)
    return [drawn[first : first + batch_size] for first in range(0, stamps, batch_size)]


def measure(
    path: Path,
    *,
    batch_size: int,
    threads: int | None,
    stamps: int,
    engines: list[str],
    repeats: int,
) -> list[Measurement]:
    """Measure the reference and the engines by turns."""
    size = {"batch_size": batch_size, "threads": threads, "path": path, "stamps": stamps}
    sides = [
        Side(engine, scoring, {"engine": engine, **size}, tensorflow=engine == "keras")
        for engine in engines
    ]
    return compare([Side(REFERENCE, calling, size), *sides], repeats=repeats)


def _rows(measured: list[Measurement]) -> list[tuple[str, ...]]:
    return [
        (m.name, f"{m.rate:,.0f}", f"{m.rate / measured[0].rate:.2f}", f"{m.peak_mib:,.0f}")
        for m in measured
    ]


def main() -> None:
    from rbkeras.cli import load_tensorflow

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", nargs="+", default=["compact", "complex"], metavar="N")
    parser.add_argument("--engines", nargs="+", default=list(ENGINES), choices=ENGINES)
    parser.add_argument("--batch_sizes", nargs="+", type=int, default=[1, 512], metavar="B")
    parser.add_argument(
        "--threads", nargs="+", type=int, default=[0], metavar="T", help="0 for all (default: 0)"
    )
    parser.add_argument(
        "--stamps", type=int, default=2048, help="at once, or fewer in small batches (2048)"
    )
    parser.add_argument("--repeats", type=int, default=5, help="(default: %(default)s)")
    parser.add_argument("--work", type=Path, help="folder for temporary files")
    parser.add_argument("--json", type=Path, metavar="FILE", help="store the results")
    arguments = parser.parse_args()
    load_tensorflow()
    everything = []
    with temporary_folder(arguments.work) as work:
        for network in arguments.networks:
            path = write_exported(work / network, network)
            for threads in arguments.threads:
                for batch_size in arguments.batch_sizes:
                    measured = measure(
                        path,
                        batch_size=batch_size,
                        threads=threads or None,
                        stamps=min(arguments.stamps, 200 * batch_size),
                        engines=arguments.engines,
                        repeats=arguments.repeats,
                    )
                    case = f"{network}, batches of {batch_size}, {threads or 'all'} threads"
                    print_table([(case, "stamps/s", "ratio", "peak MiB"), *_rows(measured)])
                    everything += [(case, m) for m in measured]
    print(f"ratio: to {REFERENCE} of the Keras model, in the same run")
    named = [
        Measurement(f"{case}, {m.name}", *list(vars(m).values())[1:]) for case, m in everything
    ]
    write_results(arguments.json, vars(arguments), named)


if __name__ == "__main__":
    main()
