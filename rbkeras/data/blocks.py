"""Reading records of one length by the block, without parsing: selected, shuffled, checked.

Our uncompressed records all have the layout that `rbkeras.data.encoding` gives them. So a block of
them is one read, seen as an array, and shuffling is copying its rows to random places of a pool.
Buffers are used again: to hand out fresh memory takes the system longer than filling it.
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


def selected_blocks(
    records: Records, targets: np.ndarray, *, rng: np.random.Generator | None = None
) -> Iterator[Block]:
    """Read the selected samples, a block of records at a time.

    Parameters
    ----------
    records
        Of which `has_blocks` is true.
    targets
        int8 (N,) by unique_index; `SKIP` for samples that are not selected.
    rng
        Draws the order of the blocks; None keeps the files' order.

    Yields
    ------
    stamps, index
        float32 (n, H, W, C) and unique_index, int64 (n,), n > 0.

    Raises
    ------
    ValueError
        When a record is damaged; it begins with 'corrupted', 'truncated' or 'unreadable record'.
    """
    length = frame_length(records.stamp_shape)
    chosen = targets != SKIP
    spans, start = [], 0
    for path, size in zip(records.files, records.sizes, strict=True):
        for first in range(0, size, BLOCK):
            index = start + first + np.flatnonzero(chosen[start : start + size][first:][:BLOCK])
            if len(index):
                spans.append((path, first, min(BLOCK, size - first), start + first, index))
        start += size
    if rng is not None:
        rng.shuffle(spans)
    buffer = np.empty((BLOCK, length), np.uint8)
    for path, first, count, start, index in spans:
        try:
            with path.open("rb", buffering=0) as file:
                file.seek(first * length)
                size = file.readinto(buffer[:count])
        except OSError as error:
            # TensorFlow carries the text of a ValueError, and little of other errors.
            raise ValueError(f"unreadable record at {path.name}: {error.strerror}") from None
        if size < count * length:
            raise ValueError(f"truncated record at {path.name}, {first} or later")
        pixels = pixels_of_frames(buffer, index - start, stamp_shape=records.stamp_shape)
        yield pixels.view("<f4").reshape(-1, *records.stamp_shape), index


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

    Blocks of records are read in random order into a pool, to random places of it, and given out
    when it is full. With a pool as large as the selection every order is as likely.

    Parameters
    ----------
    records, targets
        As in `selected_blocks`.
    pool_size
        Samples in the pool; rounded up to whole batches, so that only the last batch is smaller.
    batch_size
        Samples given out at a time.
    seed
        Of the order, which is another one every time.
    """

    def __init__(
        self,
        records: Records,
        targets: np.ndarray,
        *,
        pool_size: int,
        batch_size: int,
        seed: int,
    ):
        self._records = records
        self._targets = targets
        self._selected = int((targets != SKIP).sum())
        self._pool_size = min(-(-pool_size // batch_size) * batch_size, self._selected)
        self._batch_size = batch_size
        self._rng = np.random.default_rng(seed)
        # More than one only if several iterations run at once.
        self._pools: list[np.ndarray] = []

    def __call__(self) -> Iterator[Block]:
        """Iterate over batches.

        Yields
        ------
        stamps, index
            float32 (B, H, W, C) and unique_index, int64 (B,).
        """
        rng = self._rng.spawn(1)[0]
        shape = (self._pool_size, *self._records.stamp_shape)
        pool = self._pools.pop() if self._pools else np.empty(shape, np.float32)
        try:
            yield from self._fill_and_empty(pool, rng)
        finally:
            self._pools.append(pool)

    def _fill_and_empty(self, pool: np.ndarray, rng: np.random.Generator) -> Iterator[Block]:
        index = np.empty(len(pool), np.int64)
        left = self._selected
        places, filled = rng.permutation(len(pool)), 0
        for block, numbers in selected_blocks(self._records, self._targets, rng=rng):
            taken = 0
            while taken < len(block):
                count = min(len(block) - taken, len(places) - filled)
                at = places[filled : filled + count]
                pool[at] = block[taken : taken + count]
                index[at] = numbers[taken : taken + count]
                taken, filled = taken + count, filled + count
                if filled == len(places):
                    yield from self._batches(pool[:filled], index[:filled])
                    left -= filled
                    places, filled = rng.permutation(min(len(pool), left)), 0

    def _batches(self, stamps: np.ndarray, index: np.ndarray) -> Iterator[Block]:
        for first in range(0, len(index), self._batch_size):
            part = slice(first, first + self._batch_size)
            # Copied, since tf.data may keep the array itself, and the pool is filled again.
            yield _aligned(stamps[part]), index[part].copy()


def _aligned(stamps: np.ndarray) -> np.ndarray:
    """Copy an array to where TensorFlow takes it over without another copy."""
    memory = np.empty(stamps.nbytes + _ALIGNMENT, np.uint8)
    offset = -memory.ctypes.data % _ALIGNMENT
    aligned = memory[offset : offset + stamps.nbytes].view(stamps.dtype).reshape(stamps.shape)
    aligned[:] = stamps
    return aligned
