"""Weights of a trained network with which another training begins."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import zip_longest
from pathlib import Path
from typing import Any, Self

import keras
import numpy as np

from rbkeras.crossval import FOLD_MARKER
from rbkeras.errors import InputError
from rbkeras.files import read_json
from rbkeras.inference import load_classifier
from rbkeras.model_file import STAGE2_MARKER, trained_model
from rbkeras.models.classifier import BACKBONE_LAYER, NORMALISATION_LAYER, RealBogusClassifier
from rbkeras.resume import digest

# What layers may differ in and weights still mean the same.
_FREE = ("name", "dtype", "trainable")
_OF_TRAINING = (keras.layers.InputLayer, keras.layers.Dropout)


@dataclass(frozen=True)
class StartWeights:
    """Weights, and the layers that they are of."""

    #: The flag and file that they come from, for messages.
    source: str
    #: Settings of their training, where the file lies in a run directory.
    trained_on: dict[str, Any]
    channels: int
    layers: list[dict[str, Any]]
    weights: list[np.ndarray]

    @classmethod
    def read(cls, path: str | Path, *, flag: str) -> Self:
        """Read those of `model.keras`, or of the one inside a run directory.

        Raises
        ------
        InputError
            When it is not there, damaged, or another kind of model.
        """
        model = load_classifier(path)
        return cls(
            source=f"--{flag} {path}",
            trained_on=_settings_beside(trained_model(path)),
            channels=model.input_shape[-1],
            layers=list(_layers(model)),
            weights=model.get_weights(),
        )

    @cached_property
    def fingerprint(self) -> str:
        """Tells these weights from others."""
        return digest(*self.weights)

    def give_to(self, model: RealBogusClassifier) -> None:
        """Set them as the weights of a network of the same layers.

        The size of the stamps may be another where the network averages over them; dropout and
        precision may be others too.

        Raises
        ------
        InputError
            When the network has other layers, naming the first.
        """
        channels = model.input_shape[-1]
        if channels != self.channels:
            raise InputError(
                f"{self.source}: expected a network for stamps of {channels} channels, as the "
                f"records have, found one for {self.channels}"
            )
        nothing: dict[str, Any] = {}
        for ours, theirs in zip_longest(_layers(model), self.layers, fillvalue=nothing):
            for key in sorted((ours.keys() | theirs.keys()) - {"layer"}):
                if ours.get(key) != theirs.get(key):
                    layer = (ours or theirs)["layer"]
                    raise InputError(
                        f"{self.source}: expected the network of these settings, found another: "
                        f"in the layer {layer}, {key} is {theirs.get(key)} and not {ours.get(key)}"
                    )
        model.set_weights(self.weights)


def _settings_beside(model: Path) -> dict[str, Any]:
    for name in (STAGE2_MARKER, FOLD_MARKER):
        marker = model.with_name(name)
        if marker.exists():
            return read_json(marker).get("settings", {})
    return {}


def _layers(model: RealBogusClassifier) -> Iterator[dict[str, Any]]:
    """Describe the layers that turn a stamp into logits, the normalisation first."""
    layers = [model.get_layer(NORMALISATION_LAYER), *model.get_layer(BACKBONE_LAYER).layers]
    for layer in layers:
        if not isinstance(layer, _OF_TRAINING):
            settings = {k: v for k, v in layer.get_config().items() if k not in _FREE}
            shapes = [tuple(weights.shape) for weights in layer.weights]
            yield (
                {"layer": layer.name, "kind of layer": type(layer).__name__}
                | settings
                | {"shapes of weights": shapes}
            )
