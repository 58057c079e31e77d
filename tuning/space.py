"""The search space: a table of settings, and what a choice of values means for a run.

A setting is searched only where it means something: VAT's with VAT on, weight decay for adamw.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

import keras_tuner
import numpy as np

from rbkeras.config import FitConfig, NetworkName, lookup
from rbkeras.errors import InputError
from rbkeras.models.backbones import NETWORKS

#: Switches that are no flags of their own: off sets this weight to 0.
SWITCHES = {"use_auc": "loss.lambda_auc", "use_vat": "loss.lambda_vat"}


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`; whole ones if both ends are."""

    low: float
    high: float
    log: bool = False

    def points(self, count: int) -> list[float]:
        """Evenly spread values for a grid, both ends included."""
        space = np.geomspace if self.log else np.linspace
        values = space(self.low, self.high, count)
        if self.whole:
            return sorted({round(value) for value in values})
        return [float(f"{value:.4g}") for value in values]

    @property
    def whole(self) -> bool:
        """Whether only whole numbers are meant."""
        return isinstance(self.low, int) and isinstance(self.high, int)


@dataclass(frozen=True)
class Row:
    """A setting: its flag, what it may be, and where it means something.

    What follows '@' in a name only tells apart the rows of one flag that has other ranges under
    other conditions.
    """

    name: str
    values: Range | Sequence[Any]
    where: tuple[str, Sequence[Any]] | None = None

    @property
    def flag(self) -> str:
        """The flag of `fit` that it sets."""
        return flag_of(self.name)


def flag_of(name: str) -> str:
    """Give the flag of `fit` that a hyper-parameter of this name sets."""
    return name.partition("@")[0]


ON = (True,)
#: Searched only where --vary names them.
ASKED_FOR = (
    # Only the ratios of the three weights matter to adam and adamw.
    Row("loss.lambda_ce", Range(0.03, 3.0, log=True)),
    # Surveys without a rare class, and with labels for most stamps, do not know of these.
    Row("training.minority_share", (0.0, 0.125, 0.25, 0.5)),
    Row("training.labelled_share", (0.0, 0.25, 0.5, 0.75)),
)
LOSSES = (
    Row("use_auc", (True, False)),
    Row("loss.lambda_auc", Range(0.01, 10.0, log=True), ("use_auc", ON)),
    Row("loss.auc_margin", Range(0.0, 2.0), ("use_auc", ON)),
    Row("use_vat", (True, False)),
    Row("loss.lambda_vat", Range(0.03, 10.0, log=True), ("use_vat", ON)),
    Row("loss.vat_epsilon", Range(0.03, 3.0, log=True), ("use_vat", ON)),
    Row("loss.vat_xi", Range(0.1, 10.0, log=True), ("use_vat", ON)),
    Row("loss.vat_iterations", (1, 2), ("use_vat", ON)),
    Row("loss.vat_share", (0.125, 0.25, 0.5, 1.0), ("use_vat", ON)),
)
ARCHITECTURE = (
    Row("model.network", get_args(NetworkName)),
    Row("model.width", Range(0.25, 2.0, log=True)),
    Row("model.depth", (1, 2, 3), ("model.network", ("compact", "simple", "middle", "residual"))),
    Row("model.depth@complex", (2, 4, 6), ("model.network", ("complex",))),
    Row("model.kernel", (3, 5, 7)),
    Row("model.stride", (1, 2)),
    Row("model.padding", ("same", "valid")),
    Row("model.excitation", (True, False), ("model.network", ("residual", "complex"))),
    Row(
        "model.normalisation",
        (
            "zscore_asinh",
            "minmax",
            "clipped_zscore",
            "asinh_minmax",
            "minmax_and_asinh",
            "noise_asinh",
        ),
    ),
    Row("model.dropout", Range(0.0, 0.5)),
)
ADAPTIVE = ("optimizer.name", ("adamw", "adam"))
SGD = ("optimizer.name", ("sgd",))
TRAINING = (
    Row("optimizer.name", ("adamw", "adam", "sgd")),
    Row("optimizer.learning_rate", Range(1e-4, 1e-2, log=True), ADAPTIVE),
    Row("optimizer.learning_rate@sgd", Range(1e-3, 0.3, log=True), SGD),
    Row("optimizer.momentum", Range(0.0, 0.95), SGD),
    Row("optimizer.weight_decay", Range(1e-4, 0.1, log=True), ("optimizer.name", ("adamw",))),
    Row("optimizer.schedule", ("cosine", "constant")),
    Row("optimizer.warmup", Range(0.0, 0.2), ("optimizer.schedule", ("cosine",))),
    Row("training.batch_size", (32, 64, 128, 256)),
    Row("training.augment", (True, False)),
    Row("training.shift", (0, 1, 2), ("training.augment", ON)),
)
#: Sub-spaces by name.
SPACES: dict[str, tuple[Row, ...]] = {
    "losses": LOSSES,
    "architecture": ARCHITECTURE,
    "training": TRAINING,
    "all": (*LOSSES, *ARCHITECTURE, *TRAINING),
    "none": (),
}
_ROWS = {row.name: row for row in (*ASKED_FOR, *SPACES["all"])}


def choose_rows(
    space: str, *, vary: Sequence[str] = (), fix: Sequence[str] = ()
) -> tuple[Row, ...]:
    """Select the rows of a sub-space, with those of `vary` and without those of `fix`.

    Parameters
    ----------
    space
        One of `SPACES`.
    vary, fix
        Flags of `fit`, or the switches 'use_auc' and 'use_vat'; a flag means all its rows.

    Raises
    ------
    InputError
        When a name is unknown, or nothing is left to search.
    """
    known = {row.flag for row in _ROWS.values()}
    for option, names in (("vary", vary), ("fix", fix)):
        for name in names:
            if name not in known:
                raise InputError(
                    f"--{option}: expected one of {', '.join(sorted(known))}, got {name!r}"
                )
    wanted = {row.name for row in SPACES[space]}
    wanted |= {row.name for row in _ROWS.values() if row.flag in vary}
    chosen = tuple(r for r in _ROWS.values() if r.name in wanted and r.flag not in fix)
    if not chosen:
        raise InputError(f"--space {space}: expected at least one setting to search, found none")
    return chosen


def make_space(
    rows: Sequence[Row], config: FitConfig, *, grid_points: int | None = None
) -> keras_tuner.HyperParameters:
    """Turn rows into KerasTuner's hyper-parameters.

    Parameters
    ----------
    rows
        As `choose_rows` returns them, conditions ahead of what depends on them.
    config
        Settles the conditions on settings that are not searched themselves.
    grid_points
        Values of each range, for a grid; None leaves ranges continuous.

    Raises
    ------
    InputError
        When every row depends on a condition that `config` does not meet, or a switch has nothing
        to switch.
    """
    names = {row.name for row in rows}
    for switch, weight in SWITCHES.items():
        if switch in names and weight not in names and not lookup(config, weight) > 0:
            raise InputError(
                f"--{weight}: expected a weight above 0 where {switch} is searched and it is not, "
                f"got 0; --fix {switch} too"
            )
    space = keras_tuner.HyperParameters()
    for row in rows:
        if row.where is None:
            _add(space, row, grid_points)
            continue
        parent, meaningful = row.where
        if parent in names:
            with space.conditional_scope(parent, list(meaningful)):
                _add(space, row, grid_points)
        elif _given(config, parent) in meaningful:
            _add(space, row, grid_points)
    if not space.space:
        raise InputError(
            f"expected a setting to search that the others leave a meaning, found only "
            f"{', '.join(sorted(names))}"
        )
    return space


def _given(config: FitConfig, name: str) -> Any:
    if name in SWITCHES:
        return lookup(config, SWITCHES[name]) > 0
    value = lookup(config, name)
    section, _, option = name.partition(".")
    if section == "model" and value is None:
        # The network's own.
        network = NETWORKS[config.model.network]
        return (
            network.normalisation
            if option == "normalisation"
            else getattr(network.defaults, option)
        )
    return value


def _add(space: keras_tuner.HyperParameters, row: Row, grid_points: int | None) -> None:
    values = row.values
    if isinstance(values, Range) and grid_points is not None:
        values = values.points(grid_points)
    if isinstance(values, Range):
        add = space.Int if values.whole else space.Float
        add(row.name, values.low, values.high, sampling="log" if values.log else "linear")
    elif all(isinstance(value, bool) for value in values):
        space.Boolean(row.name, default=bool(values[0]))
    else:
        space.Choice(row.name, list(values))


def given_values(space: keras_tuner.HyperParameters, config: FitConfig) -> dict[str, Any] | None:
    """Translate settings to hyper-parameter values, those that are active: a trial as they are.

    Returns
    -------
    dict or None
        None where a setting lies outside the range in which it is searched.
    """
    values: dict[str, Any] = {}
    for parameter in space.space:
        if not all(condition.is_active(values) for condition in parameter.conditions):
            continue
        value = _given(config, flag_of(parameter.name))
        if hasattr(parameter, "min_value"):
            inside = parameter.min_value <= value <= parameter.max_value
        else:
            inside = value in parameter.values
        if not inside:
            return None
        values[parameter.name] = value
    return values


def settings_of(values: Mapping[str, Any]) -> dict[str, Any]:
    """Translate hyper-parameter values, those that are active, to settings by flag name.

    KerasTuner's own values, such as Hyperband's 'tuner/epochs', are passed over.
    """
    settings: dict[str, Any] = {}
    for name, value in values.items():
        flag = flag_of(name)
        if flag in SWITCHES:
            if not value:
                settings[SWITCHES[flag]] = 0.0
        elif "/" not in flag:
            settings[flag] = value
    return settings
