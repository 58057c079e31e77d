"""FITS images held in bytes, and cutting or padding them to a stamp's size.

astropy is loaded with the first FITS file: other inputs start faster without it.
"""

import math
import re
import warnings
import zlib
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from rbkeras.errors import InputError

if TYPE_CHECKING:
    from astropy.io import fits

_GZIP = b"\x1f\x8b"
_GZIP_HEADER = 31  # what zlib calls a gzip stream of any window size
_PRINTABLE = re.compile(rb"[ -~]*")  # all that a FITS header may have
_BLOCK = 2880  # a FITS file is a multiple of so many bytes
_CARD = 80  # bytes of a line of a header
_ENDS = re.compile(rb"END {77}")
_CHANGES_PIXELS = ("BSCALE", "BZERO", "BLANK", "GROUPS")
_LONGEST = 2**28  # bytes of a FITS file once unpacked: a few kilobytes can become gigabytes


#: Row and column of a place in an image, counted from 0.
Position = tuple[float, float]


def decode_cutout(payload: bytes, *, where: str) -> tuple[np.ndarray, Position | None]:
    """Read the first image of a FITS file, gzipped or not, and its reference pixel.

    What follows it, such as the uncertainties and the point spread function in Rubin's cutouts,
    is not looked at.

    Parameters
    ----------
    payload
        The file's bytes.
    where
        Named in errors.

    Returns
    -------
    image, reference
        float32 (H, W), in the order of the file: row 0 is the lowest in FITS's sense. BSCALE and
        BZERO are applied; NaN and infinities stay. And CRPIX2 and CRPIX1, less 1; None where the
        header has no such numbers.

    Raises
    ------
    InputError
        When the bytes are damaged, hold no image, or one that has not two axes.
    """
    payload = _unpacked(payload, where=where)
    plain = _plain_image(payload)
    images = _images(payload, where=where, most=1) if plain is None else [plain]
    if not images:
        raise InputError(f"{where}: expected a FITS image, found none")
    image, reference = images[0]
    if image.ndim != 2 or 0 in image.shape:
        raise InputError(f"{where}: expected an image of two axes, found shape {image.shape}")
    return image, reference


def decode_planes(payload: bytes, *, where: str) -> list[np.ndarray]:
    """Read all planes of a FITS file: a cube's, or an image per extension, in their order.

    Returns
    -------
    list of numpy.ndarray
        float32 (H, W) each, as `decode_cutout` gives them; sizes may differ.

    Raises
    ------
    InputError
        When the bytes are damaged, or hold images of other than two or three axes, or none.
    """
    planes: list[np.ndarray] = []
    for image, _ in _images(_unpacked(payload, where=where), where=where):
        if image.ndim not in (2, 3) or 0 in image.shape:
            raise InputError(
                f"{where}: expected images of two axes or a cube of three, found shape "
                f"{image.shape}"
            )
        planes += [image] if image.ndim == 2 else list(image)
    if not planes:
        raise InputError(f"{where}: expected FITS images, found none")
    return planes


def _plain_image(payload: bytes) -> tuple[np.ndarray, Position | None] | None:
    """Read the first unit if it is an image of float32 as it lies there; None of any other.

    Most cutouts are such, and making astropy's units of them takes half of the time of reading a
    packet.
    """
    end = next((end for end in _ENDS.finditer(payload) if end.start() % _CARD == 0), None)
    plain = None if end is None else _plain_header(payload[: end.start()])
    if end is None or plain is None:
        return None
    shape, reference = plain
    first = -(-end.end() // _BLOCK) * _BLOCK
    if len(payload) < first + 4 * math.prod(shape):
        return None
    pixels = np.frombuffer(payload, ">f4", math.prod(shape), first)
    return pixels.reshape(shape).astype(np.float32), reference


@lru_cache(maxsize=64)
def _plain_header(cards: bytes) -> tuple[tuple[int, int], Position | None] | None:
    """Return rows and columns of a plain image and its reference pixel; None of anything else.

    A survey's cutouts have few headers, often a single one.
    """
    from astropy.io import fits
    from astropy.utils.exceptions import AstropyWarning

    if not _PRINTABLE.fullmatch(cards):
        # Some other bytes pass for blanks here, and not where units are made.
        return None
    # What is damaged is left to astropy's units, which say whether something can be made of it.
    with warnings.catch_warnings():
        warnings.simplefilter("error", AstropyWarning)
        try:
            header = fits.Header.fromstring(cards)
            described = [header[key] for key in ("SIMPLE", "BITPIX", "NAXIS")]
            shape = header["NAXIS2"], header["NAXIS1"]
            reference = _reference_pixel(header)
            header.get("EXTEND")  # astropy's units read it, and refuse a damaged one
        except Exception:
            return None
    if next(iter(header), None) != "SIMPLE" or described != [True, -32, 2]:
        return None
    if any(key in header for key in _CHANGES_PIXELS):
        return None
    if not all(type(length) is int and length > 0 for length in shape):
        return None
    return shape, reference


def _images(
    payload: bytes, *, where: str, most: int | None = None
) -> list[tuple[np.ndarray, Position | None]]:
    """Read the first `most` images that have data, or all, with their reference pixels."""
    from astropy.io import fits
    from astropy.io.fits.verify import VerifyWarning
    from astropy.utils.exceptions import AstropyWarning

    found: list[tuple[np.ndarray, Position | None]] = []
    # On damaged bytes astropy warns, at length, and raises whatever its parsing trips over.
    with warnings.catch_warnings(), np.errstate(over="ignore"):
        warnings.simplefilter("ignore", AstropyWarning)
        if most is None:
            # Its way to say that it leaves out the rest of the file.
            warnings.filterwarnings("error", "Error validating header", VerifyWarning)
        try:
            for unit in fits.HDUList.fromstring(payload):
                if not unit.is_image:
                    continue
                if math.prod(unit.shape) > _LONGEST:
                    raise ValueError("more pixels than the whole file may have bytes")
                if unit.data is not None:
                    image = np.asarray(unit.data, dtype=np.float32)
                    found.append((image, _reference_pixel(unit.header)))
                if len(found) == most:
                    break
        except Exception:
            raise InputError(
                f"{where}: expected a FITS file, found something else or a damaged one"
            ) from None
    if most is None and len(payload) % _BLOCK:
        # Cut short behind one extension, it would seem to have no other.
        raise InputError(
            f"{where}: expected a whole FITS file, of a multiple of {_BLOCK} bytes, found "
            f"{len(payload)} bytes"
        )
    return found


def _reference_pixel(header: "fits.Header") -> Position | None:
    column, row = (header.get(f"CRPIX{axis}") for axis in (1, 2))
    placed = isinstance(row, int | float) and isinstance(column, int | float)
    return (row - 1.0, column - 1.0) if placed else None


def _unpacked(payload: bytes, *, where: str) -> bytes:
    """Return a FITS file's bytes, which may be gzipped."""
    if not isinstance(payload, bytes):
        raise InputError(
            f"{where}: expected the bytes of a FITS file, found {type(payload).__name__}"
        )
    if not payload.startswith(_GZIP):
        return payload
    stream = zlib.decompressobj(_GZIP_HEADER)
    try:
        content = stream.decompress(payload, _LONGEST)
    except zlib.error as error:
        raise InputError(
            f"{where}: expected a whole gzip stream, but unpacking says: {error}"
        ) from None
    if len(content) == _LONGEST and not stream.eof:
        raise InputError(f"{where}: expected less than {_LONGEST} bytes when unpacked, found more")
    if not stream.eof:
        raise InputError(f"{where}: expected a whole gzip stream, but it ends too early")
    return content


def central_pixel(length: int) -> int:
    """Return the central one of `length` pixels, counted from 0.

    The middle one; of an even number, the lower of the two in the middle.
    """
    return (length - 1) // 2


def fit_image(
    image: np.ndarray, shape: tuple[int, int], center: tuple[int, int] | None = None
) -> np.ndarray:
    """Cut or pad an image so that its centre falls on the centre of the wanted shape.

    Parameters
    ----------
    image
        float32 (H, W).
    shape
        Wanted height and width; each may be smaller or larger than the image's.
    center
        Row and column of the image, counted from 0, that shall become the central pixel; None
        takes the image's own. The central one of n pixels is pixel (n - 1) // 2: of an even
        number, the lower of the two in the middle. So 63 -> 29 keeps pixels 17 to 45, 63 -> 30
        keeps 17 to 46, 30 -> 29 keeps 0 to 28, and 30 -> 28 keeps 1 to 28.

    Returns
    -------
    numpy.ndarray
        float32 (height, width); NaN where the image does not reach, pixels bit by bit elsewhere.
    """
    if center is None:
        center = (central_pixel(image.shape[0]), central_pixel(image.shape[1]))
    fitted = np.full(shape, np.nan, np.float32)
    into, out_of = [], []
    for length, wanted, middle in zip(image.shape, shape, center, strict=True):
        first = middle - central_pixel(wanted)  # of the image; negative where it has to be padded
        start, stop = max(first, 0), min(first + wanted, length)
        out_of.append(slice(start, max(stop, start)))
        into.append(slice(start - first, max(stop, start) - first))
    fitted[tuple(into)] = image[tuple(out_of)]
    return fitted
