"""Disjoint, stratified selections of samples."""

import warnings

import numpy as np
import pandas as pd
from sklearn.model_selection import StratifiedGroupKFold

from rbkeras.errors import InputError


def stratified_folds(
    labels: np.ndarray,
    detector_ids: np.ndarray,
    *,
    folds: int,
    seed: int,
    groups: np.ndarray | None = None,
) -> np.ndarray:
    """Assign every sample to one of `folds` folds, stratified by label and detector.

    Parameters
    ----------
    labels
        Integers (N,) in {0, 1, -1}.
    detector_ids
        Integers (N,).
    folds
        Number of folds, at least 2.
    seed
        Seed of the shuffling; the same seed gives the same folds.
    groups
        Optional (N,) of any hashable kind (object names, nights). Samples of a group share a
        fold; stratification is then as even as whole groups allow, and by label alone of what a
        detector has fewer than `folds` of. A missing value is a group of
        its own.

    Returns
    -------
    numpy.ndarray
        int8 (N,), each sample's fold.

    Raises
    ------
    InputError
        When there are fewer samples, or groups, than folds.
    """
    labels, detector_ids = np.asarray(labels), np.asarray(detector_ids)
    if not 2 <= folds <= 100:
        raise InputError(f"folds: expected 2 to 100, got {folds}")
    if len(labels) < folds:
        raise InputError(f"expected at least {folds} samples for {folds} folds, got {len(labels)}")
    if groups is not None:
        return _grouped_folds(labels, detector_ids, np.asarray(groups), folds, seed)
    return _dealt(labels, detector_ids, folds, seed).astype(np.int8)


def stratified_sample(
    labels: np.ndarray, detector_ids: np.ndarray, *, one_in: int, seed: int
) -> np.ndarray:
    """Choose one in so many samples, stratified by label and detector.

    Parameters
    ----------
    one_in
        At least 1, which chooses all.
    labels, detector_ids, seed
        As in `stratified_folds`.

    Returns
    -------
    numpy.ndarray
        bool (N,), true for those chosen.
    """
    return _dealt(np.asarray(labels), np.asarray(detector_ids), one_in, seed) == 0


def _dealt(labels: np.ndarray, detector_ids: np.ndarray, hands: int, seed: int) -> np.ndarray:
    """Deal samples out like cards, stratum after stratum without beginning anew: (N,), whose.

    Label-major order lets strata smaller than the number of hands complement each other: the few
    bogus of many detectors still spread evenly.
    """
    order = np.lexsort((np.random.default_rng(seed).random(len(labels)), detector_ids, labels))
    dealt = np.empty(len(labels), dtype=np.int64)
    dealt[order] = np.arange(len(labels)) % hands
    return dealt


def repeat_seed(seed: int, repeat: int) -> int:
    """Seed of what is done again, the folds of a further cross-validation say; first `seed` itself.

    Mixed rather than added up, so that no repeat has the folds of another run's first.
    """
    if repeat == 0:
        return seed
    return int(np.random.SeedSequence([seed, repeat]).generate_state(1)[0])


def _grouped_folds(
    labels: np.ndarray, detector_ids: np.ndarray, groups: np.ndarray, folds: int, seed: int
) -> np.ndarray:
    codes = _group_codes(groups)
    found = len(np.unique(codes))
    if found < folds:
        raise InputError(f"expected at least {folds} groups for {folds} folds, got {found}")
    # Label and detector, as far as there are samples for it: scikit-learn spreads each stratum by
    # itself, so that many small ones of a rare class would all lie in the same few folds.
    strata = pd.MultiIndex.from_arrays([labels, detector_ids]).factorize()[0]
    large = np.bincount(strata)[strata] >= folds
    candidates = (
        pd.MultiIndex.from_arrays([labels, large, np.where(large, strata, 0)]).factorize()[0],
        pd.factorize(labels)[0],
        np.zeros(len(labels), dtype=int),
    )
    # scikit-learn refuses when every stratum is smaller than the number of folds.
    strata = next(codes for codes in candidates if np.bincount(codes).max() >= folds)
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    assigned = np.empty(len(labels), dtype=np.int8)
    with warnings.catch_warnings():
        # A stratum with fewer members than folds is normal here.
        warnings.filterwarnings("ignore", message="The least populated class")
        for fold, (_, held_out) in enumerate(splitter.split(strata, strata, codes)):
            assigned[held_out] = fold
    _fill_empty(assigned, codes, folds)
    return assigned


def _fill_empty(assigned: np.ndarray, codes: np.ndarray, folds: int) -> None:
    """Give folds that scikit-learn has left empty the smallest group of the one with most."""
    sizes = np.bincount(codes)
    for empty in np.flatnonzero(np.bincount(assigned, minlength=folds) == 0):
        fold_of = pd.Series(assigned).groupby(codes).first()
        crowded = fold_of.index[fold_of == fold_of.mode()[0]]
        assigned[codes == crowded[sizes[crowded].argmin()]] = empty


def _group_codes(groups: np.ndarray) -> np.ndarray:
    codes = pd.factorize(pd.Series(groups))[0]
    alone = codes < 0
    codes[alone] = codes.max(initial=-1) + 1 + np.arange(alone.sum())
    return codes


def validation_mask(
    labels: np.ndarray,
    detector_ids: np.ndarray,
    *,
    fraction: float,
    seed: int,
    groups: np.ndarray | None = None,
) -> np.ndarray:
    """Choose a stratified validation part.

    Parameters
    ----------
    fraction
        Wished size, in [0.01, 0.5]; the part is one of round(1 / fraction) folds.
    labels, detector_ids, seed, groups
        As in `stratified_folds`.

    Returns
    -------
    numpy.ndarray
        bool (N,), true for validation samples.
    """
    if not 0.01 <= fraction <= 0.5:
        raise InputError(f"fraction: expected a number in [0.01, 0.5], got {fraction}")
    folds = round(1 / fraction)
    return stratified_folds(labels, detector_ids, folds=folds, seed=seed, groups=groups) == 0
