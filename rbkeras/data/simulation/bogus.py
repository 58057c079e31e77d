"""The families of bogus detections.

Each function draws `n` stamps of one family as layers to be added to a field. The detection,
that is the brightest positive part of the difference, lies near the stamp's centre; of saturated
stars, whose residuals are strewn over many pixels, it may lie farther off.
"""

from collections.abc import Callable

import numpy as np

from rbkeras.data.simulation.sky import Conditions, FloatArray, Layers, Matching, pixel_grid
from rbkeras.data.simulation.sources import star_flux, star_layers


def noise_peak(
    n: int, *, conditions: Conditions, sigma: FloatArray, rng: np.random.Generator, size: int
) -> Layers:
    """Draw noise that passed the detection threshold, of 4 to 5.4 sigma.

    A fluctuation as wide as the PSF is a faint star for all anyone can tell; most are
    narrower, since pixels' noise is nearly independent.
    """
    snr = 4.0 + np.minimum(rng.exponential(0.3, n), 1.4)
    width = np.asarray(conditions.psf.fwhm) * rng.uniform(0.3, 0.65, n)
    template = type(conditions.psf)(np.maximum(width, 1.1), 4.0).render(
        np.ones(n), *rng.uniform(-0.5, 0.5, (2, n)), size=size
    )
    template /= np.sqrt(np.sum(template**2, axis=(1, 2), keepdims=True))
    layers = Layers.empty(n, size)
    layers.peak = template * _column(snr * sigma)
    return layers


def dipole(
    n: int, *, conditions: Conditions, sigma: FloatArray, rng: np.random.Generator, size: int
) -> Layers:
    """Draw stars subtracted from beside themselves: one bright lobe, one dark."""
    distance = rng.uniform(0.15, 0.9, n)
    angle = rng.uniform(0, 2 * np.pi, n)
    lobe = 0.45 * float(conditions.psf.fwhm) * rng.uniform(0.6, 1.2, n)
    matching = Matching(
        -distance * np.cos(angle),
        -distance * np.sin(angle),
        rng.normal(1, 0.03, n),
        rng.normal(1, 0.03, n),
    )
    return _star(
        n, -lobe * np.cos(angle), -lobe * np.sin(angle), conditions, matching, rng, size, sigma
    )


def psf_mismatch(
    n: int, *, conditions: Conditions, sigma: FloatArray, rng: np.random.Generator, size: int
) -> Layers:
    """Draw stars subtracted with the wrong width: a core and a ring of opposite signs."""
    ratio = 1 + rng.choice([1, 1, -1], n) * rng.uniform(0.06, 0.25, n)
    x, y = rng.normal(0, 0.08, (2, n))
    matching = Matching(x, y, ratio, rng.normal(1, 0.02, n))
    # With a dark core the detection is a part of the bright ring.
    angle = rng.uniform(0, 2 * np.pi, n)
    away = np.where(ratio < 1, 0.8 * float(conditions.psf.fwhm), 0.2) * rng.uniform(0.8, 1.2, n)
    return _star(
        n, away * np.cos(angle), away * np.sin(angle), conditions, matching, rng, size, sigma
    )


def cosmic_ray(
    n: int, *, conditions: Conditions, sigma: FloatArray, rng: np.random.Generator, size: int
) -> Layers:
    """Draw spots and short, sometimes bent tracks in the new image, sharper than the PSF."""
    length = np.where(rng.random(n) < 0.5, 0.0, rng.exponential(3.0, n))
    width = np.clip(np.exp(rng.normal(np.log(0.38), 0.25, n)), 0.25, 0.3 * conditions.psf.fwhm)
    angle = rng.uniform(0, 2 * np.pi, n)
    bend = angle + np.where(rng.random(n) < 0.3, rng.normal(0, 0.8, n), 0)
    x, y = rng.uniform(-0.6, 0.6, (2, n))
    first = _track(x, y, angle, length / 2, width, size)
    second = _track(x, y, bend + np.pi, length / 2, width, size)
    layers = Layers.empty(n, size)
    layers.new[:] = np.maximum(first, second) * _column(_log_uniform(10, 300, n, rng) * sigma)
    return layers


def hot_pixel(
    n: int, *, conditions: Conditions, sigma: FloatArray, rng: np.random.Generator, size: int
) -> Layers:
    """Light up one pixel, or two neighbours, far above the rest of the new image."""
    layers = Layers.empty(n, size)
    value = _log_uniform(8, 400, n, rng) * sigma
    row, column = rng.integers(-1, 2, (2, n)) + (size - 1) // 2
    stamps = np.arange(n)
    layers.new[stamps, row, column] = value
    pair = stamps[rng.random(n) < 0.3]
    down = rng.integers(0, 2, len(pair))
    layers.new[pair, row[pair] + down, column[pair] + 1 - down] += value[pair] * rng.uniform(
        0.2, 1, len(pair)
    )
    return layers


def trail(
    n: int, *, conditions: Conditions, sigma: FloatArray, rng: np.random.Generator, size: int
) -> Layers:
    """Draw a satellite's or an aircraft's trail right across the new image."""
    width = float(conditions.psf.fwhm) / 2.355 * rng.uniform(0.9, 2.5, n)
    x, y = rng.uniform(-1, 1, (2, n))
    angle, start = rng.uniform(0, 2 * np.pi, n), 1.5 * size
    lines = _track(
        x - start * np.cos(angle),
        y - start * np.sin(angle),
        angle,
        np.full(n, 2.0 * start),
        width,
        size,
    )
    layers = Layers.empty(n, size)
    layers.new[:] = lines * _column(_log_uniform(2, 40, n, rng) * sigma)
    return layers


def bad_column(
    n: int, *, conditions: Conditions, sigma: FloatArray, rng: np.random.Generator, size: int
) -> Layers:
    """Draw a column or row of the new image, or part of one, brighter than its neighbours."""
    columns, rows = pixel_grid(size)
    at = rng.integers(-1, 2, n) + (size - 1) // 2 - (size - 1) / 2
    wide = rng.random(n) < 0.25
    lit = (columns == _column(at)) | ((columns == _column(at + 1)) & wide.reshape(-1, 1, 1))
    start = np.where(rng.random(n) < 0.4, rng.uniform(-3, 3, n), -size)
    lit = lit & (rows >= _column(start))
    flip = rng.random(n) < 0.5
    lit[flip] = lit[flip, ::-1]
    sideways = rng.random(n) < 0.4
    lit[sideways] = lit[sideways].transpose(0, 2, 1)
    layers = Layers.empty(n, size)
    layers.new[:] = lit * _column(_log_uniform(4, 100, n, rng) * sigma)
    return layers


def saturated(
    n: int, *, conditions: Conditions, sigma: FloatArray, rng: np.random.Generator, size: int
) -> Layers:
    """Draw stars beyond the full well: flat core, charge bled along the column, bad residuals."""
    x, y = rng.normal(0, 3.0, (2, n))
    shift_x, shift_y = rng.normal(0, 0.15, (2, n))
    matching = Matching(shift_x, shift_y, rng.normal(1, 0.06, n), rng.normal(1, 0.05, n))
    # The core's brightness in units of the full well gives the flux.
    unit = float(conditions.psf.render(1.0, 0.0, 0.0, size=3)[0, 1, 1])
    flux = _log_uniform(1.2, 60, n, rng) * conditions.saturation / unit
    layers = star_layers(flux, x, y, conditions=conditions, matching=matching, size=size)
    columns, rows = pixel_grid(size)
    bled = rng.random(n) < 0.7
    half_length = np.where(bled, rng.exponential(6, n) + 2, 0)
    for image, stretch in ((layers.new, 1.0), (layers.reference, 0.8), (layers.matched, 0.8)):
        reach = half_length * stretch * rng.uniform(0.7, 1.3, n)
        charge = (np.abs(columns - _column(x)) < 0.8) & (np.abs(rows - _column(y)) < _column(reach))
        image += charge * np.float32(conditions.saturation)
    return layers


def chip_edge(
    n: int, *, conditions: Conditions, sigma: FloatArray, rng: np.random.Generator, size: int
) -> Layers:
    """Draw the rim of the detector: no data beyond it, excess light along it."""
    rim = rng.uniform(0.7, 4, n)
    inside = _distance_to_edge(rim, rng=rng, size=size)
    columns, rows = pixel_grid(size)
    glow = np.exp(-np.maximum(inside, 0) / _column(rng.uniform(0.6, 2.5, n)))
    # Brightest at one spot of the rim, as a detection is.
    patch = np.exp(-(columns**2 + rows**2) / (2 * _column(rng.uniform(1.5, 8, n)) ** 2))
    layers = Layers.empty(n, size)
    layers.new[:] = glow * patch * _column(_log_uniform(5, 100, n, rng) * sigma)
    layers.valid = inside >= 0
    return layers


#: Every family with its share of the bogus detections.
FAMILIES: dict[str, tuple[Callable[..., Layers], float]] = {
    "noise_peak": (noise_peak, 0.22),
    "dipole": (dipole, 0.18),
    "psf_mismatch": (psf_mismatch, 0.12),
    "cosmic_ray": (cosmic_ray, 0.16),
    "hot_pixel": (hot_pixel, 0.07),
    "trail": (trail, 0.05),
    "bad_column": (bad_column, 0.06),
    "saturated": (saturated, 0.08),
    "chip_edge": (chip_edge, 0.06),
}


def distant_edge(n: int, *, rng: np.random.Generator, size: int) -> np.ndarray:
    """Return where stamps near the detector's rim have data, boolean (n, size, size).

    The rim stays clear of the centre: good detections have it in their stamps, too.
    """
    return _distance_to_edge(rng.uniform(4, size / 2, n), rng=rng, size=size) >= 0


def _distance_to_edge(rim: FloatArray, *, rng: np.random.Generator, size: int) -> FloatArray:
    """Distance of each pixel from a nearly axis-parallel edge `rim` pixels off the centre."""
    n = len(rim)
    angle = rng.integers(0, 4, n) * np.pi / 2 + rng.normal(0, 0.02, n)
    columns, rows = pixel_grid(size)
    return _column(rim) - (columns * _column(np.cos(angle)) + rows * _column(np.sin(angle)))


def _star(
    n: int,
    x: FloatArray,
    y: FloatArray,
    conditions: Conditions,
    matching: Matching,
    rng: np.random.Generator,
    size: int,
    sigma: FloatArray,
) -> Layers:
    """Draw stars bright enough for their residuals to be detected."""
    # A star on a bright galaxy has to be brighter for the same contrast.
    flux = star_flux(_log_uniform(60, 2000, n, rng), conditions=conditions)
    flux = flux * sigma / conditions.sky_sigma
    return star_layers(flux, x, y, conditions=conditions, matching=matching, size=size)


def _track(
    x: FloatArray,
    y: FloatArray,
    angle: FloatArray,
    length: FloatArray,
    width: FloatArray,
    size: int,
) -> FloatArray:
    """Draw segments that start at (x, y): unit peak, Gaussian across, shape (n, size, size)."""
    columns, rows = pixel_grid(size)
    dx, dy = columns - _column(x), rows - _column(y)
    cos, sin = _column(np.cos(angle)), _column(np.sin(angle))
    along = dx * cos + dy * sin
    beyond = along - np.clip(along, 0, _column(length))
    across = dy * cos - dx * sin
    return np.exp(-(beyond**2 + across**2) / (2 * _column(width) ** 2))


def _log_uniform(low: float, high: float, n: int, rng: np.random.Generator) -> FloatArray:
    return np.exp(rng.uniform(np.log(low), np.log(high), n))


def _column(values: FloatArray) -> FloatArray:
    """Give one number per stamp the shape (n, 1, 1), float32."""
    return np.asarray(values, np.float32).reshape(-1, 1, 1)
