"""Scoring a night: any number of inputs, streamed into one table that a kill does not lose."""

import hashlib
import json
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from rbkeras._version import __version__
from rbkeras.chosen_threshold import Chosen, chosen_threshold
from rbkeras.data.alert_source import AlertFiles, is_one_file
from rbkeras.data.fits_source import TABLE, FitsSource
from rbkeras.data.records import DATA_INFO, SAMPLES
from rbkeras.data.sources import Source, expanded, open_source, require_stamp_shape
from rbkeras.distribution import do_on_dask
from rbkeras.engines import Engine, EngineName, load_engine, model_file
from rbkeras.errors import InputError
from rbkeras.file_states import checksum, state_of
from rbkeras.parts import ENDINGS, Parts, parts_folder
from rbkeras.score_table import LAST_COLUMNS, decided, no_scores, require_scores_or_nothing
from rbkeras.scoring_pieces import scoring_pieces
from rbkeras.streaming import FAULT, stream_scores

#: Packets of alert files that are read as one source, and on Dask are a piece: some 20 s of work.
_PACKETS_TOGETHER = 10_000


def score_inputs(
    model: str | Path,
    inputs: Sequence[str | Path],
    *,
    out: str | Path,
    engine: EngineName = "keras",
    threads: int | None = None,
    batch_size: int = 512,
    prevalence: float | None = None,
    threshold: float | None = None,
    true_positive_rate: float | None = None,
    probability: float | None = None,
    once: bool = False,
    skip_bad: bool = False,
    overwrite: bool = False,
    dask: str | None = None,
    progress: bool = True,
) -> list[str]:
    """Score all that `expanded` inputs hold; write CSV or Parquet by `out`'s ending.

    Memory is that of a few batches, however many stamps there are. The output appears whole.
    Until then finished rows are kept beside it, in `<out>.parts`, and the same call goes on from
    there. Unless `skip_bad`, all inputs are checked before the first is scored.

    Parameters
    ----------
    model, inputs, out
        Paths.
    engine
        What runs the network.
    threads
        Most threads that it computes with; None lets it choose.
    batch_size
        Stamps at once.
    prevalence
        Fraction of reals that probabilities shall refer to; None takes the model's.
    threshold
        Score from which a stamp is called real, in place of the model's.
    true_positive_rate
        Take the model's threshold for this rate.
    probability
        Call a stamp real from this calibrated probability on, which `prevalence` bears on. At most
        one of `threshold`, `true_positive_rate` and this.
    once
        Score every stamp once, also with a model that asks for a second look.
    skip_bad
        Leave out inputs that are at fault, all of their stamps; of alert packets, leave only those
        at fault without a score.
    overwrite
        Begin anew, whatever an earlier call has left, and replace `out` whatever it is.
    dask
        Who scores the inputs, one at a time each, as in `rbkeras.distribution.do_on_dask`; None
        scores them here.
    progress
        Show a bar.

    Returns
    -------
    list of str
        A sentence for every input, and every alert packet, left out.

    Raises
    ------
    InputError
        When the model, an option or, without `skip_bad`, an input is at fault, or an earlier call
        with other settings has left its parts.
    """
    out = Path(out)
    _check_options(out, batch_size=batch_size, threads=threads, prevalence=prevalence)
    chosen = Chosen(threshold, true_positive_rate, probability)
    inputs = expanded(inputs)
    _require_no_input(out, inputs)
    if not overwrite:
        require_scores_or_nothing(out)
    file, engine = model_file(model, engine, check_origin=False)  # which loading does
    # Before it is read: should it change meanwhile, no score is taken for one of the new model.
    digest = checksum(file)
    network = load_engine(model, engine=engine, threads=threads, once=once)
    threshold = chosen_threshold(network.decision, chosen, source=model, prevalence=prevalence)
    sources, bad = _open_all(network, inputs, skip_bad=skip_bad)
    options = {
        "engine": engine,
        "once": once,
        "batch_size": batch_size,
        "threshold": threshold,
        "prevalence": prevalence,
    }
    settings = {
        "rbkeras": __version__,
        "model": digest,
        **options,
        "decision": _digest(network.decision and network.decision.to_json()),
        "inputs": {
            str(path): _state(path, sources.get(number), out) for number, path in enumerate(inputs)
        },
        "order": _digest(list(map(str, inputs))),
    }
    sources = _together(sources)
    finish = partial(decided, network.decision, threshold=threshold, prevalence=prevalence)
    with Parts.claimed(out, settings, overwrite=overwrite) as parts:
        done, total = sum(map(parts.rows, sources)), sum(map(len, sources.values()))
        if done:
            print(f"{out}: {done} of {total} stamps are scored already", file=sys.stderr)
        if dask is not None:
            options |= {"skip_bad": skip_bad, "threads": threads}
            left = {n: one for n, one in sources.items() if parts.rows(n) < len(one)}
            do_on_dask(
                scoring_pieces(file, left, out, options, digest=digest), dask, title="scoring"
            )
            # What is missing now is at fault, and is told by trying once more.
            parts = Parts(out)
        faults = stream_scores(
            network,
            sources,
            parts,
            finish=finish,
            batch_size=batch_size,
            skip_bad=skip_bad,
            progress=progress,
        )
        whole = [number for number in sources if number not in faults]
        skipped = _without_scores(parts, whole, out)
        parts.write(whole, empty=finish(no_scores()), last=LAST_COLUMNS)
    return [*bad, *faults.values(), *skipped]


def _check_options(
    out: Path, *, batch_size: int, threads: int | None, prevalence: float | None
) -> None:
    if out.suffix not in ENDINGS:
        raise InputError(f"{out}: expected an output ending in .csv or .parquet")
    _require_text(out)
    for flag, value in (("--batch_size", batch_size), ("--threads", threads)):
        if value is not None and value < 1:
            raise InputError(f"{flag}: expected at least 1, got {value}")
    if prevalence is not None and not 0 < prevalence < 1:
        raise InputError(f"--prevalence: expected a fraction in (0, 1), got {prevalence}")


def _require_no_input(out: Path, inputs: Sequence[str | Path]) -> None:
    """Refuse to put scores in the place of what they are made from."""
    for path in map(Path, inputs):
        for read in (path, *(path / name for name in (SAMPLES, DATA_INFO, TABLE))):
            if out.exists() and read.exists() and read.samefile(out):
                raise InputError(
                    f"{out}: expected an output that is no input, found what {path} is read from"
                )


def _open_all(
    network: Engine, inputs: Sequence[str | Path], *, skip_bad: bool
) -> tuple[dict[int, Source], list[str]]:
    """Open the inputs, by their numbers, and say of each that is left out why."""
    sources, bad = {}, []
    for number, path in enumerate(inputs):
        try:
            _require_text(path)
            source = open_source(path, stamp_shape=network.stamp_shape, keep_bad=skip_bad)
            require_stamp_shape(source.stamp_shape, network.stamp_shape, source=path)
            sources[number] = source
        except (InputError, OSError) as error:
            if not skip_bad:
                raise
            bad.append(str(error))
    return sources, bad


def _together(sources: Mapping[int, Source]) -> dict[int, Source]:
    """Make one source of small alert files that follow one another, by the number of the first."""
    joined: dict[int, Source] = {}
    latest: AlertFiles | None = None  # what a file may still be joined to
    for number, source in sources.items():
        if not is_one_file(source):
            joined[number], latest = source, None
        elif latest is None or len(latest) + len(source) > _PACKETS_TOGETHER:
            joined[number] = latest = AlertFiles([source])
        else:
            latest.append(source)
    return joined


def _without_scores(parts: Parts, numbers: Sequence[int], out: Path) -> list[str]:
    """Collect what is said of packets at fault; count on stderr what has no score besides."""
    skipped = [text for number in numbers for text in parts.texts(number, FAULT)]
    unseen = sum(parts.gaps(number, "score") for number in numbers) - len(skipped)
    if unseen:
        what = "stamps have no score: those without a finite pixel get none"
        print(f"{out}: {unseen} {what}", file=sys.stderr)
    return skipped


def _require_text(path: str | Path) -> None:
    """Refuse a name that no table can hold."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise InputError(f"{str(path)!a}: expected a name in UTF-8, found other bytes") from None


def _state(path: str | Path, source: Source | None, out: Path) -> dict[str, Any]:
    # A table is not all that its stamps depend on.
    also = source.files() if isinstance(source, FitsSource) else ()
    # A file may be readable when scoring goes on, and its packets move all that follow.
    stamps = None if source is None else len(source)
    return state_of(path, besides=(out, parts_folder(out)), also=also) | {"stamps": stamps}


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]
