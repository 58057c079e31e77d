"""What a network costs: multiply-adds per stamp, stamps per second, and the Pareto front."""

import time

import keras
import numpy as np

from rbkeras.inference import predict_logits


def multiply_adds(model: keras.Model) -> int:
    """Count the multiply-adds of a forward pass of one stamp.

    Convolutions and dense layers count; normalisation, activation, pooling and element-wise
    products, a few per cent of them, do not. One multiply-add is two floating-point operations.
    """
    return sum(_of_layer(layer) for layer in model.layers)


def _of_layer(layer: keras.layers.Layer) -> int:
    if isinstance(layer, keras.Model):
        return multiply_adds(layer)
    if isinstance(layer, keras.layers.Conv2D):
        height, width = layer.output.shape[1:3]
        return height * width * int(np.prod(layer.kernel.shape))
    if isinstance(layer, keras.layers.Dense):
        # Applied at every position of what comes in.
        positions = int(np.prod(layer.output.shape[1:-1]))
        return positions * int(np.prod(layer.kernel.shape))
    return 0


def stamps_per_second(model: keras.Model, *, batch_size: int = 256, repeats: int = 3) -> float:
    """Measure the speed of inference on this machine as it is now: the best of some repeats."""
    stamps = np.random.default_rng(0).normal(size=(batch_size, *model.input_shape[1:]))
    stamps = stamps.astype(np.float32)
    predict_logits(model, [stamps])
    best = np.inf
    for _ in range(repeats):
        start = time.perf_counter()
        predict_logits(model, [stamps])
        best = min(best, time.perf_counter() - start)
    return batch_size / best


def pareto_front(cost: np.ndarray, loss: np.ndarray) -> np.ndarray:
    """Mark what nothing else beats: bool (N,), true where no other is as good in both and better.

    Parameters
    ----------
    cost, loss
        Floats (N,), less is better in both. NaN is never on the front.
    """
    cost, loss = np.asarray(cost, float), np.asarray(loss, float)
    known = np.isfinite(cost) & np.isfinite(loss)
    front = np.zeros(len(cost), bool)
    for i in np.flatnonzero(known):
        as_good = known & (cost <= cost[i]) & (loss <= loss[i])
        front[i] = not (as_good & ((cost < cost[i]) | (loss < loss[i]))).any()
    return front
