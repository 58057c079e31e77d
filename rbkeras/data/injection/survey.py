"""A survey directory of injected reals, made from another one."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from rbkeras.data.injection.point_source import (
    CORE,
    FEWEST,
    Sources,
    as_recorded,
    fit_sources,
    unit_noise,
)
from rbkeras.data.injection.scenes import Scene, noise_peaks, quiet_scenes
from rbkeras.data.joined_survey import Part, read_directory
from rbkeras.data.labels import DEFAULT_LABELS, REAL
from rbkeras.data.survey import LABEL_COLUMN, write_header
from rbkeras.errors import InputError
from rbkeras.files import remove_abandoned, whole_file, write_json

#: Stands in the folder and says how it was made.
MARKER = "injection.json"
#: Columns that tell of the detection which a scene was taken from.
_OF_DETECTIONS = (
    *("family", "snr", "s2n", "magnitude", "mag", "magpsf"),
    *("survey_score", "survey_score_name"),
)
#: What a table of suspects has to have.
SUSPECT_COLUMNS = ("detector_id", "sample_index", "suspect")
_SMALLEST = 21
#: Reals that a detector's point source is measured on.
_MOST_REALS = 2000
#: Draws for each scene before it is given up.
_DRAWS = 200


@dataclass(frozen=True)
class Channels:
    """Which channel of a stamp is which, counted from 0."""

    new: int = 0
    reference: int = 1
    difference: int = 2


def inject_survey(
    survey: str | Path,
    out: str | Path,
    *,
    count: int | None = None,
    seed: int = 0,
    channels: Channels = Channels(),
    suspects: pd.DataFrame | None = None,
    labels: Mapping[str, int] = DEFAULT_LABELS,
    overwrite: bool = False,
    progress: bool = True,
) -> dict[int, Sources]:
    """Write a survey directory of reals and as many bogus whose labels are right.

    The shape of a detector's point source is measured on its own bright reals, or on those of all
    detectors where it has fewer than ten. Sources of that
    shape are added to the new image and to the difference of the detector's own stamps, moved so
    far that their detection is not in the centre. Signal-to-noise and places within the pixel are
    those of the detector's reals, drawn at random; photon noise of the sources is not added. The
    bogus are stamps moved to a peak of their noise.

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
    detectors = list(read_directory(survey, labels=labels))
    _check(detectors, channels, count=count, seed=seed)
    if suspects is not None:
        _check_suspects(suspects, detectors, survey=survey)
    _make_room(out, survey=Path(survey), overwrite=overwrite)
    remove_abandoned(out.absolute().parent, below=False)
    total = sum(int((d.labels == REAL).sum()) for d in detectors) if count is None else count
    shares = _shares(total, [len(d.labels) for d in detectors])
    rows = [_trusted_reals(detector, suspects) for detector in detectors]
    found = _all_sources(detectors, rows, channels, seed=seed)
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
            stamps, params = _made_of(
                detector, found[number], share, channels, rng=np.random.default_rng(child), bar=bar
            )
            if "alert_id" in params:
                # Verdicts go by it.
                params["alert_id"] = [f"injected-{seed}-{number}-{i}" for i in range(len(params))]
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
        raise InputError(f"{out}: expected another folder than that of the survey, found the same")
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not (out / MARKER).is_file():
        raise InputError(f"{out}: expected a folder to write, empty or absent, found files")
    if not overwrite:
        raise InputError(f"{out}: expected no injected reals there yet; --overwrite replaces them")


def _check_suspects(
    suspects: pd.DataFrame, detectors: Sequence[Part], *, survey: str | Path
) -> None:
    """Raise `InputError` where a table of suspects is not of this survey, as far as it tells."""
    strange = suspects.loc[~suspects["suspect"].isin((0, 1)), "suspect"]
    if len(strange):
        raise InputError(f"--label_errors: expected suspect 0 or 1, found {strange.iloc[0]!r:.80}")
    # Records of several surveys have other detectors besides.
    if not suspects["detector_id"].isin([d.detector_id for d in detectors]).any():
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


def _shares(total: int, sizes: Sequence[int]) -> list[int]:
    """Share out a number by sizes, rounded such that the sum stays."""
    edges = np.round(total * np.cumsum([0, *sizes]) / sum(sizes)).astype(int)
    return np.diff(edges).tolist()


def _trusted_reals(detector: Part, suspects: pd.DataFrame | None) -> np.ndarray:
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


def _all_sources(
    detectors: Sequence[Part],
    rows: Sequence[np.ndarray],
    channels: Channels,
    *,
    seed: int,
) -> dict[int, Sources]:
    """Measure the reals of each detector; of all together for those that have few bright ones."""
    rng = np.random.default_rng(seed)
    found = {
        detector.detector_id: fit_sources(_differences(detector, own, channels, rng))
        for detector, own in zip(detectors, rows, strict=True)
    }
    if all(found.values()):
        return {number: sources for number, sources in found.items() if sources is not None}
    few = _MOST_REALS // len(detectors) + 1
    everything = [
        _differences(detector, own, channels, rng, most=few)
        for detector, own in zip(detectors, rows, strict=True)
    ]
    together = fit_sources(np.concatenate(everything))
    if together is None:
        raise InputError(
            f"{detectors[0].files.images.parent}: expected at least {FEWEST} bright reals to take "
            "the shape of a point source from, found fewer"
        )
    return {number: sources or together for number, sources in found.items()}


def _differences(
    detector: Part,
    rows: np.ndarray,
    channels: Channels,
    rng: np.random.Generator,
    *,
    most: int = _MOST_REALS,
) -> np.ndarray:
    """Read differences (n, size, size), float64, that have data in the middle."""
    if len(rows) > most:
        rows = np.sort(rng.choice(rows, most, replace=False))
    differences = np.empty((len(rows), *detector.stamps.shape[1:3]))
    for difference, row in zip(differences, rows.tolist(), strict=True):
        difference[:] = as_recorded(detector.stamps[row : row + 1][0, ..., channels.difference])
    centre = (differences.shape[1] - 1) // 2
    core = differences[:, centre - CORE : centre + CORE + 1, centre - CORE : centre + CORE + 1]
    return differences[np.isfinite(core).all(axis=(1, 2))]


def _made_of(
    detector: Part,
    sources: Sources,
    count: int,
    channels: Channels,
    *,
    rng: np.random.Generator,
    bar: tqdm,
) -> tuple[np.ndarray, pd.DataFrame]:
    """Make a detector's reals and bogus, and the rows of both."""
    quiet = quiet_scenes(
        detector.stamps, reference=channels.reference, difference=channels.difference, rng=rng
    )
    reals = (scene and _with_source(scene, sources, channels, rng) for scene in quiet)
    peaks = noise_peaks(detector.stamps, sources.psf, difference=channels.difference, rng=rng)
    parts = [
        _gather(draws, count, name=name, detector=detector, bar=bar)
        for name, draws in (("real", reals), ("bogus", peaks))
    ]
    return np.concatenate([part[0] for part in parts]), pd.concat([part[1] for part in parts])


def _with_source(
    scene: Scene, sources: Sources, channels: Channels, rng: np.random.Generator
) -> Scene:
    """Add a source like one of the detector's reals, in place."""
    like = rng.integers(len(sources.snr))
    size, snr = len(scene.pixels), float(sources.snr[like])
    flux = snr * scene.noise * unit_noise(sources.psf, size)
    x, y = sources.x[like], sources.y[like]
    source = sources.psf.render(flux, x, y, size=size, dtype=np.float64)[0]
    for channel in (channels.new, channels.difference):
        image = scene.pixels[..., channel]
        # Fractions would tell injected reals, of floats too.
        whole = np.array_equal(image, np.rint(image), equal_nan=True)
        image += np.rint(source) if whole else source
    return replace(scene, snr=snr)


def _gather(
    draws: Iterator[Scene | None], count: int, *, name: str, detector: Part, bar: tqdm
) -> tuple[np.ndarray, pd.DataFrame]:
    """Collect stamps and their rows of the table."""
    stamps = np.empty((count, *detector.stamps.shape[1:]), "<f4")
    rows, snr = np.zeros(count, int), np.zeros(count)
    useful = (scene for scene in islice(draws, _DRAWS * count) if scene is not None)
    done = 0
    for done, scene in enumerate(islice(useful, count), 1):
        stamps[done - 1] = _within(scene.pixels, detector.stamps.dtype)
        rows[done - 1], snr[done - 1] = scene.row, scene.snr
        bar.update()
    if done < count:
        raise InputError(
            f"{detector.files.images}: expected places beside what was detected for {count} "
            f"stamps called {name}, found {done}"
        )
    columns = detector.params.columns.difference(_OF_DETECTIONS, sort=False)
    params = detector.params.loc[rows, columns].reset_index(drop=True)
    params[LABEL_COLUMN] = name
    return stamps, params.assign(snr=snr.round(3), made_from=rows, trusted=1)


def _within(pixels: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Keep pixels to what the survey's own array can hold."""
    if not np.issubdtype(dtype, np.integer):
        return pixels
    ends = np.iinfo(dtype)
    return pixels.clip(ends.min, ends.max)


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
