"""Stamps of many sources through a network, block by block, into the parts of one table."""

import contextlib
from collections.abc import Callable, Iterator, Mapping

import numpy as np
import pandas as pd
from tqdm import tqdm

from rbkeras.data.alert_source import AlertFiles
from rbkeras.data.readahead import read_ahead
from rbkeras.data.sources import Block, Source
from rbkeras.engines import Engine
from rbkeras.errors import InputError
from rbkeras.parts import Parts
from rbkeras.tables import moved_aside

# Rows are stored about this many at a time: a second or two of work, which is what a kill costs.
PART_ROWS = 8192

#: Column of sources that give samples at fault a row: the sentence that says why.
FAULT = "fault"
#: Columns of the table of scores that no column riding along may be called.
OWN_COLUMNS = ("source", "score", "probability_real", "decision")


def stream_scores(
    network: Engine,
    sources: Mapping[int, Source],
    parts: Parts,
    *,
    finish: Callable[[pd.DataFrame], pd.DataFrame],
    batch_size: int,
    skip_bad: bool = False,
    progress: bool = True,
) -> dict[int, str]:
    """Score what `parts` lacks of these sources, and add it.

    The next blocks are read while the network works on one.

    Parameters
    ----------
    network
        Takes stamps of the sources' shape.
    sources
        By the numbers that `parts` knows them by.
    parts
        Where the rows go. A source is gone on with after the rows that are there.
    finish
        Turns a table of source, identity and score (float32, z1 - z0; NaN where a stamp has no
        finite pixel) into that to be stored.
    batch_size
        Stamps in a block, which the network gets in one call.
    skip_bad
        Go on with the next source when one turns out to be damaged.
    progress
        Show a bar.

    Returns
    -------
    dict
        A sentence for every damaged source, by number; its rows, if `parts` has any, are no use.

    Raises
    ------
    InputError, OSError
        When a source is damaged or cannot be read, without `skip_bad`.
    """
    total = sum(map(len, sources.values()))
    done = sum(map(parts.rows, sources))
    faults: dict[int, str] = {}
    pending: list[pd.DataFrame] = []
    # Closed before anything else is done, so that no thread outlives an error.
    blocks = contextlib.closing(read_ahead(_blocks(sources, parts, batch_size)))
    bar = tqdm(
        desc="scoring",
        total=total,
        initial=done,
        unit=" stamps",
        unit_scale=True,
        disable=not progress,
    )
    with blocks as drawn, bar:
        for number, block in drawn:
            source, scored = sources[number], parts.rows(number) + sum(map(len, pending))
            if isinstance(block, Exception):
                if not skip_bad:
                    raise block
                faults[number] = str(block)
                pending.clear()
                bar.total -= len(source) - scored
                continue
            identity, stamps = block
            # Columns that ride along may tell of another network's scores.
            identity = moved_aside(identity, OWN_COLUMNS)
            logits = network.logits(stamps)
            # A network has an answer to a stamp without a pixel, too.
            seen = np.isfinite(stamps).any(axis=(1, 2, 3))
            score = np.where(seen, logits[:, 1] - logits[:, 0], np.float32(np.nan))
            pending.append(identity.assign(score=score))
            bar.update(len(stamps))
            scored += len(stamps)
            if scored == len(source) or scored - parts.rows(number) >= PART_ROWS:
                rows = pd.concat(pending, ignore_index=True)
                rows.insert(0, "source", _names(source, parts.rows(number), len(rows)))
                parts.add(number, finish(rows))
                pending.clear()
    return faults


def _names(source: Source, start: int, count: int) -> str | list[str]:
    return source.names(start, count) if isinstance(source, AlertFiles) else source.name


def _blocks(
    sources: Mapping[int, Source], parts: Parts, size: int
) -> Iterator[tuple[int, Block | Exception]]:
    """Every block that is still to be scored; a fault takes the place of what a source lacks.

    Errors are handed on as items because only reading is theirs to excuse: a full disk, say, is
    no fault of an input.
    """
    for number, source in sources.items():
        position = parts.rows(number)
        if position == len(source):
            continue
        try:
            for block in source.blocks(position, size):
                position += len(block[1])
                if position <= len(source):
                    yield number, block
            if position != len(source):
                raise InputError(f"{source.name}: expected {len(source)} stamps, found {position}")
        except (InputError, OSError) as error:
            yield number, error
