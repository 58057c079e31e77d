"""One trial, in this process or in one of its own, which is `tuning.own_trial`."""

import os
import shutil
import signal
import subprocess
import sys
import time
import traceback
from dataclasses import replace
from typing import Any

import numpy as np

from rbkeras.cli import UNWRITABLE
from rbkeras.data.records import open_records
from rbkeras.errors import InputError, WorkError
from rbkeras.files import plain, read_json, whole_file, write_json
from rbkeras.locks import alone
from rbkeras.pieces import END_WITH_PARENT
from rbkeras.rundir import Run
from rbkeras.validation import validate
from tuning.objectives import hopeless, projected
from tuning.parts import split, targets_of, train_part
from tuning.plan import (
    RESULT_FILE,
    Plan,
    read_results,
    read_values,
    write_values,
)

#: Other trials that it takes to give one up.
_LEAST_TO_COMPARE = 3
_MEANS = ("fpr_at_tpr90", "fpr_at_tpr90_tied", "auc", "n_real", "n_bogus")


def do_trial(
    plan: Plan, trial: str, values: dict[str, Any], *, own_process: bool = False
) -> dict[str, Any]:
    """Do a trial, unless it is done already with these values.

    Parameters
    ----------
    plan, trial, values
        What to do, the trial's number and its hyper-parameter values.
    own_process
        Do it in a process of its own, whose memory is given back when it ends.

    Returns
    -------
    dict
        trial, values, status ('completed', 'abandoned' or 'failed'), error, score (by
        `plan.goal`, over the parts that were trained), score_error (standard error over the parts,
        where there are several), the means of all figures, seconds, parts, ended (when: seconds
        since 1970); of an abandoned one
        `projected`, its score over all parts as estimated. Also in `result.json`.
    """
    folder = plan.trial_folder(trial)
    if folder.exists() and read_values(plan, trial) != plain(values):
        shutil.rmtree(folder)
    write_values(plan, trial, values)
    if own_process:
        if not (folder / RESULT_FILE).exists():
            _in_own_process(plan, trial)
    else:
        # Another process may be at it still, whose search was killed.
        with alone(folder):
            if not (folder / RESULT_FILE).exists():
                _work(plan, trial, values)
    return read_json(folder / RESULT_FILE)


def _in_own_process(plan: Plan, trial: str) -> None:
    command = [sys.executable, "-m", "tuning.own_trial", str(plan.folder.resolve()), trial]
    # Its end of this pipe tells it when this process has ended, however it did.
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, env=os.environ | {END_WITH_PARENT: "1"}
    )
    status = process.wait()
    if not (plan.trial_folder(trial) / RESULT_FILE).exists():
        if status == -signal.SIGINT:
            raise KeyboardInterrupt
        if status == 1:
            raise WorkError(f"trial {trial}: its process could not go on, for the reason above")
        how = f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
        _write(plan, trial, {"status": "failed", "error": f"the trial's process {how}"})


def _work(plan: Plan, trial: str, values: dict[str, Any]) -> None:
    try:
        outcome = _train_parts(plan, trial, values)
    except Exception as error:
        if isinstance(error, OSError) and error.errno in UNWRITABLE:
            # No fault of the trial, and the next one would fail too.
            raise
        reason = " ".join(str(error).split())[:500]
        if not isinstance(error, InputError):
            reason = f"{type(error).__name__}: {reason}"
        with whole_file(plan.trial_folder(trial) / "traceback.txt") as temporary:
            temporary.write_text(traceback.format_exc(), encoding="utf-8")
        outcome = {"status": "failed", "error": reason}
    shutil.rmtree(plan.trial_folder(trial) / "cache", ignore_errors=True)
    _write(plan, trial, outcome)


def _train_parts(plan: Plan, trial: str, values: dict[str, Any]) -> dict[str, Any]:
    config = replace(plan.configured(values), out=plan.trial_folder(trial))
    validate(config)
    run = Run(config, open_records(config.records_directory))
    figures: list[float] = []
    folders = [plan.trial_folder(trial) / "parts" / str(number) for number in range(plan.parts)]
    for number, pair in enumerate(split(plan, run, targets_of(plan, run.records))):
        figures.append(train_part(plan, run, number, *pair, folders[number])[plan.goal.figure])
        last = number + 1 == plan.parts
        # All that is known counts, also what was finished before an interruption.
        known = not last and (folders[number + 1] / "part.json").exists()
        if plan.abandon and not last and not known:
            others = _others(plan, trial, values)
            whole = [folds for folds in others if len(folds) == plan.parts]
            if whole and hopeless(plan.goal, figures, others, least=_LEAST_TO_COMPARE):
                best = min(whole, key=lambda folds: plan.goal.left(float(np.mean(folds))))
                return {"status": "abandoned", "projected": projected(plan.goal, figures, best)}
    return {"status": "completed"}


def _others(plan: Plan, trial: str, values: dict[str, Any]) -> list[list[float]]:
    """Figures, part by part, of the other trials that did not fail."""
    return [
        [part[plan.goal.figure] for part in other["parts"]]
        for other in read_results(plan)
        # A training of other length says nothing about this one.
        if other["status"] != "failed"
        and other["trial"] != trial
        and other["values"].get("tuner/epochs") == values.get("tuner/epochs")
    ]


def _write(plan: Plan, trial: str, outcome: dict[str, Any]) -> None:
    """Write the result with what its finished parts say together."""
    folder = plan.trial_folder(trial)
    paths = sorted((folder / "parts").glob("*/part.json"), key=lambda p: int(p.parent.name))
    parts = [read_json(path) for path in paths]
    values = read_values(plan, trial)
    result: dict[str, Any] = {"trial": trial, "values": values, "error": "", "score": None}
    result |= outcome | {"seconds": sum(part["seconds"] for part in parts), "parts": parts}
    result["ended"] = time.time()
    if parts:
        result |= {name: float(np.mean([part[name] for part in parts])) for name in _MEANS}
        extra = ("epochs", "parameters", "multiply_adds", "stamps_per_second")
        result |= {name: parts[0][name] for name in extra if name in parts[0]}
    if parts and outcome["status"] != "failed":
        scores = [part[plan.goal.figure] for part in parts]
        result["score"] = float(np.mean(scores))
        if len(scores) > 1:
            result["score_error"] = float(np.std(scores, ddof=1) / np.sqrt(len(scores)))
    write_json(folder / RESULT_FILE, result)
