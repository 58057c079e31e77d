"""Layers that Keras does not have."""

from typing import Any

import keras
from keras import ops

from rbkeras.tensors import Tensor


@keras.saving.register_keras_serializable(package="rbkeras")
class FilterResponseNormalisation(keras.layers.Layer):
    """Filter response normalisation with its thresholded linear unit.

    y = max(gamma x / sqrt(mean_{H,W}(x^2) + epsilon) + beta, tau), with gamma, beta and tau
    learned per channel. It needs no batch statistics, so a stamp's answer does not depend on its
    neighbours in the batch, in training or after.

    Input and output shape (N, H, W, C).

    References
    ----------
    Singh & Krishnan 2020, CVPR, "Filter Response Normalization Layer", equations 1 to 4.
    """

    def __init__(self, epsilon: float = 1e-6, **kwargs: Any):
        super().__init__(**kwargs)
        if not epsilon > 0:
            raise ValueError(f"epsilon: expected a number above 0, got {epsilon}")
        self.epsilon = epsilon

    def build(self, input_shape: tuple[Any, ...]) -> None:
        """Create gamma (ones), beta and tau (zeros), each of shape (C,)."""
        shape = (input_shape[-1],)
        self.gamma = self.add_weight(name="gamma", shape=shape, initializer="ones")
        self.beta = self.add_weight(name="beta", shape=shape, initializer="zeros")
        self.tau = self.add_weight(name="tau", shape=shape, initializer="zeros")

    def call(self, inputs: Tensor) -> Tensor:
        """Normalise and threshold."""
        # Squares of float16 activations overflow; the statistic is small, so float32 is cheap.
        square = ops.square(ops.cast(inputs, "float32"))
        power = ops.mean(square, axis=(1, 2), keepdims=True)
        scale = ops.cast(ops.rsqrt(power + self.epsilon), inputs.dtype) * self.gamma
        return ops.maximum(inputs * scale + self.beta, self.tau)

    def compute_output_shape(self, input_shape: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return the input's shape."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "epsilon": self.epsilon}


def channel_excitation(x: Tensor, *, ratio: int, name: str) -> Tensor:
    """Squeeze-and-excitation over channels (Hu et al. 2018): (N, H, W, C) to the same shape."""
    channels = x.shape[-1]
    squeezed = keras.layers.GlobalAveragePooling2D(keepdims=True, name=f"{name}_squeeze")(x)
    hidden = keras.layers.Dense(max(channels // ratio, 1), activation="relu", name=f"{name}_1")(
        squeezed
    )
    gate = keras.layers.Dense(channels, activation="sigmoid", name=f"{name}_2")(hidden)
    return keras.layers.Multiply(name=f"{name}_gate")([x, gate])


def concurrent_excitation(x: Tensor, *, name: str, ratio: int = 2) -> Tensor:
    """Concurrent spatial and channel squeeze-and-excitation, the sum of both recalibrations.

    References
    ----------
    Roy, Navab & Wachinger 2018, MICCAI (scSE, equations 2 to 6; reduction ratio 2).
    """
    by_channel = channel_excitation(x, ratio=ratio, name=f"{name}_channel")
    where = keras.layers.Conv2D(1, 1, activation="sigmoid", name=f"{name}_spatial")(x)
    by_position = keras.layers.Multiply(name=f"{name}_spatial_gate")([x, where])
    return keras.layers.Add(name=f"{name}_sum")([by_channel, by_position])
