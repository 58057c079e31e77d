"""Seconds of an epoch of stage 2, training and validation, with all three losses."""

import argparse
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from measure import Measurement, Side, Work, compare, median, print_table, write_results
from surveys import write_random_survey


def epochs_of(directory: Path, training: int, settings: dict[str, Any]) -> Work:
    """Prepare a compiled classifier; each call of the work is one epoch, validation included."""
    import keras

    from rbkeras.config import LossConfig, OptimizerConfig, TrainingConfig
    from rbkeras.data.labels import SKIP
    from rbkeras.data.pipeline import stamp_dataset
    from rbkeras.data.records import open_records
    from rbkeras.losses import RealBogusLoss
    from rbkeras.models.classifier import build_classifier
    from rbkeras.training import compile_classifier, make_optimizer, set_seed

    set_seed(0)
    keras.mixed_precision.set_dtype_policy(settings["precision"])
    records = open_records(directory)
    labels = records.samples["label"].to_numpy(np.int8)
    in_training = np.random.default_rng(0).permutation(len(labels)) < training
    own = TrainingConfig()
    trained = stamp_dataset(
        records,
        np.where(in_training, labels, SKIP),
        batch_size=settings["batch_size"],
        shuffle_buffer=own.shuffle_buffer,
        augment=own.augment,
    )
    validated = stamp_dataset(records, np.where(in_training, SKIP, labels), batch_size=512)
    model = build_classifier(records.stamp_shape, network=settings["network"])
    compile_classifier(
        model,
        # The schedule's length changes no duration; it only has to outlast the benchmark.
        optimizer=make_optimizer(total_steps=100_000, **asdict(OptimizerConfig())),
        loss=RealBogusLoss(**asdict(LossConfig(lambda_vat=settings["vat"]))),
        jit_compile=settings["jit_compile"],
    )

    def work() -> int:
        # Called again, fit goes on with the compiled steps; nothing is traced anew.
        model.fit(trained, validation_data=validated, shuffle=False, verbose=0)
        return len(labels)

    return work


def report(measurement: Measurement, training: int) -> None:
    """Print the median epoch."""
    seconds = median(measurement.seconds)
    print_table(
        [
            ("", "s/epoch", "training stamps/s", "all stamps/s", "peak MiB"),
            (
                measurement.name,
                f"{seconds:.2f}",
                f"{training / seconds:,.0f}",
                f"{measurement.rate:,.0f}",
                f"{measurement.peak_mib:,.0f}",
            ),
        ]
    )
    print("all stamps: training and validation; both rates over the whole epoch's time")


def main() -> None:
    from rbkeras.cli import load_tensorflow

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--network",
        default="complex",
        choices=("compact", "simple", "middle", "complex"),
        help="(default: %(default)s)",
    )
    parser.add_argument("--batch_size", type=int, default=256, help="(default: %(default)s)")
    parser.add_argument(
        "--vat", type=float, default=1.0, help="weight of VAT; 0 leaves it out (default: 1)"
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
    parser.add_argument("--work", type=Path, help="folder for temporary files")
    parser.add_argument("--json", type=Path, metavar="FILE", help="store the results")
    arguments = parser.parse_args()
    load_tensorflow()
    from rbkeras.data.write_records import convert_survey

    keys = ("network", "batch_size", "vat", "precision", "jit_compile")
    settings = {key: getattr(arguments, key) for key in keys}
    with tempfile.TemporaryDirectory(dir=arguments.work) as name:
        survey = write_random_survey(
            Path(name) / "survey",
            detectors=1,
            per_detector=arguments.training + arguments.validation,
            # About what stage 1 unlabels where one label in twenty is wrong.
            unlabelled=0.05,
        )
        records = Path(name) / "records"
        convert_survey(survey, records, progress=False)
        work = {"directory": records, "training": arguments.training, "settings": settings}
        (measurement,) = compare(
            [Side(arguments.network, epochs_of, work)], repeats=arguments.repeats
        )
    report(measurement, arguments.training)
    write_results(arguments.json, vars(arguments), [measurement])


if __name__ == "__main__":
    main()
