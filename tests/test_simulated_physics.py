"""The simulated sky against what is known of it: photons, stars, galaxies, detectors."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from rbkeras.data.simulation import simulate_stamps, simulate_survey, sources
from rbkeras.data.simulation.sky import (
    Layers,
    Matching,
    Psf,
    difference_variance,
    draw_conditions,
)
from rbkeras.data.simulation.stamps import _expose

DETECTORS = 4


@pytest.fixture(scope="module")
def survey(tmp_path_factory):
    out = tmp_path_factory.mktemp("physics") / "survey"
    options = {"detectors": DETECTORS, "per_detector": 60, "test_real": 80, "test_bogus": 80}
    # A seed whose four skies and gains are well apart.
    simulate_survey(out, **options, size=21, seed=86, progress=False)
    return out


def exact(n):
    return Matching(np.zeros(n), np.zeros(n), np.ones(n), np.ones(n))


def evenly_lit(new, reference, n=40):
    lights = (new, reference, reference)
    return Layers(*(np.full((n, 29, 29), light, np.float32) for light in lights))


def exposed(conditions, layers):
    """Give the new image, the reference and the difference."""
    return _expose(layers, np.zeros_like(layers.new), conditions, np.random.default_rng(0))


# A survey's detectors


def test_every_detector_has_a_sky_and_a_noise_of_its_own(survey):
    sky, noise = [], []
    for detector in range(1, DETECTORS + 1):
        new = np.load(survey / f"raw/images{detector}.npy")[..., 0]
        sky.append(np.median(new))
        noise.append(stats.median_abs_deviation(new - np.median(new, (1, 2), keepdims=True), None))
    assert np.diff(np.sort(np.log(sky))).min() > 0.15
    # Most of the noise is of the sky's photons, of which there are gain times as many.
    assert np.ptp(np.log(np.square(noise) / sky)) > 0.7


def test_test_stamps_are_under_the_skies_of_their_detectors(survey):
    tests = [np.load(survey / f"test/{kind}.npy")[..., 0] for kind in ("real", "bogus")]
    for detector in range(DETECTORS):
        expected = np.median(np.load(survey / f"raw/images{detector + 1}.npy")[..., 0])
        for new in tests:
            assert np.median(new[detector::DETECTORS]) == pytest.approx(expected, rel=0.1)


def test_no_two_detectors_share_a_condition():
    drawn = [draw_conditions(np.random.default_rng(seed)) for seed in range(300)]
    for name in ("sky", "gain", "read_noise", "crowding", "misalignment", "mismatch"):
        assert len({getattr(one, name) for one in drawn}) == 300, name
    for name in ("saturation", "zero_point", "psf", "reference_psf"):
        assert len({getattr(one, name) for one in drawn}) == 300, name
    assert len({one.coadds for one in drawn}) > 15


@pytest.mark.parametrize(("name", "low", "high"), [("sky", 100, 2000), ("crowding", 0.3, 4)])
def test_dark_and_bright_skies_empty_and_crowded_fields(name, low, high):
    drawn = [getattr(draw_conditions(np.random.default_rng(seed)), name) for seed in range(300)]
    evenly = stats.uniform(np.log(low), np.log(high / low))
    assert stats.kstest(np.log(drawn), evenly.cdf).pvalue > 0.01


# Noise


def test_photons_are_counted_one_by_one(conditions):
    """With one electron per ADU, no readout and a dark sky, a pixel is a Poisson number."""
    dark = dataclasses.replace(conditions, sky=3.0, gain=1.0, read_noise=0.0)
    new, reference, _ = exposed(dark, evenly_lit(1, 1))
    np.testing.assert_allclose(new, new.round(), atol=1e-5)
    numbers, expected = np.arange(12), stats.poisson(4).pmf(np.arange(12))
    found = np.bincount(new.round().astype(int).ravel(), minlength=12)[:12] / new.size
    np.testing.assert_allclose(found, expected, atol=0.01)
    assert found[0] == pytest.approx(np.exp(-4), rel=0.15)
    assert numbers @ found == pytest.approx(4, rel=0.02)
    # The mean of sixteen exposures comes in sixteenths.
    np.testing.assert_allclose(16 * reference, (16 * reference).round(), atol=1e-4)
    assert reference.var() == pytest.approx(4 / 16, rel=0.05)


@pytest.mark.parametrize(("brightness", "variance"), [(0, 266), (500, 516), (10_000, 5266)])
def test_bright_pixels_are_noisier(conditions, brightness, variance):
    # In electrons, 2 per ADU: twice sky and source, and 8 squared of readout.
    new, reference, _ = exposed(conditions, evenly_lit(brightness, brightness))
    assert new.mean() == pytest.approx(500 + brightness, abs=2)
    assert new.var() == pytest.approx(variance, rel=0.05)
    assert reference.var() == pytest.approx(variance / 16, rel=0.05)


@pytest.mark.parametrize(("new", "reference"), [(0, 0), (3000, 0), (0, 30_000)])
def test_the_noise_of_the_difference_is_known(conditions, new, reference):
    layers = evenly_lit(new, reference)
    difference = exposed(conditions, layers)[2][:, 4:-4, 4:-4]
    expected = difference_variance(layers, conditions=conditions)[0, 0, 0]
    assert difference.var(axis=(1, 2)).mean() == pytest.approx(expected, rel=0.05)


def test_backgrounds_differ_by_a_tenth_of_the_noise(conditions):
    difference = exposed(conditions, evenly_lit(0, 0, 400))[2]
    pedestals = difference.mean(axis=(1, 2))
    assert pedestals.std() == pytest.approx(0.1 * conditions.sky_sigma, rel=0.2)


# What is in the sky


@pytest.mark.parametrize("crowding", [0.5, 2.0])
def test_field_stars_come_as_often_as_the_field_is_crowded(conditions, crowding):
    crowded = dataclasses.replace(conditions, crowding=crowding)
    layers = sources.field_stars(
        2000, conditions=crowded, matching=exact(2000), rng=np.random.default_rng(0), size=29
    )
    for layer in (layers.new, layers.reference, layers.matched):
        empty = np.mean(layer.max(axis=(1, 2)) == 0)
        assert empty == pytest.approx(np.exp(-crowding), abs=0.04)


@pytest.mark.parametrize("kind", ["real", "bogus"])
def test_stamps_of_a_crowded_field_have_stars_in_new_image_and_reference(conditions, kind):
    lit = []
    for crowding in (0.0, 4.0):
        images, _ = simulate_stamps(
            200,
            kind=kind,
            conditions=dataclasses.replace(conditions, crowding=crowding),
            rng=np.random.default_rng(1),
            family="random" if kind == "real" else "noise_peak",
            snr=10.0,
        )
        # Beside the detection, seven times the noise of the new image.
        images[:, 9:20, 9:20] = conditions.sky
        lit.append(((images[..., :2] - conditions.sky) > 7 * 16.3).any(axis=(1, 2)).mean(axis=0))
    without, crowded = lit
    assert (without < 0.4).all()
    assert (crowded > without + 0.3).all()


def test_galaxies_are_of_many_shapes(conditions):
    """From Gaussian profiles to cuspy ones with wide wings, told by the areas of two isophotes.

    For a Sersic index n the area above a fraction f of the peak goes with ln(1/f) to the 2 n,
    whatever size and ellipticity: that above 1/20 is (ln 20 / ln 2)^(2 n) times that above 1/2,
    4.3 times where n is 0.5. Seeing rounds the cusps, and a Gaussian one leaves 4.3 as it is.
    """
    sharp = dataclasses.replace(conditions, psf=Psf(2.0, 100.0), reference_psf=Psf(2.0, 100.0))
    images = sources.galaxies(
        200,
        near=True,
        conditions=sharp,
        matching=exact(200),
        rng=np.random.default_rng(0),
        size=61,
    ).new
    fractions = images / images.max(axis=(1, 2), keepdims=True)
    ratio = (fractions > 1 / 20).sum(axis=(1, 2)) / (fractions > 1 / 2).sum(axis=(1, 2))
    few, half, most = np.percentile(ratio, [10, 50, 90])
    assert few < 6
    assert 6 < half < 9
    assert most > 11


def test_reals_are_from_faint_to_bright(conditions):
    _, table = simulate_stamps(
        500, kind="real", conditions=conditions, rng=np.random.default_rng(3), size=15
    )
    evenly = stats.uniform(np.log(6), np.log(100 / 6))
    assert stats.kstest(np.log(table.injected_snr.to_numpy(float)), evenly.cdf).pvalue > 0.01
    # And so they look.
    assert stats.spearmanr(table.injected_snr, table.snr).statistic > 0.9
    assert stats.spearmanr(table.injected_snr, -table.magnitude).statistic > 0.9


# What a survey would not know


def test_tables_of_a_survey_do_not_know_the_truth(survey):
    for detector in range(1, DETECTORS + 1):
        params = pd.read_csv(survey / f"raw/params{detector}.csv")
        assert list(params) == ["object_type", "snr", "magnitude", "x", "y"]
        kinds = {"artifact", "rand_artificial_real", "galx_artificial_real"}
        assert set(params["object_type"]) == kinds
