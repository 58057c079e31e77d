"""Alert packets as a source of stamps, for conversion, checking and scoring."""

import itertools
from collections.abc import Generator, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, TypeGuard

import pandas as pd

from rbkeras.data.alerts import alert_identity, alert_images, alert_table
from rbkeras.data.avro import CUTOUTS, count_packets, find_alert_files, read_packets
from rbkeras.data.samples import Block, OnBad, Sample, ignore_bad, report_bad, stamp_blocks
from rbkeras.errors import InputError


class AlertSource:
    """Packets of Avro files, in the order of the files.

    Parameters
    ----------
    paths
        Avro files, and folders with such files (.avro) in and below them.
    size
        Height and width of the stamps, or one number for both: cutouts are cut and NaN-padded
        about their centre, see `rbkeras.data.cutouts.fit_image`. None takes cutouts as they are,
        which then have to be of one size.
    score_field
        See `rbkeras.data.alerts.alert_identity`.
    on_bad
        Told a sentence about every packet at fault, which is left out, as is what follows damage
        in a file; None raises.
    keep_bad
        Give packets at fault a row none the less, with stamps of NaN alone and the sentence in a
        column `fault`, so that there are as many rows as the source is long. Needs a size.

    Raises
    ------
    InputError
        When there are no such files.
    """

    def __init__(
        self,
        paths: str | Path | Sequence[str | Path],
        *,
        size: int | tuple[int, int] | None = None,
        score_field: str | None = None,
        on_bad: OnBad | None = None,
        keep_bad: bool = False,
    ):
        if keep_bad and size is None:
            raise ValueError("expected a size with keep_bad, got None")
        paths = [paths] if isinstance(paths, str | Path) else list(paths)
        self.name = str(paths[0])
        self.files = find_alert_files(paths)
        self._shape = (size, size) if isinstance(size, int) else size
        self._score_field = score_field
        self._on_bad = ignore_bad if keep_bad and on_bad is None else on_bad
        self._keep_bad = keep_bad
        # Packets of each file, and the damage that counts as the last of them.
        self._counts: dict[Path, tuple[int, InputError | None]] = {}

    @cached_property
    def stamp_shape(self) -> tuple[int, int, int]:
        """Height, width, channels; without a size, those of the first sound packet."""
        if self._shape is not None:
            return (*self._shape, len(CUTOUTS))
        first = next(self._samples(0, self._on_bad and ignore_bad), None)
        if first is None:
            raise InputError(f"{self.name}: expected alert packets, found no sound one")
        return (*first.images[0].shape, len(CUTOUTS))

    def __len__(self) -> int:
        """Count packets, and damage that ends a file as one; reads all block headers once."""
        return sum(map(self._count, self.files))

    def samples(self, start: int = 0) -> Iterator[Sample]:
        """Read packets from number `start` on, one at a time, of whatever size their cutouts are.

        Raises
        ------
        InputError
            At a packet at fault, unless there is an `on_bad`.
        """
        return self._samples(start, self._on_bad)

    def blocks(self, start: int = 0, size: int = 512) -> Iterator[Block]:
        """Read identity tables (`rbkeras.data.alerts.COLUMNS`) and float32 stamps (n, H, W, 3).

        Yields
        ------
        identity, stamps
            At most `size` rows; NaN where a cutout has no data.

        Raises
        ------
        InputError
            At a packet at fault, unless there is an `on_bad`.
        """
        yield from stamp_blocks(
            self.samples(start),
            self.stamp_shape,
            self._table,
            size=size,
            exact=self._shape is None,
            on_bad=self._on_bad,
        )

    def _table(self, samples: Sequence[Sample]) -> pd.DataFrame:
        table = alert_table(samples)
        if self._keep_bad:
            table["fault"] = pd.array([sample.fault for sample in samples], dtype="string")
        return table

    def _count(self, path: Path) -> int:
        if path not in self._counts:
            self._counts[path] = count_packets(path)
        return self._counts[path][0]

    def _samples(self, start: int, on_bad: OnBad | None) -> Iterator[Sample]:
        first = 0  # number of the file's first packet
        for path in self.files:
            count = self._count(path) if start > first else None
            if count is None or start < first + count:
                count = yield from self._samples_of(path, first, start, on_bad)
            first += count

    def _samples_of(
        self, path: Path, first: int, start: int, on_bad: OnBad | None
    ) -> Generator[Sample, None, int]:
        """Read a file whose first packet has the number `first`; return how many it has."""
        begin = max(start - first, 0)
        number = begin - 1
        try:
            for number, packet in self._counted(path, begin):
                where = f"{path}: packet {number + 1}"
                identity = self._place(path, first, number)
                try:
                    identity |= alert_identity(packet, where=where, score_field=self._score_field)
                    sample = Sample(where, identity, *alert_images(packet, where=where))
                except InputError as error:
                    report_bad(error, on_bad)
                    if self._keep_bad:
                        yield Sample(where, identity, (), (), str(error))
                else:
                    yield sample
        except InputError as error:
            report_bad(error, on_bad)
            for missing in range(number + 1, self._count(path) if self._keep_bad else 0):
                yield Sample(str(path), self._place(path, first, missing), (), (), str(error))
            return self._count(path)
        return number + 1

    def _counted(self, path: Path, begin: int) -> Iterator[tuple[int, Any]]:
        """Read packets, with `keep_bad` as many as were counted: a file may change meanwhile."""
        packets = read_packets(path, begin)
        if not self._keep_bad:
            yield from packets
            return
        count, number = self._count(path), begin - 1
        damage = self._counts[path][1]
        sound = count if damage is None else count - 1
        for number, packet in itertools.islice(packets, max(sound - begin, 0)):
            yield number, packet
        if number + 1 < sound:
            raise InputError(f"{path}: expected {count} packets, found fewer")
        if damage is not None:
            raise damage

    def _place(self, path: Path, first: int, number: int) -> dict[str, Any]:
        """Say of a packet what is known without reading it, a name of last resort included."""
        # A gap in a column of long numbers would make readers of CSV take them for floats.
        name = f"{path.name}:{number + 1}"
        return {"sample_index": first + number, "file": path.name, "alert_id": name}


class AlertFiles(AlertSource):
    """Avro files that were opened one by one, as one source.

    A shell makes thousands of names of `night/*.avro`, and to score and store packets one at a time
    takes ten times as long. Each file keeps its name, and counts its packets from 0.

    Parameters
    ----------
    members
        Sources of a file each, opened with the same options.
    """

    def __init__(self, members: Sequence[AlertSource]):
        first = members[0]
        super().__init__(
            first.files,
            size=first._shape,
            score_field=first._score_field,
            on_bad=first._on_bad,
            keep_bad=first._keep_bad,
        )
        self.name = first.name
        self.files = []
        self.members: list[AlertSource] = []
        self._names: list[str] = []
        for member in members:
            self.append(member)

    def append(self, member: AlertSource) -> None:
        """Add a file behind the others."""
        self.members.append(member)
        self.files += member.files
        self._names += [member.name] * len(member)
        self._counts |= member._counts

    def __len__(self) -> int:
        return len(self._names)

    def names(self, start: int, count: int) -> list[str]:
        """Name the members that so many packets are of, from number `start` on."""
        return self._names[start : start + count]

    def _place(self, path: Path, first: int, number: int) -> dict[str, Any]:
        return super()._place(path, 0, number)


def is_one_file(source: object) -> TypeGuard[AlertSource]:
    """Say whether a source is an Avro file by itself, not a folder of some."""
    return isinstance(source, AlertSource) and [str(file) for file in source.files] == [source.name]
