"""Seconds of an epoch of stage 2, training and validation, beside the original's way.

Both sides have the same network, losses, optimizer and precision. The original's way reads its
own GZIP records one by one and lets every term of the loss ask the network itself.
"""

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, get_args

import numpy as np
from measure import (
    Measurement,
    Side,
    Work,
    compare,
    median,
    print_table,
    temporary_folder,
    write_results,
)
from surveys import write_random_survey

STAMP_SIZE = 29


def epochs_of(folder: Path, training: int, settings: dict[str, Any], original: bool) -> Work:
    """Prepare a compiled classifier; each call of the work is one epoch, validation included."""
    import keras

    from rbkeras.config import LossConfig, OptimizerConfig
    from rbkeras.losses import RealBogusLoss
    from rbkeras.models.classifier import build_classifier
    from rbkeras.training import compile_classifier, make_optimizer, set_seed

    set_seed(0)
    keras.mixed_precision.set_dtype_policy(settings["precision"])
    shape = (STAMP_SIZE, STAMP_SIZE, 3)
    model = build_classifier(shape, network=settings["network"])
    if original:
        from original_training import separate_passes

        model = separate_passes(model)
    loss = LossConfig(lambda_vat=settings["vat"], vat_share=settings["vat_share"])
    compile_classifier(
        model,
        # The schedule's length changes no duration; it only has to outlast the benchmark.
        optimizer=make_optimizer(total_steps=100_000, **asdict(OptimizerConfig())),
        loss=RealBogusLoss(**asdict(loss)),
        jit_compile=settings["jit_compile"],
    )
    stamps = settings["stamps"]
    in_training = np.random.default_rng(0).permutation(stamps) < training
    batches = _original_batches if original else _batches
    trained, validated = batches(folder, in_training, settings["batch_size"], shape)

    def work() -> int:
        # Called again, fit goes on with the compiled steps; nothing is traced anew.
        model.fit(trained, validation_data=validated, shuffle=False, verbose=0)
        return stamps

    return work


def _batches(folder: Path, in_training: np.ndarray, batch_size: int, shape: tuple) -> tuple:
    from rbkeras.config import TrainingConfig
    from rbkeras.data.labels import SKIP
    from rbkeras.data.pipeline import stamp_dataset
    from rbkeras.data.records import open_records

    records = open_records(folder / "records")
    labels = records.samples["label"].to_numpy(np.int8)
    own = TrainingConfig()
    trained = stamp_dataset(
        records,
        np.where(in_training, labels, SKIP),
        batch_size=batch_size,
        shuffle_buffer=own.shuffle_buffer,
        augment=own.augment,
    )
    return trained, stamp_dataset(records, np.where(in_training, SKIP, labels), batch_size=512)


def _original_batches(
    folder: Path, in_training: np.ndarray, batch_size: int, shape: tuple
) -> tuple:
    import original_way

    return tuple(
        original_way.stamp_dataset(
            folder / "original",
            np.flatnonzero(selected),
            stamp_shape=shape,
            batch_size=size,
            shuffle_buffer=int(in_training.sum()),
        )
        for selected, size in ((in_training, batch_size), (~in_training, 512))
    )


def report(measurements: Sequence[Measurement], training: int) -> None:
    """Print the median epoch of each side, and the ratio to the first."""
    first = median(measurements[0].seconds)
    rows = [("", "s/epoch", "ratio", "training stamps/s", "all stamps/s", "peak MiB")]
    for measurement in measurements:
        seconds = median(measurement.seconds)
        rows.append(
            (
                measurement.name,
                f"{seconds:.2f}",
                f"{seconds / first:.2f}",
                f"{training / seconds:,.0f}",
                f"{measurement.rate:,.0f}",
                f"{measurement.peak_mib:,.0f}",
            )
        )
    print_table(rows)
    print("all stamps: training and validation; both rates over the whole epoch's time")


def main() -> None:
    from rbkeras.cli import load_tensorflow
    from rbkeras.config import NetworkName

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--network",
        default="complex",
        choices=get_args(NetworkName),
        help="(default: %(default)s)",
    )
    parser.add_argument("--batch_size", type=int, default=256, help="(default: %(default)s)")
    parser.add_argument(
        "--vat", type=float, default=1.0, help="weight of VAT; 0 leaves it out (default: 1)"
    )
    parser.add_argument(
        "--vat_share",
        type=float,
        default=1.0,
        help="part of each batch that VAT looks at, in ours alone (default: 1, as the original)",
    )
    parser.add_argument("--precision", default="float32", help="dtype policy (default: float32)")
    parser.add_argument("--jit_compile", action="store_true", help="compile with XLA")
    parser.add_argument("--training", type=int, default=4500, help="stamps (default: %(default)s)")
    parser.add_argument(
        "--validation", type=int, default=1500, help="stamps (default: %(default)s)"
    )
    parser.add_argument(
        "--repeats", type=int, default=5, help="epochs, after one to warm up (default: %(default)s)"
    )
    parser.add_argument("--ours_alone", action="store_true", help="leave the original's way out")
    parser.add_argument("--work", type=Path, help="folder for temporary files")
    parser.add_argument("--json", type=Path, metavar="FILE", help="store the results")
    arguments = parser.parse_args()
    load_tensorflow()
    from rbkeras.data.write_records import convert_survey

    keys = ("network", "batch_size", "vat", "vat_share", "precision", "jit_compile")
    settings = {key: getattr(arguments, key) for key in keys}
    settings["stamps"] = arguments.training + arguments.validation
    with temporary_folder(arguments.work) as folder:
        survey = write_random_survey(
            folder / "survey",
            detectors=1,
            per_detector=settings["stamps"],
            size=STAMP_SIZE,
            # About what stage 1 unlabels where one label in twenty is wrong.
            unlabelled=0.05,
        )
        convert_survey(survey, folder / "records", progress=False)
        work = {"folder": folder, "training": arguments.training, "settings": settings}
        sides = [Side("ours", epochs_of, work | {"original": False})]
        if not arguments.ours_alone:
            import original_way

            original_way.convert(survey, folder / "original")
            sides.append(Side("the original's way", epochs_of, work | {"original": True}))
        measurements = compare(sides, repeats=arguments.repeats)
    report(measurements, arguments.training)
    write_results(arguments.json, vars(arguments), measurements)


if __name__ == "__main__":
    main()
