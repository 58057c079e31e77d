"""Networks trained in half precision, as exported files compute them."""

from typing import Any

from rbkeras.models.classifier import RealBogusClassifier


def in_float32(model: RealBogusClassifier) -> RealBogusClassifier:
    """Return the same network with arithmetic in float32, whatever it was trained in.

    Its weights are float32 already; not every engine has half precision. The decision is kept. A
    network in float32 is returned as it is.
    """
    config = model.get_config()
    single = _single(config)
    if single == config:
        return model
    copy = type(model).from_config(single)
    copy.set_weights(model.get_weights())
    return copy


def _single(config: Any) -> Any:
    """Replace Keras's mixed dtype policies, wherever they stand in a config."""
    if isinstance(config, dict):
        if config.get("class_name") == "DTypePolicy":
            return config | {"config": config["config"] | {"name": "float32"}}
        return {key: _single(value) for key, value in config.items()}
    if isinstance(config, list | tuple):
        return type(config)(_single(value) for value in config)
    return config
