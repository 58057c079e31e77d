"""Arithmetic of a training step beside a matrix product's, and what the rest of the time goes to.

The step is cross-entropy alone, forwards, backwards and the optimizer. Its arithmetic is three
times that of a forward pass of the convolutions and dense layers (the first convolution has no
gradient with respect to its input). Then every convolution is timed by itself, forwards and
backwards, on a batch of the same size: what their sum leaves is normalisation, activations,
excitation, pooling, the losses, metrics and the optimizer, which move memory rather than compute.
"""

import argparse
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from measure import machine, median, print_table, timed


def matrix_product(size: int, repeats: int) -> float:
    """GFLOP/s of a product of two square float32 matrices, median."""
    import tensorflow as tf

    a, b = (tf.random.normal((size, size)) for _ in range(2))
    multiply = tf.function(lambda: tf.reduce_sum(tf.matmul(a, b)))
    seconds = median(timed(lambda: multiply().numpy(), repeats + 1)[1:])
    return 2 * size**3 / seconds / 1e9


def training_step(network: str, batch_size: int, repeats: int) -> tuple[Any, float]:
    """Return the trained model and the median seconds of a step over epochs of four batches."""
    import tensorflow as tf

    from rbkeras.losses import RealBogusLoss
    from rbkeras.models.classifier import build_classifier
    from rbkeras.training import compile_classifier, make_optimizer, set_seed

    set_seed(0)
    model = build_classifier((29, 29, 3), network=network)
    compile_classifier(
        model, optimizer=make_optimizer(total_steps=100_000), loss=RealBogusLoss(lambda_ce=1.0)
    )
    batches = 4
    rng = np.random.default_rng(0)
    stamps = rng.normal(100, 15, (batches * batch_size, 29, 29, 3)).astype(np.float32)
    labels = rng.integers(0, 2, len(stamps))
    data = tf.data.Dataset.from_tensor_slices((stamps, labels)).batch(batch_size).cache()

    def epoch() -> None:
        model.fit(data, shuffle=False, verbose=0)

    epoch()
    return model, median(timed(epoch, repeats)) / batches


def convolutions(model: Any) -> Iterator[Any]:
    """All convolutions of a model, nested ones included."""
    import keras

    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from convolutions(layer)
        elif isinstance(layer, keras.layers.Conv2D):
            yield layer


def convolution_alone(layer: Any, batch_size: int, *, first: bool) -> Callable[[], Any]:
    """Return a call of one convolution, forwards and backwards, on random numbers."""
    import tensorflow as tf

    x = tf.random.normal((batch_size, *layer.input.shape[1:]))

    @tf.function
    def call() -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x)
        wanted = list(layer.trainable_variables) + ([] if first else [x])
        gradients = tape.gradient(y, wanted)
        # One number of each keeps TensorFlow from leaving a gradient out.
        return [tf.reshape(gradient, [-1])[0] for gradient in gradients]

    return lambda: [value.numpy() for value in call()]


def main() -> None:
    from rbkeras.cli import load_tensorflow

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--network", default="complex", help="(default: %(default)s)")
    parser.add_argument("--batch_size", type=int, default=256, help="(default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=5, help="(default: %(default)s)")
    arguments = parser.parse_args()
    load_tensorflow()
    from tuning.cost import multiply_adds

    model, step = training_step(arguments.network, arguments.batch_size, arguments.repeats)
    rows = [("convolution", "shape in", "channels out", "ms", "GFLOP/s")]
    convolution_flop = total_seconds = 0.0
    for number, layer in enumerate(convolutions(model)):
        call = convolution_alone(layer, arguments.batch_size, first=number == 0)
        seconds = median(timed(call, arguments.repeats + 1)[1:])
        height, width, channels = layer.output.shape[1:]
        forward = 2 * height * width * int(np.prod(layer.kernel.shape)) * arguments.batch_size
        flop = forward * (2 if number == 0 else 3)
        convolution_flop += flop
        total_seconds += seconds
        shape = "x".join(str(size) for size in layer.input.shape[1:])
        rate = f"{flop / seconds / 1e9:.0f}"
        rows.append((layer.name, shape, f"{channels}", f"{seconds * 1e3:.1f}", rate))
    products = matrix_product(2048, arguments.repeats)
    print(machine())
    print_table(rows)
    first = next(convolutions(model))
    unneeded = 2 * int(np.prod(first.output.shape[1:3])) * int(np.prod(first.kernel.shape))
    flop = (6 * multiply_adds(model) - unneeded) * arguments.batch_size
    rate = flop / step / 1e9
    print_table(
        [
            ("", "ms", "GFLOP/s", "of the matrix product"),
            ("matrix product, 2048 x 2048", "", f"{products:.0f}", ""),
            ("training step", f"{step * 1e3:.0f}", f"{rate:.0f}", f"{rate / products:.0%}"),
            (
                "its convolutions, each by itself",
                f"{total_seconds * 1e3:.0f}",
                f"{convolution_flop / total_seconds / 1e9:.0f}",
                f"{convolution_flop / total_seconds / 1e9 / products:.0%}",
            ),
            ("everything else", f"{(step - total_seconds) * 1e3:.0f}", "", ""),
        ]
    )


if __name__ == "__main__":
    main()
