"""Symmetries of a stamp's outline: rotations and flips, as moves of pixels."""

import numpy as np


def symmetric_views(stamps: np.ndarray) -> list[np.ndarray]:
    """Give stamps (N, H, W, C) in every symmetry of their outline, the first as they are.

    Eight arrays of the same shape for a square, four for a rectangle that is none.
    """
    count, height, width, channels = stamps.shape
    flat = stamps.reshape(count, height * width, channels)
    return [np.take(flat, move, axis=1).reshape(stamps.shape) for move in moves(height, width)]


def moves(height: int, width: int, *, shift: int = 0) -> np.ndarray:
    """Source pixel of each pixel for every symmetry, followed by every shift.

    Returns
    -------
    numpy.ndarray
        int32 (moves, H W). Shifts are of up to `shift` pixels along both axes, and repeat the
        edge's pixels.
    """
    grid = np.arange(height * width, dtype=np.int32).reshape(height, width)
    grids = [grid, grid.T] if height == width else [grid]
    flipped = [f for g in grids for f in (g, g[::-1], g[:, ::-1], g[::-1, ::-1])]
    steps = range(-shift, shift + 1)
    rows = [np.clip(np.arange(height) + step, 0, height - 1) for step in steps]
    columns = [np.clip(np.arange(width) + step, 0, width - 1) for step in steps]
    return np.stack([f[np.ix_(r, c)].ravel() for f in flipped for r in rows for c in columns])
