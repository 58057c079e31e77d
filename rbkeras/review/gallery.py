"""`label_errors.html`: the most suspicious stamps on one page that needs nothing but a browser."""

import csv
import hashlib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.image import imsave

from rbkeras.data.labels import CLASS_NAMES
from rbkeras.data.samples import NAME_COLUMNS
from rbkeras.files import whole_file
from rbkeras.label_errors import doubts_of_suspects, most_suspicious
from rbkeras.pages import page_template, png_address
from rbkeras.pictures import CHANNEL_NAMES, grey_map, side_by_side
from rbkeras.verdicts import VERDICTS


def write_gallery(
    path: str | Path,
    rated: pd.DataFrame,
    stamps: np.ndarray,
    *,
    samples: pd.DataFrame,
    verdicts: pd.Series,
    title: str,
) -> None:
    """Write the page, whole or not at all.

    It loads nothing from anywhere, and its buttons collect verdicts into a CSV file that
    `rbkeras.verdicts.read_verdicts` takes.

    Parameters
    ----------
    path
        The HTML file.
    rated
        What `rbkeras.label_errors.rate_labels` returned: all labelled samples.
    stamps
        (n, H, W, C), NaN allowed, of the n first rows of `most_suspicious(rated)`; only these are
        shown.
    samples
        The records' table: detector_id, sample_index, label and maybe alert_id by unique_index.
    verdicts
        Those passed earlier, by unique_index. On the page their buttons are pressed, and the CSV
        file holds them again, also those of samples that are not shown.
    title
        Says which data these are.
    """
    shown = most_suspicious(rated).head(len(stamps))
    hidden = verdicts[~verdicts.index.isin(shown["unique_index"])]
    text = page_template("rbkeras.review", "label_errors.html", folder="page").render(
        title=title,
        channels=_channel_names(stamps.shape[-1]),
        words=list(VERDICTS),
        classes=CLASS_NAMES,
        labelled=len(rated),
        suspects=int(rated["suspect"].sum()),
        doubts=doubts_of_suspects(rated),
        shown_suspects=int(shown["suspect"].sum()),
        cards=[
            _card(rank, row, stamp, verdicts)
            | {
                "identity": _identity(samples, row.unique_index),
                "names": _names(samples, row.unique_index),
            }
            for rank, (row, stamp) in enumerate(zip(shown.itertuples(), stamps, strict=True), 1)
        ],
        header=",".join(_identifying(samples)),
        hidden=[[_identity(samples, index), word] for index, word in hidden.items()],
        # Under this name the browser remembers verdicts that have not been downloaded yet.
        key=hashlib.sha256((shown.to_csv() + verdicts.to_csv()).encode()).hexdigest()[:16],
    )
    with whole_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _card(rank: int, row: Any, stamp: np.ndarray, verdicts: pd.Series) -> dict[str, Any]:
    return {
        "rank": rank,
        "label": CLASS_NAMES[row.label],
        "suspect": bool(row.suspect),
        "detector_id": row.detector_id,
        "sample_index": row.sample_index,
        "probability_real": row.probability_real,
        "error_probability": row.error_probability,
        "verdict": verdicts.get(row.unique_index, ""),
        "width": stamp.shape[1] * stamp.shape[2] + stamp.shape[2] - 1,
        "height": stamp.shape[0],
        "picture": stamp_address(stamp),
    }


def _identifying(samples: pd.DataFrame) -> list[str]:
    """Name the columns that tell samples apart, and other records from these."""
    names = ["detector_id", "sample_index", "label"]
    return names + ["alert_id"] * ("alert_id" in samples)


def _identity(samples: pd.DataFrame, index: int) -> str:
    """Write these columns of a sample as CSV."""
    text = io.StringIO()
    # Cell by cell: a row of several columns would make one type of all of them.
    cells = [samples[name].iloc[index] for name in _identifying(samples)]
    # With the end of line that makes it quote line breaks of either kind.
    csv.writer(text, lineterminator="\r\n").writerow(cells)
    return text.getvalue().removesuffix("\r\n")


def _names(samples: pd.DataFrame, index: int) -> str:
    """Write what a sample is called elsewhere, to look it up there."""
    known = {name: samples[name].iloc[index] for name in NAME_COLUMNS if name in samples}
    return ", ".join(str(value)[:80] for value in known.values() if not pd.isna(value))


def stamp_address(stamp: np.ndarray) -> str:
    """Draw a stamp (H, W, C), a pixel for a pixel, into a `data:` address."""
    buffer = io.BytesIO()
    picture = side_by_side(stamp)
    imsave(buffer, picture, cmap=grey_map(), vmin=0, vmax=1, origin="lower", format="png")
    return png_address(buffer.getvalue())


def _channel_names(count: int) -> Sequence[str]:
    if count == len(CHANNEL_NAMES):
        return CHANNEL_NAMES
    return [f"channel {number}" for number in range(count)]
