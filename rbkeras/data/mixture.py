"""Batches in which kinds of stamps have a share of their own: the labelled, and the rarer class."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from rbkeras.data.labels import BOGUS, LABEL_NAMES, REAL, SKIP, UNLABELLED


@dataclass(frozen=True)
class Part:
    """Some of the stamps of each batch.

    Attributes
    ----------
    kinds
        Labels that these stamps may have, in any order.
    size
        How many they are, at least 1.
    """

    kinds: tuple[int, ...]
    size: int

    @property
    def name(self) -> str:
        """The kinds in words."""
        return " or ".join(LABEL_NAMES[kind] for kind in self.kinds)

    def select(self, targets: np.ndarray) -> np.ndarray:
        """Return targets, int8 (N,), with SKIP where the stamps are of other kinds."""
        return np.where(np.isin(targets, self.kinds), targets, np.int8(SKIP))


@dataclass(frozen=True)
class Mixture:
    """What every batch is made of.

    Attributes
    ----------
    parts
        At least two, of different kinds.
    prevalence
        Fraction of reals among the labelled stamps of a batch, in the mean, where it is another
        one than among all; else None.
    """

    parts: tuple[Part, ...]
    prevalence: float | None

    def __str__(self) -> str:
        return ", ".join(f"{part.size} {part.name}" for part in self.parts)


def shares_that_apply(
    targets: np.ndarray, *, labelled_share: float, minority_share: float, largest: int | None = None
) -> dict[str, float]:
    """Name which of the two shares these targets, int8 (N,), do not have by themselves.

    Parameters
    ----------
    targets
        1, 0, -1, or SKIP for stamps that are not in the training set.
    labelled_share
        Fraction of a batch that shall have labels, 0 to 1. It does not apply where no stamp lacks
        its label.
    minority_share
        Fraction of these labelled stamps that shall be of the rarer class, 0 to 0.5. It does not
        apply where there is one class alone.
    largest
        Most stamps of a class that counts as rare; None sets no limit.
    """
    real, bogus, unlabelled = _counts(targets)
    labelled, rare = real + bogus, min(real, bogus)
    found = {}
    if labelled and unlabelled and labelled < labelled_share * (labelled + unlabelled):
        found["labelled_share"] = labelled_share
    if rare and rare < minority_share * labelled and (largest is None or rare <= largest):
        found["minority_share"] = minority_share
    return found


def find_mixture(
    targets: np.ndarray, *, batch_size: int, devices: int = 1, **shares: Any
) -> Mixture | None:
    """Find what batches shall be made of; None where they can be left as they come.

    A rare class has a part of its own, and so have unlabelled stamps where there are too many of
    them; otherwise they come with the larger class, as they come.

    Parameters
    ----------
    targets, shares
        As in `shares_that_apply`.
    batch_size
        Stamps of a batch, a multiple of `devices`.
    devices
        Devices that share each batch. Each gets as many of each part, and one at least; where a
        batch has too few stamps for that, they come as they come.
    """
    found = shares_that_apply(targets, **shares)
    each, (real, bogus, unlabelled) = batch_size // devices, _counts(targets)
    if not found or each <= len(found):
        return None
    parts, left = [], each
    if "labelled_share" in found:
        left = _rounded(found["labelled_share"] * each, len(found), each - 1)
        parts.append(Part((UNLABELLED,), each - left))
        unlabelled = 0
    if "minority_share" not in found:
        return _mixture([Part((REAL, BOGUS), left), *parts], None, devices)
    (few, rare), (many, larger) = sorted([(real, REAL), (bogus, BOGUS)])
    # Of the stamps that are not of the rare class, so many have a label.
    known, share = many / (many + unlabelled), found["minority_share"]
    size = _rounded(share * left * known / (1 - share + share * known), 1, left - 1)
    size -= size > (left - size) * known  # no more than half
    share = size / (size + (left - size) * known)
    if share <= few / (few + many):
        # Small batches have no such share.
        shares |= {"minority_share": 0.0}
        return find_mixture(targets, batch_size=batch_size, devices=devices, **shares)
    others = (larger, UNLABELLED) if unlabelled else (larger,)
    parts = [Part((rare,), size), Part(others, left - size), *parts]
    return _mixture(parts, share if rare == REAL else 1 - share, devices)


def _mixture(parts: list[Part], prevalence: float | None, devices: int) -> Mixture:
    return Mixture(tuple(Part(part.kinds, devices * part.size) for part in parts), prevalence)


def _counts(targets: np.ndarray) -> tuple[int, int, int]:
    real, bogus, unlabelled = (int(np.sum(targets == kind)) for kind in (REAL, BOGUS, UNLABELLED))
    return real, bogus, unlabelled


def _rounded(number: float, least: int, most: int) -> int:
    return min(max(round(number), least), most)


def mixed_batches(*datasets: tf.data.Dataset, devices: int = 1) -> tf.data.Dataset:
    """Join batches of (stamps, labels) of datasets of one length.

    Each of so many devices takes the next equal part of a batch, so each part gets its share of
    all; their sizes are multiples of `devices`.
    """

    def joined(*batches: tf.Tensor) -> tf.Tensor:
        parts = [tf.reshape(x, tf.concat([(devices, -1), tf.shape(x)[1:]], 0)) for x in batches]
        whole = tf.concat(parts, axis=1)
        return tf.reshape(whole, tf.concat([(-1,), tf.shape(whole)[2:]], 0))

    def join(*batches: tuple[tf.Tensor, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
        stamps, labels = (joined(*parts) for parts in zip(*batches, strict=True))
        return tf.ensure_shape(stamps, (None, *batches[0][0].shape[1:])), labels

    return tf.data.Dataset.zip(*datasets).map(join, num_parallel_calls=2)
