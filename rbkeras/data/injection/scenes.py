"""Stamps moved so far that what was detected there leaves the centre."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from astropy.stats import mad_std
from scipy.ndimage import maximum_filter
from scipy.signal import fftconvolve

from rbkeras.data.detectors import Stamps
from rbkeras.data.injection.point_source import CORE, as_recorded, noise_around
from rbkeras.data.simulation.sky import Psf, pixel_grid

#: A detection is moved at least this many pixels along one axis, and at most so many along each.
_NEAREST, _FARTHEST = 7, 13
#: No pixel of the difference about the new centre is farther from 0, in units of the noise.
_QUIET = 3.5
#: How bright a source of the reference is that may be a host, in units of the noise.
_HOST = 6.0
#: Scatter of injected sources about their hosts, in pixels.
_FROM_HOST = 2.0
#: Signal-to-noise of peaks of the noise: of what a survey would just not have detected.
_PEAKS = (2.0, 5.0)
#: Stamps that are looked through for each peak that is wanted.
_LOOKED_AT = 4

Step = tuple[int, int]


@dataclass(frozen=True)
class Scene:
    """A moved stamp.

    Attributes
    ----------
    row
        Which stamp it was.
    pixels
        float64 (size, size, C); what was moved in from beyond the edge is its mirror image.
    noise
        Of its difference.
    snr
        Signal-to-noise of the peak in its centre, NaN where it was not looked for one.
    """

    row: int
    pixels: np.ndarray
    noise: float
    snr: float = np.nan


def quiet_scenes(
    stamps: Stamps, *, reference: int, difference: int, rng: np.random.Generator
) -> Iterator[Scene | None]:
    """Draw scenes without end whose centre has nothing in the difference; None is a useless draw.

    Every other one is moved such that the brightest source of the reference beyond the detection
    comes near the centre, as the host of a transient would be; the others are moved at random.

    Parameters
    ----------
    stamps
        (N, size, size, C), any labels; rows are read one by one.
    reference, difference
        Numbers of their channels.
    rng
        Source of randomness.
    """
    while True:
        row, stamp = _drawn(stamps, rng)
        with_host = rng.random() < 0.5
        step = _to_host(stamp[..., reference], rng) if with_host else _anywhere(rng)
        scene = None if step is None else _moved(row, stamp, step, difference)
        if scene is not None:
            centre = (len(stamp) - 1) // 2
            near = slice(centre - 2, centre + 3)
            if np.abs(scene.pixels[near, near, difference]).max() > _QUIET * scene.noise:
                scene = None
        yield scene


def noise_peaks(
    stamps: Stamps, psf: Psf, *, difference: int, count: int, rng: np.random.Generator
) -> Iterator[Scene | None]:
    """Draw scenes without end whose centre is a peak of the difference; None is a useless draw.

    A peak is a maximum of the difference after the point source's own filter, with a
    signal-to-noise of 2 to 5. The highest come first, since others are nothing to learn from; all
    come before one comes again.

    Parameters
    ----------
    stamps, difference, rng
        As in `quiet_scenes`.
    psf
        Shape of a point source.
    count
        Peaks that are wanted. They are looked for in four times as many stamps, drawn at random.
    """
    image = psf.render(1.0, 0.0, 0.0, size=2 * CORE + 1, dtype=np.float64)[0]
    matched = (image / np.sqrt(np.sum(image**2)))[::-1, ::-1]
    centre = (stamps.shape[1] - 1) // 2
    peaks = []
    for row in rng.permutation(len(stamps))[: _LOOKED_AT * count].tolist():
        snr = _signal_to_noise(as_recorded(stamps[row : row + 1][0, ..., difference]), matched)
        places = np.argwhere(np.isfinite(snr)).tolist()
        peaks += [(float(snr[i, j]), row, (centre - i, centre - j)) for i, j in places]
    peaks.sort(reverse=True)
    while True:
        for snr_of_peak, row, step in peaks:
            stamp = as_recorded(stamps[row : row + 1][0])
            yield _moved(row, stamp, step, difference, snr=snr_of_peak)
        if not peaks:
            yield None


def _signal_to_noise(difference: np.ndarray, matched: np.ndarray) -> np.ndarray:
    """Signal-to-noise of the peaks of a difference (size, size), NaN in all other pixels."""
    size, edge = len(difference), CORE + 2
    noise = float(noise_around(difference[np.newaxis])[0])
    if not noise > 0:
        return np.full((size, size), np.nan)
    # Mirror images as `move` fills up with, so that it stays a peak when it is moved.
    wide = np.pad(np.nan_to_num(difference, posinf=0, neginf=0), edge, mode="reflect")
    snr = fftconvolve(wide, matched, mode="same") / noise
    high = (snr == maximum_filter(snr, 5)) & (snr > _PEAKS[0]) & (snr < _PEAKS[1])
    inner = slice(edge, edge + size)
    return np.where(high[inner, inner] & _within_reach(size), snr[inner, inner], np.nan)


def move(stamp: np.ndarray, step: Step) -> np.ndarray:
    """Move a stamp (size, size, C) by rows and columns; what comes in is a mirror image."""
    size, (rows, columns) = len(stamp), step
    wide = np.pad(stamp, ((_FARTHEST, _FARTHEST), (_FARTHEST, _FARTHEST), (0, 0)), mode="reflect")
    first, second = _FARTHEST - rows, _FARTHEST - columns
    return wide[first : first + size, second : second + size]


def _drawn(stamps: Stamps, rng: np.random.Generator) -> tuple[int, np.ndarray]:
    row = int(rng.integers(len(stamps)))
    return row, as_recorded(stamps[row : row + 1][0])


def _moved(
    row: int, stamp: np.ndarray, step: Step, difference: int, *, snr: float = np.nan
) -> Scene | None:
    """Move a stamp; None where there are no data about the new centre."""
    pixels = move(stamp, step)
    noise = float(noise_around(pixels[np.newaxis, ..., difference])[0])
    centre = (len(pixels) - 1) // 2
    core = pixels[centre - CORE : centre + CORE + 1, centre - CORE : centre + CORE + 1]
    if not (np.isfinite(core).all() and np.isfinite(noise) and noise > 0):
        return None
    return Scene(row, pixels, noise, snr)


def _anywhere(rng: np.random.Generator) -> Step | None:
    rows, columns = rng.integers(-_FARTHEST, _FARTHEST + 1, 2).tolist()
    return (rows, columns) if max(abs(rows), abs(columns)) >= _NEAREST else None


def _to_host(reference: np.ndarray, rng: np.random.Generator) -> Step | None:
    """Find the step that brings the brightest other source near the centre."""
    finite = np.isfinite(reference)
    if not finite.any():
        return None
    level = np.median(reference[finite])
    spread = mad_std(reference[finite])
    bright = np.where(_within_reach(len(reference)) & finite, reference, -np.inf)
    row, column = np.unravel_index(np.argmax(bright), bright.shape)
    if not bright[row, column] > level + _HOST * spread:
        return None
    centre, (down, right) = (len(reference) - 1) // 2, rng.normal(0, _FROM_HOST, 2)
    step = centre - int(row) + round(down), centre - int(column) + round(right)
    far = max(map(abs, step))
    return step if _NEAREST <= far <= _FARTHEST else None


def _within_reach(size: int) -> np.ndarray:
    """Pixels (size, size) that may be moved to the centre."""
    columns, rows = (np.abs(axis[0]) for axis in pixel_grid(size))
    farther = np.maximum(columns, rows)
    return (farther >= _NEAREST) & (farther < _FARTHEST)
