"""Seconds of an epoch of stage 2 on a small survey, with and without tf.data's own tuning."""

import argparse
import tempfile
from dataclasses import asdict
from pathlib import Path

import numpy as np
from measure import Side, Work, compare, median, print_table, write_results
from surveys import write_random_survey


def epochs_of(directory: Path, *, tuned: bool) -> Work:
    """Prepare the default network and its input; each call of the work is one epoch."""
    import tensorflow as tf

    from rbkeras.config import LossConfig, OptimizerConfig, TrainingConfig
    from rbkeras.data.pipeline import stamp_dataset
    from rbkeras.data.records import open_records
    from rbkeras.losses import RealBogusLoss
    from rbkeras.models.classifier import build_classifier
    from rbkeras.training import compile_classifier, make_optimizer, set_seed

    set_seed(0)
    records, own = open_records(directory), TrainingConfig()
    dataset = stamp_dataset(
        records,
        records.samples["label"].to_numpy(np.int8),
        batch_size=own.batch_size,
        shuffle_buffer=own.shuffle_buffer,
        augment=own.augment,
        shift=own.shift,
    )
    if tuned:
        options = tf.data.Options()
        options.autotune.enabled = True
        dataset = dataset.with_options(options)
    model = build_classifier(records.stamp_shape)
    compile_classifier(
        model,
        # The schedule's length changes no duration; it only has to outlast the benchmark.
        optimizer=make_optimizer(total_steps=100_000, **asdict(OptimizerConfig())),
        loss=RealBogusLoss(**asdict(LossConfig())),
        jit_compile=False,
    )

    def work() -> int:
        model.fit(dataset, shuffle=False, verbose=0)
        return len(records)

    return work


def main() -> None:
    from rbkeras.cli import load_tensorflow

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stamps", type=int, default=6000, help="(default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=9, help="epochs (default: %(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="store the results")
    arguments = parser.parse_args()
    load_tensorflow()
    from rbkeras.data.write_records import convert_survey

    with tempfile.TemporaryDirectory() as name:
        survey = write_random_survey(
            Path(name) / "survey", detectors=4, per_detector=arguments.stamps // 4, unlabelled=0.05
        )
        records = Path(name) / "records"
        convert_survey(survey, records, progress=False)
        ways = {"ours": False, "tuned by tf.data": True}
        sides = [
            Side(way, epochs_of, {"directory": records, "tuned": tuned})
            for way, tuned in ways.items()
        ]
        found = compare(sides, repeats=arguments.repeats)
    rows = [
        (
            m.name,
            f"{median(m.seconds):.2f}",
            f"{np.mean(m.seconds):.2f}",
            f"{max(m.seconds):.2f}",
            f"{m.peak_mib:,.0f}",
        )
        for m in found
    ]
    print_table([("", "median s/epoch", "mean", "longest", "peak MiB"), *rows])
    write_results(arguments.json, vars(arguments), found)


if __name__ == "__main__":
    main()
