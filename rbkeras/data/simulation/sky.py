"""Observing conditions of a detector: point spread functions, sky, noise, subtraction errors."""

import dataclasses
from typing import Self

import numpy as np
from astropy.modeling.functional_models import Moffat2D
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.floating]


@dataclasses.dataclass(frozen=True)
class Psf:
    """A Moffat point spread function, slightly elongated.

    Attributes
    ----------
    fwhm
        Full width at half maximum in pixels: one number, or one per stamp, shape (n,).
    beta
        Exponent of the Moffat wings (`alpha` in `astropy`).
    ellipticity
        The two components of a shear; the first acts along the axes, the second diagonally.

    References
    ----------
    Moffat 1969, A&A 3, 455.
    """

    fwhm: float | FloatArray
    beta: float
    ellipticity: tuple[float, float] = (0.0, 0.0)

    def render(
        self,
        flux: ArrayLike,
        x: ArrayLike,
        y: ArrayLike,
        *,
        size: int,
        dtype: type[np.floating] = np.float32,
    ) -> FloatArray:
        """Draw one star per stamp.

        Parameters
        ----------
        flux
            Flux to infinity in ADU, shape (n,) or a number.
        x, y
            Offset from the stamp's centre in pixels, shape (n,) or a number.
        size
            Side of the stamp in pixels.
        dtype
            What to compute in.

        Returns
        -------
        ndarray
            Brightness at the pixel centres in ADU, shape (n, size, size), of that type.
        """
        flux, x, y, fwhm = (
            np.asarray(value, dtype).reshape(-1, 1, 1) for value in (flux, x, y, self.fwhm)
        )
        columns, rows = (axis.astype(dtype) for axis in pixel_grid(size))
        e1, e2 = (dtype(e) for e in self.ellipticity)
        dx, dy = columns - x, rows - y
        gamma = fwhm / dtype(2 * np.sqrt(2 ** (1 / self.beta) - 1))
        peak = flux * dtype((self.beta - 1) / np.pi) / gamma**2
        return Moffat2D.evaluate(
            (1 - e1) * dx - e2 * dy,
            (1 + e1) * dy - e2 * dx,
            peak,
            dtype(0),
            dtype(0),
            gamma,
            dtype(self.beta),
        )

    def scaled(self, ratio: ArrayLike) -> Self:
        """Return the same function with its width multiplied by `ratio`."""
        return dataclasses.replace(self, fwhm=np.asarray(self.fwhm) * np.asarray(ratio))


@dataclasses.dataclass(frozen=True)
class Conditions:
    """What the stamps of one detector have in common.

    Attributes
    ----------
    psf, reference_psf
        Point spread functions of the new image and of the reference.
    sky
        Sky level in ADU a pixel.
    gain
        Electrons per ADU.
    read_noise
        In electrons a pixel.
    coadds
        Exposures averaged into the reference; its noise is lower by the root of that.
    crowding
        Mean number of field stars in reach of a stamp of 29 x 29 pixels.
    misalignment
        Root mean square error of the registration, in pixels along each axis.
    mismatch
        Root mean square relative error of the width after matching the PSFs.
    saturation
        Full well in ADU.
    zero_point
        Magnitude of a flux of one ADU.
    """

    psf: Psf
    reference_psf: Psf
    sky: float
    gain: float
    read_noise: float
    coadds: int
    crowding: float
    misalignment: float
    mismatch: float
    saturation: float
    zero_point: float

    def variance(self, brightness: ArrayLike) -> FloatArray:
        """Return the variance of one exposure in ADU², given the brightness above the sky."""
        electrons = (np.asarray(brightness) + np.float32(self.sky)) * np.float32(self.gain)
        return (electrons + np.float32(self.read_noise**2)) / np.float32(self.gain**2)

    @property
    def matching_sigma(self) -> float:
        """Width in pixels of the kernel that brings the reference to the new image's seeing."""
        excess = float(self.psf.fwhm) ** 2 - float(self.reference_psf.fwhm) ** 2
        # A reference worse than the new image is only resampled, not deconvolved.
        return float(np.sqrt(max(excess, 0.5))) / 2.355

    @property
    def sky_sigma(self) -> float:
        """Noise of an empty pixel of the difference, in ADU."""
        one = float(self.variance(0.0))
        return float(np.sqrt(one + one * _noise_left(self.matching_sigma) / self.coadds))


@dataclasses.dataclass(frozen=True)
class Matching:
    """Errors of the subtraction, one per stamp, each of shape (n,).

    Attributes
    ----------
    x, y
        Registration error in pixels.
    ratio
        Width of the matched reference's PSF over that of the new image.
    scale
        Flux scale of the matched reference over that of the new image.
    """

    x: FloatArray
    y: FloatArray
    ratio: FloatArray
    scale: FloatArray

    def take(self, rows: NDArray[np.integer]) -> Self:
        """Return the errors of some of the stamps."""
        return type(self)(self.x[rows], self.y[rows], self.ratio[rows], self.scale[rows])


@dataclasses.dataclass
class Layers:
    """Noiseless brightness above the sky in ADU, each of shape (n, size, size), float32.

    Attributes
    ----------
    new, reference
        What the new image and the reference see.
    matched
        The reference after its PSF was matched to the new image.
    peak
        A noise fluctuation to be imposed on the difference, or None.
    valid
        True where the new image has data, or None for everywhere.
    """

    new: FloatArray
    reference: FloatArray
    matched: FloatArray
    peak: FloatArray | None = None
    valid: NDArray[np.bool_] | None = None

    @classmethod
    def empty(cls, n: int, size: int) -> Self:
        """Return layers without any source."""
        new, reference, matched = np.zeros((3, n, size, size), np.float32)
        return cls(new, reference, matched)

    def add(self, other: "Layers", rows: NDArray[np.integer] | slice = slice(None)) -> None:
        """Add another set's brightness to some of the stamps, in place."""
        self.new[rows] += other.new
        self.reference[rows] += other.reference
        self.matched[rows] += other.matched


def draw_conditions(rng: np.random.Generator) -> Conditions:
    """Draw the conditions of one detector."""
    fwhm = rng.uniform(2.3, 4.2)
    beta = rng.uniform(2.5, 4.5)
    return Conditions(
        psf=Psf(fwhm, beta, (rng.normal(0, 0.03), rng.normal(0, 0.03))),
        reference_psf=Psf(max(1.9, fwhm * rng.uniform(0.65, 1.0)), beta),
        sky=float(np.exp(rng.uniform(np.log(100), np.log(2000)))),
        gain=rng.uniform(1.5, 6.0),
        read_noise=rng.uniform(4.0, 12.0),
        coadds=int(rng.integers(6, 30)),
        crowding=float(np.exp(rng.uniform(np.log(0.3), np.log(4)))),
        misalignment=rng.uniform(0.02, 0.06),
        mismatch=rng.uniform(0.006, 0.02),
        saturation=rng.uniform(3e4, 6e4),
        zero_point=rng.uniform(24.5, 26.5),
    )


def draw_matching(n: int, *, conditions: Conditions, rng: np.random.Generator) -> Matching:
    """Draw the subtraction errors of `n` stamps."""
    x, y = rng.normal(0, conditions.misalignment, (2, n))
    ratio = rng.normal(1, conditions.mismatch, n)
    return Matching(x, y, ratio, rng.normal(1, 0.008, n))


def pixel_grid(size: int) -> tuple[FloatArray, FloatArray]:
    """Return pixel columns (1, 1, size) and rows (1, size, 1) relative to the stamp's centre."""
    axis = np.arange(size, dtype=np.float32) - np.float32((size - 1) / 2)
    return axis.reshape(1, 1, -1), axis.reshape(1, -1, 1)


def difference_variance(layers: Layers, *, conditions: Conditions) -> FloatArray:
    """Return the variance of the difference in ADU², shape (n, size, size)."""
    left = np.float32(_noise_left(conditions.matching_sigma) / conditions.coadds)
    return conditions.variance(layers.new) + conditions.variance(layers.reference) * left


def psf_weight(psf: FloatArray, variance: FloatArray | np.float32) -> FloatArray:
    """Return the signal-to-noise of unit flux: sqrt(sum of psf² / variance), shape (n,).

    This is the optimal point-source filter (e.g. Zackay & Ofek 2017, ApJ 836, 187) with the
    noise of everything but the source itself.
    """
    return np.sqrt(np.sum(psf**2 / variance, axis=(1, 2)))


def psf_snr(image: FloatArray, psf: FloatArray, variance: FloatArray) -> FloatArray:
    """Return the signal-to-noise of the best-fitting point source, shape (n,)."""
    return np.sum(image * psf / variance, axis=(1, 2)) / psf_weight(psf, variance)


def _noise_left(sigma: float) -> float:
    """Fraction of white noise's variance that a Gaussian kernel of width `sigma` leaves."""
    axis = np.arange(-15, 16)
    kernel = np.exp(-0.5 * (axis / sigma) ** 2)
    return float(np.sum((kernel / kernel.sum()) ** 2) ** 2)
