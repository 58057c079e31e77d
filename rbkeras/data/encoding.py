"""Stamps as framed TFRecords of tf.train.Example, a block at a time.

The records of a block differ in their integers and pixels alone. Written with every integer at its
longest, ten bytes, all have one length and one layout, so a block is an array of bytes with a row
per record, filled column by column: several times as fast as building and serialising a message
for each stamp (docs/benchmarks.md). Protobuf allows integers longer than they need to be, and
`tests/data/test_encoding.py` holds the result against TensorFlow's and protobuf's own parsers.

References: protobuf.dev/programming-guides/encoding, TensorFlow's `example.proto`, and
tensorflow.org/tutorials/load_data/tfrecord (frames and masked checksums).
"""

from functools import lru_cache

import google_crc32c
import numpy as np

_INTEGERS = ("label", "detector_id", "sample_index", "unique_index")
_VARINT_BYTES = 10
_LENGTH_DELIMITED = 2
_BYTES_LIST, _INT64_LIST = 1, 3
#: Bytes of a frame ahead of its record (length and its checksum) and after it (checksum).
HEADER_BYTES, FOOTER_BYTES = 12, 4


def frame_block(stamps: np.ndarray, **integers: np.ndarray | int) -> np.ndarray:
    """Encode stamps as the bytes of a TFRecord file.

    Parameters
    ----------
    stamps
        Little-endian float32 (N, H, W, C), C-contiguous; stored bit by bit, NaN included.
    **integers
        `label`, `detector_id`, `sample_index` and `unique_index`: int64 (N,), or one number.

    Returns
    -------
    numpy.ndarray
        uint8 (N, L), a framed record per row; written one after the other they are such a file.
    """
    pixels = stamps.reshape(len(stamps), -1).view(np.uint8)
    record, image_at, integer_at = _layout(pixels.shape[1])
    frames = np.empty((len(stamps), HEADER_BYTES + len(record) + FOOTER_BYTES), np.uint8)
    records = frames[:, HEADER_BYTES:-FOOTER_BYTES]
    # The image fills nearly all of a record: the constant parts are what lies around it.
    records[:, :image_at] = record[:image_at]
    image_end = image_at + pixels.shape[1]
    records[:, image_at:image_end] = pixels
    records[:, image_end:] = record[image_end:]
    for name, start in integer_at.items():
        records[:, start : start + _VARINT_BYTES] = _varints(np.asarray(integers[name]))
    frames[:, :HEADER_BYTES] = _header(len(record))
    checksums = [google_crc32c.value(row.tobytes()) for row in records]
    frames[:, -FOOTER_BYTES:] = _masked(checksums).view(np.uint8).reshape(-1, FOOTER_BYTES)
    return frames


def _varints(values: np.ndarray) -> np.ndarray:
    """Encode int64 (N,) or () as uint8 (N, 10) or (10,): groups of seven bits, lowest first."""
    # A negative int64 is written as its two's complement.
    unsigned = values.astype(np.int64).view(np.uint64)[..., np.newaxis]
    groups = unsigned >> np.arange(0, 7 * _VARINT_BYTES, 7, dtype=np.uint64)
    encoded = (groups & np.uint64(0x7F)).astype(np.uint8)
    encoded[..., :-1] |= 0x80
    return encoded


def _varint(value: int) -> bytes:
    """Encode a length as short as it goes."""
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def _field(number: int, payload: bytes) -> bytes:
    return bytes([number << 3 | _LENGTH_DELIMITED]) + _varint(len(payload)) + payload


def _feature(name: str, kind: int, payload: bytes) -> bytes:
    """One entry of the features map; `payload` is the packed content of its list."""
    value = _field(kind, _field(1, payload))
    return _field(1, _field(1, name.encode()) + _field(2, value))


@lru_cache(maxsize=8)
def _layout(image_bytes: int) -> tuple[np.ndarray, int, dict[str, int]]:
    """Lay a record out: its bytes with zeros as values, and where image and integers begin."""
    entries = [_feature("image", _BYTES_LIST, bytes(image_bytes))]
    entries += [_feature(name, _INT64_LIST, bytes(_VARINT_BYTES)) for name in _INTEGERS]
    record = _field(1, b"".join(entries))
    ends = len(record) - np.cumsum([0, *(len(entry) for entry in entries[:0:-1])])[::-1]
    integer_at = {
        name: int(end) - _VARINT_BYTES for name, end in zip(_INTEGERS, ends[1:], strict=True)
    }
    return np.frombuffer(record, np.uint8), int(ends[0]) - image_bytes, integer_at


def _header(length: int) -> np.ndarray:
    size = np.array([length], "<u8").tobytes()
    checksum = _masked([google_crc32c.value(size)])
    return np.frombuffer(size + checksum.tobytes(), np.uint8)


def _masked(checksums: list[int]) -> np.ndarray:
    """Rotate by 15 bits and add a constant, as TFRecord does: little-endian uint32 (N,)."""
    values = np.array(checksums, "<u4")
    return ((values >> 15 | values << 17) + np.uint32(0xA282EAD8)).astype("<u4")


def frame_length(stamp_shape: tuple[int, int, int]) -> int:
    """Bytes of a framed record of such a stamp, as `frame_block` writes it."""
    record, _, _ = _layout(4 * int(np.prod(stamp_shape)))
    return HEADER_BYTES + len(record) + FOOTER_BYTES


def pixels_of_frames(
    frames: np.ndarray, rows: np.ndarray, *, stamp_shape: tuple[int, int, int]
) -> np.ndarray:
    """Find the pixels in what `frame_block` wrote, and check them.

    Parameters
    ----------
    frames
        uint8 (N, `frame_length`), C-contiguous.
    rows
        Which frames are checked, integers (n,).
    stamp_shape
        Height, width, channels.

    Returns
    -------
    numpy.ndarray
        uint8 (N, 4 H W C), a view: the bytes of little-endian float32 pixels.

    Raises
    ------
    ValueError
        When the bytes of a frame do not have their checksum; it begins with 'corrupted record'.
    """
    size = 4 * int(np.prod(stamp_shape))
    record, image_at, _ = _layout(size)
    end = frames.shape[1] - FOOTER_BYTES
    # What is read-only it takes without a copy.
    frozen = frames[:, HEADER_BYTES:end]
    frozen.flags.writeable = False
    found = [google_crc32c.value(frozen[row]) for row in rows.tolist()]
    stored = frames[rows, end:].view("<u4")[:, 0]
    whole = (frames[rows, :HEADER_BYTES] == _header(len(record))).all(axis=1)
    wrong = np.flatnonzero((stored != _masked(found)) | ~whole)
    if len(wrong):
        raise ValueError(f"corrupted record: {len(wrong)} of {len(rows)} fail their checksum")
    first = HEADER_BYTES + image_at
    return frames[:, first : first + size]
