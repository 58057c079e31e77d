"""Stamps of one detector, real or bogus: field, detection, noise, subtraction."""

from typing import Literal

import numpy as np
import pandas as pd
from scipy.ndimage import gaussian_filter1d

from rbkeras.data.simulation.bogus import FAMILIES, cosmic_ray, distant_edge
from rbkeras.data.simulation.sky import (
    Conditions,
    FloatArray,
    Layers,
    difference_variance,
    draw_matching,
    psf_snr,
    psf_weight,
)
from rbkeras.data.simulation.sources import draw_real_snr, field_stars, galaxies, transients

#: Stamps drawn at a time: temporary arrays stay small enough for the processor's cache.
CHUNK = 256

REAL_FAMILIES = ("random", "near_galaxy")
Kind = Literal["real", "bogus"]


def simulate_stamps(
    n: int,
    *,
    kind: Kind,
    conditions: Conditions,
    rng: np.random.Generator,
    size: int = 29,
    family: str | None = None,
    snr: float | None = None,
) -> tuple[FloatArray, pd.DataFrame]:
    """Draw stamps of one class from one detector.

    Parameters
    ----------
    n
        Number of stamps.
    kind
        The true class.
    conditions
        The detector.
    rng
        Source of randomness; the same state gives the same stamps.
    size
        Side of a stamp in pixels.
    family
        Draw this family only, such as ``"near_galaxy"`` or ``"dipole"``.
    snr
        Signal-to-noise of every real; drawn between 6 and 100 when None.

    Returns
    -------
    images
        Channels new, reference, difference in ADU, shape (n, size, size, 3), float32, always
        finite; pixels without data are 0.
    table
        A row per stamp: ``family``; ``injected_snr``, the noiseless signal-to-noise of what
        was put in; and ``snr`` and ``magnitude`` as a survey would measure them.
    """
    images = np.empty((n, size, size, 3), np.float32)
    tables = []
    for start in range(0, n, CHUNK):
        part = images[start : start + CHUNK]
        tables.append(_fill(part, kind, conditions, rng, family, snr))
    columns = ["family", "injected_snr", "snr", "magnitude"]
    return images, pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=columns)


def _fill(
    images: FloatArray,
    kind: str,
    conditions: Conditions,
    rng: np.random.Generator,
    family: str | None,
    snr: float | None,
) -> pd.DataFrame:
    """Draw a chunk of stamps into `images`, and return its table."""
    n, size = images.shape[:2]
    families = _draw_families(n, kind, family, rng)
    scene = _field(n, families == "near_galaxy", conditions, rng, size)
    variance = difference_variance(scene, conditions=conditions)
    sigma = np.sqrt(variance[:, size // 2, size // 2])
    psf = conditions.psf.render(np.ones(n), np.zeros(n), np.zeros(n), size=size)

    peak = np.zeros((n, size, size), np.float32)
    valid = np.ones((n, size, size), bool)
    injected = np.zeros(n)
    if kind == "real":
        injected[:] = draw_real_snr(n, rng=rng) if snr is None else snr
        scene.add(transients(injected, variance, conditions=conditions, rng=rng))
    else:
        for name, (draw, _) in FAMILIES.items():
            rows = np.flatnonzero(families == name)
            if not rows.size:
                continue
            layers = draw(rows.size, conditions=conditions, sigma=sigma[rows], rng=rng, size=size)
            scene.add(layers, rows)
            if layers.peak is not None:
                peak[rows] = layers.peak
            if layers.valid is not None:
                valid[rows] = layers.valid
            put_in = layers.new - layers.matched + peak[rows]
            injected[rows] = psf_snr(put_in, psf[rows], variance[rows])

    _add_bystanders(scene, valid, conditions, sigma, rng)
    new, reference, difference = _expose(scene, peak, conditions, rng)
    images[..., 0] = np.where(valid, new, 0)
    # A reference is put together from dithered exposures, and often covers the gap.
    covered = valid | (rng.random((n, 1, 1)) < 0.5)
    images[..., 1] = np.where(covered, reference, 0)
    images[..., 2] = np.where(valid, difference, 0)
    measured, magnitude = _measured(images[..., 2], psf, variance, conditions)
    return pd.DataFrame(
        {"family": families, "injected_snr": injected, "snr": measured, "magnitude": magnitude}
    )


def _draw_families(n: int, kind: str, family: str | None, rng: np.random.Generator) -> np.ndarray:
    if family is not None:
        return np.full(n, family, dtype=object)
    if kind == "real":
        return np.array(REAL_FAMILIES, dtype=object)[rng.integers(0, 2, n)]
    weights = np.array([weight for _, weight in FAMILIES.values()])
    names = np.array(list(FAMILIES), dtype=object)
    return names[rng.choice(len(names), n, p=weights / weights.sum())]


def _field(
    n: int, hosted: np.ndarray, conditions: Conditions, rng: np.random.Generator, size: int
) -> Layers:
    """Draw stars everywhere and galaxies near some centres, always where `hosted`."""
    matching = draw_matching(n, conditions=conditions, rng=rng)
    scene = field_stars(n, conditions=conditions, matching=matching, rng=rng, size=size)
    chance = rng.random(n)
    # Galaxies under bogus detections keep a galaxy from giving the class away.
    for near, rows in (
        (True, np.flatnonzero(hosted | (chance < 0.15))),
        (False, np.flatnonzero(chance > 0.75)),
    ):
        layers = galaxies(
            rows.size,
            near=near,
            conditions=conditions,
            matching=matching.take(rows),
            rng=rng,
            size=size,
        )
        scene.add(layers, rows)
    return scene


def _add_bystanders(
    scene: Layers,
    valid: np.ndarray,
    conditions: Conditions,
    sigma: FloatArray,
    rng: np.random.Generator,
) -> None:
    """Put edges and cosmic rays off the centre of a few stamps of either class, in place."""
    n, size = valid.shape[:2]
    rows = np.flatnonzero(rng.random(n) < 0.02)
    valid[rows] &= distant_edge(rows.size, rng=rng, size=size)
    rows = np.flatnonzero(rng.random(n) < 0.02)
    hits = cosmic_ray(rows.size, conditions=conditions, sigma=sigma[rows], rng=rng, size=size).new
    scene.new[rows] += np.roll(hits, rng.choice([-1, 1], 2) * (size // 4), axis=(1, 2))


def _expose(
    scene: Layers, peak: FloatArray, conditions: Conditions, rng: np.random.Generator
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Expose new image and reference, and subtract the matched reference."""
    room = np.float32(conditions.saturation - conditions.sky)
    bright, deep, matched = (
        np.minimum(layer, room) for layer in (scene.new, scene.reference, scene.matched)
    )
    noise = _noise(bright, 1, conditions, rng)
    reference_noise = _noise(deep, conditions.coadds, conditions, rng)
    smooth = reference_noise
    for axis in (1, 2):
        smooth = gaussian_filter1d(smooth, conditions.matching_sigma, axis=axis, truncate=3.0)
    noise += _impose(noise - smooth, peak)
    # Backgrounds are matched no better than to a fraction of the noise.
    pedestal = rng.normal(0, 0.1 * conditions.sky_sigma, (len(peak), 1, 1)).astype(np.float32)
    sky = np.float32(conditions.sky)
    return (
        bright + noise + sky,
        deep + reference_noise + sky,
        bright + noise - matched - smooth + pedestal,
    )


def _noise(
    brightness: FloatArray, exposures: int, conditions: Conditions, rng: np.random.Generator
) -> FloatArray:
    """Draw the noise of the mean of `exposures`: Poisson for photons, Gaussian for readout."""
    electrons = (brightness + np.float32(conditions.sky)) * (conditions.gain * exposures)
    counted = rng.poisson(electrons) - electrons
    read = rng.standard_normal(brightness.shape, dtype=np.float32)
    counted += read * (conditions.read_noise * np.sqrt(exposures))
    return (counted / (conditions.gain * exposures)).astype(np.float32)


def _impose(noise: FloatArray, peak: FloatArray) -> FloatArray:
    """Return what turns `noise` into noise that has the fluctuation `peak`.

    White noise given its projection on a template is the noise with that projection replaced,
    which is also how it looks where such a peak was found in a large image.
    """
    height = np.sqrt(np.sum(peak**2, axis=(1, 2), keepdims=True))
    template = peak / np.maximum(height, np.float32(1e-9))
    return template * (height - np.sum(noise * template, axis=(1, 2), keepdims=True))


def _measured(
    difference: FloatArray, psf: FloatArray, variance: FloatArray, conditions: Conditions
) -> tuple[FloatArray, FloatArray]:
    """Return signal-to-noise and magnitude of the detection, as a survey's finder has them."""
    width = float(conditions.psf.fwhm) / 2.355
    smooth = difference
    for axis in (1, 2):
        smooth = gaussian_filter1d(smooth, width, axis=axis, truncate=3.0)
    # Of white noise, a Gaussian kernel leaves 1 / (2 sqrt(pi) width) of the deviation.
    middle = slice(difference.shape[1] // 2 - 3, difference.shape[1] // 2 + 4)
    height = smooth * np.float32(2 * np.sqrt(np.pi) * width) / np.sqrt(variance)
    snr = np.maximum(height[:, middle, middle].max(axis=(1, 2)), 3.0)
    flux = snr / psf_weight(psf, variance)
    return snr, conditions.zero_point - 2.5 * np.log10(flux)
