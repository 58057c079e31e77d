"""The trainings that a trial consists of: which stamps they train on, and one of them."""

import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np

from rbkeras.data.labels import SKIP, require_both_classes
from rbkeras.data.records import Records, reading
from rbkeras.data.splits import repeat_seed, stratified_folds, validation_mask
from rbkeras.files import read_json, write_json
from rbkeras.inference import score_records
from rbkeras.label_errors import read_label_errors
from rbkeras.losses import RealBogusLoss
from rbkeras.rundir import Run
from rbkeras.stage2 import judged_targets
from rbkeras.training import epochs_done, fit_classifier, forget_backup, set_seed
from tuning.cost import multiply_adds, stamps_per_second
from tuning.objectives import measure
from tuning.plan import Plan


def targets_of(plan: Plan, records: Records) -> np.ndarray:
    """Labels that all trials train on, int8 (N,): as given, or as the policy leaves them.

    Stage 1 is not repeated: without the table of an earlier one labels are as given.
    """
    run = Run(plan.config, records)
    table = plan.config.label_errors.table
    rated = None if table is None else read_label_errors(table, run.labels)
    return judged_targets(run, rated)


def split(plan: Plan, run: Run, targets: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Give training and validation targets of every part, the same ones for all trials.

    Unlabelled stamps are trained on in every fold, unless a group of theirs is held out.
    """
    used = np.flatnonzero(targets != SKIP)
    detectors = run.records.samples["detector_id"].to_numpy()[used]
    groups = None if run.groups is None else run.groups[used]
    for execution in range(plan.executions):
        seed = repeat_seed(plan.config.seed, execution)
        fold_of = np.full(len(targets), -1)
        if plan.folds == 1:
            fraction = plan.config.training.validation_fraction
            chosen = validation_mask(
                targets[used], detectors, fraction=fraction, seed=seed, groups=groups
            )
            fold_of[used[chosen]] = 0
        else:
            fold_of[used] = stratified_folds(
                targets[used], detectors, folds=plan.folds, seed=seed, groups=groups
            )
        for fold in range(plan.folds):
            held_out = fold_of == fold
            if groups is None:
                held_out &= targets >= 0
            yield np.where(held_out, SKIP, targets), np.where(held_out, targets, SKIP)


def check_parts(plan: Plan, records: Records) -> None:
    """See that every part has both classes to train and to be measured on.

    Raises
    ------
    InputError
        Naming the part and the class.
    """
    parts = split(plan, Run(plan.config, records), targets_of(plan, records))
    for number, pair in enumerate(parts):
        for name, part in zip(("training", "validation"), pair, strict=True):
            require_both_classes(
                part,
                source=records.directory,
                part=f"the {name} part of fold {number}",
                more=lambda _: "; choose fewer --folds",
            )


def train_part(
    plan: Plan, run: Run, number: int, training: np.ndarray, validation: np.ndarray, folder: Path
) -> dict[str, Any]:
    """Train and measure one part, unless that is done already; what was cut off goes on.

    Returns
    -------
    dict
        What `tuning.objectives.measure` returns, seconds, epochs, parameters, and with
        `plan.cost`, of the first part, multiply_adds and stamps_per_second.
    """
    done = folder / "part.json"
    if done.exists():
        return read_json(done)
    start = time.monotonic()
    execution, fold = divmod(number, plan.folds)
    seed = repeat_seed(run.config.seed, execution) + fold
    keras.backend.clear_session()
    begun = epochs_done(folder)
    set_seed(repeat_seed(seed, begun), deterministic=run.config.deterministic)
    run = replace(run, config=replace(run.config, seed=seed))
    own = run.config.training
    epochs = run.epochs(own.epochs, own.min_steps, training)
    with reading(run.records.directory):
        dataset = run.batches.dataset(training, training=True, begun=begun)
        model = run.compiled(
            asdict(run.config.model),
            RealBogusLoss(**asdict(run.config.loss)),
            epochs * int(dataset.cardinality()),
        )
        fit_classifier(
            model,
            dataset,
            run.batches.dataset(validation, training=False),
            epochs=epochs,
            folder=folder,
            keep_best=own.keep == "best",
            patience=own.patience,
        )
    scored = score_records(model, run.records, validation)
    labels = validation[scored["unique_index"]]
    scores = (scored["prediction1"] - scored["prediction0"]).to_numpy(np.float64)
    result = measure(scores[labels == 1], scores[labels == 0])
    result |= {"seconds": time.monotonic() - start, "epochs": epochs}
    result["parameters"] = model.count_params()
    if plan.cost and number == 0:
        result["multiply_adds"] = multiply_adds(model)
        result["stamps_per_second"] = stamps_per_second(model)
    write_json(done, result)
    forget_backup(folder)
    return result
