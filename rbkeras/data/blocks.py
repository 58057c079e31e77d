"""Reading records of one length by the block, without parsing: selected, shuffled, checked.

Our uncompressed records all have the layout that `rbkeras.data.encoding` gives them. So a block of
them is one read, seen as an array, and shuffling is copying its rows to random places.
"""

from collections.abc import Iterator

import numpy as np

from rbkeras.data.encoding import frame_length, pixels_of_frames
from rbkeras.data.labels import SKIP
from rbkeras.data.records import RAW, Records

#: Records of one read: a few megabytes.
BLOCK = 256

# Bytes; of TensorFlow's own tensors.
_ALIGNMENT = 64

Block = tuple[np.ndarray, np.ndarray]


def has_blocks(records: Records) -> bool:
    """Whether all records have one length and layout, as our uncompressed ones do."""
    if records.encoding != RAW or records.compression:
        return False
    length = frame_length(records.stamp_shape)
    return all(
        path.stat().st_size == size * length
        for path, size in zip(records.files, records.sizes, strict=True)
    )


def selected_blocks(records: Records, targets: np.ndarray) -> Iterator[Block]:
    """Read the selected samples in the files' order, a block of records at a time.

    Parameters
    ----------
    records
        Of which `has_blocks` is true.
    targets
        int8 (N,) by unique_index; `SKIP` for samples that are not selected.

    Yields
    ------
    stamps, index
        float32 (n, H, W, C) and unique_index, int64 (n,), n > 0.

    Raises
    ------
    ValueError
        When a record is damaged; it begins with 'corrupted', 'truncated' or 'unreadable record'.
    """
    for pixels, rows, index in _read(records, targets, rng=None):
        yield pixels[rows].view("<f4").reshape(-1, *records.stamp_shape), index


def _read(
    records: Records, targets: np.ndarray, *, rng: np.random.Generator | None
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Read blocks with selected samples, in random order if there is an `rng`.

    Yields the pixels of all samples of a block as bytes (m, 4 H W C), which the next block
    overwrites, and of the selected ones the rows and unique_index.
    """
    length = frame_length(records.stamp_shape)
    chosen = targets != SKIP
    spans, start = [], 0
    for path, size in zip(records.files, records.sizes, strict=True):
        for first in range(0, size, BLOCK):
            rows = np.flatnonzero(chosen[start : start + size][first:][:BLOCK])
            if len(rows):
                spans.append((path, first, min(BLOCK, size - first), rows, start + first + rows))
        start += size
    if rng is not None:
        rng.shuffle(spans)
    buffer = np.empty((BLOCK, length), np.uint8)
    for path, first, count, rows, index in spans:
        try:
            with path.open("rb", buffering=0) as file:
                file.seek(first * length)
                size = file.readinto(buffer[:count])
        except OSError as error:
            # TensorFlow carries the text of a ValueError, and little of other errors.
            raise ValueError(f"unreadable record at {path.name}: {error.strerror}") from None
        if size < count * length:
            raise ValueError(f"truncated record at {path.name}, {first} or later")
        yield pixels_of_frames(buffer, rows, stamp_shape=records.stamp_shape), rows, index


def ordered_blocks(records: Records, *, start: int, size: int) -> Iterator[Block]:
    """Read all samples from number `start` on in the files' order, `size` at a time.

    Yields and raises what `selected_blocks` does; the last block is the rest.
    """
    targets = np.where(np.arange(len(records)) < start, SKIP, 0)
    kept: list[Block] = []
    for block in selected_blocks(records, targets):
        kept.append(block)
        stamps, index = _joined(kept)
        whole = len(index) // size * size
        for first in range(0, whole, size):
            yield stamps[first : first + size], index[first : first + size]
        kept = [(stamps[whole:], index[whole:])]
    if kept and len(kept[0][1]):
        yield kept[0]


def _joined(blocks: list[Block]) -> Block:
    stamps, index = zip(*blocks, strict=True)
    return (
        (stamps[0], index[0])
        if len(blocks) == 1
        else (np.concatenate(stamps), np.concatenate(index))
    )


class ShuffledBatches:
    """The selected samples in random order, batch by batch; iterate once per epoch.

    Blocks of records are read in random order, and their samples copied to random places of a pool
    of batches, which are given out when all are full. With a pool as large as the selection every
    order is as likely.

    Parameters
    ----------
    records, targets
        As in `selected_blocks`.
    pool_size
        Samples in the pool; rounded up to whole batches, so that only the last batch is smaller.
    batch_size
        Samples given out at a time.
    seed
        Of the order.
    reshuffle
        Whether the order is another one every time.
    """

    def __init__(
        self,
        records: Records,
        targets: np.ndarray,
        *,
        pool_size: int,
        batch_size: int,
        seed: int,
        reshuffle: bool = True,
    ):
        self._records = records
        self._targets = targets
        self._selected = int((targets != SKIP).sum())
        self._pool_size = min(-(-pool_size // batch_size) * batch_size, self._selected)
        self._batch_size = batch_size
        self._seed = np.random.SeedSequence(seed)
        self._reshuffle = reshuffle

    def __call__(self) -> Iterator[Block]:
        """Iterate over batches.

        Yields
        ------
        stamps, index
            float32 (B, H, W, C) and unique_index, int64 (B,).
        """
        rng = np.random.default_rng(self._seed.spawn(1)[0] if self._reshuffle else self._seed)
        samples, left = self._samples(rng), self._selected
        while left:
            size = min(self._pool_size, left)
            pool = self._empty_batches(size)
            # Places come first: when they are used up, no sample has been taken in vain.
            for place, (pixels, number) in zip(rng.permutation(size).tolist(), samples):  # noqa: B905
                batch, at = divmod(place, self._batch_size)
                stamps, index = pool[batch]
                stamps[at], index[at] = pixels, number
            left -= size
            while pool:
                stamps, index = pool.pop(0)
                yield stamps.view("<f4").reshape(-1, *self._records.stamp_shape), index

    def _samples(self, rng: np.random.Generator) -> Iterator[tuple[np.ndarray, int]]:
        for pixels, rows, index in _read(self._records, self._targets, rng=rng):
            for row, number in zip(rows.tolist(), index.tolist(), strict=True):
                yield pixels[row], number

    def _empty_batches(self, size: int) -> list[Block]:
        """Make room for the bytes of so many stamps, and for their numbers, batch by batch."""
        pixels = 4 * int(np.prod(self._records.stamp_shape))
        counts = [min(self._batch_size, size - first) for first in range(0, size, self._batch_size)]
        # Always fresh: tf.data keeps the arrays that it is given.
        return [(_aligned(count, pixels), np.empty(count, np.int64)) for count in counts]


def _aligned(rows: int, length: int) -> np.ndarray:
    """Make an array of bytes (rows, length) that TensorFlow takes over without a copy."""
    memory = np.empty(rows * length + _ALIGNMENT, np.uint8)
    offset = -memory.ctypes.data % _ALIGNMENT
    return memory[offset : offset + rows * length].reshape(rows, length)
