"""Pictures of stamps, each channel in grey and where the network looked, as PNG data URIs."""

import io
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.image import imsave

from rbkeras.data.survey import open_stamps
from rbkeras.pages import png_address
from rbkeras.pictures import grey_map, side_by_side
from rbkeras.report.blocks import Card

_WIDTH = 360
_GAP = (255, 255, 255)


def cards(stamps: np.ndarray, maps: np.ndarray | None, texts: Sequence[list[str]]) -> list[Card]:
    """Make a card per stamp, the first line of its text as the title.

    Parameters
    ----------
    stamps
        (N, H, W, C), NaN allowed.
    maps
        Saliency (N, H, W), or None.
    texts
        Lines for each.
    """
    heats: Iterable[np.ndarray | None] = [None] * len(stamps) if maps is None else maps
    return [
        Card(
            title=lines[0],
            lines=list(lines[1:]),
            uri=picture(stamp, heat),
            alt="channels of the stamp side by side" + ("" if heat is None else ", and saliency"),
        )
        for stamp, heat, lines in zip(stamps, heats, texts, strict=True)
    ]


def picture(stamp: np.ndarray, heat: np.ndarray | None) -> str:
    """Join the channels of a stamp (H, W, C) and its saliency (H, W) into one PNG."""
    height, width = stamp.shape[:2]
    joined = (255 * grey_map()(np.ma.masked_invalid(side_by_side(stamp)))[..., :3]).astype(np.uint8)
    joined[:, width :: width + 1] = _GAP
    if heat is not None:
        top = np.quantile(heat, 0.995)
        scaled = np.clip(heat / top, 0, 1) if top > 0 else np.zeros_like(heat)
        coloured = (255 * colormaps["inferno"](scaled)[..., :3]).astype(np.uint8)
        gap = np.full((height, 1, 3), _GAP, np.uint8)
        joined = np.concatenate([joined, gap, coloured], axis=1)
    # Whole pixels, enlarged here: printers and PDF viewers would smooth them.
    scale = max(_WIDTH // joined.shape[1], 1)
    large = joined[::-1].repeat(scale, axis=0).repeat(scale, axis=1)
    buffer = io.BytesIO()
    imsave(buffer, np.ascontiguousarray(large), format="png")
    return png_address(buffer.getvalue())


def stamps_of_files(files: dict[int, Path], labels: np.ndarray, indices: np.ndarray) -> np.ndarray:
    """Read some stamps of the test arrays, (N, H, W, C)."""
    arrays = {int(label): open_stamps(files[int(label)]) for label in np.unique(labels)}
    picked = [
        np.asarray(arrays[int(label)][index], np.float32)
        for label, index in zip(labels, indices, strict=True)
    ]
    return np.stack(picked)
