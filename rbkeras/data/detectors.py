"""What writing records needs of a detector, wherever its stamps come from."""

from typing import Protocol

import numpy as np
import pandas as pd


class Stamps(Protocol):
    """Stamps (N, H, W, C): an array, or what reads them when it is sliced."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, H, W, C)."""

    def __len__(self) -> int:
        """N."""

    def __getitem__(self, rows: slice) -> np.ndarray:
        """Real numbers (n, H, W, C)."""


class Detector(Protocol):
    """The stamps of a detector, checked."""

    @property
    def detector_id(self) -> int:
        """Its number, at least 0."""

    @property
    def stamps(self) -> Stamps:
        """N of them."""

    @property
    def labels(self) -> np.ndarray:
        """int8 (N,) of {0, 1, -1}."""

    @property
    def params(self) -> pd.DataFrame:
        """N rows: columns to ride along."""

    def checksums(self) -> dict[str, str]:
        """Return `images_sha256` and `params_sha256`, which change when stamps or table do."""

    def require_unchanged(self) -> None:
        """Raise `InputError` where stamps or table are others by now than those opened."""
