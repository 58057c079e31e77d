"""What writing records needs of a detector, wherever its stamps come from."""

from typing import Protocol

import numpy as np
import pandas as pd


class Stamps(Protocol):
    """Stamps (N, H, W, C): an array, or what reads them when it is sliced.

    Attributes
    ----------
    shape
        The four lengths.
    """

    shape: tuple[int, ...]

    def __len__(self) -> int:
        """N."""

    def __getitem__(self, rows: slice) -> np.ndarray:
        """Real numbers (n, H, W, C)."""


class Detector(Protocol):
    """The stamps of a detector, checked.

    Attributes
    ----------
    detector_id
        Its number, at least 0.
    stamps
        N of them.
    labels
        int8 (N,) of {0, 1, -1}.
    params
        N rows: columns to ride along.
    """

    detector_id: int
    stamps: Stamps
    labels: np.ndarray
    params: pd.DataFrame

    def checksums(self) -> dict[str, str]:
        """Return `images_sha256` and `params_sha256`, which change when stamps or table do."""

    def require_unchanged(self) -> None:
        """Raise `InputError` where stamps or table are others by now than those opened."""
