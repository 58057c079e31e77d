"""The batches that a training sees: which stamps, how many of each kind, in which order."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from rbkeras.config import TrainingConfig
from rbkeras.data.labels import SKIP
from rbkeras.data.mixture import Mixture, find_mixture, mixed_batches, shares_that_apply
from rbkeras.data.pipeline import stamp_dataset
from rbkeras.data.records import Records
from rbkeras.data.splits import repeat_seed
from rbkeras.devices import padded_batches
from rbkeras.resume import digest


@dataclass(frozen=True)
class Batches:
    """Batches of the stamps that targets, int8 (N,) by unique_index, select and label.

    Attributes
    ----------
    records, options, seed
        The stamps, and how trainings go through them.
    cache
        Folder of the stamps that are kept on disk.
    devices
        Gives the number of devices that share each batch. It is asked for only where batches are
        made, since they may be made on another machine.
    """

    records: Records
    options: TrainingConfig
    seed: int
    cache: Path
    devices: Callable[[], int]

    def _cache(self, targets: np.ndarray) -> Path:
        return self.cache / digest(targets)

    def forget(self, *targets: np.ndarray) -> None:
        """Remove what `dataset` has kept of these targets on disk."""
        for one in targets:
            shutil.rmtree(self._cache(one), ignore_errors=True)

    def mixture(self, targets: np.ndarray) -> Mixture | None:
        """Find what training batches are made of; None where stamps come as they come."""
        return find_mixture(
            targets,
            batch_size=self.options.batch_size,
            devices=self.devices(),
            **self._shares,
        )

    def mixing(self, targets: np.ndarray) -> dict[str, dict[str, float]]:
        """Say what `mixture` depends on, besides the devices, which are for each machine to find.

        Empty where stamps come as they come.
        """
        applied = shares_that_apply(targets, **self._shares)
        return {"mixture": applied} if applied else {}

    @property
    def _shares(self) -> dict[str, Any]:
        own = self.options
        return {
            "labelled_share": own.labelled_share,
            "minority_share": own.minority_share,
            # More would be read over and over, where a few are kept; nor are they few.
            "largest": own.shuffle_buffer,
        }

    def dataset(self, targets: np.ndarray, *, training: bool, begun: int = 0) -> tf.data.Dataset:
        """Stream the selected stamps; shuffled, augmented and, if need be, mixed for training.

        `begun` epochs of an interrupted training are done: what is drawn at random is drawn
        otherwise than in those.
        """
        own, devices = self.options, self.devices()
        if not training:
            # Shuffled once, since surveys may be sorted by class, and batches of one class have no
            # pairs for the AUC hinge to judge.
            dataset = stamp_dataset(
                self.records,
                targets,
                batch_size=512,
                shuffle_buffer=4 * 512,
                reshuffle=False,
                seed=self.seed,
            )
            return padded_batches(dataset, devices) if devices > 1 else dataset
        if own.cache == "disk":
            # What an interrupted training has left may be cut short, or of other records.
            self.forget(targets)
            self._cache(targets).mkdir(parents=True, exist_ok=True)
        count, mixture = int(np.sum(targets != SKIP)), self.mixture(targets)
        seed = repeat_seed(self.seed, begun)
        shuffled = partial(self._shuffled, folder=self._cache(targets))
        if mixture is None:
            samples = count - count % devices
            size = own.batch_size
            return shuffled(targets, name="stamps", batch_size=size, samples=samples, seed=seed)
        # An epoch has as many batches as it would otherwise.
        steps = -(-count // own.batch_size)
        # Of one seed the parts would all be turned and flipped alike.
        parts = [
            shuffled(
                part.select(targets),
                name=part.name,
                batch_size=part.size,
                samples=steps * part.size,
                seed=repeat_seed(seed, number),
            )
            for number, part in enumerate(mixture.parts)
        ]
        return mixed_batches(*parts, devices=devices)

    def _shuffled(
        self,
        targets: np.ndarray,
        *,
        folder: Path,
        name: str,
        batch_size: int,
        samples: int,
        seed: int,
    ) -> tf.data.Dataset:
        own = self.options
        cache: Any = {"none": None, "memory": "memory", "disk": folder / name}
        return stamp_dataset(
            self.records,
            targets,
            batch_size=batch_size,
            shuffle_buffer=own.shuffle_buffer,
            seed=seed,
            augment=own.augment,
            shift=own.shift,
            cache=cache[own.cache],
            samples=samples,
        )
