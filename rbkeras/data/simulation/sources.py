"""What is really in the sky: field stars, galaxies, and the injected transients."""

import numpy as np
from astropy.modeling.functional_models import Sersic2D
from scipy import fft

from rbkeras.data.simulation.sky import (
    Conditions,
    FloatArray,
    Layers,
    Matching,
    Psf,
    pixel_grid,
    psf_weight,
)

#: A galaxy's stamp is padded by this much before the convolution, so that its far side does
#: not wrap round.
PADDING = 11


def star_layers(
    flux: FloatArray,
    x: FloatArray,
    y: FloatArray,
    *,
    conditions: Conditions,
    matching: Matching,
    size: int,
) -> Layers:
    """Draw one star per stamp as the new image, the reference and the matched reference see it.

    Parameters
    ----------
    flux
        In ADU, shape (n,).
    x, y
        Offset from the stamp's centre in pixels, shape (n,).
    conditions
        The detector.
    matching
        Errors of the subtraction.
    size
        Side of the stamp in pixels.
    """
    moved_x, moved_y = x + matching.x, y + matching.y
    matched_psf = conditions.psf.scaled(matching.ratio)
    return Layers(
        conditions.psf.render(flux, x, y, size=size),
        conditions.reference_psf.render(flux, moved_x, moved_y, size=size),
        matched_psf.render(flux * matching.scale, moved_x, moved_y, size=size),
    )


def star_flux(snr: FloatArray, *, conditions: Conditions) -> FloatArray:
    """Return the flux in ADU of a star of signal-to-noise `snr` against the bare sky."""
    psf = conditions.psf.render(1.0, 0.0, 0.0, size=41)
    return snr / psf_weight(psf, np.float32(conditions.sky_sigma**2))


def field_stars(
    n: int, *, conditions: Conditions, matching: Matching, rng: np.random.Generator, size: int
) -> Layers:
    """Scatter stars over the stamps, a Poisson number in each, with a power law of fluxes."""
    layers = Layers.empty(n, size)
    reach = size / 2 + 3
    counts = rng.poisson(conditions.crowding * (2 * reach / 35) ** 2, n)
    for rank in range(counts.max(initial=0)):
        rows = np.flatnonzero(counts > rank)
        x, y = rng.uniform(-reach, reach, (2, len(rows)))
        snr = np.minimum(5 * rng.random(len(rows)) ** (-1 / 0.8), 4000)
        stars = star_layers(
            star_flux(snr, conditions=conditions),
            x,
            y,
            conditions=conditions,
            matching=matching.take(rows),
            size=size,
        )
        layers.add(stars, rows)
    return layers


def galaxies(
    n: int,
    *,
    near: bool,
    conditions: Conditions,
    matching: Matching,
    rng: np.random.Generator,
    size: int,
) -> Layers:
    """Draw one galaxy per stamp, blurred by each image's PSF.

    Parameters
    ----------
    n
        Number of stamps.
    near
        Put the stamp's centre on the galaxy's disk; otherwise anywhere in the stamp.
    conditions, matching, rng
        The detector, the errors of the subtraction, and the source of randomness.
    size
        Side of the stamp in pixels.

    References
    ----------
    Sérsic 1963, Boletín de la Asociación Argentina de Astronomía 6, 41.
    """
    radius = np.exp(rng.normal(np.log(2.5), 0.5, n))
    x, y = rng.uniform(-size / 2, size / 2, (2, n))
    if near:
        distance, angle = radius * rng.uniform(0, 1.8, n), rng.uniform(0, 2 * np.pi, n)
        x, y = distance * np.cos(angle), distance * np.sin(angle)
    padded = size + 2 * PADDING
    profile = Sersic2D.evaluate(
        *pixel_grid(padded),
        1.0,
        *(
            value.astype(np.float32).reshape(-1, 1, 1)
            for value in (
                radius,
                rng.uniform(0.7, 3.5, n),
                x,
                y,
                rng.uniform(0, 0.7, n),
                rng.uniform(0, np.pi, n),
            )
        ),
    )
    flux = star_flux(np.exp(rng.uniform(np.log(15), np.log(700), n)), conditions=conditions)
    profile *= (flux / profile.sum((1, 2))).astype(np.float32).reshape(-1, 1, 1)
    return _blur(profile.astype(np.float32), conditions=conditions, matching=matching)


def _blur(profile: FloatArray, *, conditions: Conditions, matching: Matching) -> Layers:
    """Convolve padded profiles with the three PSFs, and cut the padding off."""
    padded = profile.shape[1]
    spectrum = fft.rfft2(profile)
    kx, ky = fft.rfftfreq(padded), fft.fftfreq(padded)
    # A shift is a phase, so the registration error costs no second profile.
    phase_x = np.exp(-2j * np.pi * kx * matching.x[:, np.newaxis])[:, np.newaxis, :]
    phase_y = np.exp(-2j * np.pi * ky * matching.y[:, np.newaxis])[:, :, np.newaxis]
    shift = (phase_x * phase_y).astype(np.complex64)
    scale = matching.scale.astype(np.float32).reshape(-1, 1, 1)
    # The width's error is per detector here, and always too wide: a PSF per stamp would double the
    # cost.
    ratio = 1 + conditions.mismatch

    # Centred on the pixel that `ifftshift` brings to the origin.
    middle = 0.0 if padded % 2 else 0.5

    def convolved(psf: Psf, values: FloatArray) -> FloatArray:
        kernel = psf.render(1.0, middle, middle, size=padded)[0]
        transfer = fft.rfft2(fft.ifftshift(kernel / kernel.sum()))
        image = fft.irfft2(values * transfer, s=(padded, padded))
        return np.maximum(image[:, PADDING:-PADDING, PADDING:-PADDING], 0)

    return Layers(
        convolved(conditions.psf, spectrum),
        convolved(conditions.reference_psf, spectrum * shift),
        convolved(conditions.psf.scaled(ratio), spectrum * shift) * scale,
    )


def transients(
    snr: FloatArray,
    variance: FloatArray,
    *,
    conditions: Conditions,
    rng: np.random.Generator,
) -> Layers:
    """Inject one point source per stamp, near the centre, into the new image only.

    Parameters
    ----------
    snr
        Signal-to-noise in the difference, not counting the source's own photon noise,
        shape (n,).
    variance
        Variance of the difference in ADU², shape (n, size, size).
    conditions, rng
        The detector and the source of randomness.
    """
    n, size = variance.shape[:2]
    # Centroids of faint sources scatter more.
    scatter = 0.15 + 0.4 * float(conditions.psf.fwhm) / np.asarray(snr)
    x, y = rng.normal(0, 1, (2, n)) * scatter
    psf = conditions.psf.render(np.ones(n), np.clip(x, -1.5, 1.5), np.clip(y, -1.5, 1.5), size=size)
    flux = np.asarray(snr) / psf_weight(psf, variance)
    layers = Layers.empty(n, size)
    layers.new[:] = psf * flux.astype(np.float32).reshape(-1, 1, 1)
    return layers


def draw_real_snr(n: int, *, rng: np.random.Generator) -> FloatArray:
    """Draw signal-to-noise ratios between 6 and 100, uniform in the logarithm."""
    return np.exp(rng.uniform(np.log(6.0), np.log(100), n))
