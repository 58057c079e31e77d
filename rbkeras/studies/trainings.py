"""One training of a study: its labels, its two stages, its scores; done once."""

from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.metrics import precision_recall_fscore_support

from rbkeras.config import FitConfig
from rbkeras.data.labels import SKIP, UNLABELLED
from rbkeras.data.records import Records, open_records
from rbkeras.data.splits import stratified_sample
from rbkeras.errors import InputError
from rbkeras.file_states import checksum, state_of
from rbkeras.files import read_json, whole_file, write_json
from rbkeras.locks import alone
from rbkeras.options import with_settings, write_config
from rbkeras.statistics import Scores
from rbkeras.studies.grid import MIX, Arm
from rbkeras.studies.noise import (
    bin_probabilities,
    error_rate,
    flip_labels,
    probability_by_bin,
    read_bins,
    reviewed_bins,
    uniform_probability,
)
from rbkeras.studies.noise_settings import UNKNOWN, Noise, read_truth, truth_file
from rbkeras.tables import DAMAGED
from rbkeras.verdicts import read_verdicts

_SCORES = "test_scores.npz"
# Of which model and which test stamps the scores are.
_ORIGIN = "test_scores.json"


@dataclass(frozen=True)
class Seed:
    """The data, the seed and the folder that the trainings of one seed share."""

    config: FitConfig
    folder: Path
    noise: Noise
    _rated: dict[tuple[float, int | str | None], pd.DataFrame] = field(default_factory=dict)

    @cached_property
    def records(self) -> Records:
        """The records directory."""
        return open_records(self.config.records_directory)

    @cached_property
    def given(self) -> np.ndarray:
        """Labels as the records have them, int8 (N,)."""
        return self.records.samples["label"].to_numpy(np.int8)

    @cached_property
    def truth(self) -> np.ndarray | None:
        """True labels, int8 (N,), where they are known."""
        path = truth_file(self.noise, self.config.records_directory)
        return None if path is None else read_truth(path, self.records.samples)

    # --- labels ---------------------------------------------------------------------------------

    def labels(self, *, errors: float, part: int | str | None) -> np.ndarray:
        """Labels with `errors` times their errors, the trusted as they are; SKIP outside `part`."""
        labels = self.given
        if errors != 1:
            rng = np.random.default_rng([self.config.seed, round(1000 * errors)])
            doubted = self.records.doubted
            flipped = flip_labels(doubted, self._flip_probability(errors), rng=rng)
            labels = np.where(self.records.trusted, labels, flipped).astype(np.int8)
        return self._select(labels, part)

    def _flip_probability(self, errors: float) -> np.ndarray | float:
        if self.noise.kind == "uniform":
            return uniform_probability(self._error_rate(), errors)
        probability = self._out_of_fold
        return np.minimum((errors - 1) * probability_by_bin(probability, self._bins()), 1.0)

    def _error_rate(self) -> float:
        if self.noise.rate is not None:
            return self.noise.rate
        if self.noise.reviewed is not None:
            found = probability_by_bin(self._out_of_fold, self._bins())
            return float(found[self.records.doubted >= 0].mean())
        return error_rate(self.records.doubted, self._known_truth())

    @property
    def _out_of_fold(self) -> np.ndarray:
        """Probability of real that stage 1 gives each sample, (N,); NaN where it gives none."""
        rated = self.rated(errors=1.0, part=None)
        probability = np.full(len(self.given), np.nan)
        probability[rated["unique_index"]] = rated["probability_real"]
        return probability

    def _bins(self) -> pd.DataFrame:
        """How often labels are wrong by out-of-fold probability; kept in `noise_bins.csv`."""
        if self.noise.table is not None:
            bins = read_bins(self.noise.table)
        elif self.noise.reviewed is not None:
            verdicts = read_verdicts(self.noise.reviewed, self.records.samples)
            bins = reviewed_bins(self._out_of_fold, self.records.doubted, verdicts)
        else:
            doubted = self.records.doubted
            known = doubted >= 0
            wrong = self._known_truth()[known] != doubted[known]
            bins = bin_probabilities(self._out_of_fold[known], wrong)
        with whole_file(self.folder / "noise_bins.csv") as temporary:
            bins.to_csv(temporary, index=False)
        return bins

    def _known_truth(self) -> np.ndarray:
        if self.truth is None:
            raise InputError(UNKNOWN[self.noise.kind])
        return self.truth

    def true_labels(self, part: int | str | None) -> np.ndarray:
        """Correct the labels that there are, int8 (N,): what has none in other arms has none."""
        true = np.where(self.given >= 0, self._known_truth(), self.given)
        return self._select(true.astype(np.int8), part)

    def _select(self, labels: np.ndarray, part: int | str | None) -> np.ndarray:
        if part is None:
            return labels
        detectors = self.records.samples["detector_id"].to_numpy()
        if part != MIX:
            return np.where(detectors == part, labels, SKIP).astype(np.int8)
        one_in = len(self.records.sizes)
        chosen = stratified_sample(labels, detectors, one_in=one_in, seed=self.config.seed)
        return np.where(chosen, labels, SKIP).astype(np.int8)

    # --- work -----------------------------------------------------------------------------------

    def rated(self, *, errors: float, part: int | str | None) -> pd.DataFrame:
        """Stage 1 on these labels with the study's own settings, done once per set of labels."""
        if (errors, part) not in self._rated:
            self._rated[errors, part] = self._find_label_errors(errors, part)
        return self._rated[errors, part]

    def _find_label_errors(self, errors: float, part: int | str | None) -> pd.DataFrame:
        from rbkeras.stage1 import find_label_errors, write

        run = self._stage1(errors, part)
        with alone(run.folder):
            rated = find_label_errors(run)
            write(run, rated)
        return rated

    def train_fold(self, *, errors: float, part: int | str | None, fold: int) -> None:
        """Train one fold of the stage 1 that `rated` needs."""
        from rbkeras.stage1 import train_folds

        train_folds(self._stage1(errors, part), fold)

    def _stage1(self, errors: float, part: int | str | None) -> Any:
        from rbkeras.rundir import Run

        out = stage1_folder(self.folder, errors, part)
        # A policy that needs no stage 1 would skip it.
        config = replace(self.config, out=out, policy="unlabel")
        out.mkdir(parents=True, exist_ok=True)
        write_config(out / "config.yaml", config)
        return Run(config, self.records, self.labels(errors=errors, part=part))

    def train(self, arm: Arm, part: int | str | None) -> Scores:
        """Train and score, unless that is done already; return (real scores, bogus scores)."""
        out = arm_folder(self.folder, arm, part)
        with alone(out):
            return self._train(arm, part, out)

    def _train(self, arm: Arm, part: int | str | None, out: Path) -> Scores:
        from rbkeras import evaluation
        from rbkeras.rundir import Run
        from rbkeras.stage2 import train_final

        config = with_settings(self.config, arm.settings | {"out": out, "policy": arm.policy})
        if arm.true_labels:
            labels = self.true_labels(part)
        else:
            labels = self.labels(errors=arm.errors, part=part)
        if arm.oracle:
            wrong = (labels >= 0) & (labels != self._known_truth())
            labels = np.where(wrong, UNLABELLED, labels).astype(np.int8)
        rated = None
        if arm.policy != "keep":
            rated = self.rated(errors=arm.errors, part=part)
        out.mkdir(parents=True, exist_ok=True)
        write_config(out / "config.yaml", config)
        model = train_final(Run(config, self.records, labels), rated)
        if config.test_real is None or config.test_bogus is None:
            raise ValueError("expected a study with test stamps, got none")
        tests = {"real": config.test_real, "bogus": config.test_bogus}
        origin: dict[str, Any] = {"model": checksum(out / "model.keras")}
        origin |= {name: state_of(path) for name, path in tests.items()}
        known = out / _ORIGIN
        if known.exists() and read_json(known) == origin and (out / _SCORES).exists():
            return load_scores(out / _SCORES)
        known.unlink(missing_ok=True)
        scores = evaluation.score_test_set(model, **tests)
        with whole_file(out / _SCORES) as temporary, open(temporary, "wb") as stream:
            np.savez(stream, real=scores[0], bogus=scores[1])
        write_json(out / "evaluation" / "metrics.json", evaluation.summarise(*scores))
        write_json(known, origin)
        return scores


def open_seed(config: FitConfig, number: int, noise: Noise) -> Seed:
    """Name the folder of a seed in that of its study, and simulate its survey if need be."""
    from rbkeras.simulated import simulated

    folder = config.out / f"seed{number}"
    config = replace(config, out=folder, seed=number)
    if config.data is None:
        folder.mkdir(parents=True, exist_ok=True)
        config = simulated(config)
    return Seed(config, folder, noise)


def stage1_folder(folder: Path, errors: float, part: int | str | None) -> Path:
    """Name the run directory of a stage 1 in the folder of its seed."""
    return folder / "stage1" / slug(f"errors-x{errors:g}", part)


def arm_folder(folder: Path, arm: Arm, part: int | str | None) -> Path:
    """Name the run directory of an arm in the folder of its seed."""
    return folder / "runs" / slug(arm.name, part)


def looks_finished(marker: Path) -> bool:
    """Say whether a marker says that its work is finished, whatever the settings."""
    return marker.exists() and bool(read_json(marker).get("finished"))


def is_trained(folder: Path, arm: Arm, part: int | str | None) -> bool:
    """Say whether an arm looks trained and scored; `Seed.train` finds out whether it is."""
    out = arm_folder(folder, arm, part)
    return looks_finished(out / "stage2.json") and (out / _ORIGIN).exists()


def load_scores(path: Path) -> Scores:
    """Read what a finished training scored."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            return stored["real"], stored["bogus"]
    except (*DAMAGED, KeyError) as error:
        raise InputError(f"{path}: expected stored scores, but reading says: {error}") from None


def slug(name: str, part: int | str | None = None) -> str:
    """Make a file name of the name of an arm and a part of the data."""
    text = name if part is None else f"{name}-{part}"
    return "".join(c if c.isalnum() or c in ".-" else "_" for c in text)


def suspect_quality(rated: pd.DataFrame, truth: np.ndarray) -> dict[str, float]:
    """Recall, precision and F1 of the suspects among labels, one at least, whose truth is known.

    NaN where there are no errors, no suspects, or neither.
    """
    wrong = rated["label"].to_numpy() != truth[rated["unique_index"]]
    suspect = rated["suspect"].to_numpy() == 1
    precision, recall, f1, _ = precision_recall_fscore_support(
        wrong, suspect, average="binary", zero_division=np.nan
    )
    return {
        "errors": int(wrong.sum()),
        "suspects": int(suspect.sum()),
        "recall": float(recall),
        "precision": float(precision),
        "f1": float(f1),
    }
