import contextlib
import gzip

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from packets import CUTOUTS, SHARED, fits_bytes, needs_real

from rbkeras.data import cutouts
from rbkeras.data.avro import read_packets
from rbkeras.data.cutouts import decode_cutout, decode_planes, fit_image
from rbkeras.errors import InputError

IMAGE = np.arange(12, dtype=np.float32).reshape(3, 4)


def pixels(first, last):
    return list(range(first, last + 1))


# --- size --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("length", "wanted", "kept"),
    [
        (63, 29, pixels(17, 45)),
        (63, 30, pixels(17, 46)),
        (30, 29, pixels(0, 28)),
        (30, 28, pixels(1, 28)),
        (5, 5, pixels(0, 4)),
        (5, 1, [2]),
        (4, 1, [1]),
        (3, 5, [None, 0, 1, 2, None]),
        (3, 4, [0, 1, 2, None]),
        (4, 5, [None, 0, 1, 2, 3]),
        (2, 6, [None, None, 0, 1, None, None]),
    ],
)
def test_the_central_pixel_stays_central_on_each_axis(length, wanted, kept):
    expected = np.array([np.nan if pixel is None else pixel for pixel in kept], np.float32)
    row = np.arange(length, dtype=np.float32)
    np.testing.assert_array_equal(fit_image(row[None], (1, wanted))[0], expected)
    np.testing.assert_array_equal(fit_image(row[:, None], (wanted, 1))[:, 0], expected)


def test_axes_are_treated_apart():
    np.testing.assert_array_equal(
        fit_image(IMAGE, (5, 2)), [[np.nan] * 2, [1, 2], [5, 6], [9, 10], [np.nan] * 2]
    )


def test_a_centre_can_be_named():
    np.testing.assert_array_equal(
        fit_image(IMAGE, (3, 3), (0, 3)), [[np.nan] * 3, [2, 3, np.nan], [6, 7, np.nan]]
    )


def test_a_centre_far_outside_leaves_nothing():
    for center in ((-9, 0), (40, 1), (1, -9), (0, 40)):
        assert np.isnan(fit_image(IMAGE, (3, 3), center)).all()


lengths = st.integers(1, 9)


@given(
    shape=st.tuples(lengths, lengths),
    wanted=st.tuples(lengths, lengths),
    center=st.none() | st.tuples(st.integers(-4, 12), st.integers(-4, 12)),
)
def test_every_pixel_is_the_images_at_the_same_distance_from_the_centre(shape, wanted, center):
    image = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    middle = center or ((shape[0] - 1) // 2, (shape[1] - 1) // 2)
    fitted = fit_image(image, wanted, center)
    assert fitted.shape == wanted
    assert fitted.dtype == np.float32
    for row, column in np.ndindex(*wanted):
        r = row - (wanted[0] - 1) // 2 + middle[0]
        c = column - (wanted[1] - 1) // 2 + middle[1]
        inside = 0 <= r < shape[0] and 0 <= c < shape[1]
        np.testing.assert_equal(fitted[row, column], image[r, c] if inside else np.nan)


@given(shape=st.tuples(lengths, lengths), more=st.tuples(lengths, lengths))
def test_what_was_padded_is_cut_back_bit_by_bit(shape, more):
    image = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    image[0, 0], image[-1, -1] = np.nan, np.inf
    larger = (shape[0] + more[0], shape[1] + more[1])
    assert fit_image(fit_image(image, larger), shape).tobytes() == image.tobytes()


# --- decoding ----------------------------------------------------------------------------------


@pytest.mark.parametrize("compress", [False, True])
def test_the_first_image_is_read_as_float32(compress):
    image = IMAGE.copy()
    image[0, 1:3] = np.nan, np.inf
    found, _ = decode_cutout(fits_bytes(image, np.ones((7, 7)), compress=compress), where="x")
    assert found.dtype == np.dtype("float32")
    assert found.dtype.isnative
    assert found.tobytes() == image.tobytes()


@pytest.mark.parametrize("dtype", ["f8", "i2", "i4", "u1", "u2"])
def test_any_numbers_are_read(dtype):
    found, _ = decode_cutout(fits_bytes(IMAGE.astype(dtype)), where="x")
    np.testing.assert_array_equal(found, IMAGE)


def test_an_empty_first_unit_is_passed_over():
    np.testing.assert_array_equal(decode_cutout(fits_bytes(None, IMAGE), where="x")[0], IMAGE)


def test_numbers_beyond_float32_become_infinite_without_a_word(recwarn):
    assert decode_cutout(fits_bytes(np.full((2, 2), 1e300)), where="x")[0][0, 0] == np.inf
    assert not recwarn.list


CUBE = np.stack([IMAGE, IMAGE + 1])


@pytest.mark.parametrize("images", [[CUBE], [None, CUBE], [*CUBE], [None, *CUBE]])
def test_planes_are_those_of_a_cube_or_of_extensions(images):
    np.testing.assert_array_equal(decode_planes(fits_bytes(*images), where="x"), CUBE)


SOUND = fits_bytes(IMAGE)
BAD = {
    "nothing": b"",
    "text": b"no FITS at all",
    "half a header": SOUND[:1000],
    "half the data": SOUND[:2900],
    "damaged header": SOUND.replace(b"BITPIX", b"BITPIY"),
    "half a gzip": gzip.compress(SOUND)[:-30],
    "damaged gzip": gzip.compress(SOUND)[:40] + b"?" * 60,
    "gzip of text": gzip.compress(b"no FITS at all"),
    "no image": fits_bytes(None),
    "one axis": fits_bytes(np.ones(5)),
    "no pixels": fits_bytes(None, np.ones((0, 3))),
    "text for bytes": "SIMPLE",
}


@pytest.mark.parametrize("decode", [decode_cutout, decode_planes])
@pytest.mark.parametrize("kind", BAD)
def test_what_is_no_image_is_one_sentence(decode, kind, recwarn):
    with pytest.raises(InputError, match=r"^packet 7: expected [^\n]*$"):
        decode(BAD[kind], where="packet 7")
    assert not recwarn.list


def test_a_file_cut_anywhere_has_no_fewer_planes():
    whole = fits_bytes(None, *CUBE, *CUBE)
    for length in range(1, len(whole), 461):
        with pytest.raises(InputError, match=r"^x: expected a (whole )?FITS [^\n]*$"):
            decode_planes(whole[:length], where="x")


def test_a_cutout_has_two_axes():
    with pytest.raises(InputError, match=r"two axes, found shape \(2, 3, 4\)"):
        decode_cutout(fits_bytes(CUBE), where="x")
    with pytest.raises(InputError, match=r"cube of three, found shape \(1, 2, 3, 4\)"):
        decode_planes(fits_bytes(CUBE[None]), where="x")


@given(data=st.data())
@settings(deadline=None)
def test_damage_anywhere_is_an_input_error_or_nothing(data):
    content = bytearray(fits_bytes(IMAGE, compress=data.draw(st.booleans())))
    for _ in range(data.draw(st.integers(1, 5))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    content = bytes(content[: data.draw(st.integers(0, len(content)))])
    with contextlib.suppress(InputError):
        assert decode_cutout(content, where="x")[0].ndim == 2


def as_units(content):
    """What astropy's units make of a cutout, without the short way; None where they refuse it."""
    with pytest.MonkeyPatch.context() as patch, contextlib.suppress(InputError):
        patch.setattr(cutouts, "_plain_image", lambda payload: None)
        return decode_cutout(content, where="x")
    return None


HEADERS = {
    "plain": {},
    "placed": {"CRPIX1": 2.5, "CRPIX2": -1.0, "BUNIT": "DN"},
    "scaled": {"BSCALE": 2.0, "BZERO": 3.0},
    "blank": {"BLANK": 7},
}


@pytest.mark.parametrize("image", [IMAGE, IMAGE.astype("f8"), IMAGE.astype("i2"), None])
@pytest.mark.parametrize("cards", HEADERS)
@pytest.mark.filterwarnings("ignore:Invalid 'BLANK'")
def test_the_short_way_reads_what_units_read(image, cards):
    content = fits_bytes(image, IMAGE + 1, **HEADERS[cards])
    # As ZTF writes it.
    free = content.replace(b"SIMPLE  =                    T", b"SIMPLE  =  T" + b" " * 18)
    for payload in (content, free):
        found, reference = decode_cutout(payload, where="x")
        expected, placed = as_units(payload)
        assert found.tobytes() == expected.tobytes()
        assert found.shape == expected.shape
        assert reference == placed


@pytest.mark.parametrize("byte", [0, 9, 11, 29, 127, 133, 160])
def test_bytes_that_no_header_may_have_are_left_to_units(byte):
    content = bytearray(fits_bytes(IMAGE, IMAGE + 1))
    content[content.index(b"NAXIS1") + 10] = byte
    content = bytes(content)
    expected = as_units(content)
    if expected is None:
        with pytest.raises(InputError):
            decode_cutout(content, where="x")
    else:
        np.testing.assert_array_equal(decode_cutout(content, where="x")[0], expected[0])


@given(data=st.data())
@settings(deadline=None)
def test_of_damage_the_short_way_makes_what_units_make(data):
    content = bytearray(fits_bytes(IMAGE, IMAGE + 1, CRPIX1=1.5, CRPIX2=2.5))
    header = content.index(b"END" + b" " * 77) + 80
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, header - 1))
        content[place] = data.draw(st.sampled_from(b" 0123456789TEND=-.'/") | st.integers(0, 255))
    content = bytes(content[: data.draw(st.integers(0, len(content)) | st.just(len(content)))])
    expected = as_units(content)
    if expected is None:
        with pytest.raises(InputError):
            decode_cutout(content, where="x")
        return
    found, reference = decode_cutout(content, where="x")
    assert found.shape == expected[0].shape
    assert found.tobytes() == expected[0].tobytes()
    assert reference == expected[1]


@pytest.mark.parametrize("survey", [pytest.param(s, marks=needs_real(s)) for s in ("ztf", "lsst")])
def test_the_short_way_reads_real_cutouts_as_units_do(survey):
    files = sorted((SHARED / survey / "alerts").iterdir())[:20]
    short = 0
    for path in files:
        for _, packet in read_packets(path):
            for name in CUTOUTS:
                content = packet[name]
                content = content["stampData"] if isinstance(content, dict) else content
                found, reference = decode_cutout(content, where="x")
                expected, placed = as_units(content)
                assert found.tobytes() == expected.tobytes()
                assert reference == placed
                short += cutouts._plain_image(cutouts._unpacked(content, where="x")) is not None
    assert short >= 3 * len(files)


def test_a_few_kilobytes_do_not_become_gigabytes(monkeypatch):
    monkeypatch.setattr(cutouts, "_LONGEST", 10_000)
    images = [np.zeros((20, 20), np.float32)]
    payload = fits_bytes(*images, compress=True)
    assert cutouts.decode_cutout(payload, where="a")[0].shape == (20, 20)
    with pytest.raises(InputError, match="a: expected less than 10000 bytes when unpacked"):
        cutouts.decode_cutout(fits_bytes(np.zeros((50, 50)), compress=True), where="a")
    with pytest.raises(InputError, match="a: expected a whole gzip stream, but it ends too early"):
        cutouts.decode_cutout(payload[:-20], where="a")
