"""Stamps as grey levels, whatever the unit of their pixels."""

import numpy as np
import pytest

from rbkeras.pictures import side_by_side


@pytest.mark.parametrize("unit", [1e-12, 1.0, 1e12])
def test_the_unit_of_the_pixels_does_not_show(unit):
    stamp = np.random.default_rng(0).normal(5, 1, (9, 9, 2))
    expected = side_by_side(stamp)
    assert np.nanmin(expected) < 0.1
    assert np.nanmax(expected) > 0.9
    np.testing.assert_allclose(side_by_side(stamp * unit), expected, atol=1e-6)


@pytest.mark.parametrize("value", [0.0, -1e-9, 7.0, 1e12, np.nan])
def test_a_constant_channel_is_of_one_grey(value):
    with np.errstate(all="raise"):
        picture = side_by_side(np.full((4, 5, 2), value))
    panels = np.delete(picture, 5, axis=1)
    assert picture.shape == (4, 11)
    assert len(np.unique(panels)) == 1


def test_channels_stand_side_by_side_with_a_gap():
    stamp = np.zeros((3, 4, 3))
    stamp[1, 2, 1] = 8
    picture = side_by_side(stamp)
    assert picture.shape == (3, 14)
    assert np.isnan(picture[:, [4, 9]]).all()
    assert np.nanargmax(picture) == np.ravel_multi_index((1, 5 + 2), picture.shape)
