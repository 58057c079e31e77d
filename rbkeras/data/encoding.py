"""Serialising one stamp as a tf.train.Example, without building the message object first.

A stamp's Example has a fixed layout, so its bytes can be joined directly. For 29 x 29 x 3 stamps
that took 14 microseconds where building the message took 19 (median of 5, one core): about a tenth
of the time that converting a stamp takes. `tests/data/test_encoding.py` holds it against
protobuf's own parser.

Reference: protobuf.dev/programming-guides/encoding, and TensorFlow's `example.proto`.
"""

from functools import lru_cache

import numpy as np

_LENGTH_DELIMITED = 2
_BYTES_LIST, _INT64_LIST = 1, 3


def _varint(value: int) -> bytes:
    """Encode a non-negative integer in groups of seven bits, lowest first."""
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def _field(number: int, payload: bytes) -> bytes:
    return b"".join((bytes([number << 3 | _LENGTH_DELIMITED]), _varint(len(payload)), payload))


def _feature(name: str, kind: int, payload: bytes) -> bytes:
    """One entry of the features map; `payload` is the packed content of its list."""
    value = _field(kind, _field(1, payload))
    return _field(1, _field(1, name.encode()) + _field(2, value))


@lru_cache(maxsize=1024)
def _integer_feature(name: str, value: int) -> bytes:
    # Protobuf writes a negative int64 as its two's complement.
    return _feature(name, _INT64_LIST, _varint(value % 2**64))


def serialise_stamp(
    stamp: np.ndarray, *, label: int, detector_id: int, sample_index: int, unique_index: int
) -> bytes:
    """Return the bytes of a tf.train.Example.

    Parameters
    ----------
    stamp
        float32 little-endian, (H, W, C), C-contiguous; stored bit by bit, NaN included.
    label, detector_id, sample_index, unique_index
        Stored as int64.
    """
    features = (
        _integer_feature("label", label),
        _integer_feature("detector_id", detector_id),
        _feature("sample_index", _INT64_LIST, _varint(sample_index)),
        _feature("unique_index", _INT64_LIST, _varint(unique_index)),
        _feature("image", _BYTES_LIST, stamp.tobytes()),
    )
    return _field(1, b"".join(features))
