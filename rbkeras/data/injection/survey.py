"""A survey directory of injected reals, made from another one."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from rbkeras.data.injection.measured import measure_sources
from rbkeras.data.injection.point_source import Sources
from rbkeras.data.injection.stamps import DEFAULT_CHANNELS, Channels, make_stamps
from rbkeras.data.joined_survey import Part, joined_labels, read_directory
from rbkeras.data.labels import DEFAULT_LABELS, REAL
from rbkeras.data.survey import write_header
from rbkeras.errors import InputError
from rbkeras.files import remove_abandoned, whole_file, write_json

#: Stands in the folder and says how it was made.
MARKER = "injection.json"
_SMALLEST = 21


def inject_survey(
    survey: str | Path,
    out: str | Path,
    *,
    count: int | None = None,
    seed: int = 0,
    channels: Channels = DEFAULT_CHANNELS,
    suspects: pd.DataFrame | None = None,
    labels: Mapping[str, int] = DEFAULT_LABELS,
    overwrite: bool = False,
    progress: bool = True,
) -> dict[int, Sources]:
    """Write a survey directory of reals and as many bogus whose labels are right.

    The shape of a detector's point source is measured on its own bright reals, or on those of all
    detectors where it has fewer than ten. Sources of that shape are added to the new image and to
    the difference of the detector's own stamps, moved so far that their detection is not in the
    centre. Signal-to-noise and places within the pixel are those of the detector's reals above 5,
    drawn at random; photon noise of the sources is not added. The bogus are stamps moved to a peak
    of their noise, of a signal-to-noise below 5.

    Parameters
    ----------
    survey
        Survey directory, or uncompressed records, with stamps (N, size, size, C) of at least 21
        pixels.
    out
        Folder to write: ``images<ID>.npy`` (float32) and ``params<ID>.csv`` for each detector of
        `survey` that has a share of `count`, first the reals. The table has the columns of the
        stamp that a scene was taken from, without magnitudes, scores and `family`. `object_type` is
        'real' or 'bogus', `snr` that of the source or of the peak, `made_from` the number of the
        scene's stamp among those of its detector, and `trusted` is 1, so that stage 1 does not
        doubt them. Where there is an `alert_id`, each has one of its own.
    count
        Stamps to make of either class, shared out among the detectors by their numbers of stamps;
        None makes as many as there are labelled real.
    seed
        Not negative.
    channels
        Where a stamp has its new image, reference and difference.
    suspects
        Table of stage 1 with columns detector_id, sample_index and suspect, and maybe label, which
        has to be that of the survey: suspects do not count as reals. Without it wrong labels are
        told by their shape alone.
    labels
        What the names in `object_type` mean.
    overwrite
        Replace what an earlier call has written to `out`.
    progress
        Show a progress bar.

    Returns
    -------
    dict
        By detector, what its reals look like.

    Raises
    ------
    InputError
        When the survey is at fault, stamps are too small or not square or have no such channels,
        there are too few bright reals or places beside detections, or `out` is there already or
        holds the survey.
    """
    out = Path(out)
    labels = joined_labels([survey], labels=labels)
    detectors = list(read_directory(survey, labels=labels))
    _check(detectors, channels, count=count, seed=seed)
    _make_room(out, survey=Path(survey), overwrite=overwrite)
    remove_abandoned(out.absolute().parent, below=False)
    total = sum(int((d.labels == REAL).sum()) for d in detectors) if count is None else count
    shares = _shares(total, [len(d.labels) for d in detectors])
    found = measure_sources(detectors, difference=channels.difference, suspects=suspects, seed=seed)
    with (
        whole_file(out) as temporary,
        tqdm(total=2 * total, unit="stamp", disable=not progress) as bar,
    ):
        temporary.mkdir()
        seeds = np.random.SeedSequence(seed).spawn(len(detectors))
        for detector, share, child in zip(detectors, shares, seeds, strict=True):
            # A share is nothing where there are few stamps; arrays of none cannot be converted.
            if not share:
                continue
            number = detector.detector_id
            stamps, params = make_stamps(
                detector, found[number], share, channels, rng=np.random.default_rng(child), bar=bar
            )
            if "alert_id" in params:
                # Verdicts go by it; another month is injected with the same seed.
                params["alert_id"] = [
                    f"injected-{seed}-{number}-{alert}-{row}"
                    for row, alert in enumerate(params["alert_id"])
                ]
            with (temporary / f"images{number}.npy").open("wb") as file:
                write_header(file, stamps.shape)
                file.write(stamps.data)
            params.to_csv(temporary / f"params{number}.csv", index=False)
        write_json(temporary / MARKER, _notes(found, survey=survey, seed=seed, shares=shares))
    return found


def _check(detectors: Sequence[Part], channels: Channels, *, count: int | None, seed: int) -> None:
    if seed < 0 or (count is not None and count < 1):
        raise InputError(f"expected --seed from 0 and --count from 1 on, got {seed} and {count}")
    _, height, width, depth = detectors[0].stamps.shape
    named = [channels.new, channels.reference, channels.difference]
    if len(set(named)) < 3 or not all(0 <= channel < depth for channel in named):
        raise InputError(
            f"--channels: expected three different numbers from 0 to {depth - 1}, got "
            f"{' '.join(map(str, named))}"
        )
    if height != width or height < _SMALLEST:
        raise InputError(
            f"{detectors[0].files.images}: expected square stamps of at least {_SMALLEST} pixels, "
            f"found {height} x {width}"
        )


def _make_room(out: Path, *, survey: Path, overwrite: bool) -> None:
    # Injected reals are a survey too, and could be asked to replace themselves.
    if survey.resolve().is_relative_to(out.resolve()):
        raise InputError(f"{out}: expected a folder that does not hold the survey")
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not (out / MARKER).is_file():
        raise InputError(f"{out}: expected a folder to write, empty or absent, found files")
    if not overwrite:
        raise InputError(f"{out}: expected no injected reals there yet; --overwrite replaces them")


def _shares(total: int, sizes: Sequence[int]) -> list[int]:
    """Share out a number by sizes, rounded such that the sum stays."""
    edges = np.round(total * np.cumsum([0, *sizes]) / sum(sizes)).astype(int)
    return np.diff(edges).tolist()


def _notes(
    found: Mapping[int, Sources], *, survey: str | Path, seed: int, shares: Sequence[int]
) -> dict[str, Any]:
    return {
        "survey": str(Path(survey).absolute()),
        "seed": seed,
        "detectors": [
            {
                "detector_id": number,
                "stamps": share,
                "fwhm": sources.psf.fwhm,
                "beta": sources.psf.beta,
                "ellipticity": list(sources.psf.ellipticity),
                "reals": sources.used,
            }
            for (number, sources), share in zip(found.items(), shares, strict=True)
            if share
        ],
    }
