"""Pieces of work on Dask: by workers on this machine, or wherever a scheduler has some.

Workers read and write the shared file system; nothing but settings and sentences travels. A worker
that dies costs what it was doing, which another takes up where it was left; a command that dies is
called again.
"""

import contextlib
import importlib.util
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from rbkeras.errors import InputError, WorkError
from rbkeras.files import read_json
from rbkeras.pieces import FAULTS, Piece, do_piece, reason, thread_limits

#: Times that a piece is begun again after its worker or its process has died.
_RETRIES = 3
#: Seconds that a scheduler has to answer.
_PATIENCE = 30
_IN_WANT = "needs another one that failed"


def is_local(dask: str) -> bool:
    """Say whether `--dask` asks for workers of our own on this machine."""
    return dask.startswith("local:")


def check_dask(dask: str | None) -> None:
    """See that `--dask` makes sense and that Dask is there, before anything is done.

    Raises
    ------
    InputError
        Naming the flag, or the extra to install.
    """
    if dask is None:
        return
    if is_local(dask):
        count = dask.removeprefix("local:")
        if not count.isdecimal() or int(count) < 1:
            raise InputError(f"--dask: expected local:N with N of at least 1, got {dask}")
    elif "://" not in dask and not Path(dask).is_file():
        raise InputError(
            "--dask: expected local:N, a scheduler's address such as tcp://host:8786, or its "
            f"scheduler file, got {dask}"
        )
    if importlib.util.find_spec("distributed") is None:
        raise InputError(
            "--dask: expected the package distributed, found none: pip install 'rbkeras[dask]'"
        )


def do_on_dask(pieces: Sequence[Piece], dask: str, *, title: str) -> None:
    """Have workers do all pieces, except those that need one that failed.

    Parameters
    ----------
    pieces
        Each after those that it needs.
    dask
        'local:N' starts N workers here, which share the processors; otherwise the address of a
        scheduler, or the scheduler file that it wrote.
    title
        For the progress bar.

    Raises
    ------
    InputError, WorkError
        When pieces have failed, once all others are done; it tells why the first in the list did.
        `InputError` where that was the input's fault, or there is no scheduler, and
        `OtherSettingsError` where other settings have been there.
    """
    check_dask(dask)
    if not pieces:
        return
    failures: dict[str, Exception] = {}
    with (
        _connected(dask) as (client, environment),
        tqdm(total=len(pieces), desc=title, unit="piece") as bar,
    ):
        for piece, failure in _outcomes(client, pieces, environment):
            bar.update()
            if failure is not None:
                failures[piece.name] = failure
                bar.write(f"not done: {failure}")
                bar.set_postfix(failed=len(failures))
    for piece in pieces:
        # The first in the list failed by itself, not for want of another.
        if piece.name in failures:
            first, count = failures[piece.name], len(failures)
            more = f"; not done in all: {count} of {len(pieces)}" if count > 1 else ""
            raise type(first)(f"{first}{more}")


def _outcomes(
    client: Any, pieces: Sequence[Piece], environment: Mapping[str, str]
) -> Iterator[tuple[Piece, Exception | None]]:
    """Give each piece as it ends, and why it failed if it did."""
    from distributed import as_completed

    run = os.urandom(4).hex()
    futures: dict[str, Any] = {}
    for number, piece in enumerate(pieces):
        futures[piece.name] = client.submit(
            _do_after,
            piece.order(),
            dict(environment),
            [futures[name] for name in piece.after],
            # Readable on the scheduler's own pages, and never that of another command.
            key=f"{piece.name} [{run}-{number}]",
            # As they were listed.
            priority=-number,
            retries=_RETRIES,
            pure=False,
        )
    pieces_of = {future.key: piece for piece, future in zip(pieces, futures.values(), strict=True)}
    for future in as_completed(futures.values()):
        piece = pieces_of[future.key]
        if any(futures[name].status == "error" for name in piece.after):
            yield piece, WorkError(f"{piece.name}: {_IN_WANT}")
        else:
            yield piece, _failure(piece.name, future)


def _do_after(
    order: dict[str, Any], environment: dict[str, str], needed: list[Any]
) -> dict[str, Any] | None:
    if any(outcome is not None for outcome in needed):
        return {"message": _IN_WANT, "error": WorkError.__name__}
    return do_piece(order, environment=environment)


def _failure(name: str, future: Any) -> Exception | None:
    from distributed import KilledWorker

    if future.status == "finished":
        outcome = future.result()
        if outcome is None:
            return None
        return FAULTS[outcome["error"]](f"{name}: {outcome['message']}")
    error = future.exception()
    if isinstance(error, KilledWorker):
        return WorkError(
            f"{name}: expected a worker to live through it, but {error.allowed_failures + 1} "
            "workers died over it"
        )
    return WorkError(f"{name}: {reason(error)}")


@contextlib.contextmanager
def _connected(dask: str) -> Iterator[tuple[Any, dict[str, str]]]:
    """Give a client of the scheduler, and what the environment of a piece has in addition."""
    from distributed import Client

    with contextlib.ExitStack() as stack:
        where: Any = dask
        environment: dict[str, str] = {}
        if is_local(dask):
            workers = int(dask.removeprefix("local:"))
            environment = _share_of_machine(workers)
            where = stack.enter_context(_local_cluster(workers))
        elif "://" not in dask:
            where = _address_in(dask)
        try:
            client = Client(where, timeout=_PATIENCE)
        except (OSError, ValueError) as error:
            raise InputError(
                f"--dask {dask}: expected a scheduler there, found none within {_PATIENCE} s "
                f"({reason(error)})"
            ) from None
        yield stack.enter_context(client), environment


def _address_in(scheduler_file: str) -> str:
    """Read a scheduler's address; Dask itself asserts that a file has one that makes sense."""
    content = read_json(Path(scheduler_file))
    address = content.get("address") if isinstance(content, dict) else None
    if not isinstance(address, str) or "://" not in address:
        raise InputError(
            f"--dask {scheduler_file}: expected a scheduler file, whose address is such as "
            f"tcp://host:8786, found {address!r}"
        )
    return address


def _share_of_machine(workers: int) -> dict[str, str]:
    from dask.system import CPU_COUNT

    own = thread_limits(max(CPU_COUNT // workers, 1))
    return {name: value for name, value in own.items() if name not in os.environ}


@contextlib.contextmanager
def _local_cluster(workers: int) -> Iterator[Any]:
    import dask
    from distributed import LocalCluster

    settings = {
        "distributed.scheduler.allowed-failures": _RETRIES,
        # These would be set in this process too, and stay.
        "distributed.nanny.pre-spawn-environ": {},
        # Dask watches its own processes up to a hundred times a second, which took a seventh of a
        # processor; all they do is wait for pieces.
        "distributed.worker.profile.enabled": False,
        "distributed.worker.memory.monitor-interval": "10s",
        "distributed.admin.tick.interval": "1s",
        "distributed.admin.system-monitor.interval": "30s",
    }
    with (
        dask.config.set(settings),
        LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
            # Memory is left to the operating system.
            memory_limit=0,
            silence_logs=logging.CRITICAL,
        ) as cluster,
    ):
        yield cluster
