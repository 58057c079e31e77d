import numpy as np
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from rbkeras.data.encoding import serialise_stamp

stamps = hnp.arrays(
    np.dtype("<f4"),
    st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(1, 4)),
    elements=st.floats(width=32),
)
counts = st.one_of(st.integers(0, 300), st.integers(0, 2**63 - 1))
any_int64 = st.integers(-(2**63), 2**63 - 1)


@settings(max_examples=150, deadline=None)
@given(stamps, st.one_of(st.integers(-1, 1), any_int64), counts, counts, counts)
def test_protobuf_reads_back_what_was_written(
    stamp, label, detector_id, sample_index, unique_index
):
    integers = {
        "label": label,
        "detector_id": detector_id,
        "sample_index": sample_index,
        "unique_index": unique_index,
    }
    feature = tf.train.Example.FromString(serialise_stamp(stamp, **integers)).features.feature
    assert {name: list(feature[name].int64_list.value) for name in integers} == {
        name: [value] for name, value in integers.items()
    }
    assert list(feature["image"].bytes_list.value) == [stamp.tobytes()]
    assert set(feature) == {*integers, "image"}


def test_nan_and_infinity_keep_their_bits():
    bits = np.array([0x7FC00000, 0x7FC00001, 0xFFC12345, 0x7F800000, 0xFF800000, 0x80000000], "<u4")
    stamp = bits.view("<f4").reshape(1, 2, 3)
    message = serialise_stamp(stamp, label=0, detector_id=1, sample_index=0, unique_index=0)
    image = tf.train.Example.FromString(message).features.feature["image"].bytes_list.value[0]
    np.testing.assert_array_equal(np.frombuffer(image, "<u4"), bits)


def test_stamp_of_usual_size_needs_little_more_than_its_pixels():
    stamp = np.zeros((29, 29, 3), "<f4")
    message = serialise_stamp(stamp, label=1, detector_id=9, sample_index=5, unique_index=10**6)
    assert stamp.nbytes < len(message) < stamp.nbytes + 150
