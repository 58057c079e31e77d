"""Batches in which kinds of stamps have a share of their own: the labelled, and the rarer class."""

from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from rbkeras.data.labels import BOGUS, REAL, SKIP, UNLABELLED

_KINDS = {
    "real": lambda targets: targets == REAL,
    "bogus": lambda targets: targets == BOGUS,
    "labelled": lambda targets: targets >= 0,
    "unlabelled": lambda targets: targets == UNLABELLED,
}


@dataclass(frozen=True)
class Mixture:
    """How many stamps of each kind a batch has.

    Attributes
    ----------
    sizes
        By kind, each at least 1: 'unlabelled' where there are any, and either 'labelled', which
        come as they come, or 'real' and 'bogus'.
    """

    sizes: dict[str, int]

    @property
    def batch_size(self) -> int:
        """Stamps of a batch."""
        return sum(self.sizes.values())

    @property
    def labelled(self) -> int:
        """Labelled stamps of a batch."""
        return self.batch_size - self.sizes.get("unlabelled", 0)

    @property
    def prevalence(self) -> float | None:
        """Fraction of reals among the labelled stamps; None where they come as they come."""
        return self.sizes["real"] / self.labelled if "real" in self.sizes else None

    def __str__(self) -> str:
        return ", ".join(f"{size} {kind}" for kind, size in self.sizes.items())

    def parts(self, targets: np.ndarray) -> dict[str, np.ndarray]:
        """Split targets, int8 (N,), by kind: each has SKIP where the stamps of others are."""
        return {
            kind: np.where(_KINDS[kind](targets), targets, np.int8(SKIP)) for kind in self.sizes
        }


def find_mixture(
    targets: np.ndarray,
    *,
    labelled_share: float,
    minority_share: float,
    batch_size: int,
    devices: int = 1,
) -> Mixture | None:
    """Find what batches shall be made of; None where they can be left as they come.

    They can where as large a share as is asked for has labels, or no stamp lacks its label, and
    the rarer class has its share of the labelled ones, or there is one class alone.

    Parameters
    ----------
    targets
        int8 (N,): 1, 0, -1, or SKIP for stamps that are not in the training set.
    labelled_share
        Fraction of a batch that shall have labels, 0 to 1.
    minority_share
        Fraction of these labelled stamps that shall be of the rarer class, 0 to 0.5.
    batch_size
        Stamps of a batch, a multiple of `devices`.
    devices
        Devices that share each batch. Each gets as many of each kind, and one at least; where a
        batch has too few stamps for that, they come as they come.
    """
    real, bogus, unlabelled = (int(np.sum(targets == kind)) for kind in (REAL, BOGUS, UNLABELLED))
    labelled = real + bogus
    few_labelled = labelled and unlabelled and labelled < labelled_share * (labelled + unlabelled)
    one_is_rare = min(real, bogus) and min(real, bogus) < minority_share * labelled
    each = batch_size // devices
    if not (few_labelled or one_is_rare) or each < 2 + bool(one_is_rare and unlabelled):
        return None
    own = each
    if unlabelled:
        share = labelled_share if few_labelled else labelled / (labelled + unlabelled)
        own = _rounded(share * each, 1 + bool(one_is_rare), each - 1)
    sizes = {"labelled": own}
    if one_is_rare:
        rare = _rounded(minority_share * own, 1, own // 2)
        sizes = {"real": rare, "bogus": own - rare}
        if bogus < real:
            sizes = {"real": own - rare, "bogus": rare}
    if unlabelled:
        sizes["unlabelled"] = each - own
    return Mixture({kind: devices * size for kind, size in sizes.items()})


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
