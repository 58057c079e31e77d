"""Stamps of injected reals and of peaks of the noise, and what is known of each."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
import pandas as pd
from tqdm import tqdm

from rbkeras.data.injection.point_source import Sources, unit_noise
from rbkeras.data.injection.scenes import Scene, noise_peaks, quiet_scenes
from rbkeras.data.joined_survey import Part
from rbkeras.data.labels import TRUSTED
from rbkeras.data.survey import LABEL_COLUMN
from rbkeras.errors import InputError

#: Columns that tell of the detection which a scene was taken from.
_OF_DETECTIONS = (
    *("family", "snr", "s2n", "magnitude", "mag", "magpsf"),
    *("survey_score", "survey_score_name"),
)
#: Draws for each scene before it is given up.
_DRAWS = 200


@dataclass(frozen=True)
class Channels:
    """Which channel of a stamp is which, counted from 0."""

    new: int = 0
    reference: int = 1
    difference: int = 2


DEFAULT_CHANNELS = Channels()


def make_stamps(
    detector: Part,
    sources: Sources,
    count: int,
    channels: Channels,
    *,
    rng: np.random.Generator,
    bar: tqdm,
) -> tuple[np.ndarray, pd.DataFrame]:
    """Make `count` reals and as many bogus of a detector, `sources` being what its reals look like.

    Returns
    -------
    stamps, params
        float32 (2 `count`, size, size, C), the reals first, and a table with a row for each.

    Raises
    ------
    InputError
        When there are too few places beside what was detected.
    """
    quiet = quiet_scenes(
        detector.stamps, reference=channels.reference, difference=channels.difference, rng=rng
    )
    reals = (scene and _with_source(scene, sources, channels, rng) for scene in quiet)
    peaks = noise_peaks(
        detector.stamps, sources.psf, difference=channels.difference, count=count, rng=rng
    )
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
    return stamps, params.assign(snr=snr.round(3), made_from=rows, **{TRUSTED: 1})


def _within(pixels: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Keep pixels to what the survey's own array can hold; of records that is not known."""
    if not np.issubdtype(dtype, np.integer):
        return pixels
    ends = np.iinfo(dtype)
    return pixels.clip(ends.min, ends.max)
