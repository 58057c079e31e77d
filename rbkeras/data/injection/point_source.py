"""The point source of a detector, as the detector's own reals show it in the difference."""

import warnings
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from astropy.stats import mad_std
from scipy.optimize import least_squares

from rbkeras.data.simulation.sky import Psf, pixel_grid

#: Pixels on either side of the centre that a fit looks at.
CORE = 5
#: Where to begin, and between what to stay: FWHM in pixels, beta, both components of the shear.
_START = (3.2, 3.0, 0.0, 0.0)
_LOWEST = (1.2, 1.5, -0.3, -0.3)
_HIGHEST = (10.0, 8.0, 0.3, 0.3)
#: Largest distance of a source from the centre, in pixels along each axis.
_FARTHEST = 1.5
#: Reals that a shape is taken from, the brightest; and how bright they have to be.
_BRIGHTEST = 80
_BRIGHT = 12.0
FEWEST = 10
#: What surveys detect; fainter "reals" are peaks of the noise with a wrong label.
_FAINTEST = 5.0
#: Part of its signal-to-noise that a point source may leave behind when its fit is taken away.
_OTHER_SHAPE = 0.5


@dataclass(frozen=True)
class Sources:
    """What the reals of a detector look like.

    Attributes
    ----------
    psf
        Their shape, a Moffat function.
    used
        Number of reals that it was taken from.
    snr
        float64 (n,), signal-to-noise of each real's point source against the noise around it.
    x, y
        float64 (n,), their distances from the stamp's centre in pixels.
    """

    psf: Psf
    used: int
    snr: np.ndarray
    x: np.ndarray
    y: np.ndarray


def as_recorded(pixels: np.ndarray) -> np.ndarray:
    """Pixels as float64, infinite where they are beyond float32, the numbers of records."""
    with np.errstate(over="ignore"):
        return np.asarray(pixels, np.float32).astype(np.float64)


def noise_around(differences: np.ndarray) -> np.ndarray:
    """Noise of each difference (n, size, size) away from its centre, float64 (n,).

    1.4826 times the median absolute deviation of the pixels more than `CORE` + 1 from the centre;
    NaN and infinities are left out, and where nothing else is there it is NaN.
    """
    columns, rows = pixel_grid(differences.shape[1])
    around = np.hypot(columns, rows)[0] > CORE + 1
    pixels = differences[:, around].astype(np.float64)
    pixels[~np.isfinite(pixels)] = np.nan
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="All-NaN slice")
        return mad_std(pixels, axis=1, ignore_nan=True)


def fit_sources(differences: np.ndarray) -> Sources | None:
    """Fit a Moffat function to the reals of a detector.

    The shape is the median of those of the brightest reals, of the half that fits best: wrong
    labels among them, which nothing but a point source would fit, do not count. With this shape
    each real is fitted once more, for its flux and place; what lies off the centre, or has another
    shape, does not count.

    Parameters
    ----------
    differences
        float (n, size, size), differences of stamps that are labelled real, finite within `CORE`
        pixels of the centre.

    Returns
    -------
    Sources or None
        None where fewer than `FEWEST` of them are bright.
    """
    size = differences.shape[1]
    noise = noise_around(differences)
    # Constant ones, or those without data, say nothing.
    telling = noise > 0
    differences, noise = differences[telling], noise[telling]
    rough = Psf(*_START[:2])
    snr = differences_snr(differences, rough, noise)
    order = np.argsort(-snr)[:_BRIGHTEST]
    bright = order[snr[order] >= _BRIGHT]
    if len(bright) < FEWEST:
        return None
    fits = [_fit(differences[i], noise[i], None) for i in bright]
    best = sorted(fits, key=lambda fit: fit.misfit)[: len(fits) // 2]
    fwhm, beta, e1, e2 = np.median([fit.values[3:] for fit in best], axis=0).tolist()
    psf = Psf(fwhm, beta, (e1, e2))
    fits = [_fit(own, level, psf) for own, level in zip(differences, noise, strict=True)]
    flux, x, y = np.array([fit.values for fit in fits]).T
    snr = flux / unit_noise(psf, size) / noise
    # Wrong labels again: nothing there, or something that leans out of the middle.
    usable = (snr > _FAINTEST) & (np.maximum(np.abs(x), np.abs(y)) < 0.95 * _FARTHEST)
    # Or of another shape: as bright as it may be, a source leaves noise and little of itself.
    left = np.array([fit.left for fit in fits])
    pixels = (2 * CORE + 1) ** 2
    usable &= left < pixels + 4 * np.sqrt(2 * pixels) + (_OTHER_SHAPE * snr) ** 2
    if not usable.any():
        return None
    return Sources(psf, len(best), snr[usable], x[usable], y[usable])


def unit_noise(psf: Psf, size: int) -> float:
    """Flux of a source whose signal-to-noise is 1 where pixels have a noise of 1."""
    image = psf.render(1.0, 0.0, 0.0, size=size, dtype=np.float64)
    return float(1 / np.sqrt(np.sum(image**2)))


def differences_snr(differences: np.ndarray, psf: Psf, noise: np.ndarray) -> np.ndarray:
    """Signal-to-noise of a point source in the centre of each difference, float64 (n,)."""
    middle = _core(differences.shape[1])
    image = psf.render(1.0, 0.0, 0.0, size=differences.shape[1], dtype=np.float64)[
        0, middle, middle
    ]
    sums = np.einsum("nij,ij->n", differences[:, middle, middle].astype(np.float64), image)
    return sums / np.sqrt(np.sum(image**2)) / noise


def _core(size: int) -> slice:
    return slice((size - 1) // 2 - CORE, (size - 1) // 2 + CORE + 1)


class _Fit(NamedTuple):
    """Flux, x, y, and maybe the four numbers of a `Psf`; and how well they fit.

    `misfit` is what was minimised, `left` the sum of squares in units of the noise.
    """

    values: np.ndarray
    misfit: float
    left: float


def _fit(difference: np.ndarray, noise: float, psf: Psf | None) -> _Fit:
    """Fit flux, x and y, and without a `psf` its four numbers too."""
    size, middle = len(difference), _core(len(difference))
    seen = difference[middle, middle].astype(np.float64)
    scale = max(float(seen.sum()), noise)
    shape = _START if psf is None else ()

    def residuals(values: np.ndarray) -> np.ndarray:
        relative, x, y, *own = values
        source = psf or Psf(own[0], own[1], (own[2], own[3]))
        image = source.render(relative * scale, x, y, size=size, dtype=np.float64)
        return ((image[0, middle, middle] - seen) / noise).ravel()

    lowest = [0, -_FARTHEST, -_FARTHEST, *(_LOWEST if shape else ())]
    highest = [np.inf, _FARTHEST, _FARTHEST, *(_HIGHEST if shape else ())]
    # By soft_l1 the light of a neighbour weighs less.
    found = least_squares(
        residuals, [1.0, 0.0, 0.0, *shape], bounds=(lowest, highest), loss="soft_l1"
    )
    values = found.x * [scale, *[1.0] * (len(found.x) - 1)]
    return _Fit(values, float(found.cost), float(found.fun @ found.fun))
