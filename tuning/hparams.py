"""TensorBoard's HParams: what was searched, and what each trial had and reached."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras_tuner
import tensorflow as tf
from keras_tuner.engine import hyperparameters as kinds
from tensorboard.plugins.hparams import api

from tuning.plan import Plan
from tuning.space import flag_of


def write_hparams(
    folder: Path,
    results: Sequence[dict[str, Any]],
    space: keras_tuner.HyperParameters,
    plan: Plan,
) -> None:
    """Write them anew: the search in `folder` itself, a trial in each folder below.

    Failed trials are left out: they reached nothing. A hyper-parameter that had no meaning in a
    trial is shown as 0 or false.
    """
    shutil.rmtree(folder, ignore_errors=True)
    metrics = [
        api.Metric("objective", display_name=plan.goal.title),
        api.Metric("fpr_at_tpr90", display_name="FPR at TPR 0.9"),
        api.Metric("auc", display_name="AUC"),
    ]
    if plan.cost:
        metrics.append(api.Metric("multiply_adds", display_name="multiply-adds"))
    searched: dict[str, list[Any]] = {}
    for hp in space.space:
        # Rows of one flag, of which each trial has one, share an axis.
        searched.setdefault(flag_of(hp.name), []).append(hp)
    with _writing(folder):
        api.hparams_config(
            hparams=[api.HParam(flag, _domain(rows)) for flag, rows in searched.items()],
            metrics=metrics,
        )
    for result in results:
        if result["status"] == "failed":
            continue
        active = result["values"]
        values = {
            flag: next((active[hp.name] for hp in rows if hp.name in active), _nothing(rows))
            for flag, rows in searched.items()
        }
        measured = result | {"objective": result["score"]}
        with _writing(folder / result["trial"]):
            api.hparams(values, trial_id=result["trial"])
            for metric in metrics:
                name = metric.as_proto().name.tag
                if measured.get(name) is not None:
                    tf.summary.scalar(name, measured[name], step=0)


def _writing(folder: Path) -> Any:
    return tf.summary.create_file_writer(str(folder)).as_default(step=0)


def _domain(rows: Sequence[Any]) -> api.Domain:
    """Everything that a flag's axis can show."""
    absent = [_nothing(rows)] if any(hp.conditions for hp in rows) else []
    ends = (kinds.Float, kinds.Int)
    if all(isinstance(hp, ends) for hp in rows):
        low = min([hp.min_value for hp in rows] + absent)
        high = max(hp.max_value for hp in rows)
        if any(isinstance(hp, kinds.Float) for hp in rows):
            return api.RealInterval(float(low), float(high))
        return api.IntInterval(low, high)
    values = {value for hp in rows for value in hp.values}
    return api.Discrete(sorted(values | set(absent)))


def _nothing(rows: Sequence[Any]) -> float | bool | str:
    """Stand for a hyper-parameter that has no meaning in a trial.

    It needs a value: TensorBoard draws no line through the parallel coordinates of a trial that
    lacks one.
    """
    first = rows[0]
    one = first.min_value if isinstance(first, kinds.Float | kinds.Int) else first.values[0]
    return type(one)()
