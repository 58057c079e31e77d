"""What the reals of each detector look like, wrong labels left out."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from rbkeras.data.injection.point_source import CORE, FEWEST, Sources, as_recorded, fit_sources
from rbkeras.data.joined_survey import Part
from rbkeras.data.labels import REAL
from rbkeras.errors import InputError

#: What a table of suspects has to have.
SUSPECT_COLUMNS = ("detector_id", "sample_index", "suspect")
#: Reals that a detector's point source is measured on.
_MOST_REALS = 2000


def measure_sources(
    detectors: Sequence[Part], *, difference: int, suspects: pd.DataFrame | None, seed: int
) -> dict[int, Sources]:
    """Measure the reals of each detector; of all together for those that have few bright ones.

    Parameters
    ----------
    detectors
        At least one.
    difference
        The number of its channel.
    suspects
        Table with `SUSPECT_COLUMNS` and maybe label, or None; its suspects do not count as reals.
    seed
        Of which reals are taken where there are many.

    Raises
    ------
    InputError
        When there are too few bright reals, or the table is of other stamps.
    """
    if suspects is not None:
        _check_suspects(suspects, detectors)
    rows = [_reals_without_suspects(detector, suspects) for detector in detectors]
    rng = np.random.default_rng(seed)
    found = {
        detector.detector_id: fit_sources(_differences(detector, own, difference, rng))
        for detector, own in zip(detectors, rows, strict=True)
    }
    if all(found.values()):
        return {number: sources for number, sources in found.items() if sources is not None}
    few = _MOST_REALS // len(detectors) + 1
    everything = [
        _differences(detector, own, difference, rng, most=few)
        for detector, own in zip(detectors, rows, strict=True)
    ]
    together = fit_sources(np.concatenate(everything))
    if together is None:
        raise InputError(
            f"{detectors[0].files.images.parent}: expected at least {FEWEST} bright reals to take "
            "the shape of a point source from, found fewer"
        )
    return {number: sources or together for number, sources in found.items()}


def _check_suspects(suspects: pd.DataFrame, detectors: Sequence[Part]) -> None:
    """Raise `InputError` where a table of suspects is not of this survey, as far as it tells."""
    strange = suspects.loc[~suspects["suspect"].isin((0, 1)), "suspect"]
    if len(strange):
        raise InputError(f"--label_errors: expected suspect 0 or 1, found {strange.iloc[0]!r:.80}")
    # Records of several surveys have other detectors besides.
    if not suspects["detector_id"].isin([d.detector_id for d in detectors]).any():
        survey = detectors[0].files.images.parent
        raise InputError(f"--label_errors: expected detectors of {survey}, found none of them")
    if "label" not in suspects:
        return
    for detector in detectors:
        own = suspects[suspects["detector_id"] == detector.detector_id]
        # Those beyond are of another folder that was converted together with the survey.
        own = own[own["sample_index"].isin(range(len(detector.labels)))]
        if (detector.labels[own["sample_index"].to_numpy(np.int64)] != own["label"]).any():
            raise InputError(
                f"--label_errors: expected the labels of {detector.files.params}, found others; "
                "the table is of other stamps"
            )


def _reals_without_suspects(detector: Part, suspects: pd.DataFrame | None) -> np.ndarray:
    """Rows of the stamps that are labelled real, and not suspect."""
    taken = detector.labels == REAL
    if suspects is not None:
        own = suspects[suspects["detector_id"] == detector.detector_id]
        rows = own.loc[own["suspect"] == 1, "sample_index"]
        if not rows.isin(range(len(taken))).all():
            raise InputError(
                f"--label_errors: expected suspects among the {len(taken)} stamps of "
                f"{detector.files.images.name}, found others"
            )
        taken[rows.to_numpy(np.int64)] = False
    return np.flatnonzero(taken)


def _differences(
    detector: Part,
    rows: np.ndarray,
    difference: int,
    rng: np.random.Generator,
    *,
    most: int = _MOST_REALS,
) -> np.ndarray:
    """Read differences (n, size, size), float64, that have data in the middle."""
    if len(rows) > most:
        rows = np.sort(rng.choice(rows, most, replace=False))
    differences = np.empty((len(rows), *detector.stamps.shape[1:3]))
    for image, row in zip(differences, rows.tolist(), strict=True):
        image[:] = as_recorded(detector.stamps[row : row + 1][0, ..., difference])
    centre = (differences.shape[1] - 1) // 2
    core = differences[:, centre - CORE : centre + CORE + 1, centre - CORE : centre + CORE + 1]
    return differences[np.isfinite(core).all(axis=(1, 2))]
