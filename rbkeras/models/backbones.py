"""The networks, from normalised stamps (N, H, W, C) to logits (N, 2).

All take the same options. `width` multiplies the channels of every layer; `depth` is the number
of repeated layers or blocks where the network repeats any; `kernel` and `stride` are the first
convolution's; `padding` is 'same' or 'valid' ahead of the residual part; `excitation` is whether
residual blocks have squeeze-and-excitation; `dropout` acts before the head. The defaults of
`simple` and `complex` are the networks of Takahashi et al. 2022.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import keras
from keras import layers

from rbkeras.models import blocks
from rbkeras.tensors import Tensor


@dataclass(frozen=True, kw_only=True)
class BackboneOptions:
    """What can be changed about a network; see the module's description."""

    width: float = 1.0
    depth: int = 1
    kernel: int = 5
    stride: int = 1
    padding: str = "same"
    excitation: bool = True
    dropout: float = 0.0


def _scaled(channels: int, width: float) -> int:
    return max(round(channels * width), 4)


def _stem(x: Tensor, options: BackboneOptions, *, name: str, channels: int = 32) -> Tensor:
    return blocks.conv(
        x,
        _scaled(channels, options.width),
        options.kernel,
        name=name,
        padding=options.padding,
        strides=options.stride,
    )


def simple(x: Tensor, options: BackboneOptions) -> Tensor:
    """conv-32, pool, conv3x3-64, pool, dropout, dense 128, 64, 2 (`depth` convs before a pool)."""
    for stage, (channels, kernel) in enumerate([(32, options.kernel), (64, 3)]):
        for repeat in range(options.depth):
            x = blocks.conv(
                x,
                _scaled(channels, options.width),
                kernel,
                name=f"conv{stage}_{repeat}",
                padding=options.padding,
                strides=options.stride if stage == repeat == 0 else 1,
            )
        x = layers.MaxPooling2D(2, name=f"pool{stage}")(x)
    x = layers.Flatten(name="flatten")(x)
    if options.dropout:
        x = layers.Dropout(options.dropout, name="dropout_dense")(x)
    x = layers.Dense(_scaled(128, options.width), activation="relu", name="dense0")(x)
    x = layers.Dense(_scaled(64, options.width), activation="relu", name="dense1")(x)
    return blocks.logits(x, dropout=0.0)


def middle(x: Tensor, options: BackboneOptions, *, channels: int = 32) -> Tensor:
    """Two convolutions, then three stages of `depth` inception blocks, averaged.

    Both convolutions have `channels` channels, the stages two, four and eight times as many.
    """
    wide = options.width
    x = _stem(x, options, name="stem0", channels=channels)
    x = blocks.conv(x, _scaled(channels, wide), 3, name="stem1", padding=options.padding)
    for stage, factor in enumerate((2, 4, 8)):
        x = blocks.halve(x, name=f"pool{stage}")
        for repeat in range(options.depth):
            filters = _scaled(factor * channels, wide)
            x = blocks.inception(x, filters, name=f"inception{stage}_{repeat}")
    x = layers.GlobalAveragePooling2D(name="average")(x)
    return blocks.logits(x, dropout=options.dropout)


def complex(x: Tensor, options: BackboneOptions) -> Tensor:
    """conv5x5-32, conv3x3-32 (x `depth`), and four FRN residual blocks with scSE, averaged."""
    wide, padding = options.width, options.padding
    x = _stem(x, options, name="stem")
    for repeat in range(options.depth):
        x = blocks.conv(x, _scaled(32, wide), 3, name=f"conv32_{repeat}", padding=padding)
    x = layers.MaxPooling2D(2, name="pool0")(x)
    x = blocks.conv(x, _scaled(64, wide), 3, name="conv64")
    x = blocks.frn_residual(x, _scaled(64, wide), name="res64", excite=options.excitation)
    x = layers.MaxPooling2D(2, name="pool1")(x)
    x = blocks.conv(x, _scaled(128, wide), 3, name="conv128")
    x = blocks.frn_residual(x, _scaled(128, wide), name="res128", excite=options.excitation)
    x = blocks.frn_residual(
        x, _scaled(256, wide), name="res256_0", strides=2, excite=options.excitation
    )
    x = blocks.frn_residual(x, _scaled(256, wide), name="res256_1", excite=options.excitation)
    x = layers.GlobalAveragePooling2D(name="average")(x)
    return blocks.logits(x, dropout=options.dropout)


def residual(x: Tensor, options: BackboneOptions) -> Tensor:
    """Strided stem, three stages of `depth` residual blocks with excitation, averaged.

    About an eighth of the arithmetic of `complex`: the stem halves the resolution before anything
    costs much. With channels 32, 48 and 96 it would be a tenth, at more false positives: see
    docs/benchmarks.md.
    """
    x = _stem(x, options, name="stem")
    for stage, channels in enumerate((32, 64, 128)):
        for repeat in range(options.depth):
            x = blocks.excited_residual(
                x,
                _scaled(channels, options.width),
                name=f"res{stage}_{repeat}",
                strides=2 if stage and repeat == 0 else 1,
                excite=options.excitation,
            )
    x = layers.GlobalAveragePooling2D(name="average")(x)
    return blocks.logits(x, dropout=options.dropout)


@dataclass(frozen=True)
class Network:
    """A backbone with the options and the normalisation it was designed with."""

    backbone: Callable
    defaults: BackboneOptions
    normalisation: str


NETWORKS = {
    "simple": Network(simple, BackboneOptions(padding="valid", dropout=0.3), "minmax"),
    "middle": Network(middle, BackboneOptions(kernel=3), "clipped_zscore"),
    "complex": Network(complex, BackboneOptions(depth=4), "zscore_asinh"),
    "residual": Network(residual, BackboneOptions(stride=2), "zscore_asinh"),
    # A twentieth of the arithmetic of `complex`, found by the search of docs/recorded-sweep.md.
    "compact": Network(
        partial(middle, channels=40),
        BackboneOptions(kernel=5, stride=2, dropout=0.3),
        "clipped_zscore",
    ),
}


def build_backbone(
    shape: tuple[int, int, int],
    *,
    network: str = "compact",
    **given: Any,
) -> keras.Model:
    """Build a network from normalised stamps to logits.

    Parameters
    ----------
    shape
        Height, width and channels of the normalised stamp.
    network
        One of `NETWORKS`.
    **given
        Fields of `BackboneOptions`; None leaves the network's own.

    Returns
    -------
    keras.Model
        Named 'backbone', output float32 (N, 2).

    Raises
    ------
    ValueError
        When an option is out of range or the stamp is too small for the network.
    """
    if network not in NETWORKS:
        raise ValueError(f"network: expected one of {sorted(NETWORKS)}, got {network!r}")
    chosen = NETWORKS[network]
    given = {key: value for key, value in given.items() if value is not None}
    options = BackboneOptions(**{**asdict(chosen.defaults), **given})
    _validate(options)
    inputs = keras.Input(shape, name="normalised_stamp")
    try:
        backbone = keras.Model(inputs, chosen.backbone(inputs, options), name="backbone")
        # Keras before 3.14 goes on with maps of no pixels.
        for layer in backbone.layers:
            if 0 in layer.output.shape:
                raise ValueError(f"{layer.name} has the shape {layer.output.shape[1:]}")
    except ValueError as error:
        raise ValueError(
            f"network {network!r} with {options} does not fit stamps of {shape[0]} x {shape[1]} "
            f"pixels: {str(error).splitlines()[0]}"
        ) from None
    return backbone


def _validate(options: BackboneOptions) -> None:
    if not options.width > 0:
        raise ValueError(f"width: expected a number above 0, got {options.width}")
    if options.depth < 1:
        raise ValueError(f"depth: expected at least 1, got {options.depth}")
    if options.kernel < 1:
        raise ValueError(f"kernel: expected at least 1, got {options.kernel}")
    if options.stride < 1:
        raise ValueError(f"stride: expected at least 1, got {options.stride}")
    if options.padding not in ("same", "valid"):
        raise ValueError(f"padding: expected 'same' or 'valid', got {options.padding!r}")
    if not 0 <= options.dropout < 1:
        raise ValueError(f"dropout: expected a number in [0, 1), got {options.dropout}")
