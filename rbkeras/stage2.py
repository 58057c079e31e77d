"""Stage 2 in a run directory: training on what the policy leaves, and `model.keras`."""

from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd

from rbkeras.callbacks import Decide, SaveModel, ValidationPictures
from rbkeras.data.labels import BOGUS, REAL, SKIP, require_both_classes
from rbkeras.data.records import label_names, reading
from rbkeras.data.splits import repeat_seed, validation_mask
from rbkeras.decision import Decision, SecondLook
from rbkeras.decision_fit import fit_decision
from rbkeras.errors import InputError, because_of
from rbkeras.files import plain, read_json, whole_file
from rbkeras.inference import load_classifier, score_records
from rbkeras.label_errors import apply_policy
from rbkeras.locks import alone
from rbkeras.losses import RealBogusLoss
from rbkeras.metrics import threshold_at_tpr
from rbkeras.model_file import STAGE2_MARKER
from rbkeras.models.classifier import RealBogusClassifier
from rbkeras.resume import claim, digest, mark_finished, refuse_other_settings
from rbkeras.rundir import Run
from rbkeras.training import epochs_done, fit_classifier, forget_backup, set_seed
from rbkeras.verdicts import apply_verdicts

# Fraction of the bogus beyond which a second look takes longer than the first.
_MANY = 1 / 7


def judged_targets(run: Run, rated: pd.DataFrame | None) -> np.ndarray:
    """Labels that policy and verdicts leave: int8 (N,), SKIP for samples left out."""
    targets = run.labels
    if rated is not None:
        targets = apply_policy(
            run.labels,
            rated,
            policy=run.config.policy,
            threshold=run.config.policy_threshold,
        )
    if run.verdicts is not None:
        targets = apply_verdicts(targets, run.labels, run.verdicts)
    # Whatever a verdict says of them, these are for the test.
    return np.where(run.held_out, np.int8(SKIP), targets)


def choose_targets(run: Run, rated: pd.DataFrame | None) -> tuple[np.ndarray, np.ndarray]:
    """Training and validation targets of stage 2: disjoint int8 arrays (N,).

    Raises
    ------
    InputError
        When a class is missing in one of them.
    """
    targets = judged_targets(run, rated)
    used = np.flatnonzero(targets != SKIP)
    held_out = np.zeros(len(targets), bool)
    fraction = run.config.training.validation_fraction
    with because_of(f"--training.validation_fraction {fraction}"):
        held_out[used] = validation_mask(
            targets[used],
            run.records.samples["detector_id"].to_numpy()[used],
            fraction=fraction,
            seed=run.config.seed,
            groups=None if run.groups is None else run.groups[used],
        )
    if run.groups is None:
        # Unlabelled stamps say nothing in validation and much in training.
        held_out &= targets >= 0
    parts = np.where(held_out, SKIP, targets), np.where(held_out, targets, SKIP)
    for name, part in zip(("training", "validation"), parts, strict=True):
        require_both_classes(
            part,
            source=run.records.directory,
            part=f"the {name} part of stage 2",
            more=partial(_after_suspects, rated),
        )
    return parts


#: Settings that follow from the suspects.
_OF_SUSPECTS = ("epochs", "targets", "mixture")


def refuse_others(run: Run) -> None:
    """Raise `OtherSettingsError` where the run has a model of settings that are sure to differ.

    Before hours of stage 1, that is: what stage 1 will find is not known yet.
    """
    refuse_other_settings(
        run.folder / STAGE2_MARKER,
        _settings(run),
        unknown=_OF_SUSPECTS,
        overwrite=run.config.overwrite,
    )


def _settings(run: Run) -> dict[str, Any]:
    own = run.config.training
    return (
        run.settings()
        | {
            "loss": asdict(run.config.loss),
            "policy": run.config.policy,
            "keep": own.keep,
            "patience": own.patience,
        }
        | run.start_settings("training")
    )


def train_final(
    run: Run, rated: pd.DataFrame | None, *, on_claimed: Callable[[], None] | None = None
) -> RealBogusClassifier:
    """Stage 2: train on what the policy leaves, and save `model.keras`.

    `on_claimed` is called once it is sure that the run directory is for a model of these settings.
    """
    with alone(run.folder / "stage2"):
        return _train_final(run, rated, on_claimed or (lambda: None))


def _train_final(
    run: Run, rated: pd.DataFrame | None, on_claimed: Callable[[], None]
) -> RealBogusClassifier:
    training, validation = choose_targets(run, rated)
    own = run.config.training
    epochs = run.epochs(own.epochs, own.min_steps, training)
    settings = _settings(run) | {"epochs": epochs, "targets": digest(training, validation)}
    settings |= run.batches.mixing(training)
    marker, path = run.folder / STAGE2_MARKER, run.folder / "model.keras"
    others = [run.folder / name for name in ("log.csv", "tensorboard", "backup")]
    finished = claim(
        marker,
        settings,
        products=[path],
        derived=[*others, *_derived(run)],
        overwrite=run.config.overwrite,
    )
    on_claimed()
    if finished:
        print(f"{path}: finished already")
        _tidy(run, training)
        return _decided(run, training, validation)
    keras.backend.clear_session()
    begun = epochs_done(run.folder)
    set_seed(repeat_seed(run.config.seed, begun), deterministic=run.config.deterministic)
    print(
        f"{run.folder}: training on {np.sum(training >= 0)} labelled and "
        f"{np.sum(training == -1)} unlabelled stamps, validating on {np.sum(validation >= 0)}, "
        f"for {epochs} epochs{run.why_epochs(epochs, 'training')}"
    )
    mixture = run.batches.mixture(training)
    if mixture is not None:
        print(f"{run.folder}: in each batch of {own.batch_size}: {mixture}")
    with reading(run.records.directory):
        dataset = run.batches.dataset(training, training=True, begun=begun)
        held_out = run.batches.dataset(validation, training=False)
        loss = RealBogusLoss(**asdict(run.config.loss))
        steps = epochs * int(dataset.cardinality())
        start = run.start("training")
        model = run.compiled(asdict(run.config.model), loss, steps, start=start)
        fit_classifier(
            model,
            dataset,
            held_out,
            epochs=epochs,
            folder=run.folder,
            keep_best=own.keep == "best",
            patience=own.patience,
            callbacks=[
                ValidationPictures(held_out, run.folder / "tensorboard" / "validation"),
                Decide(lambda trained: _decide(run, trained, training, validation)),
                SaveModel(path),
            ],
        )
    mark_finished(marker, settings, decision=asdict(run.config.decision))
    _tidy(run, training)
    return model


def _after_suspects(rated: pd.DataFrame | None, kind: str) -> str:
    """Say how many labels of a class are suspect, where that may be why none is left."""
    if rated is None:
        return ""
    label = REAL if kind == "real" else BOGUS
    suspects = rated.loc[rated["label"] == label, "suspect"] == 1
    if not suspects.any():
        return ""
    return (
        f", since {suspects.sum()} of {len(suspects)} are suspect; raise "
        "--label_errors.min_steps, or train with --policy keep"
    )


def _tidy(run: Run, training: np.ndarray) -> None:
    """Remove what a training needs that is under way; a kill may have left it to the next call."""
    forget_backup(run.folder)
    run.batches.forget(training)


def _derived(run: Run) -> list[Path]:
    """List what tells of the model, and would tell of another one once it is replaced."""
    names = [
        *("metrics.json", "scores.csv", "roc.png", "scores.png", "source.json"),
        # Where the command `evaluate` wrote there.
        *("report.html", "comparison.csv"),
    ]
    evaluation = [run.folder / "evaluation" / name for name in names]
    return [run.folder / "validation.csv", run.folder / "report.html", *evaluation]


def _decide(
    run: Run, model: RealBogusClassifier, training: np.ndarray, validation: np.ndarray
) -> Decision | None:
    """Predict the validation part, write that, and measure threshold and calibration on it."""
    own, again_from = run.config.decision, None
    prevalence = float(np.sum(training == REAL) / np.sum(training >= 0))
    mixture = run.batches.mixture(training)
    table = predicted(run, model, validation)
    measure = partial(
        fit_decision,
        table["label"].to_numpy(),
        calibration_method=own.calibration,
        true_positive_rate=own.true_positive_rate,
        cleaned=run.config.policy != "keep",
        training_prevalence=prevalence,
        network_prevalence=None if mixture is None else mixture.prevalence,
        prevalence=own.prevalence,
        label_names=label_names(run.records),
    )
    decision = None
    try:
        decision = measure(_scores(table))
    except InputError as error:
        print(f"{run.folder}: the model gets no threshold: {error}")
    # A network that was trained on every orientation may be asked in every one.
    if decision is not None and own.second_look and run.config.training.augment:
        real, bogus = (_scores(table[table["label"] == label]) for label in (1, 0))
        again_from = float(threshold_at_tpr(real[np.isfinite(real)], own.second_look))
        table = predicted(run, model, validation, again_from=again_from)
        share = float(np.mean(bogus > again_from))
        if share > _MANY:
            print(
                f"{run.folder}: a second look is asked for at {share:.0%} of the bogus, which "
                "slows predict down; a lower --decision.second_look asks for fewer"
            )
        again = SecondLook(from_score=again_from, share=share, decision=measure(_scores(table)))
        decision = replace(decision, second_look=again)
    with whole_file(run.folder / "validation.csv") as temporary:
        table.to_csv(temporary, index=False)
    for remark in decision.remarks if decision is not None else ():
        print(f"{run.folder}: {remark}")
    return decision


def predicted(
    run: Run, model: RealBogusClassifier, targets: np.ndarray, *, again_from: float | None = None
) -> pd.DataFrame:
    """Score the samples whose targets, int8 (N,), are not SKIP; those are the table's labels.

    Without `again_from` each is scored once, see `rbkeras.inference.score_records`.
    """
    table = score_records(model, run.records, targets, again_from=again_from)
    table["label"] = targets[table["unique_index"]]
    return table


def _scores(table: pd.DataFrame) -> np.ndarray:
    return (table["prediction1"] - table["prediction0"]).to_numpy()


def _decided(run: Run, training: np.ndarray, validation: np.ndarray) -> RealBogusClassifier:
    """Load the finished model, with other threshold and calibration where others are asked."""
    marker, path = run.folder / STAGE2_MARKER, run.folder / "model.keras"
    finished = read_json(marker)
    asked = asdict(run.config.decision)
    if finished.get("decision") == plain(asked):
        return load_classifier(path)
    print(f"{path}: measuring threshold and calibration anew")
    model = load_classifier(path, compile=True)
    model.decision = _decide(run, model, training, validation)
    with whole_file(path) as temporary:
        model.save(temporary)
    mark_finished(marker, finished["settings"], decision=asked)
    return model
