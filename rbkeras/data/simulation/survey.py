"""A whole simulated survey on disk: detectors, label errors, a clean test set."""

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from rbkeras.data.simulation.sky import Conditions, draw_conditions
from rbkeras.data.simulation.stamps import Kind, simulate_stamps
from rbkeras.data.survey import write_header
from rbkeras.errors import InputError
from rbkeras.files import whole_file

BOGUS_NAME = "artifact"
REAL_NAMES = {"random": "rand_artificial_real", "near_galaxy": "galx_artificial_real"}

#: Of the tables beside the test stamps; the last two as a survey would measure them.
TEST_COLUMNS = ["detector_id", "family", "snr", "magnitude"]

#: Names of the files in the folders raw and test of a simulation; the last are of a killed one.
_FILES = re.compile(r"images\d+\.npy|params\d+\.csv|(real|bogus)\.(npy|csv)|\.\d+-.*\.part\..*")

# Stands in the folder while it is being filled.
_UNFINISHED = ".unfinished"

#: Test stamps drawn at a time.
BLOCK = 2048


def simulate_survey(
    out: str | os.PathLike[str],
    *,
    detectors: int = 4,
    per_detector: int = 1500,
    label_error: float = 0.05,
    real_fraction: float = 0.5,
    test_real: int = 1000,
    test_bogus: int = 10000,
    size: int = 29,
    seed: int = 0,
    overwrite: bool = False,
    progress: bool = True,
) -> None:
    """Write a simulated survey, its truth and a correctly labelled test set.

    ``out/raw`` is a survey directory (``images<ID>.npy`` and ``params<ID>.csv``, partly
    mislabelled), ``out/truth.csv`` has the true labels, and ``out/test`` holds ``real.npy``
    and ``bogus.npy``, each with a table of its stamps beside it (``real.csv``). A detector's
    stamps depend only on the seed, the detector's number, the stamps' size, and how many of
    either class are drawn; the test set does not depend on the training set.

    Parameters
    ----------
    out
        Folder to write; it must be empty or absent.
    detectors
        Number of detectors; their IDs run from 1.
    per_detector
        Stamps per detector.
    label_error
        Fraction of either true class that is given the other class's label, in [0, 0.5).
    real_fraction
        Fraction of real stamps among a detector's.
    test_real, test_bogus
        Stamps of the test set.
    size
        Side of a stamp in pixels, at least 11.
    seed
        Seed of everything; not negative.
    overwrite
        Replace an earlier survey in `out`; one that was interrupted is replaced in any case.
    progress
        Show a progress bar.

    Raises
    ------
    InputError
        When an argument is out of range, or `out` is not empty.
    """
    _check_at_least(1, detectors=detectors, per_detector=per_detector)
    _check_at_least(0, test_real=test_real, test_bogus=test_bogus, seed=seed)
    _check_at_least(11, size=size)
    if not 0 <= label_error < 0.5:
        raise InputError(f"label_error: expected a fraction in [0, 0.5), got {label_error}")
    if not 0 <= real_fraction <= 1:
        raise InputError(f"real_fraction: expected a fraction in [0, 1], got {real_fraction}")
    out = Path(out)
    _make_room(out, overwrite=overwrite)
    out.mkdir(parents=True, exist_ok=True)
    (out / _UNFINISHED).touch()

    sky_seed, stamp_seed, label_seed, test_seed = np.random.SeedSequence(seed).spawn(4)
    conditions = [draw_conditions(np.random.default_rng(s)) for s in sky_seed.spawn(detectors)]
    reals = round(real_fraction * per_detector)
    true_label = np.zeros((detectors, per_detector), int)
    true_label[:, :reals] = 1
    wrong = draw_label_errors(true_label, label_error, rng=np.random.default_rng(label_seed))

    total = detectors * per_detector + test_real + test_bogus
    truth = []
    with tqdm(total=total, unit="stamp", disable=not progress) as bar:
        for index, child in enumerate(stamp_seed.spawn(detectors)):
            rng = np.random.default_rng(child)
            images, table = _detector(conditions[index], true_label[index], rng=rng, size=size)
            table["wrong"] = wrong[index]
            order = rng.permutation(per_detector)
            rows = _write_detector(out / "raw", index + 1, images, table, order, rng=rng)
            truth.append(rows)
            bar.update(per_detector)
        tests: dict[Kind, int] = {"real": test_real, "bogus": test_bogus}
        for (kind, count), child in zip(tests.items(), test_seed.spawn(2), strict=True):
            path = out / "test" / f"{kind}.npy"
            for drawn in _write_test(path, kind, count, conditions, seed=child, size=size):
                bar.update(drawn)
    with whole_file(out / "truth.csv") as temporary:
        pd.concat(truth).to_csv(temporary, index=False)
    (out / _UNFINISHED).unlink()


def draw_label_errors(
    true_label: np.ndarray, rate: float, *, rng: np.random.Generator
) -> np.ndarray:
    """Choose the samples whose label is wrong: exactly round(rate * n) of either class.

    Parameters
    ----------
    true_label
        0 or 1, of any shape.
    rate
        Fraction of either class.
    rng
        Source of randomness.

    Returns
    -------
    ndarray
        True where the label is wrong, the shape of `true_label`.
    """
    wrong = np.zeros(true_label.size, bool)
    for value in (0, 1):
        members = np.flatnonzero(true_label == value)
        wrong[rng.choice(members, round(rate * members.size), replace=False)] = True
    return wrong.reshape(true_label.shape)


def _detector(
    conditions: Conditions, true_label: np.ndarray, *, rng: np.random.Generator, size: int
) -> tuple[np.ndarray, pd.DataFrame]:
    """Draw a detector's stamps, the reals first."""
    counts: dict[Kind, int] = {"real": np.sum(true_label == 1), "bogus": np.sum(true_label == 0)}
    parts = [
        simulate_stamps(count, kind=kind, conditions=conditions, rng=rng, size=size)
        for kind, count in counts.items()
    ]
    table = pd.concat([part[1] for part in parts if len(part[1])], ignore_index=True)
    table["true_label"] = true_label
    return np.concatenate([part[0] for part in parts]), table


def _write_detector(
    folder: Path,
    detector_id: int,
    images: np.ndarray,
    table: pd.DataFrame,
    order: np.ndarray,
    *,
    rng: np.random.Generator,
) -> pd.DataFrame:
    """Write a detector's two files in the given order, and return its rows of the truth."""
    table = table.iloc[order].reset_index(drop=True)
    given = np.where(table["wrong"], 1 - table["true_label"], table["true_label"])
    # A bogus that passes for an injected star passes for either kind of them.
    guess = np.array(list(REAL_NAMES.values()))[rng.integers(0, 2, len(table))]
    as_real = table["family"].map(REAL_NAMES).fillna(pd.Series(guess))
    params = pd.DataFrame(
        {
            "object_type": np.where(given == 1, as_real, BOGUS_NAME),
            "snr": table["snr"].round(3),
            "magnitude": table["magnitude"].round(4),
            "x": rng.uniform(0, 4096, len(table)).round(2),
            "y": rng.uniform(0, 4096, len(table)).round(2),
        }
    )
    path = folder / f"images{detector_id}.npy"
    with whole_file(path) as temporary, temporary.open("wb") as file:
        write_header(file, images.shape)
        file.write(np.ascontiguousarray(images[order], "<f4").data)
    with whole_file(folder / f"params{detector_id}.csv") as temporary:
        params.to_csv(temporary, index=False)
    return pd.DataFrame(
        {
            "detector_id": detector_id,
            "sample_index": np.arange(len(table)),
            "given_label": given,
            "true_label": table["true_label"],
            "family": table["family"],
            "snr": table["injected_snr"].round(4),
        }
    )


def _write_test(
    path: Path,
    kind: Kind,
    count: int,
    conditions: list[Conditions],
    *,
    seed: np.random.SeedSequence,
    size: int,
) -> Iterator[int]:
    """Write the test stamps of one class, detectors taking turns; yield how many were drawn.

    A table of the same name ending in .csv says of each what a survey's table would.
    """
    parts = []
    # Not by a memory map, since a full disk would end the process without a word.
    with whole_file(path) as temporary, temporary.open("wb") as file:
        first = write_header(file, (count, size, size, 3))
        for index, child in enumerate(seed.spawn(len(conditions))):
            rng = np.random.default_rng(child)
            turns = np.arange(index, count, len(conditions))
            for start in range(0, len(turns), BLOCK):
                rows = turns[start : start + BLOCK]
                stamps, table = simulate_stamps(
                    len(rows), kind=kind, conditions=conditions[index], rng=rng, size=size
                )
                for row, stamp in zip(rows.tolist(), stamps.astype("<f4"), strict=True):
                    file.seek(first + row * stamp.nbytes)
                    file.write(stamp.data)
                parts.append(_test_table(table, index + 1).set_index(rows))
                yield len(rows)
    rows = pd.concat(parts).sort_index() if parts else pd.DataFrame(columns=TEST_COLUMNS)
    with whole_file(path.with_suffix(".csv")) as temporary:
        rows.to_csv(temporary, index=False)


def _test_table(table: pd.DataFrame, detector_id: int) -> pd.DataFrame:
    table = table.assign(
        detector_id=detector_id,
        snr=table["snr"].round(3),
        magnitude=table["magnitude"].round(4),
    )
    return table[TEST_COLUMNS]


def _check_at_least(least: int, **values: int) -> None:
    for name, value in values.items():
        if value < least:
            raise InputError(f"{name}: expected an integer of at least {least}, got {value}")


def _make_room(out: Path, *, overwrite: bool) -> None:
    """Clear away an earlier survey, or refuse to."""
    if out.exists() and not out.is_dir():
        raise InputError(f"{out}: expected a folder to write into, got a file")
    if out.is_dir() and any(out.iterdir()):
        # What an interrupted simulation has left is nobody's; other files may be somebody's.
        if not overwrite and not (out / _UNFINISHED).exists():
            raise InputError(f"{out}: expected an empty folder, found files; --overwrite replaces")
        _require_simulation(out)
        # From here on what is left is no survey, whenever a kill comes.
        (out / _UNFINISHED).touch()
        for folder in (out / "raw", out / "test"):
            if folder.exists():
                shutil.rmtree(folder)
        (out / "truth.csv").unlink(missing_ok=True)


def _require_simulation(out: Path) -> None:
    """Refuse to replace what no simulation has written."""
    if not ((out / _UNFINISHED).exists() or (out / "truth.csv").exists()):
        raise InputError(f"{out}: expected an earlier simulation with its truth.csv, found none")
    for folder in (out / "raw", out / "test"):
        if folder.is_symlink():
            raise InputError(f"{folder}: expected a folder of a simulation, found a link")
        for path in sorted(folder.iterdir()) if folder.is_dir() else ():
            if not _FILES.fullmatch(path.name):
                raise InputError(f"{path}: expected files of a simulation alone, found this one")
