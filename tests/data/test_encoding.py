import numpy as np
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from rbkeras.data.encoding import FOOTER_BYTES, HEADER_BYTES, frame_block

blocks = hnp.arrays(
    np.dtype("<f4"),
    st.tuples(st.integers(1, 4), st.integers(1, 9), st.integers(1, 9), st.integers(1, 4)),
    elements=st.floats(width=32),
)
any_int64 = st.integers(-(2**63), 2**63 - 1)


def feature_of(message: bytes):
    return tf.train.Example.FromString(message).features.feature


@settings(max_examples=150, deadline=None)
@given(blocks, st.one_of(st.integers(-1, 1), any_int64), any_int64, any_int64, st.data())
def test_protobuf_reads_back_what_was_written(stamps, label, detector_id, first, data):
    indices = data.draw(hnp.arrays(np.int64, len(stamps), elements=any_int64))
    frames = frame_block(
        stamps, label=label, detector_id=detector_id, sample_index=first, unique_index=indices
    )
    for stamp, frame, index in zip(stamps, frames, indices, strict=True):
        feature = feature_of(frame[HEADER_BYTES:-FOOTER_BYTES].tobytes())
        assert {
            name: list(feature[name].int64_list.value) for name in feature if name != "image"
        } == {
            "label": [label],
            "detector_id": [detector_id],
            "sample_index": [first],
            "unique_index": [index],
        }
        assert list(feature["image"].bytes_list.value) == [stamp.tobytes()]


def test_tensorflow_reads_frames_and_examples(tmp_path):
    stamps = np.random.default_rng(0).normal(size=(300, 7, 5, 3)).astype("<f4")
    labels = np.tile([0, 1, -1], 100)
    frames = frame_block(
        stamps, label=labels, detector_id=9, sample_index=np.arange(300), unique_index=2**40
    )
    path = tmp_path / "block.tfrecord"
    path.write_bytes(frames.tobytes())
    features = {
        name: tf.io.FixedLenFeature([], kind)
        for name, kind in (
            ("image", tf.string),
            ("label", tf.int64),
            ("detector_id", tf.int64),
            ("sample_index", tf.int64),
            ("unique_index", tf.int64),
        )
    }
    serialised = next(iter(tf.data.TFRecordDataset(str(path)).batch(400)))
    parsed = tf.io.parse_example(serialised, features)
    np.testing.assert_array_equal(
        tf.io.decode_raw(parsed["image"], tf.float32).numpy(), stamps.reshape(300, -1)
    )
    np.testing.assert_array_equal(parsed["label"], labels)
    np.testing.assert_array_equal(parsed["sample_index"], np.arange(300))
    assert set(parsed["detector_id"].numpy()) == {9}
    assert set(parsed["unique_index"].numpy()) == {2**40}


def test_frames_are_those_of_tensorflows_own_writer(tmp_path):
    stamps = np.arange(24, dtype="<f4").reshape(2, 2, 2, 3)
    frames = frame_block(stamps, label=1, detector_id=1, sample_index=[0, 1], unique_index=[5, 6])
    path = tmp_path / "written.tfrecord"
    with tf.io.TFRecordWriter(str(path)) as writer:
        for frame in frames:
            writer.write(frame[HEADER_BYTES:-FOOTER_BYTES].tobytes())
    assert path.read_bytes() == frames.tobytes()


def test_nan_and_infinity_keep_their_bits():
    bits = np.array([0x7FC00000, 0x7FC00001, 0xFFC12345, 0x7F800000, 0xFF800000, 0x80000000], "<u4")
    stamps = bits.view("<f4").reshape(1, 1, 2, 3)
    frames = frame_block(stamps, label=0, detector_id=1, sample_index=0, unique_index=0)
    message = frames[0, HEADER_BYTES:-FOOTER_BYTES].tobytes()
    image = feature_of(message)["image"].bytes_list.value[0]
    np.testing.assert_array_equal(np.frombuffer(image, "<u4"), bits)


def test_stamp_of_usual_size_needs_little_more_than_its_pixels():
    stamps = np.zeros((1, 29, 29, 3), "<f4")
    frames = frame_block(stamps, label=1, detector_id=9, sample_index=5, unique_index=10**6)
    assert stamps.nbytes < frames.nbytes < stamps.nbytes + 200
