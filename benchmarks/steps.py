"""Milliseconds of a training step of stage 2, nothing else, as it is and compiled with XLA.

The batch is there already, and nothing is saved: what is left is the arithmetic and the starting
of operations, which is most of it where a network is small and its device is not.
"""

import argparse
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any, get_args

from measure import Side, Work, compare, median, print_table, write_results

SHAPE = (29, 29, 3)
STEPS = 30


def steps_of(network: str, batch_size: int, vat: float, *, jit_compile: bool, name: str) -> Work:
    """Prepare a compiled classifier; each call of the work is `STEPS` steps."""
    import numpy as np
    import tensorflow as tf

    from rbkeras.config import LossConfig, OptimizerConfig
    from rbkeras.losses import RealBogusLoss
    from rbkeras.models.classifier import build_classifier
    from rbkeras.training import compile_classifier, make_optimizer, set_seed

    set_seed(0)
    rng = np.random.default_rng(0)
    stamps = rng.normal(size=(batch_size, *SHAPE)).astype(np.float32)
    labels = rng.integers(-1, 2, batch_size).astype(np.int32)
    model = build_classifier(SHAPE, network=network)
    compile_classifier(
        model,
        optimizer=make_optimizer(total_steps=100_000, **asdict(OptimizerConfig())),
        loss=RealBogusLoss(**asdict(LossConfig(lambda_vat=vat))),
        jit_compile=jit_compile,
    )
    batch = tf.data.Dataset.from_tensors((stamps, labels))
    started = time.perf_counter()
    model.fit(batch, epochs=1, shuffle=False, verbose=0)
    print(f"{name}: {time.perf_counter() - started:.1f} s to the end of the first step")
    batches = iter(batch.repeat().prefetch(2))

    def work() -> int:
        for _ in range(STEPS):
            logs = model.train_function(batches)
        # Steps are only begun until somebody asks what came of the last.
        float(logs["loss"])
        return STEPS * batch_size

    return work


def main() -> None:
    from rbkeras.cli import load_tensorflow
    from rbkeras.config import NetworkName

    parser = argparse.ArgumentParser(description=__doc__)
    networks = get_args(NetworkName)
    parser.add_argument("--network", default="compact", choices=networks, help="(compact)")
    parser.add_argument("--batch_sizes", nargs="+", type=int, default=[64, 256], metavar="B")
    parser.add_argument("--vat", type=float, default=1.0, help="weight of VAT; 0 leaves it out (1)")
    parser.add_argument("--repeats", type=int, default=5, help="(default: %(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="store the results")
    arguments = parser.parse_args()
    load_tensorflow()
    rows: list[tuple[str, ...]] = [("", "ms a step", "stamps/s", "ratio", "peak MiB")]
    everything = []
    for batch_size in arguments.batch_sizes:
        sides = []
        for jit_compile in (False, True):
            name = f"batches of {batch_size}, {'XLA' if jit_compile else 'as it is'}"
            settings: dict[str, Any] = {"network": arguments.network, "batch_size": batch_size}
            settings |= {"vat": arguments.vat, "jit_compile": jit_compile, "name": name}
            sides.append(Side(name, steps_of, settings))
        measured = compare(sides, repeats=arguments.repeats)
        everything += measured
        rows += [
            (
                each.name,
                f"{median(each.seconds) / STEPS * 1e3:.1f}",
                f"{each.rate:,.0f}",
                f"{each.rate / measured[0].rate:.2f}",
                f"{each.peak_mib:,.0f}",
            )
            for each in measured
        ]
    print_table(rows)
    write_results(arguments.json, vars(arguments), everything)


if __name__ == "__main__":
    main()
