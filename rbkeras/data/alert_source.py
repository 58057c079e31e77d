"""Alert packets as a source of stamps, for conversion, checking and scoring."""

from collections.abc import Generator, Iterator, Sequence
from functools import cached_property
from pathlib import Path

from rbkeras.data.alerts import alert_table, read_alert
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
        See `rbkeras.data.alerts.read_alert`.
    on_bad
        Told a sentence about every packet at fault, which is left out, as is what follows damage
        in a file; None raises.

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
    ):
        paths = [paths] if isinstance(paths, str | Path) else list(paths)
        self.name = str(paths[0])
        self.files = find_alert_files(paths)
        self._score_field = score_field
        self._on_bad = on_bad
        self._shape = (size, size) if isinstance(size, int) else size

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
        """Count packets, up to the damage in damaged files; reads through all files."""
        return sum(map(count_packets, self.files))

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
            alert_table,
            size=size,
            exact=self._shape is None,
            on_bad=self._on_bad,
        )

    def _samples(self, start: int, on_bad: OnBad | None) -> Iterator[Sample]:
        first = 0  # number of the file's first packet
        for path in self.files:
            count = count_packets(path) if start > first else None
            if count is None or start < first + count:
                count = yield from self._samples_of(path, first, start, on_bad)
            first += count

    def _samples_of(
        self, path: Path, first: int, start: int, on_bad: OnBad | None
    ) -> Generator[Sample, None, int]:
        """Read a file whose first packet has the number `first`; return how many it has."""
        number = -1
        try:
            for number, packet in read_packets(path, max(start - first, 0)):
                try:
                    yield read_alert(
                        packet,
                        file=path,
                        number=number,
                        sample_index=first + number,
                        score_field=self._score_field,
                    )
                except InputError as error:
                    report_bad(error, on_bad)
        except InputError as error:
            report_bad(error, on_bad)
            return count_packets(path)
        return number + 1
