"""What a study is told about label errors, and whether that is enough to add more."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from rbkeras.config import FitConfig
from rbkeras.data.records import open_records
from rbkeras.errors import InputError
from rbkeras.studies.noise import error_rate, read_bins, uniform_probability
from rbkeras.tables import read_table
from rbkeras.verdicts import read_verdicts

#: What is missing, by the kind of noise.
UNKNOWN = {
    kind: "label errors can only be multiplied where it is known how often they occur: expected "
    f"--truth, {flag} or --noise_reviewed with data whose true labels are not known"
    for kind, flag in (("uniform", "--noise_rate"), ("score", "--noise_table"))
}


@dataclass(frozen=True, kw_only=True)
class Noise:
    """What is known of the label errors there are, and how more are added.

    Attributes
    ----------
    kind
        'uniform': any label alike; 'score': by bins of out-of-fold probability.
    rate
        Fraction of wrong labels before any is added, for 'uniform'; None takes the truth's.
    table
        CSV of bins for 'score'; None estimates it from the truth.
    reviewed
        CSV of a person's verdicts from which rate and bins are estimated in place of the truth.
    truth
        CSV of detector_id, sample_index, true_label (1 real, 0 bogus); None looks for the one that
        a simulated survey has beside its records.
    """

    kind: str = "uniform"
    rate: float | None = None
    table: Path | None = None
    reviewed: Path | None = None
    truth: Path | None = None


def check_noise(noise: Noise, config: FitConfig, errors: Sequence[float]) -> None:
    """See before anything is trained that label errors can be added as asked.

    Raises
    ------
    InputError
        Naming the flag, or the file that is at fault.
    """
    if noise.table is not None:
        if noise.kind != "score":
            raise InputError("--noise_table: expected --noise score with it, got uniform")
        read_bins(noise.table)
    if noise.rate is not None and noise.kind != "uniform":
        raise InputError("--noise_rate: expected --noise uniform with it, got score")
    if noise.reviewed is not None:
        if noise.table is not None or noise.rate is not None:
            raise InputError(
                "--noise_reviewed: expected neither --noise_table nor --noise_rate with it"
            )
        if config.data is None:
            raise InputError("--noise_reviewed: expected --data with it, whose sample was reviewed")
        records = open_records(config.records_directory)
        verdicts = read_verdicts(noise.reviewed, records.samples)
        # Errors are added among the others.
        verdicts = verdicts[records.doubted[verdicts.index] >= 0]
        if not (verdicts != "unlabelled").any():
            raise InputError(
                f"{noise.reviewed}: expected verdicts that say whether labels are right, of labels "
                "that are not trusted, found none"
            )
    if noise.truth is not None:
        if config.data is None:
            raise InputError("--truth: expected --data with it, whose true labels these are")
        read_truth(noise.truth, open_records(config.records_directory).samples)
    if config.data is not None and max(errors) > 1 and not _known(noise, config.data):
        raise InputError(UNKNOWN[noise.kind])
    if noise.kind == "uniform" and max(errors) > 1:
        rate = _rate_before(noise, config)
        # What a review says, only its out-of-fold predictions tell.
        if rate is not None:
            uniform_probability(rate, max(errors))


def _rate_before(noise: Noise, config: FitConfig) -> float | None:
    if noise.rate is not None:
        return noise.rate
    if config.data is None:
        return config.simulation.label_error
    path = truth_file(noise, config.data)
    if noise.reviewed is not None or path is None:
        return None
    records = open_records(config.records_directory)
    if not (records.doubted >= 0).any():
        raise InputError(
            f"{records.directory}: expected labels that are not trusted, to add errors to, found "
            "none"
        )
    return error_rate(records.doubted, read_truth(path, records.samples))


def truth_file(noise: Noise, data: Path) -> Path | None:
    """Find the true labels of a records directory: the file named, or one that lies beside it."""
    beside = data.parent / "survey" / "truth.csv"
    return noise.truth or (beside if beside.exists() else None)


def _known(noise: Noise, data: Path) -> bool:
    own = noise.rate if noise.kind == "uniform" else noise.table
    return own is not None or noise.reviewed is not None or truth_file(noise, data) is not None


def read_truth(path: Path, samples: pd.DataFrame) -> np.ndarray:
    """Read the true label of every sample of a records directory.

    Parameters
    ----------
    path
        CSV with detector_id, sample_index and true_label (1 real, 0 bogus), in any order.
    samples
        Table of the records, in order of unique_index.

    Returns
    -------
    numpy.ndarray
        int8 (N,).

    Raises
    ------
    InputError
        When a column, or the label of a sample, is missing, there twice, or neither 0 nor 1.
    """
    key = ["detector_id", "sample_index"]
    truth = read_table(path, [*key, "true_label"])
    for name in key:
        # Otherwise pandas refuses to join texts with numbers.
        truth[name] = pd.to_numeric(truth[name], errors="coerce")
    truth = truth.dropna(subset=key)
    if truth.duplicated(key).any():
        raise InputError(f"{path}: expected each sample once")
    found = samples[key].merge(truth, on=key, how="left")["true_label"]
    lacking = int((~found.isin((0, 1))).sum())
    if lacking:
        raise InputError(
            f"{path}: expected a true label of 0 or 1 for every sample of the records, found "
            f"{lacking} of {len(samples)} without"
        )
    return found.to_numpy(np.int8)
