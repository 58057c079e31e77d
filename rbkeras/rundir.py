"""A run directory: its data and settings, and the networks and datasets that follow from them."""

from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import tensorflow as tf

from rbkeras import __version__
from rbkeras.batches import Batches
from rbkeras.config import FitConfig
from rbkeras.data.labels import SKIP
from rbkeras.data.records import Records
from rbkeras.data.splits import repeat_seed, stratified_folds, validation_mask
from rbkeras.devices import find_strategy
from rbkeras.errors import InputError, because_of
from rbkeras.losses import RealBogusLoss
from rbkeras.models.classifier import RealBogusClassifier, build_classifier
from rbkeras.models.precision import precision
from rbkeras.resume import digest
from rbkeras.start_weights import StartWeights
from rbkeras.training import compile_classifier, enough_epochs, make_optimizer
from rbkeras.verdicts import apply_verdicts, read_verdicts


@dataclass(frozen=True)
class Run:
    """A run directory, its data and its settings; what both stages work with."""

    config: FitConfig
    records: Records
    #: Labels in place of the records' own, int8 (N,): 0, 1, -1, or SKIP for samples left out.
    relabelled: np.ndarray | None = None

    def __post_init__(self) -> None:
        """Raise `InputError` where stamps would be shifted out of sight."""
        half, shift = min(self.records.stamp_shape[:2]) // 2, self.config.training.shift
        if self.config.training.augment and shift > half:
            raise InputError(
                f"--training.shift: expected at most half of a stamp's side, {half}, got {shift}"
            )

    @property
    def folder(self) -> Path:
        """The run directory."""
        return self.config.out

    @cached_property
    def labels(self) -> np.ndarray:
        """Given labels, int8 (N,) by unique_index; SKIP where a sample is held out."""
        return np.where(self.held_out, np.int8(SKIP), self._given)

    @cached_property
    def _given(self) -> np.ndarray:
        if self.relabelled is not None:
            return np.asarray(self.relabelled, np.int8)
        return self.records.samples["label"].to_numpy(np.int8)

    @cached_property
    def held_out(self) -> np.ndarray:
        """Samples set aside as a test set, bool (N,)."""
        chosen = np.zeros(len(self._given), bool)
        if self.config.hold_out:
            used = np.flatnonzero(self._given != SKIP)
            with because_of(f"--hold_out {self.config.hold_out}"):
                chosen[used] = validation_mask(
                    self._given[used],
                    self.records.samples["detector_id"].to_numpy()[used],
                    fraction=self.config.hold_out,
                    seed=self.config.seed,
                    groups=None if self.groups is None else self.groups[used],
                )
            if self.groups is None:
                # Unlabelled stamps say nothing in a test and much in training.
                chosen &= self._given >= 0
        return chosen

    @cached_property
    def test_labels(self) -> np.ndarray:
        """Labels of the samples held out, a person's before those given; SKIP everywhere else."""
        labels = self._given
        if self.verdicts is not None:
            labels = apply_verdicts(labels, labels, self.verdicts)
        return np.where(self.held_out & (labels >= 0), labels, np.int8(SKIP))

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

    @cached_property
    def trusted(self) -> np.ndarray:
        """Whether each label is said to be certain, bool (N,), see `Records.trusted`."""
        return self.records.trusted

    def tensorboard(self, name: str) -> Any:
        """Give a context in which TensorBoard's summaries are written under this name."""
        folder = self.folder / "tensorboard" / name
        return tf.summary.create_file_writer(str(folder)).as_default(step=0)

    def settings(self) -> dict[str, Any]:
        """Collect what both stages depend on."""
        training = asdict(self.config.training)
        # Stamps that are kept are shuffled otherwise, in memory as on disk.
        if training.pop("cache") != "none":
            training["cached"] = True
        # What comes of the shares is known where the targets are.
        for key in (
            *("epochs", "min_steps", "keep", "patience", "validation_fraction"),
            *("labelled_share", "minority_share", "start_from"),
        ):
            training.pop(key)
        if training["devices"] == 1:
            training["devices"] = None
        as_given = self.relabelled is None and not self.config.hold_out
        return ({} if as_given else {"labels": digest(self.labels)}) | {
            "rbkeras": __version__,
            "records": self.records.fingerprint,
            "seed": self.config.seed,
            "deterministic": self.config.deterministic,
            "model": asdict(self.config.model),
            "optimizer": asdict(self.config.optimizer),
            "training": training,
            "group": self.config.label_errors.group,
        }

    def folds(self, repeat: int) -> np.ndarray:
        """Fold of each sample in one of the repeats of stage 1: int8 (N,), -1 where unlabelled."""
        if repeat not in self._dealt:
            labelled = np.flatnonzero(self.labels >= 0)
            fold_of = np.full(len(self.labels), -1, np.int8)
            with because_of(f"--label_errors.folds {self.config.label_errors.folds}"):
                fold_of[labelled] = stratified_folds(
                    self.labels[labelled],
                    self.records.samples["detector_id"].to_numpy()[labelled],
                    folds=self.config.label_errors.folds,
                    seed=repeat_seed(self.config.seed, repeat),
                    groups=None if self.groups is None else self.groups[labelled],
                )
            self._dealt[repeat] = fold_of
        return self._dealt[repeat]

    @cached_property
    def _dealt(self) -> dict[int, np.ndarray]:
        return {}

    @cached_property
    def verdicts(self) -> pd.Series | None:
        """A person's verdicts by unique_index, if a file of them is named."""
        path = self.config.verdicts
        return None if path is None else read_verdicts(path, self.records.samples)

    @cached_property
    def strategy(self) -> tf.distribute.Strategy:
        """How batches are shared by the devices of this machine."""
        own = self.config.training
        strategy = find_strategy(own.devices)
        count = strategy.num_replicas_in_sync
        if own.batch_size % count:
            raise InputError(
                f"--training.batch_size: expected a multiple of {count}, the number of devices, "
                f"got {own.batch_size}"
            )
        if count > 1 and own.jit_compile:
            # XLA compiles for one device, and finds weights of the others in its program.
            raise InputError(
                "--training.jit_compile: expected one device, "
                f"got --training.devices {own.devices}; leave one of the two away"
            )
        return strategy

    def epochs(self, epochs: int, min_steps: int, targets: np.ndarray) -> int:
        """Give `epochs`, or as many more as `min_steps` optimizer steps take on these targets."""
        return enough_epochs(
            epochs,
            min_steps=min_steps,
            samples=int(np.sum(targets != SKIP)),
            batch_size=self.config.training.batch_size,
        )

    def why_epochs(self, epochs: int, stage: Literal["training", "label_errors"]) -> str:
        """Say why a stage has more epochs than were asked for, if it has."""
        own = getattr(self.config, stage)
        if epochs == own.epochs:
            return ""
        return (
            f" (more than --{stage}.epochs {own.epochs}, since --{stage}.min_steps "
            f"{own.min_steps} asks for so many steps)"
        )

    def start(self, stage: Literal["training", "label_errors"]) -> StartWeights | None:
        """Read the weights that a stage begins with, unless they are random."""
        path = getattr(self.config, stage).start_from
        if path is None:
            return None
        if stage not in self._starts:
            self._starts[stage] = StartWeights.read(path, flag=f"{stage}.start_from")
        return self._starts[stage]

    def start_settings(self, stage: Literal["training", "label_errors"]) -> dict[str, Any]:
        """Collect what a stage depends on beside `settings`: nothing with random weights."""
        start = self.start(stage)
        return {} if start is None else {"start": start.fingerprint}

    @cached_property
    def _starts(self) -> dict[str, StartWeights]:
        return {}

    def built(
        self, model: dict[str, Any], start: StartWeights | None = None
    ) -> RealBogusClassifier:
        """Build a network for these records; `model` holds options of `ModelConfig`.

        Its weights are those of `start`, or random.
        """
        try:
            classifier = build_classifier(self.records.stamp_shape, **model)
        except ValueError as error:
            raise InputError(f"{self.records.directory}: {error}") from None
        if start is not None:
            start.give_to(classifier)
        return classifier

    def compiled(
        self,
        model: dict[str, Any],
        loss: RealBogusLoss,
        total_steps: int,
        *,
        start: StartWeights | None = None,
    ) -> RealBogusClassifier:
        """Build a network as `built` does, and compile it for so many steps."""
        own = self.config.training
        with precision(own.precision), self.strategy.scope():
            classifier = self.built(model, start)
            optimizer = make_optimizer(total_steps=total_steps, **asdict(self.config.optimizer))
            compile_classifier(
                classifier, optimizer=optimizer, loss=loss, jit_compile=own.jit_compile
            )
        return classifier

    @cached_property
    def batches(self) -> Batches:
        """The batches that trainings see."""
        return Batches(
            self.records,
            self.config.training,
            seed=self.config.seed,
            cache=self.folder / "cache",
            devices=lambda: self.strategy.num_replicas_in_sync,
        )
