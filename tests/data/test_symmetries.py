import numpy as np
import pytest

from rbkeras.data.symmetries import symmetric_views


@pytest.mark.parametrize(("size", "count"), [((5, 5), 8), ((5, 7), 4)])
def test_views_are_all_symmetries_and_begin_with_the_stamp(size, count):
    stamps = np.arange(2 * size[0] * size[1] * 3, dtype=np.float32).reshape(2, *size, 3)
    views = symmetric_views(stamps)
    assert len({view.tobytes() for view in views}) == len(views) == count
    np.testing.assert_array_equal(views[0], stamps)
    turned = np.rot90(stamps, 2, axes=(1, 2))
    assert any((view == turned).all() for view in views)
    assert all((np.sort(view, None) == np.sort(stamps, None)).all() for view in views)
