"""Records that cannot be read from the middle, compressed ones and the original's, as a source."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from rbkeras.data.labels import LABEL_NAMES
from rbkeras.data.records import damaged, open_records
from rbkeras.data.samples import Block
from rbkeras.data.survey import LABEL_COLUMN
from rbkeras.errors import InputError

_KEY = ["detector_id", "sample_index"]


class StreamedRecords:
    """A records directory, read once from its beginning.

    Parameters
    ----------
    directory
        Records of any encoding and compression.

    Raises
    ------
    InputError
        When there are none, or a sample stands in them twice.
    """

    def __init__(self, directory: str | Path):
        self._records = open_records(directory)
        self.name = str(directory)
        self.stamp_shape = self._records.stamp_shape
        samples = self._records.samples
        self._places = pd.MultiIndex.from_frame(samples[_KEY])
        twice = self._places.duplicated()
        if twice.any():
            detector, sample = self._places[twice][0]
            raise InputError(
                f"{directory}: expected each sample once, found sample {sample} of detector "
                f"{detector} again"
            )
        self._table = samples.drop(columns="unique_index")
        if LABEL_COLUMN not in self._table:
            self._table[LABEL_COLUMN] = samples["label"].map(LABEL_NAMES)

    def blocks(self, start: int, size: int) -> Iterator[Block]:
        """See `rbkeras.data.samples.BlockSource.blocks`; the tables have a column `label`."""
        from rbkeras.data.parsing import identified_stamps

        seen = np.zeros(len(self._table), bool)
        for identity, stamps in identified_stamps(self._records, start=start, batch_size=size):
            rows = self._places.get_indexer(pd.MultiIndex.from_frame(identity[_KEY]))
            if (rows < 0).any():
                raise damaged(self.name, "samples that their table does not have")
            if seen[rows].any() or len(set(rows)) < len(rows):
                raise damaged(self.name, "a sample stands in them twice")
            seen[rows] = True
            yield self._table.iloc[rows].reset_index(drop=True), stamps
        if start == 0 and not seen.all():
            raise damaged(self.name, f"{seen.sum()} of {len(seen)} samples are there")
