"""Stamps per second of normalising: the formulas as they are written, and as they are computed."""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from measure import Side, Work, compare, print_table, write_results


def _as_written(stamps: Any) -> Any:
    """Missing pixels filled, then z-score and its asinh(x / 2), on (N, H, W, C)."""
    from keras import ops

    pixels = (1, 2)
    finite = ops.isfinite(stamps)
    count = ops.sum(ops.cast(finite, "float32"), axis=pixels, keepdims=True)
    mean = ops.sum(ops.where(finite, stamps, 0.0), axis=pixels, keepdims=True)
    filled = ops.where(finite, stamps, mean / ops.maximum(count, 1.0))
    centred = filled - ops.mean(filled, axis=pixels, keepdims=True)
    deviation = ops.std(filled, axis=pixels, keepdims=True)
    z = ops.where(deviation > 0, centred / ops.where(deviation > 0, deviation, 1.0), 0.0)
    return ops.concatenate([z, ops.arcsinh(z / 2)], axis=-1)


def normalising(*, ours: bool, batches: int, batch_size: int) -> Work:
    """Prepare a compiled normalisation; each call of the work does all batches."""
    import tensorflow as tf

    from rbkeras.models.normalisation import StampNormalisation

    function = tf.function(StampNormalisation("zscore_asinh") if ours else _as_written)
    rng = np.random.default_rng(0)
    stamps = tf.constant(rng.normal(100, 30, (batch_size, 29, 29, 3)).astype(np.float32))

    def work() -> int:
        for _ in range(batches):
            function(stamps)
        return batches * batch_size

    return work


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batches", type=int, default=40, help="(default: %(default)s)")
    parser.add_argument("--batch_size", type=int, default=256, help="(default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=7, help="(default: %(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="store the results")
    arguments = parser.parse_args()
    size = {"batches": arguments.batches, "batch_size": arguments.batch_size}
    ours, plain = compare(
        [
            Side("ours", normalising, {"ours": True, **size}),
            Side("as written", normalising, {"ours": False, **size}),
        ],
        repeats=arguments.repeats,
    )
    rows = [(m.name, f"{m.rate:,.0f}", f"{m.peak_mib:,.0f}") for m in (ours, plain)]
    print_table([("", "stamps/s", "peak MiB"), *rows])
    print(f"ratio {ours.rate / plain.rate:.1f}")
    write_results(arguments.json, vars(arguments), [ours, plain])


if __name__ == "__main__":
    main()
