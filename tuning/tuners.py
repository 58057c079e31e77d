"""KerasTuner's searches, made to end in time, to survive being killed, and to hide no failure."""

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import keras_tuner
import tensorflow as tf
from keras_tuner import oracles
from keras_tuner.engine import base_tuner
from keras_tuner.errors import FailedTrialError, FatalError
from keras_tuner.src import config as keras_tuner_config
from keras_tuner.src.engine import conditions

from rbkeras.errors import InputError, first_line
from rbkeras.files import whole_file
from tuning.grid import GridOracle
from tuning.words import TUNER_NAMES

# KerasTuner 1.4 prints every condition that it sends from one process to another.
conditions.print = lambda *_: None
# And the traceback of every failure, which is in the trial's folder here.
keras_tuner_config.DEBUG = False
#: Name under which trials report to the oracle, which minimises it.
SCORE = "search_score"
_NEVER = 10**9
#: Proposals refused one after another before a search takes it that nothing is acceptable.
_REFUSALS = 500


@dataclass(frozen=True, kw_only=True)
class Limits:
    """When a search ends.

    Attributes
    ----------
    max_trials
        Trials of the whole search, also over several calls.
    hours
        No trial is begun later than this after the start; None has no limit.
    failures
        Trials that fail one after another before the search is given up.
    accepts
        Whether values are worth a trial; None accepts all. What is not accepted is no trial.
    first
        Values of the first trial, if they are accepted; None leaves that one to the tuner, too.
    """

    max_trials: int
    hours: float | None = None
    failures: int = 5
    accepts: Callable[[dict[str, Any]], bool] | None = None
    first: dict[str, Any] | None = None


@contextlib.contextmanager
def _reading_state(folder: str) -> Iterator[None]:
    """Turn whatever damaged files make KerasTuner raise into an `InputError`."""
    try:
        yield
    except (ValueError, KeyError, TypeError, RuntimeError, tf.errors.NotFoundError) as error:
        raise InputError(
            f"{folder}: expected the state of a search, but it is damaged ({first_line(error)}); "
            "--overwrite begins anew"
        ) from None


class _Careful(keras_tuner.Oracle):
    """Mixed into KerasTuner's oracles."""

    limits: Limits
    started: float
    ended_before: int
    _retry_queue: list[str]

    def limit(self, limits: Limits) -> None:
        """Set the limits; the clock of `hours` starts now."""
        self.limits, self.started, self.ended_before = limits, time.monotonic(), 0
        self.max_trials = limits.max_trials
        # Counted here instead: KerasTuner raises inside a lock, which other workers then wait for.
        self.max_consecutive_failed_trials = _NEVER
        self.verbose = 0

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """Propose values, unless a limit is reached."""
        hours = self.limits.hours
        if hours is not None and time.monotonic() - self.started > 3600 * hours:
            return {"status": "STOPPED", "values": None}
        # Failures of an earlier call may have had causes that are mended.
        ended = self.end_order[self.ended_before :]
        last = [self.trials[trial].status for trial in ended[-self.limits.failures :]]
        if len(last) == self.limits.failures and set(last) == {"FAILED"}:
            return {"status": "STOPPED", "values": None}
        first = self.limits.first
        if first is not None and not self.trials and self.accepts(first):
            return {"status": "RUNNING", "values": first}
        response = self._acceptable(super().populate_space(trial_id))
        if response["status"] == "IDLE":
            # KerasTuner asks again at once, and would keep a processor busy with it.
            time.sleep(0.2)
        return response

    def accepts(self, values: dict[str, Any]) -> bool:
        """Tell whether values are worth a trial."""
        return self.limits.accepts is None or self.limits.accepts(values)

    def _is_new_and_accepted(self, values: dict[str, Any]) -> bool:
        # A Gaussian process may propose over again what it thinks best; others look themselves.
        again = isinstance(self, oracles.BayesianOptimizationOracle) and self._duplicate(values)
        return not again and self.accepts(values)

    def _acceptable(self, response: dict[str, Any]) -> dict[str, Any]:
        """Put random values in place of unacceptable ones; a model would propose them again."""
        for _ in range(_REFUSALS):
            if response["status"] != "RUNNING" or self._is_new_and_accepted(response["values"]):
                return response
            drawn = self._random_values()
            if drawn is None:
                break
            # Hyperband's own words about rounds and epochs stay.
            own = {k: v for k, v in response["values"].items() if k.startswith("tuner/")}
            response = {**response, "values": drawn | own}
        return {"status": "STOPPED", "values": None}

    def save(self) -> None:
        """Write the state, whole or not at all."""
        with whole_file(self._get_oracle_fname()) as temporary:
            temporary.write_text(json.dumps(self.get_state()))

    def _save_trial(self, trial: Any) -> None:
        with whole_file(f"{self._get_trial_dir(trial.trial_id)}/trial.json") as temporary:
            temporary.write_text(json.dumps(trial.get_state()))

    def reload(self) -> None:
        """Read the state; begin again what was begun but is in no list because of a kill.

        Raises
        ------
        InputError
            When it is damaged.
        """
        with _reading_state(self._project_dir):
            super().reload()
            # Trials have folders: a name that leads elsewhere would have others removed.
            if not all(str(trial).isdecimal() for trial in self.trials):
                raise ValueError("a trial whose name is no number")
            for trial in {*self.start_order, *self.end_order, *self._retry_queue}:
                _ = self.trials[trial]
        # KerasTuner saves a trial before it takes down that its values have been proposed.
        for trial in self.trials.values():
            if trial.trial_id not in self._id_to_hash:
                self._record_values(trial)
        # KerasTuner saves the end of a trial before it takes it off the ongoing ones.
        self._retry_queue = [trial for trial in self._retry_queue if trial not in self.end_order]
        listed = {*self.end_order, *self._retry_queue}
        self._retry_queue += sorted(set(self.trials) - listed, reverse=True)
        self.start_order += sorted(set(self.trials) - set(self.start_order))
        self.ended_before = len(self.end_order)


class _Random(_Careful, oracles.RandomSearchOracle):
    pass


class _Bayesian(_Careful, oracles.BayesianOptimizationOracle):
    pass


class _Hyperband(_Careful, oracles.HyperbandOracle):
    pass


class _Grid(_Careful, GridOracle):
    pass


def make_oracle(
    name: str,
    space: keras_tuner.HyperParameters,
    *,
    limits: Limits,
    seed: int,
    max_epochs: int,
) -> keras_tuner.Oracle:
    """Build an oracle that minimises `SCORE`.

    Parameters
    ----------
    name
        One of `tuning.words.TUNER_NAMES`.
    space
        What is searched.
    limits
        When the search ends.
    seed
        Of the proposals.
    max_epochs
        Epochs of hyperband's longest trainings.
    """
    options: dict[str, Any] = {
        "objective": keras_tuner.Objective(SCORE, "min"),
        "hyperparameters": space,
        # KerasTuner takes 0 for none.
        "seed": seed + 1,
    }
    oracle: _Careful
    if name == "hyperband":
        oracle = _Hyperband(max_epochs=max_epochs, hyperband_iterations=_NEVER, **options)
    elif name == "bayesian":
        # Its own default, three per dimension, is more than most searches have trials.
        first = min(max(len(space.space) + 1, 5), max(limits.max_trials // 2, 3))
        oracle = _Bayesian(num_initial_points=first, **options)
    elif name in ("random", "grid"):
        oracle = {"random": _Random, "grid": _Grid}[name](**options)
    else:
        raise InputError(f"--tuner: expected one of {', '.join(TUNER_NAMES)}, got {name!r}")
    oracle.limit(limits)
    return oracle


class SweepTuner(base_tuner.BaseTuner):
    """Runs trials and tells the oracle; what they do is not its business.

    Parameters
    ----------
    oracle
        As `make_oracle` returns it.
    folder
        Where KerasTuner keeps its state.
    evaluate
        From a trial's number and values to its result, with status, error and what the oracle
        minimises under `SCORE`.
    after
        Called with each result.
    """

    def __init__(
        self,
        oracle: keras_tuner.Oracle,
        *,
        folder: str,
        evaluate: Callable[[str, dict[str, Any]], dict[str, Any]],
        after: Callable[[dict[str, Any]], None],
    ):
        self.evaluate, self.after = evaluate, after
        self._result: dict[str, Any] = {}
        super().__init__(oracle, directory=folder, project_name="keras_tuner")

    def on_search_begin(self) -> None:
        """Save at once, so that a search killed in its first trial goes on."""
        self.save()

    def run_trial(self, trial: Any, *args: Any, **kwargs: Any) -> dict[str, float]:
        """Do a trial; an error outside of it ends the search instead of failing the trial."""
        # What comes from a chief also has values that mean nothing beside the others.
        trial.hyperparameters.ensure_active_values()
        try:
            result = self.evaluate(trial.trial_id, dict(trial.hyperparameters.values))
        except Exception as error:
            raise FatalError(str(error)) from error
        self._result = result
        if result["status"] == "failed":
            raise FailedTrialError(result["error"])
        return {SCORE: result[SCORE]}

    def on_trial_end(self, trial: Any) -> None:
        """Tell the oracle, then whoever wants to know."""
        super().on_trial_end(trial)
        self.after(self._result)

    def reload(self) -> None:
        """Read the state; `InputError` where it is damaged."""
        with _reading_state(self.project_dir):
            super().reload()

    def save(self) -> None:
        """Save oracle and tuner, whole or not at all."""
        if not self._is_worker():
            self.oracle.save()
        with whole_file(self._get_tuner_fname()) as temporary:
            temporary.write_text(json.dumps(self.get_state()))

    def _get_tuner_fname(self) -> str:
        # One name for a lone search and for a chief, so that either goes on with the other's.
        name = f"worker-{self.tuner_id}" if self._is_worker() else "tuner"
        return f"{self.project_dir}/{name}.json"
