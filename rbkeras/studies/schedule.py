"""A study as pieces of work: surveys, then folds of stage 1, then the trainings that need them.

What the pieces leave in the study's folder is what its trainings find finished afterwards.
"""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rbkeras.config import FitConfig
from rbkeras.crossval import FOLD_MARKER
from rbkeras.files import plain
from rbkeras.options import as_plain, from_plain
from rbkeras.pieces import Piece
from rbkeras.studies.grid import Arm
from rbkeras.studies.trainings import (
    Noise,
    Seed,
    is_trained,
    looks_finished,
    open_seed,
    slug,
    stage1_folder,
)


def training_name(seed: int, arm: Arm, part: int | str | None) -> str:
    """Name one training of a study."""
    return f"{arm.name}{'' if part is None else f' {part}'}, seed {seed}"


def study_pieces(
    config: FitConfig, noise: Noise, *, seeds: Sequence[int], arms: Sequence[Arm]
) -> list[Piece]:
    """Take a study apart; arguments as in `rbkeras.studies.runner.Study`.

    Seeds do not wait for one another, nor do arms whose stage 1 is done. What looks finished is
    left out, since a piece costs a process; who gathers the results looks closer.
    """
    return [piece for seed in seeds for piece in _Schedule(config, noise, seed).pieces(arms)]


class _Schedule:
    """The pieces of one seed."""

    def __init__(self, config: FitConfig, noise: Noise, seed: int):
        self.config, self.noise, self.seed = config, noise, seed
        self._pieces: list[Piece] = []
        self._folds: dict[tuple[float, int | str | None], tuple[str, ...]] = {}
        self._survey: tuple[str, ...] | None = None
        self._folder = config.out / f"seed{seed}"

    def pieces(self, arms: Sequence[Arm]) -> list[Piece]:
        """List them, each after those that it needs."""
        for arm in arms:
            for part in arm.parts:
                if not self.config.overwrite and is_trained(self._folder, arm, part):
                    continue
                after = self._labels(1.0 if arm.true_labels else arm.errors)
                if arm.policy != "keep":
                    after += self._stage1(arm.errors, part)
                name = training_name(self.seed, arm, part)
                self._add(name, train_elsewhere, after=after, arm=asdict(arm), part=part)
        return self._pieces

    def _data(self) -> tuple[str, ...]:
        """Name the survey, added once, unless there is one."""
        if self._survey is None:
            self._survey = ()
            there = self._finished(self._folder / "simulation.json")
            if self.config.data is None and not there:
                self._survey = (self._add(f"survey, seed {self.seed}", simulate_elsewhere),)
        return self._survey

    def _finished(self, marker: Path) -> bool:
        return not self.config.overwrite and looks_finished(marker)

    def _labels(self, errors: float) -> tuple[str, ...]:
        """Name what is needed to know the labels."""
        # What was found out of fold tells where errors are added, or how many there are.
        if errors != 1 and (self.noise.kind == "score" or self.noise.reviewed is not None):
            return self._stage1(1.0, None)
        return self._data()

    def _stage1(self, errors: float, part: int | str | None) -> tuple[str, ...]:
        """Name the folds, added once, on labels with so many times their errors."""
        if (errors, part) not in self._folds:
            after, own = self._labels(errors), self.config.label_errors
            what = f"errors x {errors:g}{'' if part is None else f' {part}'}, seed {self.seed}"
            folds = stage1_folder(self._folder, errors, part) / "folds"
            todo = [
                fold
                for fold in range(own.folds * own.repeats)
                if not self._finished(folds / str(fold) / FOLD_MARKER)
            ]
            self._folds[errors, part] = tuple(
                self._add(
                    f"fold {fold}, {what}",
                    fold_elsewhere,
                    after=after,
                    errors=errors,
                    part=part,
                    fold=fold,
                )
                for fold in todo
            )
        return self._folds[errors, part]

    def _add(self, name: str, work: Any, *, after: tuple[str, ...] = (), **arguments: Any) -> str:
        common = {
            "settings": as_plain(self.config),
            "noise": {
                name: value.absolute() if isinstance(value, Path) else value
                for name, value in asdict(self.noise).items()
            },
            "seed": self.seed,
        }
        self._pieces.append(
            Piece(
                name=name,
                work=work,
                arguments=plain(common | arguments),
                log=self._folder / "logs" / f"{slug(name)}.txt",
                after=tuple(dict.fromkeys(after)),
            )
        )
        return name


# --- in the process that does a piece ------------------------------------------------------------


def _seed(settings: dict[str, Any], noise: dict[str, Any], seed: int) -> Seed:
    files = {name: noise[name] and Path(noise[name]) for name in ("table", "reviewed", "truth")}
    return open_seed(from_plain(settings), seed, Noise(**noise | files))


def simulate_elsewhere(*, settings: dict[str, Any], noise: dict[str, Any], seed: int) -> None:
    """Make the survey of a seed."""
    _seed(settings, noise, seed)


def fold_elsewhere(
    *,
    settings: dict[str, Any],
    noise: dict[str, Any],
    seed: int,
    errors: float,
    part: int | str | None,
    fold: int,
) -> None:
    """Train a fold of stage 1."""
    _seed(settings, noise, seed).train_fold(errors=errors, part=part, fold=fold)


def train_elsewhere(
    *,
    settings: dict[str, Any],
    noise: dict[str, Any],
    seed: int,
    arm: dict[str, Any],
    part: int | str | None,
) -> None:
    """Train and score one arm."""
    own = Arm(**arm | {"parts": tuple(arm["parts"])})
    _seed(settings, noise, seed).train(own, part)
