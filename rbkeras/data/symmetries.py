"""Symmetries of a stamp's outline: rotations and flips, as moves of pixels."""

import numpy as np


def symmetric_views(stamps: np.ndarray) -> list[np.ndarray]:
    """Give stamps (N, H, W, C) in every symmetry of their outline, the first as they are.

    Eight arrays of the same shape for a square, four for a rectangle that is none.
    """
    count, height, width, channels = stamps.shape
    flat = stamps.reshape(count, height * width, channels)
    return [np.take(flat, move, axis=1).reshape(stamps.shape) for move in _moves(height, width)]


def _moves(height: int, width: int) -> np.ndarray:
    """Give the source pixel of each pixel for every symmetry: int32 (8 or 4, H W)."""
    grid = np.arange(height * width, dtype=np.int32).reshape(height, width)
    grids = [grid, grid.T] if height == width else [grid]
    flipped = [f for g in grids for f in (g, g[::-1], g[:, ::-1], g[::-1, ::-1])]
    return np.stack([f.ravel() for f in flipped])
