"""What all trials of a sweep have in common, as files that any process can read."""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from rbkeras.config import FitConfig
from rbkeras.files import read_json, write_json
from rbkeras.options import make_parser, parse_config, with_settings, write_config
from tuning.objectives import OBJECTIVES, Objective
from tuning.space import settings_of

_PLAN, _CONFIG, _SPEC, RESULT_FILE = "plan.json", "settings.yaml", "values.json", "result.json"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How a trial is done.

    Attributes
    ----------
    config
        Settings of every trial but those that are searched; its `out` is the sweep's folder.
    objective
        One of `OBJECTIVES`.
    folds
        Parts that take turns as validation part; 1 holds one part out for good.
    executions
        Repeats of all that with other seeds.
    abandon
        Give hopeless trials up after some of their folds.
    cost
        Count multiply-adds and measure speed.
    """

    config: FitConfig
    objective: str = "fpr90"
    folds: int = 3
    executions: int = 1
    abandon: bool = True
    cost: bool = False

    @property
    def folder(self) -> Path:
        """The sweep's folder."""
        return self.config.out

    @property
    def goal(self) -> Objective:
        """What the search goes by."""
        return OBJECTIVES[self.objective]

    @property
    def parts(self) -> int:
        """Number of trainings of a trial."""
        return self.folds * self.executions

    def trial_folder(self, trial: str) -> Path:
        """Give the folder of a trial."""
        return self.folder / "trials" / trial

    def configured(self, values: dict[str, Any]) -> FitConfig:
        """Give the settings of a trial with these hyper-parameter values."""
        settings = settings_of(values)
        if "tuner/epochs" in values:
            settings["training.epochs"] = values["tuner/epochs"]
        return with_settings(self.config, settings)


def write_plan(plan: Plan) -> None:
    """Write the plan into the sweep's folder."""
    write_config(plan.folder / _CONFIG, plan.config)
    options = asdict(plan)
    options.pop("config")
    write_json(plan.folder / _PLAN, options)


def read_plan(folder: Path) -> Plan:
    """Read what `write_plan` wrote."""
    config = replace(read_settings(folder / _CONFIG), out=folder)
    return Plan(config=config, **read_json(folder / _PLAN))


def read_settings(path: Path) -> FitConfig:
    """Read settings as `--config` would."""
    parser = make_parser(prog="rbkeras", description="", examples="")
    return parse_config(parser, ["--config", str(path)])[0]


def write_values(plan: Plan, trial: str, values: dict[str, Any]) -> None:
    """Write a trial's hyper-parameter values into its folder."""
    write_json(plan.trial_folder(trial) / _SPEC, values)


def read_values(plan: Plan, trial: str) -> dict[str, Any] | None:
    """Read a trial's hyper-parameter values; None if it has not been begun."""
    path = plan.trial_folder(trial) / _SPEC
    return read_json(path) if path.exists() else None


def read_results(plan: Plan) -> list[dict[str, Any]]:
    """Results of all trials that have ended, in order of their numbers."""
    paths = (plan.folder / "trials").glob(f"*/{RESULT_FILE}")
    return [read_json(path) for path in sorted(paths, key=lambda path: int(path.parent.name))]
