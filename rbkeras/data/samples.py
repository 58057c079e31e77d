"""Stamps that come one by one, each with what is known about it, and blocks of them."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pandas as pd

from rbkeras.data.cutouts import fit_image
from rbkeras.errors import InputError

#: Columns in which surveys say what a detection, or its object, is called elsewhere.
NAME_COLUMNS = ("object_id", "objectId", "alert_id")

# Told a sentence about a sample at fault, which is then left out.
OnBad = Callable[[str], None]
Block = tuple[pd.DataFrame, np.ndarray]


@dataclass(frozen=True)
class Sample:
    """One detection.

    Attributes
    ----------
    where
        File, and place in it, for errors.
    identity
        What is known about it; the same keys for all samples of a source.
    images
        float32 (H, W), one per channel; sizes may differ.
    centers
        Row and column of the detection in each image, None for the image's central pixel.
    fault
        Why there are no images; None where there are.
    """

    where: str
    identity: Mapping[str, Any]
    images: tuple[np.ndarray, ...]
    centers: tuple[tuple[int, int] | None, ...]
    fault: str | None = None

    def stamp(self, shape: tuple[int, int]) -> np.ndarray:
        """Return float32 (height, width, channels), cut or NaN-padded by `fit_image`."""
        pairs = zip(self.images, self.centers, strict=True)
        return np.stack([fit_image(image, shape, center) for image, center in pairs], axis=-1)


class BlockSource(Protocol):
    """Stamps to convert.

    Attributes
    ----------
    name
        Named in errors.
    """

    name: str

    @property
    def stamp_shape(self) -> tuple[int, int, int]:
        """Height, width, channels of every stamp in `blocks`."""

    def blocks(self, start: int, size: int) -> Iterator[Block]:
        """Read tables of at most `size` rows, and float32 stamps (n, H, W, C) for them.

        Tables have a column `sample_index`, the sample's number in the source, and all tables of
        a source have the same columns and dtypes. Samples at fault raise `InputError`, or are
        left out where the source has been given an `on_bad`; the others keep their numbers.
        """


class SampleSource(BlockSource, Protocol):
    """Alert packets or FITS stamps."""

    def __len__(self) -> int:
        """Return the number of samples, those at fault included."""

    def samples(self, start: int = 0) -> Iterator[Sample]:
        """Read samples, from number `start` on, as they are, one at a time."""


def stamp_blocks(
    samples: Iterable[Sample],
    stamp_shape: tuple[int, int, int],
    to_table: Callable[[Sequence[Sample]], pd.DataFrame],
    *,
    size: int,
    exact: bool,
    on_bad: OnBad | None,
) -> Iterator[Block]:
    """Join samples into blocks, see `BlockSource.blocks`.

    With `exact` images have to have the stamps' height and width, rather than be cut or padded.
    """
    group: list[Sample] = []
    for sample in samples:
        try:
            _require_shape(sample, stamp_shape, exact=exact)
        except InputError as error:
            report_bad(error, on_bad)
            continue
        group.append(sample)
        if len(group) == size:
            yield _block(group, stamp_shape, to_table)
            group = []
    if group:
        yield _block(group, stamp_shape, to_table)


def ignore_bad(_: str) -> None:
    """Say nothing, for a first look: the same is said when all is read."""


def report_bad(error: InputError, on_bad: OnBad | None) -> None:
    """Tell `on_bad` about a fault; raise it where there is nobody to tell."""
    if on_bad is None:
        raise error
    on_bad(str(error))


def _block(
    group: Sequence[Sample],
    stamp_shape: tuple[int, int, int],
    to_table: Callable[[Sequence[Sample]], pd.DataFrame],
) -> Block:
    stamps = np.full((len(group), *stamp_shape), np.nan, np.float32)
    for stamp, sample in zip(stamps, group, strict=True):
        if sample.fault is None:
            stamp[:] = sample.stamp(stamp_shape[:2])
    return to_table(group), stamps


def _require_shape(sample: Sample, stamp_shape: tuple[int, int, int], *, exact: bool) -> None:
    *shape, channels = stamp_shape
    if sample.fault is not None:
        return
    if len(sample.images) != channels:
        raise InputError(
            f"{sample.where}: expected {channels} planes as in the first stamp, found "
            f"{len(sample.images)}"
        )
    for image in sample.images if exact else ():
        if list(image.shape) != shape:
            raise InputError(
                f"{sample.where}: expected images of {shape[0]} x {shape[1]} pixels as in the "
                f"first stamp, found {image.shape[0]} x {image.shape[1]}; --size N cuts and pads "
                "all to N x N"
            )
