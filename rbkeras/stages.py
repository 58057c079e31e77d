"""The two training stages as a run directory sees them: settings in, files out."""

import hashlib
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import tensorflow as tf

from rbkeras import __version__
from rbkeras.callbacks import Decide, SaveModel, ValidationPictures
from rbkeras.config import FitConfig
from rbkeras.crossval import fold_targets, merge_folds, train_fold
from rbkeras.data.labels import SKIP
from rbkeras.data.pipeline import stamp_dataset
from rbkeras.data.records import Records, label_names, reading
from rbkeras.data.splits import repeat_seed, stratified_folds, validation_mask
from rbkeras.decision import Decision, fit_decision
from rbkeras.errors import InputError
from rbkeras.files import plain, read_json, whole_file
from rbkeras.inference import load_classifier, score_records
from rbkeras.label_errors import apply_policy, rate_labels, read_label_errors, write_label_errors
from rbkeras.losses import RealBogusLoss
from rbkeras.models.classifier import RealBogusClassifier, build_classifier
from rbkeras.resume import claim, mark_finished
from rbkeras.training import (
    compile_classifier,
    enough_epochs,
    fit_classifier,
    make_optimizer,
    set_seed,
)
from rbkeras.verdicts import apply_verdicts, gather_verdicts, read_verdicts


@dataclass(frozen=True)
class Run:
    """A run directory, its data and its settings."""

    config: FitConfig
    records: Records
    #: Labels in place of the records' own, int8 (N,): 0, 1, -1, or SKIP for samples left out.
    relabelled: np.ndarray | None = None

    @property
    def folder(self) -> Path:
        """The run directory."""
        return self.config.out

    @cached_property
    def labels(self) -> np.ndarray:
        """Given labels, int8 (N,) by unique_index."""
        if self.relabelled is not None:
            return np.asarray(self.relabelled, np.int8)
        return self.records.samples["label"].to_numpy(np.int8)

    @cached_property
    def groups(self) -> np.ndarray | None:
        """Values of the group column, if one is named."""
        column = self.config.label_errors.group
        if column is None:
            return None
        samples = self.records.samples
        if column not in samples.columns:
            raise InputError(
                f"--label_errors.group: expected a column of {self.records.directory}, got "
                f"{column!r}; there are {', '.join(samples.columns)}"
            )
        return samples[column].to_numpy()

    def _settings(self) -> dict[str, Any]:
        """Collect what both stages depend on."""
        training = asdict(self.config.training)
        # How data are held in memory changes no result; epochs and patience are stage 2's own.
        for key in ("cache", "epochs", "min_steps", "keep", "patience", "validation_fraction"):
            training.pop(key)
        relabelled = {} if self.relabelled is None else {"labels": _digest(self.labels)}
        return relabelled | {
            "rbkeras": __version__,
            "records": self.records.fingerprint,
            "seed": self.config.seed,
            "deterministic": self.config.deterministic,
            "model": asdict(self.config.model),
            "optimizer": asdict(self.config.optimizer),
            "training": training,
            "group": self.config.label_errors.group,
        }

    # --- stage 1 --------------------------------------------------------------------------------

    @property
    def fold_folders(self) -> list[Path]:
        """One folder per fold, those of every further repeat after those of the one before."""
        own = self.config.label_errors
        return [self.folder / "folds" / str(k) for k in range(own.folds * own.repeats)]

    def _folds(self, repeat: int) -> np.ndarray:
        """Fold of each sample in one of the repeats: int8 (N,), -1 for the unlabelled."""
        labelled = np.flatnonzero(self.labels >= 0)
        fold_of = np.full(len(self.labels), -1, np.int8)
        fold_of[labelled] = stratified_folds(
            self.labels[labelled],
            self.records.samples["detector_id"].to_numpy()[labelled],
            folds=self.config.label_errors.folds,
            seed=repeat_seed(self.config.seed, repeat),
            groups=None if self.groups is None else self.groups[labelled],
        )
        return fold_of

    def train_folds(self, only: int | None = None) -> None:
        """Train every fold that is not finished, or just one."""
        settings = self.config.label_errors
        count = len(self.fold_folders)
        if only is not None and not 0 <= only < count:
            raise InputError(f"--fold: expected 0 to {count - 1}, got {only}")
        model = asdict(self.config.model)
        if settings.network and settings.network != self.config.model.network:
            # Options and normalisation of stage 2's network do not carry over to another one.
            model = {"network": settings.network}
        for k, folder in enumerate(self.fold_folders):
            if only is not None and k != only:
                continue
            repeat, fold = divmod(k, settings.folds)
            targets = fold_targets(self.labels, self._folds(repeat), fold)
            epochs = self._epochs(settings.epochs, settings.min_steps, targets[0])
            train_fold(
                self.records,
                targets,
                folder=folder,
                make_model=lambda steps: self._compiled(model, RealBogusLoss(), steps),
                make_dataset=self._dataset,
                epochs=epochs,
                seed=self.config.seed + k,
                deterministic=self.config.deterministic,
                # A network trained on every orientation may be asked in every one.
                symmetries=self.config.training.augment,
                # Not the number of repeats: with more of them, the first ones stay as they are.
                settings=self._settings()
                | {"fold": k, "folds": settings.folds, "epochs": epochs}
                | {"model": model},
                overwrite=self.config.overwrite,
            )

    @cached_property
    def verdicts(self) -> pd.Series | None:
        """A person's verdicts by unique_index, if a file of them is named."""
        path = self.config.verdicts
        return None if path is None else read_verdicts(path, self.records.samples)

    def merge(self) -> pd.DataFrame:
        """Join the folds, rate the labels and write `label_errors.csv`."""
        own = self.config.label_errors
        predictions = merge_folds(self.fold_folders, repeats=own.repeats)
        rated = rate_labels(
            predictions, rule=own.rule, threshold=own.threshold, certainty=own.certainty
        )
        return self._write(rated)

    def known_verdicts(self) -> pd.Series:
        """All verdicts: of the file that is named, of `label_errors.csv` and of a named table."""
        paths = [self.config.verdicts, self.folder / "label_errors.csv"]
        paths.append(self.config.label_errors.table)
        return gather_verdicts([path for path in paths if path], self.records.samples)

    def _write(self, rated: pd.DataFrame) -> pd.DataFrame:
        """Write `label_errors.csv` without losing the verdicts that a person wrote into it."""
        path, known = self.folder / "label_errors.csv", self.known_verdicts()
        idle = len(known) - (0 if self.verdicts is None else len(self.verdicts))
        if idle:
            print(f"{path}: verdicts kept but not obeyed: {idle}; to obey them, name --verdicts")
        rated = rated.assign(verdict=rated["unique_index"].map(known).fillna(""))
        write_label_errors(path, rated)
        return rated

    def find_label_errors(self) -> pd.DataFrame | None:
        """Stage 1, or the table of an earlier one; None where the policy needs none."""
        if self.config.label_errors.table is not None:
            return self._write(read_label_errors(self.config.label_errors.table, self.labels))
        if self.config.policy == "keep":
            return None
        self.train_folds()
        return self.merge()

    # --- stage 2 --------------------------------------------------------------------------------

    def targets(self, rated: pd.DataFrame | None) -> tuple[np.ndarray, np.ndarray]:
        """Training and validation targets of stage 2: disjoint int8 arrays (N,)."""
        targets = self.labels
        if rated is not None:
            targets = apply_policy(
                self.labels,
                rated,
                policy=self.config.policy,
                threshold=self.config.policy_threshold,
            )
        if self.verdicts is not None:
            targets = apply_verdicts(targets, self.labels, self.verdicts)
        used = np.flatnonzero(targets != SKIP)
        held_out = np.zeros(len(targets), bool)
        held_out[used] = validation_mask(
            targets[used],
            self.records.samples["detector_id"].to_numpy()[used],
            fraction=self.config.training.validation_fraction,
            seed=self.config.seed,
            groups=None if self.groups is None else self.groups[used],
        )
        if self.groups is None:
            # Unlabelled stamps say nothing in validation and much in training.
            held_out &= targets >= 0
        return np.where(held_out, SKIP, targets), np.where(held_out, targets, SKIP)

    def train_final(self, rated: pd.DataFrame | None) -> RealBogusClassifier:
        """Stage 2: train on what the policy leaves, and save `model.keras`."""
        training, validation = self.targets(rated)
        for name, part in (("training", training), ("validation", validation)):
            for kind, label in (("real", 1), ("bogus", 0)):
                if not (part == label).any():
                    raise InputError(
                        f"{self.records.directory}: expected real and bogus labels in the {name} "
                        f"part of stage 2, found no {kind}"
                    )
        own = self.config.training
        epochs = self._epochs(own.epochs, own.min_steps, training)
        settings = self._settings() | {
            "loss": asdict(self.config.loss),
            "policy": self.config.policy,
            "epochs": epochs,
            "keep": own.keep,
            "patience": own.patience,
            "targets": _digest(training, validation),
        }
        marker, path = self.folder / "stage2.json", self.folder / "model.keras"
        others = [self.folder / name for name in ("log.csv", "tensorboard", "backup")]
        if claim(marker, settings, products=[path, *others], overwrite=self.config.overwrite):
            print(f"{path}: finished already")
            return self._decided(training, validation)
        keras.backend.clear_session()
        set_seed(self.config.seed, deterministic=self.config.deterministic)
        dataset = self._dataset(training, training=True)
        held_out = self._dataset(validation, training=False)
        loss = RealBogusLoss(**asdict(self.config.loss))
        steps = epochs * int(dataset.cardinality())
        model = self._compiled(asdict(self.config.model), loss, steps)
        print(
            f"{self.folder}: training on {np.sum(training >= 0)} labelled and "
            f"{np.sum(training == -1)} unlabelled stamps, validating on {np.sum(validation >= 0)}"
        )
        with reading(self.records.directory):
            fit_classifier(
                model,
                dataset,
                held_out,
                epochs=epochs,
                folder=self.folder,
                keep_best=own.keep == "best",
                patience=own.patience,
                callbacks=[
                    ValidationPictures(held_out, self.folder / "tensorboard" / "validation"),
                    Decide(lambda trained: self._decide(trained, training, validation)),
                    SaveModel(path),
                ],
            )
        mark_finished(marker, settings, decision=asdict(self.config.decision))
        return model

    def _decide(
        self, model: RealBogusClassifier, training: np.ndarray, validation: np.ndarray
    ) -> Decision | None:
        """Predict the validation part, write that, and measure threshold and calibration on it."""
        table = score_records(model, self.records, validation)
        # The labels that the policy left, which may be others than the records'.
        table["label"] = validation[table["unique_index"]]
        with whole_file(self.folder / "validation.csv") as temporary:
            table.to_csv(temporary, index=False)
        own = self.config.decision
        try:
            decision = fit_decision(
                table["label"].to_numpy(),
                (table["prediction1"] - table["prediction0"]).to_numpy(),
                calibration_method=own.calibration,
                true_positive_rate=own.true_positive_rate,
                training_prevalence=np.sum(training == 1) / np.sum(training >= 0),
                prevalence=own.prevalence,
                label_names=label_names(self.records),
            )
        except InputError as error:
            print(f"{self.folder}: the model gets no threshold: {error}")
            return None
        for remark in decision.remarks:
            print(f"{self.folder}: {remark}")
        return decision

    def _decided(self, training: np.ndarray, validation: np.ndarray) -> RealBogusClassifier:
        """Load the finished model, with other threshold and calibration where others are asked."""
        marker, path = self.folder / "stage2.json", self.folder / "model.keras"
        finished = read_json(marker)
        asked = asdict(self.config.decision)
        if finished.get("decision") == plain(asked):
            return load_classifier(path)
        print(f"{path}: measuring threshold and calibration anew")
        model = load_classifier(path, compile=True)
        model.decision = self._decide(model, training, validation)
        with whole_file(path) as temporary:
            model.save(temporary)
        mark_finished(marker, finished["settings"], decision=asked)
        return model

    # --- shared ---------------------------------------------------------------------------------

    def _epochs(self, epochs: int, min_steps: int, targets: np.ndarray) -> int:
        return enough_epochs(
            epochs,
            min_steps=min_steps,
            samples=int(np.sum(targets != SKIP)),
            batch_size=self.config.training.batch_size,
        )

    def _compiled(
        self, model: dict[str, Any], loss: RealBogusLoss, total_steps: int
    ) -> RealBogusClassifier:
        own = self.config.training
        keras.mixed_precision.set_dtype_policy(own.precision)
        try:
            classifier = build_classifier(self.records.stamp_shape, **model)
        except ValueError as error:
            raise InputError(f"{self.records.directory}: {error}") from None
        optimizer = make_optimizer(total_steps=total_steps, **asdict(self.config.optimizer))
        compile_classifier(classifier, optimizer=optimizer, loss=loss, jit_compile=own.jit_compile)
        return classifier

    def _dataset(self, targets: np.ndarray, *, training: bool) -> tf.data.Dataset:
        own = self.config.training
        if not training:
            return stamp_dataset(self.records, targets, batch_size=512)
        cache: Any = {"none": None, "memory": "memory", "disk": self.folder / "cache" / "stamps"}
        cache = cache[own.cache]
        if own.cache == "disk":
            cache = cache.with_name(_digest(targets))
            cache.parent.mkdir(parents=True, exist_ok=True)
        return stamp_dataset(
            self.records,
            targets,
            batch_size=own.batch_size,
            shuffle_buffer=own.shuffle_buffer,
            seed=self.config.seed,
            augment=own.augment,
            shift=own.shift,
            cache=cache,
        )


def _digest(*arrays: np.ndarray) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:16]
