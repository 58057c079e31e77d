"""Scoring inputs by other processes: each fills its part of the table that a command gathers."""

import os
import platform
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from rbkeras.cli import load_tensorflow
from rbkeras.data.alert_source import AlertFiles, is_one_file
from rbkeras.data.sources import Source, open_source
from rbkeras.engines import EngineName, load_engine
from rbkeras.errors import InputError
from rbkeras.file_states import checksum
from rbkeras.locks import alone
from rbkeras.parts import Parts, parts_folder
from rbkeras.pieces import Piece
from rbkeras.score_table import decided
from rbkeras.streaming import stream_scores


def scoring_pieces(
    model: Path,
    sources: Mapping[int, Source],
    out: Path,
    options: dict[str, Any],
    *,
    digest: str,
) -> list[Piece]:
    """Make a piece of every source, by their numbers.

    `options` are those of the network, `digest` the checksum of its file.
    """
    where = {"model": str(model.absolute()), "digest": digest, "out": str(out.absolute())}
    return [
        Piece(
            name=f"{number}: {source.name}",
            work=score_piece,
            arguments=where
            | options
            | {
                "number": number,
                # Sources, and what is said of them, are called what they were given as.
                "folder": os.getcwd(),
                "names": [one.name for one in _members(source)],
                "counts": [len(one) for one in _members(source)],
            },
            log=parts_folder(out) / f"{number:06d}.log",
        )
        for number, source in sources.items()
    ]


def _members(source: Source) -> Sequence[Source]:
    return source.members if isinstance(source, AlertFiles) else [source]


def score_piece(
    *,
    model: str,
    digest: str,
    engine: EngineName,
    out: str,
    number: int,
    folder: str,
    names: list[str],
    counts: list[int],
    batch_size: int,
    threshold: float | None,
    prevalence: float | None,
    skip_bad: bool,
    threads: int | None,
    once: bool,
) -> None:
    """Score one input, or alert files from the `number`-th on, into the parts of `out`.

    Its command has claimed them, in the working directory `folder`, and counted the stamps: an
    input that has others by now is left to it.

    Raises
    ------
    InputError
        When the model is not that of the checksum `digest` any more, or as `stream_scores`.
    """
    try:
        os.chdir(folder)
    except OSError as error:
        # Another machine may lack it, and need it for none of the names.
        if not all(map(os.path.isabs, names)):
            where = platform.node()
            raise InputError(
                f"{folder}: expected the folder of the command on {where}, got {error.strerror}"
            ) from None
    if engine == "keras":
        load_tensorflow()
    network = load_engine(model, engine=engine, threads=threads, once=once)
    if checksum(model) != digest:
        raise InputError(f"{model}: expected the model that scoring began with, found another")
    members = [
        open_source(name, stamp_shape=network.stamp_shape, keep_bad=skip_bad) for name in names
    ]
    for member, count in zip(members, counts, strict=True):
        if len(member) != count:
            # The command, by whose count others follow, will score what is missing itself.
            print(f"{member.name}: expected {count} stamps, found {len(member)}: left alone")
            return
    files = [member for member in members if is_one_file(member)]
    source = AlertFiles(files) if files else members[0]
    # A worker that was given up, or whose command was killed, may be at the same input still.
    with alone(parts_folder(Path(out)) / f"{number:06d}"):
        stream_scores(
            network,
            {number: source},
            Parts(Path(out)),
            finish=partial(decided, network.decision, threshold=threshold, prevalence=prevalence),
            batch_size=batch_size,
            skip_bad=skip_bad,
            progress=False,
        )
