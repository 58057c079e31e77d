"""Building blocks of the networks: each takes and returns a Keras tensor (N, H, W, C)."""

import keras
from keras import layers

from rbkeras.models.layers import (
    FilterResponseNormalisation,
    channel_excitation,
    concurrent_excitation,
)
from rbkeras.tensors import Tensor


def conv(
    x: Tensor, filters: int, kernel: int, *, name: str, padding: str = "same", strides: int = 1
) -> Tensor:
    """Convolution, then ReLU."""
    return layers.Conv2D(
        filters, kernel, strides=strides, padding=padding, activation="relu", name=name
    )(x)


def halve(x: Tensor, *, name: str) -> Tensor:
    """2x2 max pooling; drops an odd last row and column, unless a side has one pixel alone."""
    padding = "same" if 1 in x.shape[1:3] else "valid"
    return layers.MaxPooling2D(2, padding=padding, name=name)(x)


def frn_residual(
    x: Tensor, filters: int, *, name: str, strides: int = 1, excite: bool = True
) -> Tensor:
    """FRN-conv3x3-FRN-conv3x3-scSE plus a shortcut: the residual block of `complex`.

    The first convolution keeps the channels, the second changes them and takes the stride. The
    shortcut is a 1x1 convolution.
    """
    y = FilterResponseNormalisation(name=f"{name}_frn1")(x)
    y = layers.Conv2D(x.shape[-1], 3, padding="same", name=f"{name}_conv1")(y)
    y = FilterResponseNormalisation(name=f"{name}_frn2")(y)
    y = layers.Conv2D(filters, 3, strides=strides, padding="same", name=f"{name}_conv2")(y)
    if excite:
        y = concurrent_excitation(y, name=f"{name}_scse")
    shortcut = layers.Conv2D(filters, 1, strides=strides, name=f"{name}_shortcut")(x)
    return layers.Add(name=f"{name}_add")([y, shortcut])


def excited_residual(
    x: Tensor, filters: int, *, name: str, strides: int = 1, excite: bool = True
) -> Tensor:
    """Residual block of `residual`: two 3x3 convolutions, excitation, shortcut, ReLU.

    The stride stands in the first convolution, where it saves most. The shortcut is the identity
    wherever shapes allow.
    """
    y = layers.Conv2D(filters, 3, strides=strides, padding="same", name=f"{name}_conv1")(x)
    y = FilterResponseNormalisation(name=f"{name}_frn")(y)
    y = layers.Conv2D(filters, 3, padding="same", name=f"{name}_conv2")(y)
    if excite:
        y = channel_excitation(y, ratio=4, name=f"{name}_se")
    shortcut = x
    if strides != 1 or x.shape[-1] != filters:
        shortcut = layers.Conv2D(filters, 1, strides=strides, name=f"{name}_shortcut")(x)
    return layers.ReLU(name=f"{name}_out")(layers.Add(name=f"{name}_add")([y, shortcut]))


def inception(x: Tensor, filters: int, *, name: str) -> Tensor:
    """Inception block: 1x1, 3x3, 5x5 (as two 3x3) and pooled paths, a quarter of filters each.

    References
    ----------
    Szegedy et al. 2016, CVPR, "Rethinking the Inception Architecture" (figure 5).
    """
    quarter = filters // 4
    one = conv(x, quarter, 1, name=f"{name}_1x1")
    three = conv(x, quarter, 1, name=f"{name}_3x3_reduce")
    three = conv(three, quarter, 3, name=f"{name}_3x3")
    five = conv(x, quarter, 1, name=f"{name}_5x5_reduce")
    five = conv(five, quarter, 3, name=f"{name}_5x5_a")
    five = conv(five, quarter, 3, name=f"{name}_5x5_b")
    pooled = layers.MaxPooling2D(3, strides=1, padding="same", name=f"{name}_pool")(x)
    pooled = conv(pooled, filters - 3 * quarter, 1, name=f"{name}_pool_1x1")
    return layers.Concatenate(name=name)([one, three, five, pooled])


def logits(x: Tensor, *, dropout: float) -> Tensor:
    """Dropout, then the two logits (bogus, real) in float32 whatever the precision policy."""
    if dropout:
        x = layers.Dropout(dropout, name="dropout")(x)
    return keras.layers.Dense(2, dtype="float32", name="logits")(x)
