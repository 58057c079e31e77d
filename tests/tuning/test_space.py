from dataclasses import asdict

import keras_tuner
import pytest

from rbkeras.config import FitConfig, ModelConfig, OptimizerConfig, lookup
from rbkeras.errors import InputError
from rbkeras.models.backbones import NETWORKS
from rbkeras.models.classifier import build_classifier
from rbkeras.models.normalisation import NORMALISATIONS
from rbkeras.options import with_settings
from rbkeras.validation import validate
from tuning.grid import combinations
from tuning.space import SPACES, Range, choose_rows, given_values, make_space, settings_of


def sampled(space, count=60):
    oracle = keras_tuner.oracles.RandomSearchOracle(
        objective=keras_tuner.Objective("x", "min"), hyperparameters=space, seed=1
    )
    return [oracle._random_values() for _ in range(count)]


@pytest.mark.parametrize("name", [name for name in SPACES if name != "none"])
def test_every_sample_is_a_valid_run(name):
    for values in sampled(make_space(choose_rows(name), FitConfig())):
        validate(with_settings(FitConfig(), settings_of(values)))


def test_settings_exist_only_where_they_mean_something():
    seen = set()
    for values in sampled(make_space(choose_rows("all"), FitConfig()), 200):
        settings = settings_of(values)
        seen |= set(settings)
        assert ("loss.vat_xi" in settings) == values["use_vat"]
        assert (settings.get("loss.lambda_vat") == 0) != values["use_vat"]
        assert (settings.get("loss.lambda_auc") == 0) != values["use_auc"]
        assert ("optimizer.weight_decay" in settings) == (settings["optimizer.name"] == "adamw")
        assert ("optimizer.momentum" in settings) == (settings["optimizer.name"] == "sgd")
        assert ("training.shift" in settings) == settings["training.augment"]
        high = 0.3 if settings["optimizer.name"] == "sgd" else 1e-2
        assert settings["optimizer.learning_rate"] <= high
        assert settings["model.depth"] in (
            (2, 4, 6) if settings["model.network"] == "complex" else (1, 2, 3)
        )
    assert "loss.lambda_ce" not in seen
    assert seen == {row.flag for row in SPACES["all"]} - {"use_auc", "use_vat"}


def test_conditions_on_settings_that_are_not_searched_come_from_the_run():
    rows = choose_rows("training", fix=["optimizer.name"])
    config = FitConfig(optimizer=OptimizerConfig(name="sgd"))
    names = {hp.name for hp in make_space(rows, config).space}
    assert "optimizer.learning_rate@sgd" in names
    assert "optimizer.weight_decay" not in names
    rows = choose_rows("none", vary=["loss.vat_epsilon"])
    assert not make_space(rows, FitConfig()).space[0].conditions
    with pytest.raises(InputError, match=r"vat_epsilon"):
        make_space(rows, with_settings(FitConfig(), {"loss.lambda_vat": 0.0}))


def test_all_normalisations_are_searched():
    row = next(row for row in choose_rows("architecture") if row.flag == "model.normalisation")
    assert set(row.values) == set(NORMALISATIONS)


@pytest.mark.parametrize("network", ["compact", "residual", "complex"])
@pytest.mark.parametrize("name", [name for name in SPACES if name != "none"])
def test_settings_as_given_are_a_trial(name, network):
    config = with_settings(FitConfig(), {"model.network": network, "optimizer.momentum": 0.5})
    space = make_space(choose_rows(name), config)
    values = given_values(space, config)
    for flag, value in settings_of(values).items():
        # Null is the network's own, which a trial spells out.
        assert lookup(config, flag) in (value, None), flag
    if name == "architecture":
        own = NETWORKS[network]
        assert values["model.dropout"] == own.defaults.dropout
        assert values["model.normalisation"] == own.normalisation
        name_of_depth = "model.depth@complex" if network == "complex" else "model.depth"
        expected = (name_of_depth, own.defaults.depth)
        assert [item for item in values.items() if "depth" in item[0]] == [expected]
        default, spelled = (
            build_classifier((29, 29, 3), **asdict(c.model))
            for c in (config, with_settings(config, settings_of(values)))
        )
        assert [w.shape for w in spelled.weights] == [w.shape for w in default.weights]


def test_settings_as_given_may_switch_a_term_off_or_lie_outside():
    config = with_settings(FitConfig(), {"loss.lambda_vat": 0.0})
    values = given_values(make_space(choose_rows("losses"), config), config)
    assert values == {
        "use_auc": True,
        "loss.lambda_auc": 0.1,
        "loss.auc_margin": 0.25,
        "use_vat": False,
    }
    config = with_settings(FitConfig(), {"loss.lambda_auc": 50.0})
    assert given_values(make_space(choose_rows("losses"), config), config) is None
    config = with_settings(FitConfig(), {"training.batch_size": 48})
    assert given_values(make_space(choose_rows("training"), config), config) is None


def test_a_switch_needs_something_to_switch():
    config = with_settings(FitConfig(), {"loss.lambda_vat": 0.0})
    rows = choose_rows("losses", fix=["loss.lambda_vat"])
    with pytest.raises(InputError, match=r"--loss\.lambda_vat: expected a weight above 0"):
        make_space(rows, config)
    rows = choose_rows("losses", fix=["loss.lambda_vat", "use_vat"])
    assert not [hp for hp in make_space(rows, config).space if "vat" in hp.name]


def test_names_are_checked():
    for name in ("loss.lambda_ce", "training.minority_share", "training.labelled_share"):
        assert name not in [row.name for row in choose_rows("all")]
        assert name in [row.name for row in choose_rows("losses", vary=[name])]
    with pytest.raises(InputError, match=r"--vary: expected one of .*lambda_ce.*, got 'lamda'"):
        choose_rows("losses", vary=["lamda"])
    with pytest.raises(InputError, match="at least one setting"):
        choose_rows("none")


def test_a_grid_has_every_combination_and_only_those():
    assert Range(0.01, 1.0, log=True).points(3) == [0.01, 0.1, 1.0]
    assert Range(1, 3).points(5) == [1, 2, 3]
    rows = choose_rows("none", vary=["use_vat", "loss.vat_epsilon", "loss.vat_iterations"])
    space = make_space(rows, FitConfig(), grid_points=3)
    tried = [settings_of(values) for values in combinations(space)]
    assert len(tried) == 3 * 2 + 1
    assert {"loss.lambda_vat": 0.0} in tried


@pytest.mark.parametrize("values", sampled(make_space(choose_rows("architecture"), FitConfig()), 3))
def test_sampled_networks_build(values):
    model = with_settings(FitConfig(), settings_of(values)).model
    assert isinstance(model, ModelConfig)
    assert build_classifier((29, 29, 3), **vars(model)).output_shape == (None, 2)
