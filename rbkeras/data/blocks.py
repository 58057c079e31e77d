"""Reading records of one length by the block, without parsing: selected, shuffled, checked.

Our uncompressed records all have the layout that `rbkeras.data.encoding` gives them. So a block of
them is one read, seen as an array, and shuffling is copying its rows to random places.
"""

from collections.abc import Iterator
from io import RawIOBase
from pathlib import Path

import numpy as np

from rbkeras.data.encoding import frame_length, pixels_of_frames
from rbkeras.data.labels import SKIP
from rbkeras.data.records import RAW, Records

#: Records of one read: a few megabytes.
BLOCK = 256
#: Shuffled samples that are given out at a time. To ask for them takes TensorFlow about as long as
#: reading a batch of 64; to cut them into batches takes it little.
SHUFFLED_BLOCK = 1024

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


def count_selected_blocks(records: Records, targets: np.ndarray, *, samples: int) -> int:
    """Count the blocks of `selected_blocks` that hold the first so many samples."""
    ends = np.cumsum([len(rows) for _, _, _, rows, _ in _spans(records, targets)])
    return int(np.searchsorted(ends, samples)) + 1 if samples else 0


def _read(
    records: Records, targets: np.ndarray, *, rng: np.random.Generator | None
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Read blocks with selected samples, in random order if there is an `rng`.

    Yields the pixels of all samples of a block as bytes (m, 4 H W C), which the next block
    overwrites, and of the selected ones the rows and unique_index.
    """
    length = frame_length(records.stamp_shape)
    spans = _spans(records, targets)
    if rng is not None:
        rng.shuffle(spans)
    buffer = np.empty((BLOCK, length), np.uint8)
    for path, first, count, rows, index in spans:
        try:
            with path.open("rb", buffering=0) as file:
                file.seek(first * length)
                size = _fill(buffer[:count].reshape(-1), file)
        except OSError as error:
            # TensorFlow carries the text of a ValueError, and little of other errors.
            raise ValueError(f"unreadable record at {path.name}: {error.strerror}") from None
        if size < count * length:
            raise ValueError(f"truncated record at {path.name}, {first} or later")
        try:
            pixels = pixels_of_frames(buffer, rows, stamp_shape=records.stamp_shape)
        except ValueError as error:
            raise ValueError(f"{error}, in {path.name}, {first} or later") from None
        yield pixels, rows, index


def _fill(buffer: np.ndarray, file: RawIOBase) -> int:
    """Read until the buffer (n,) is full or the file ends; return the number of bytes."""
    size = 0
    # One read may be short long before the end, as on file systems of a network.
    while size < len(buffer) and (count := file.readinto(buffer[size:])):
        size += count
    return size


def _spans(
    records: Records, targets: np.ndarray
) -> list[tuple[Path, int, int, np.ndarray, np.ndarray]]:
    """Find the blocks with selected samples: file, first record, records, rows, unique_index."""
    chosen = targets != SKIP
    spans, start = [], 0
    for path, size in zip(records.files, records.sizes, strict=True):
        for first in range(0, size, BLOCK):
            rows = np.flatnonzero(chosen[start : start + size][first:][:BLOCK])
            if len(rows):
                spans.append((path, first, min(BLOCK, size - first), rows, start + first + rows))
        start += size
    return spans


def ordered_blocks(records: Records, *, start: int, size: int) -> Iterator[Block]:
    """Read all samples from number `start` on in the files' order, `size` at a time.

    Yields and raises what `selected_blocks` does; the last block is the rest.
    """
    targets = np.where(np.arange(len(records)) < start, SKIP, 0)
    kept: list[Block] = []
    count = 0
    for block in selected_blocks(records, targets):
        kept.append(block)
        count += len(block[1])
        # Joined once there are enough: joining at every read would copy what is kept each time.
        if count < size:
            continue
        stamps, index = _joined(kept)
        whole = count // size * size
        for first in range(0, whole, size):
            yield stamps[first : first + size], index[first : first + size]
        kept, count = [(stamps[whole:], index[whole:])], count - whole
    if count:
        yield _joined(kept)


def _joined(blocks: list[Block]) -> Block:
    stamps, index = zip(*blocks, strict=True)
    return (
        (stamps[0], index[0])
        if len(blocks) == 1
        else (np.concatenate(stamps), np.concatenate(index))
    )


class ShuffledBlocks:
    """The selected samples in random order, a block at a time; iterate once per epoch.

    Blocks of records are read in random order, and their samples copied to random places of a pool,
    which is given out when it is full. With a pool as large as the selection every order is as
    likely.

    Parameters
    ----------
    records, targets
        As in `selected_blocks`.
    pool_size
        Samples in the pool.
    seed
        Of the order.
    reshuffle
        Whether the order is another one every time.
    keep
        Read once what fits into the pool, and keep it.
    """

    def __init__(
        self,
        records: Records,
        targets: np.ndarray,
        *,
        pool_size: int,
        seed: int,
        reshuffle: bool = True,
        keep: bool = False,
    ):
        self._records = records
        self._targets = targets
        self._selected = int((targets != SKIP).sum())
        self._pool_size = min(pool_size, self._selected)
        self._seed = np.random.SeedSequence(seed)
        self._reshuffle = reshuffle
        self._keep = keep and self._pool_size == self._selected
        self._kept: Block | None = None

    def __call__(self) -> Iterator[Block]:
        """Iterate over blocks.

        Yields
        ------
        stamps, index
            float32 (n, H, W, C) and unique_index, int64 (n,).
        """
        rng = np.random.default_rng(self._seed.spawn(1)[0] if self._reshuffle else self._seed)
        if not self._keep:
            yield from self._read_anew(rng)
        elif self._kept is None:
            blocks = []
            for block in self._read_anew(rng):
                # As they are: nobody writes into what tf.data was given.
                blocks.append(block)
                yield block
            self._kept = _joined(blocks)
        else:
            yield from self._permuted(*self._kept, rng.permutation(self._selected))

    def _permuted(
        self, stamps: np.ndarray, index: np.ndarray, order: np.ndarray
    ) -> Iterator[Block]:
        first = 0
        for pixels, numbers in self._empty_blocks(len(order)):
            rows = order[first : first + len(numbers)]
            into = pixels.view("<f4").reshape(-1, *self._records.stamp_shape)
            np.take(stamps, rows, axis=0, out=into)
            yield into, index[rows]
            first += len(rows)

    def _read_anew(self, rng: np.random.Generator) -> Iterator[Block]:
        read, left = _read(self._records, self._targets, rng=rng), self._selected
        pixels = rows = index = np.empty(0)
        while left:
            size = min(self._pool_size, left)
            pool, places = self._empty_blocks(size), rng.permutation(size)
            while len(places):
                if not len(rows):
                    pixels, rows, index = next(read)
                count = min(len(rows), len(places))
                _scatter(pixels, rows[:count], index[:count], places[:count], pool)
                rows, index, places = rows[count:], index[count:], places[count:]
            left -= size
            while pool:
                stamps, numbers = pool.pop(0)
                yield stamps.view("<f4").reshape(-1, *self._records.stamp_shape), numbers

    def count(self, *, samples: int) -> int:
        """Count the blocks that hold the first so many samples of an epoch, or of several."""
        epochs, rest = divmod(samples, self._selected) if samples else (0, 0)
        return epochs * self._count(self._selected) + self._count(rest)

    def _count(self, samples: int) -> int:
        pools, rest = divmod(samples, self._pool_size) if samples else (0, 0)
        return pools * -(-self._pool_size // SHUFFLED_BLOCK) + -(-rest // SHUFFLED_BLOCK)

    def _empty_blocks(self, size: int) -> list[Block]:
        """Make room for the bytes of so many stamps, and for their numbers, block by block."""
        pixels = 4 * int(np.prod(self._records.stamp_shape))
        firsts = range(0, size, SHUFFLED_BLOCK)
        counts = [min(SHUFFLED_BLOCK, size - first) for first in firsts]
        # Always fresh: tf.data keeps the arrays that it is given.
        return [(_aligned(count, pixels), np.empty(count, np.int64)) for count in counts]


def _scatter(
    pixels: np.ndarray, rows: np.ndarray, index: np.ndarray, places: np.ndarray, pool: list[Block]
) -> None:
    """Copy these rows to their places, counted through all blocks of the pool."""
    block, at = np.divmod(places, SHUFFLED_BLOCK)
    for number, (stamps, numbers) in enumerate(pool):
        here = block == number
        stamps[at[here]] = pixels[rows[here]]
        numbers[at[here]] = index[here]


def _aligned(rows: int, length: int) -> np.ndarray:
    """Make an array of bytes (rows, length) that TensorFlow takes over without a copy."""
    memory = np.empty(rows * length + _ALIGNMENT, np.uint8)
    offset = -memory.ctypes.data % _ALIGNMENT
    return memory[offset : offset + rows * length].reshape(rows, length)
