"""Alert packets, FITS stamps or a stream of records -> records directory."""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from rbkeras.data.alert_labels import Namer, own_names
from rbkeras.data.labels import DEFAULT_LABELS, TRUSTED, encode_labels
from rbkeras.data.samples import Block, BlockSource, OnBad, report_bad
from rbkeras.data.spool import SpooledStamps, StampSpool
from rbkeras.data.survey import LABEL_COLUMN
from rbkeras.data.write_records import write_records
from rbkeras.errors import InputError
from rbkeras.tables import spreadsheet_row

_CHUNK = 512


@dataclass(frozen=True)
class GatheredDetector:
    """A detector's stamps ((N, H, W, C), read when sliced), labels (int8, (N,)) and table."""

    detector_id: int
    stamps: SpooledStamps
    labels: np.ndarray
    params: pd.DataFrame

    def checksums(self) -> dict[str, str]:
        """SHA-256 of the stamps as float32, and of the table as CSV."""
        images = hashlib.sha256()
        for first in range(0, len(self.stamps), _CHUNK):
            images.update(self.stamps[first : first + _CHUNK].data)
        table = self.params.to_csv(index=False).encode()
        return {
            "images_sha256": images.hexdigest(),
            "params_sha256": hashlib.sha256(table).hexdigest(),
        }

    def require_unchanged(self) -> None:
        """Do nothing: nobody else has these stamps."""


def convert_source(
    source: BlockSource,
    out: str | Path,
    *,
    namer: Namer = own_names,
    truster: Namer | None = None,
    labelled: bool = False,
    repeated: Callable[[pd.DataFrame], pd.Series] | None = None,
    on_bad: OnBad | None = None,
    labels: Mapping[str, int] = DEFAULT_LABELS,
    compress: bool = False,
    overwrite: bool = False,
    progress: bool = True,
) -> None:
    """Convert a source of stamps to a records directory.

    All stamps are read and checked before the first record is written; meanwhile they lie in a
    temporary file beside `out`, as large as the records will be. Records of detectors whose
    stamps and table have not changed are kept.

    Parameters
    ----------
    source
        Whose tables have an integer column `detector_id` of 0 to 10^18 - 1; within a detector the
        order stays.
    out, labels, compress, overwrite, progress
        See `rbkeras.data.write_records.convert_survey`.
    namer
        Gives every row of the source's table a name for `labels`; it is called once, with all.
    truster
        Gives every row what its column `trusted` is to say; None adds no such column.
    labelled
        Take labels from the tables' column `label`, and not by their names.
    repeated
        Says of every row of the source's table whether its stamp has been there before: folds of a
        cross-validation would be no strangers to each other.
    on_bad
        Told of such stamps, which are then left out.

    Raises
    ------
    InputError
        When a stamp is at fault and the source has no `on_bad`, one is repeated and there is no
        `on_bad`, no stamp is left, a label name is unknown or a detector number negative, or `out`
        holds something else.
    """
    with StampSpool(out, source.stamp_shape) as spool:
        blocks = source.blocks(0, _CHUNK)
        table = _gather(blocks, spool, name=source.name, progress=progress)
        if repeated is not None:
            again = repeated(table)
            for row in table[again].itertuples():
                kind, name = "stamp", f"that of row {spreadsheet_row(row.sample_index)}"
                if "alert_id" in table:
                    kind, name = "alert", f"{row.alert_id}, number {row.sample_index + 1},"
                fault = (
                    f"{source.name}: expected every {kind} once, but {name} has been there before"
                )
                report_bad(InputError(fault), on_bad)
            table = table[~again].copy()
        table[LABEL_COLUMN] = namer(table).astype(str)
        if truster is not None:
            table[TRUSTED] = truster(table)
        if labelled:
            encoded = table["label"].to_numpy(np.int8)
        else:
            encoded = encode_labels(table[LABEL_COLUMN], labels, source=source.name)
        params = table.drop(columns=["sample_index", "detector_id"])
        detectors = []
        # In the order of the files' names, as surveys are.
        for detector_id in sorted(table["detector_id"].unique(), key=lambda i: f"data{i}.tfrecord"):
            chosen = (table["detector_id"] == detector_id).to_numpy()
            detectors.append(
                GatheredDetector(
                    int(detector_id),
                    spool.rows(table.index[chosen].to_numpy()),
                    encoded[chosen],
                    params[chosen].reset_index(drop=True),
                )
            )
        write_records(
            detectors,
            out,
            source=source.name,
            labels=labels,
            compress=compress,
            overwrite=overwrite,
            progress=progress,
        )


def _gather(
    blocks: Iterable[Block], spool: StampSpool, *, name: str, progress: bool
) -> pd.DataFrame:
    """Put all stamps aside; return their tables, joined, by the stamps' places."""
    tables = []
    # A fault found here is one sentence, so bars are for terminals alone.
    with tqdm(desc="reading", unit="stamp", disable=None if progress else True) as bar:
        for table, stamps in blocks:
            spool.append(stamps)
            tables.append(table)
            bar.update(len(table))
    if not tables:
        raise InputError(f"{name}: expected at least one sound stamp, found none")
    return pd.concat(tables, ignore_index=True)
