"""What types alone do not say about settings: ranges, and which of them go together."""

import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from types import NoneType
from typing import Any, get_args, get_type_hints

from rbkeras.config import FitConfig, lookup
from rbkeras.errors import InputError

#: Numpy and Keras take seeds of 32 bits; folds and repeats count on from the one given. No other
#: number of anything is as large either.
LARGEST = 2**31
_AT_LEAST: Mapping[str, float] = {
    "loss.lambda_ce": 0,
    "loss.lambda_auc": 0,
    "loss.lambda_vat": 0,
    "loss.vat_iterations": 1,
    "optimizer.weight_decay": 0,
    "training.epochs": 1,
    "training.min_steps": 0,
    "training.batch_size": 1,
    "training.patience": 1,
    "training.shift": 0,
    "training.shuffle_buffer": 1,
    "label_errors.repeats": 1,
    "label_errors.epochs": 1,
    "label_errors.min_steps": 0,
    "label_errors.gallery": 0,
    "model.depth": 1,
    "model.kernel": 1,
    "model.stride": 1,
    "simulation.detectors": 1,
    "simulation.per_detector": 1,
    "simulation.test_real": 1,
    "simulation.test_bogus": 1,
}
_ABOVE_0 = (
    "loss.vat_epsilon",
    "loss.vat_xi",
    "model.width",
    "optimizer.learning_rate",
    "optimizer.clip_value",
    "optimizer.clip_norm",
)
#: Flag, the interval as people write it, and whether its lower and upper end belong to it.
_WITHIN: tuple[tuple[str, float, float, bool, bool], ...] = (
    ("seed", 0, LARGEST, True, False),
    ("hold_out", 0, 0.5, True, True),
    ("policy_threshold", 0, 1, True, True),
    ("loss.auc_beta", 0, 1, False, True),
    ("loss.vat_share", 0, 1, False, True),
    ("model.dropout", 0, 1, True, False),
    ("optimizer.warmup", 0, 1, True, True),
    ("optimizer.momentum", 0, 1, True, False),
    ("training.validation_fraction", 0.01, 0.5, True, True),
    ("training.labelled_share", 0, 1, True, False),
    ("training.minority_share", 0, 0.5, True, True),
    ("label_errors.folds", 2, 100, True, True),
    ("label_errors.threshold", 0, 1, False, False),
    ("label_errors.certainty", 0, 1, True, False),
    ("decision.true_positive_rate", 0, 1, False, False),
    ("decision.prevalence", 0, 1, False, False),
    ("decision.second_look", 0, 1, True, False),
    ("simulation.label_error", 0, 0.5, True, False),
)
_FINITE = ("loss.auc_margin",)


def validate(config: FitConfig) -> None:
    """Check what types alone do not say, and that null is where it may be, which is always right.

    Raises
    ------
    InputError
        Naming the flag, the values it may take and the one it has.
    """
    _require_values(config)
    for flag, lowest in _AT_LEAST.items():
        _require(config, flag, f"at least {lowest:g}", lambda value, low=lowest: value >= low)
    for flag in _ABOVE_0:
        _require(config, flag, "a number above 0", lambda value: value > 0)
    for flag, low, high, closed_low, closed_high in _WITHIN:
        interval = f"{'[' if closed_low else '('}{low}, {high}{']' if closed_high else ')'}"
        _require(
            config,
            flag,
            f"a number in {interval}",
            lambda value, low=low, high=high, with_low=closed_low, with_high=closed_high: (
                (low <= value if with_low else low < value)
                and (value <= high if with_high else value < high)
            ),
        )
    for flag in _FINITE:
        _require(config, flag, "a finite number", lambda value: True)
    _require_together(config)


def _require_values(settings: Any, section: str = "") -> None:
    """Refuse what a file may say whatever the types: null, and paths that no system has."""
    hints = get_type_hints(type(settings))
    for name in (item.name for item in fields(settings)):
        value = getattr(settings, name)
        if is_dataclass(value):
            _require_values(value, f"{section}{name}.")
        elif value is None and NoneType not in get_args(hints[name]):
            raise InputError(f"--{section}{name}: expected a value, got null")
        elif isinstance(value, Path) and "\0" in str(value):
            raise InputError(f"--{section}{name}: expected a path, got {str(value)!r}")


def _require(config: FitConfig, flag: str, expected: str, right: Any) -> None:
    value = lookup(config, flag)
    if isinstance(value, int) and abs(value) > LARGEST:
        # Of hundreds of digits nothing can be printed but that they are too many.
        raise InputError(f"--{flag}: expected {expected}, below {LARGEST}, got a larger number")
    # NaN fails every comparison, infinity only some.
    if value is not None and not (math.isfinite(value) and right(value)):
        raise InputError(f"--{flag}: expected {expected}, got {value}")


def _require_together(config: FitConfig) -> None:
    if config.loss.lambda_ce == config.loss.lambda_auc == 0:
        raise InputError("--loss: expected lambda_ce or lambda_auc above 0, got 0 for both")
    if config.training.patience is not None and config.training.keep != "best":
        raise InputError(
            "--training.patience: expected --training.keep best with it, got "
            f"{config.training.keep}"
        )
    if config.optimizer.clip_value is not None and config.optimizer.clip_norm is not None:
        raise InputError(
            "expected at most one of --optimizer.clip_value and --optimizer.clip_norm, got both"
        )
    devices = config.training.devices
    if isinstance(devices, int) and devices < 1:
        raise InputError(f"--training.devices: expected at least 1, or all, got {devices}")
    if (config.test_real is None) != (config.test_bogus is None):
        raise InputError("expected --test_real and --test_bogus together, got only one of them")
    if config.hold_out and config.test_real is not None:
        raise InputError("expected --hold_out or --test_real with --test_bogus, got both")
    if 0 < config.hold_out < 0.01:
        raise InputError(f"--hold_out: expected 0 or at least 0.01, got {config.hold_out}")
    if config.hold_out and config.data is None:
        raise InputError(
            "--hold_out: expected --data with it, got none; a simulated survey has test stamps"
        )
