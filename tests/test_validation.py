"""Settings out of range, or that do not go together."""

import re
from dataclasses import fields, is_dataclass

import pytest

from rbkeras import validation
from rbkeras.config import FitConfig
from rbkeras.errors import InputError
from rbkeras.options import checked, with_settings
from rbkeras.presets import PRESETS


def complaint(**settings):
    config = with_settings(FitConfig(), {key.replace("__", "."): v for key, v in settings.items()})
    with pytest.raises(InputError) as raised:
        checked(config)
    return str(raised.value)


def settings_of(config, path=""):
    for item in fields(config):
        value = getattr(config, item.name)
        yield from (
            settings_of(value, f"{path}{item.name}.")
            if is_dataclass(value)
            else [(path + item.name, value)]
        )


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_are_right(preset):
    checked(with_settings(FitConfig(), PRESETS[preset]))


@pytest.mark.parametrize(
    ("flag", "value", "expected"),
    [
        ("seed", -1, "a number in [0, 2147483648)"),
        ("seed", 2**31, "a number in [0, 2147483648)"),
        ("policy_threshold", 1.5, "a number in [0, 1]"),
        ("training.epochs", 0, "at least 1"),
        ("training.validation_fraction", 0.6, "a number in [0.01, 0.5]"),
        ("training.shift", -1, "at least 0"),
        ("label_errors.folds", 1, "a number in [2, 100]"),
        ("label_errors.certainty", 1.0, "a number in [0, 1)"),
        ("loss.vat_epsilon", 0.0, "a number above 0"),
        ("loss.vat_share", 0.0, "a number in (0, 1]"),
        ("loss.lambda_ce", float("nan"), "at least 0"),
        ("loss.lambda_ce", float("inf"), "at least 0"),
        ("loss.auc_margin", float("nan"), "a finite number"),
        ("optimizer.warmup", 2.0, "a number in [0, 1]"),
        ("optimizer.clip_norm", 0.0, "a number above 0"),
        ("model.dropout", 1.0, "a number in [0, 1)"),
        ("decision.prevalence", 0.0, "a number in (0, 1)"),
        ("simulation.label_error", 0.5, "a number in [0, 0.5)"),
    ],
)
def test_values_out_of_range_are_named(flag, value, expected):
    assert complaint(**{flag: value}) == f"--{flag}: expected {expected}, got {value}"


@pytest.mark.parametrize("edge", [{"seed": 0}, {"loss.auc_beta": 1.0}, {"policy_threshold": 1.0}])
def test_ends_that_belong_to_a_range_are_right(edge):
    checked(with_settings(FitConfig(), edge))


def test_every_number_among_the_settings_has_a_range():
    ranged = {*validation._AT_LEAST, *validation._ABOVE_0, *validation._FINITE}
    ranged |= {flag for flag, *_ in validation._WITHIN}
    numbers = {
        flag
        for flag, value in settings_of(FitConfig())
        if isinstance(value, int | float) and not isinstance(value, bool)
    }
    assert numbers <= ranged


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"loss.lambda_ce": 0.0, "loss.lambda_auc": 0.0}, "--loss: expected lambda_ce"),
        ({"training.patience": 3}, "--training.keep best"),
        ({"optimizer.clip_norm": 1.0, "optimizer.clip_value": 1.0}, "--optimizer.clip_norm"),
        ({"test_real": "real.npy"}, "--test_bogus together"),
    ],
)
def test_settings_that_do_not_go_together_are_named(settings, named):
    assert re.search(named, complaint(**settings))
