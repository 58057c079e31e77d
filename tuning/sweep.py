"""A sweep from its settings to its results."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import keras_tuner

from rbkeras import __version__
from rbkeras.config import ModelConfig, Policy
from rbkeras.data.records import open_records
from rbkeras.errors import InputError
from rbkeras.file_states import checksum
from rbkeras.files import whole_file
from rbkeras.locks import alone
from rbkeras.models.classifier import build_classifier
from rbkeras.resume import claim
from tuning.cost import multiply_adds
from tuning.hparams import write_hparams
from tuning.messages import announce, conclude, report
from tuning.page import write_page
from tuning.parts import check_parts
from tuning.plan import Plan, read_results, write_plan
from tuning.results import best_result, trials_table, write_best
from tuning.space import choose_rows, given_values, make_space
from tuning.trial import do_trial
from tuning.tuners import SCORE, Limits, SweepTuner, make_oracle


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """A sweep's settings.

    Attributes
    ----------
    plan
        How a trial is done.
    policy
        What `best.yaml` says about suspects; trials without a table keep labels as given.
    space, vary, fix
        As in `tuning.space.choose_rows`.
    tuner
        One of `tuning.tuners.TUNERS`.
    grid_points
        Values of each range in a grid.
    limits
        When the search ends.
    process_per_trial
        Do each trial in a process of its own.
    max_multiply_adds
        Networks that need more for a stamp are not tried; None tries all.
    """

    plan: Plan
    policy: Policy
    space: str
    vary: tuple[str, ...]
    fix: tuple[str, ...]
    tuner: str
    grid_points: int
    limits: Limits
    process_per_trial: bool
    max_multiply_adds: float | None = None

    @property
    def folder(self) -> Path:
        """The sweep's folder."""
        return self.plan.folder

    @cached_property
    def hyperparameters(self) -> keras_tuner.HyperParameters:
        """What is searched."""
        rows = choose_rows(self.space, vary=self.vary, fix=self.fix)
        points = self.grid_points if self.tuner == "grid" else None
        return make_space(rows, self.plan.config, grid_points=points)

    @cached_property
    def as_given(self) -> dict[str, Any] | None:
        """Hyper-parameter values of the command's own settings, the first trial; None has none.

        A grid has its order, and hyperband compares what it has drawn together.
        """
        if self.tuner in ("grid", "hyperband"):
            return None
        return given_values(self.hyperparameters, self.plan.config)

    def settings(self) -> dict[str, Any]:
        """Collect what makes trials comparable: none of it may change when a sweep goes on."""
        config = self.plan.config
        common = asdict(replace(config, out=Path("."), overwrite=False, data=None))
        for name in ("simulation", "decision", "test_real", "test_bogus"):
            common.pop(name)
        files = {"table": config.label_errors.table, "verdicts": config.verdicts}
        common["label_errors"] = {"group": config.label_errors.group}
        common["training"].pop("cache")
        return {
            "rbkeras": __version__,
            "records": open_records(config.records_directory).fingerprint,
            "files": {name: path and checksum(path) for name, path in files.items()},
            "common": common | {"verdicts": None},
            "policy": self.policy,
            "space": self.hyperparameters.get_config()["space"],
            "tuner": self.tuner,
            "objective": self.plan.objective,
            "folds": self.plan.folds,
            "executions": self.plan.executions,
            "abandon": self.plan.abandon,
            "cost": self.plan.cost,
            "max_multiply_adds": self.max_multiply_adds,
        }

    def affords(self, values: dict[str, Any]) -> bool:
        """Tell whether the network of these values is within the budget."""
        model = self.plan.configured(values).model
        if model not in self._arithmetic:
            self._arithmetic[model] = self._needs(model)
        most = self.max_multiply_adds
        return most is None or self._arithmetic[model] <= most

    @cached_property
    def _arithmetic(self) -> dict[ModelConfig, float]:
        return {}

    def _needs(self, model: ModelConfig) -> float:
        """Multiply-adds for a stamp; 0 for a network of which its trial says what is wrong."""
        shape = open_records(self.plan.config.records_directory).stamp_shape
        try:
            return multiply_adds(build_classifier(shape, **asdict(model)))
        except ValueError:
            return 0

    def check_budget(self) -> None:
        """See that some network is affordable, where all trials have the same.

        Raises
        ------
        InputError
            Naming the flag, and what the network needs.
        """
        if self.max_multiply_adds is None:
            return
        searched = [parameter.name for parameter in self.hyperparameters.space]
        if not any(name.startswith("model.") for name in searched) and not self.affords({}):
            raise InputError(
                f"--max_multiply_adds: expected at least "
                f"{self._arithmetic[self.plan.config.model]:,.0f}, which the network of every "
                f"trial needs, got {self.max_multiply_adds:g}"
            )


def start(sweep: Sweep) -> None:
    """Claim the folder for these settings.

    Raises
    ------
    InputError
        When the folder holds a sweep with other settings.
    """
    names = ("trials", "keras_tuner", "tensorboard", "trials.csv", "best.yaml", "sweep.html")
    products = [sweep.folder / name for name in names]
    overwrite = sweep.plan.config.overwrite
    claim(sweep.folder / "sweep.json", sweep.settings(), products=products, overwrite=overwrite)
    write_plan(sweep.plan)


def work_for_chief(sweep: Sweep) -> int:
    """Do trials that a chief hands out; the results are its business."""
    marker = sweep.folder / "sweep.json"
    claim(marker, sweep.settings(), products=[], overwrite=False)
    search(sweep, chief=False)
    return 0


def run_sweep(sweep: Sweep, *, by: Callable[[], int] | None = None, say: bool = True) -> int:
    """Search, write the results, and return the exit status: 1 if no trial succeeded.

    Parameters
    ----------
    sweep
        What to do.
    by
        Does the trials and returns an exit status; None does them here.
    say
        Print what came out.
    """
    sweep.check_budget()
    check_parts(sweep.plan, open_records(sweep.plan.config.records_directory))
    status = 0
    with ExitStack() as held:
        # A second command waits for the first, whose state it then takes up, or replaces.
        held.enter_context(alone(sweep.folder / "keras_tuner"))
        start(sweep)
        if by is not None:
            # The chief holds it from here on.
            held.close()
        try:
            if by is None:
                search(sweep)
            else:
                status = by()
        finally:
            # An interrupted sweep has results too.
            results = read_results(sweep.plan)
            if results:
                write_results(sweep, results)
    if not say:
        return status
    return conclude(results, sweep.plan, sweep.limits, as_given=sweep.as_given) or status


def search(sweep: Sweep, *, chief: bool = True) -> None:
    """Do trials until a limit is reached; a worker of a chief leaves state and table to it."""
    plan, limits = sweep.plan, replace(sweep.limits, first=sweep.as_given)
    if sweep.max_multiply_adds is not None:
        limits = replace(limits, accepts=sweep.affords)
    oracle = make_oracle(
        sweep.tuner,
        sweep.hyperparameters,
        limits=limits,
        seed=plan.config.seed,
        max_epochs=plan.config.training.epochs,
    )

    def evaluate(trial: str, values: dict[str, Any]) -> dict[str, Any]:
        announce(trial, values, sweep.limits)
        result = do_trial(plan, trial, values, own_process=sweep.process_per_trial)
        if result["status"] != "failed":
            score = result.get("projected", result["score"])
            result[SCORE] = plan.goal.for_oracle(score, result["n_bogus"])
        return result

    def after(result: dict[str, Any]) -> None:
        results = read_results(plan)
        if chief:
            _write_table(sweep, results)
        report(result, results, plan)

    try:
        folder = str(sweep.folder)
        SweepTuner(oracle, folder=folder, evaluate=evaluate, after=after).search()
    except keras_tuner.errors.FatalError as error:
        # What KerasTuner would have taken for a failed trial.
        raise error.__cause__ or error from None


def _write_table(sweep: Sweep, results: list[dict[str, Any]]) -> None:
    with whole_file(sweep.folder / "trials.csv") as temporary:
        trials_table(results, sweep.plan).to_csv(temporary, index=False)


def write_results(sweep: Sweep, results: list[dict[str, Any]]) -> None:
    """Write table, best settings, TensorBoard's HParams and the page."""
    _write_table(sweep, results)
    best = best_result(results, sweep.plan)
    if best is not None:
        write_best(sweep.folder / "best.yaml", best, sweep.plan, policy=sweep.policy)
    write_hparams(sweep.folder / "tensorboard", results, sweep.hyperparameters, sweep.plan)
    write_page(
        sweep.folder / "sweep.html",
        results,
        sweep.plan,
        begun=_begun(sweep),
        as_given=sweep.as_given,
    )


def _begun(sweep: Sweep) -> int:
    """Count the trials that were begun but have no result yet."""
    paths = list((sweep.folder / "trials").glob("*/values.json"))
    return sum(not path.with_name("result.json").exists() for path in paths)


def check_sweep(sweep: Sweep) -> None:
    """See that numbers are in range before anything is done.

    Raises
    ------
    InputError
        Naming the flag.
    """
    at_least = {
        "max_trials": (sweep.limits.max_trials, 1),
        "max_failures": (sweep.limits.failures, 1),
        "folds": (sweep.plan.folds, 1),
        "executions_per_trial": (sweep.plan.executions, 1),
        "grid_points": (sweep.grid_points, 2),
    }
    for flag, (value, lowest) in at_least.items():
        if value < lowest:
            raise InputError(f"--{flag}: expected at least {lowest}, got {value}")
    if sweep.limits.hours is not None and not sweep.limits.hours > 0:
        raise InputError(f"--hours: expected a number above 0, got {sweep.limits.hours}")
    if (sweep.folder / "config.yaml").exists():
        raise InputError(f"{sweep.folder}: expected a folder for a sweep, found a run of fit")
