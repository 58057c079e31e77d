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


def write_hparams(
    folder: Path,
    results: Sequence[dict[str, Any]],
    space: keras_tuner.HyperParameters,
    plan: Plan,
) -> None:
    """Write them anew: the search in `folder` itself, a trial in each folder below.

    Failed trials are left out: they reached nothing.
    """
    shutil.rmtree(folder, ignore_errors=True)
    metrics = [
        api.Metric("objective", display_name=plan.goal.title),
        api.Metric("fpr_at_tpr90", display_name="FPR at TPR 0.9"),
        api.Metric("auc", display_name="AUC"),
    ]
    if plan.cost:
        metrics.append(api.Metric("multiply_adds", display_name="multiply-adds"))
    searched = {hp.name: api.HParam(hp.name, _domain(hp)) for hp in space.space}
    with _writing(folder):
        api.hparams_config(hparams=list(searched.values()), metrics=metrics)
    for result in results:
        if result["status"] == "failed":
            continue
        values = {name: value for name, value in result["values"].items() if name in searched}
        measured = result | {"objective": result["score"]}
        with _writing(folder / result["trial"]):
            api.hparams(values, trial_id=result["trial"])
            for metric in metrics:
                name = metric.as_proto().name.tag
                if measured.get(name) is not None:
                    tf.summary.scalar(name, measured[name], step=0)


def _writing(folder: Path) -> Any:
    return tf.summary.create_file_writer(str(folder)).as_default(step=0)


def _domain(hp: Any) -> api.Domain:
    if isinstance(hp, kinds.Float):
        return api.RealInterval(hp.min_value, hp.max_value)
    if isinstance(hp, kinds.Int):
        return api.IntInterval(hp.min_value, hp.max_value)
    return api.Discrete(list(hp.values))
