"""Detectors' stamps -> records directory, whole files only, resumable."""

import gzip
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
import pandas as pd
from tqdm import tqdm

from rbkeras.data.detectors import Detector
from rbkeras.data.earlier_records import (
    finished_detectors,
    require_in_common,
    require_no_loss,
)
from rbkeras.data.encoding import frame_block
from rbkeras.data.joined_survey import JoinedDetector, joined_labels, read_surveys
from rbkeras.data.labels import DEFAULT_LABELS
from rbkeras.data.manifest import FORMAT_VERSION, MANIFEST
from rbkeras.data.records import DATA_INFO, SAMPLES
from rbkeras.errors import InputError
from rbkeras.files import read_json, remove_abandoned, reserve, whole_file, write_json
from rbkeras.locks import alone
from rbkeras.tables import stacked

_CHUNK = 512


def convert_survey(
    survey: str | Path,
    out: str | Path,
    *,
    more: Sequence[str | Path] = (),
    labels: Mapping[str, int] = DEFAULT_LABELS,
    compress: bool = False,
    overwrite: bool = False,
    progress: bool = True,
) -> None:
    """Convert a survey directory, or several as one, to a records directory.

    A records directory may stand in the place of a survey directory.

    Every detector is checked before the first is written. A file appears under its name when it
    is whole, and the manifest after each of them, so an interrupted conversion goes on where it
    stopped; detectors whose sources have the same checksums are not converted again.

    Parameters
    ----------
    survey
        Folder of `images<ID>.npy` and `params<ID>.csv`; stamps are stored as float32, NaN and
        infinities as they are (the model fills them in, see
        `rbkeras.models.normalisation.fill_missing`), and counted in the manifest.
    out
        The records directory.
    more
        Further directories, joined as in `rbkeras.data.joined_survey.read_surveys`.
    labels
        Label name to 0, 1 or -1. Records keep their labels and bring the names of these.
    compress
        Write GZIP: smaller, and several times slower to write and to read.
    overwrite
        Replace records of other stamp shapes or labels, of another survey (one that lies elsewhere
        and has no detector in common), and those with stamps that are not there any more.
    progress
        Show a progress bar per detector.

    Raises
    ------
    InputError
        When a directory is at fault, `out` is one of them or holds something else.
    """
    directories = [survey, *more]
    if Path(out).resolve() in (Path(one).resolve() for one in directories):
        raise InputError(f"{out}: expected another directory to write than those to read")
    labels = joined_labels(directories, labels=labels)
    write_records(
        list(read_surveys(directories, labels=labels)),
        out,
        source=survey,
        labels=labels,
        compress=compress,
        overwrite=overwrite,
        progress=progress,
    )


def write_records(
    detectors: Sequence[Detector],
    out: str | Path,
    *,
    source: str | Path,
    labels: Mapping[str, int],
    compress: bool = False,
    overwrite: bool = False,
    progress: bool = True,
) -> None:
    """Write detectors, checked and of one stamp shape, in this order.

    `source` is the path that they were read from; the rest is as in `convert_survey`.
    """
    out = Path(out)
    with alone(out):
        # A killed conversion could not tidy up.
        remove_abandoned(out, older_than=0, below=False)
        _write_records(
            detectors,
            out,
            source=source,
            labels=labels,
            compress=compress,
            overwrite=overwrite,
            progress=progress,
        )


def _write_records(
    detectors: Sequence[Detector],
    out: Path,
    *,
    source: str | Path,
    labels: Mapping[str, int],
    compress: bool,
    overwrite: bool,
    progress: bool,
) -> None:
    manifest = {
        "format_version": FORMAT_VERSION,
        "complete": False,
        "source": str(Path(source).resolve()),
        "stamp_shape": list(detectors[0].stamps.shape[1:]),
        "dtype": "float32",
        "byte_order": "little",
        "compression": "GZIP" if compress else "",
        "labels": dict(labels),
    }
    done = finished_detectors(out, manifest, overwrite=overwrite)
    sources: Iterable[tuple[Detector, dict[str, str]]] = _with_checksums(detectors)
    if done and not overwrite:
        if read_json(out / MANIFEST).get("source") != manifest["source"]:
            sources = with_checksums = list(sources)
            known = [checksums for _, checksums in with_checksums]
            # Another month may have been added to each of an archive that has moved.
            known += [
                part.checksums()
                for detector in detectors
                if isinstance(detector, JoinedDetector)
                for part in detector.parts
            ]
            require_in_common(source, known, out, done)
        require_no_loss(detectors, out, done)
    entries: list[dict[str, Any]] = []
    start = 0
    for detector, checksums in sources:
        entry = _source_entry(detector, start, checksums)
        previous = done.pop(detector.detector_id, None)
        if previous and entry.items() <= previous.items():
            entry = previous
        else:
            # From here on, and until the end, the directory is no whole: the manifest says so
            # before a file changes, and keeps no entry of the one that does.
            _write_unfinished(out, manifest, [*entries, *done.values()])
            entry |= _write_detector(detector, out, entry, compress=compress, progress=progress)
            detector.require_unchanged()
            _write_unfinished(out, manifest, [*entries, entry, *done.values()])
        entries.append(entry)
        start += entry["size"]
    finished = {**manifest, "complete": True, "detectors": entries, **_totals(entries)}
    if not (out / MANIFEST).exists() or read_json(out / MANIFEST) != finished:
        _write_unfinished(out, manifest, entries)
    _write_index(out, detectors, entries)
    write_json(out / MANIFEST, finished)
    listed = {entry["file"] for entry in entries}
    for path in out.glob("data*.tfrecord"):
        if path.name not in listed and re.fullmatch(r"data\d+\.tfrecord", path.name):
            path.unlink()  # of a detector that is not there any more


def _write_unfinished(out: Path, manifest: dict, entries: list[dict]) -> None:
    write_json(out / MANIFEST, {**manifest, "detectors": entries})


def _with_checksums(detectors: Sequence[Detector]) -> Iterator[tuple[Detector, dict]]:
    """Pair detectors with their sources' checksums, the next one's made while one is written."""
    with ThreadPoolExecutor(1) as pool:
        ahead = pool.submit(detectors[0].checksums)
        for detector, following in zip(detectors, [*detectors[1:], None], strict=True):
            checksums = ahead.result()
            if following is not None:
                ahead = pool.submit(following.checksums)
            yield detector, checksums


def _source_entry(detector: Detector, start: int, checksums: dict[str, str]) -> dict:
    return {
        "detector_id": detector.detector_id,
        "file": f"data{detector.detector_id}.tfrecord",
        "size": len(detector.stamps),
        "start_index": start,
        **checksums,
    }


def _write_detector(
    detector: Detector, out: Path, entry: dict, *, compress: bool, progress: bool
) -> dict:
    """Write one detector's file; return its size in bytes and its counts."""
    counts = _Counts()
    size = len(detector.stamps)
    bar = tqdm(total=size, desc=entry["file"], unit="stamp", disable=not progress)
    with whole_file(out / entry["file"]) as temporary, bar:
        with cast(
            BinaryIO, gzip.open(temporary, "wb") if compress else open(temporary, "wb")
        ) as file:
            for first in range(0, size, _CHUNK):
                # float64 beyond float32's range becomes infinite, and is counted as missing.
                with np.errstate(over="ignore"):
                    chunk = np.ascontiguousarray(
                        detector.stamps[first : first + _CHUNK], dtype="<f4"
                    )
                counts.add(chunk)
                index = np.arange(first, first + len(chunk))
                frames = frame_block(
                    chunk,
                    label=detector.labels[index],
                    detector_id=entry["detector_id"],
                    sample_index=index,
                    unique_index=entry["start_index"] + index,
                )
                if not (first or compress):
                    # All records are of one length.
                    reserve(file, frames.shape[1] * size)
                file.write(frames)
                bar.update(len(chunk))
            if not compress:
                file.truncate()
        written = temporary.stat().st_size
    by_label = {value: int((detector.labels == value).sum()) for value in (1, 0, -1)}
    return {
        "bytes": written,
        "real": by_label[1],
        "bogus": by_label[0],
        "unlabelled": by_label[-1],
        **asdict(counts),
    }


@dataclass
class _Counts:
    """What a survey's stamps have that a user should know of."""

    stamps_with_missing_pixels: int = 0
    missing_pixels: int = 0
    stamps_with_constant_channel: int = 0

    def add(self, stamps: np.ndarray) -> None:
        finite = np.isfinite(stamps)
        if not finite.all():
            self.stamps_with_missing_pixels += int((~finite).any(axis=(1, 2, 3)).sum())
            self.missing_pixels += int((~finite).sum())
        flat = stamps.reshape(len(stamps), -1, stamps.shape[-1])
        # Few stamps begin with a run of equal pixels; only those are looked at whole.
        candidates = flat[(flat[:, :8] == flat[:, :1]).all(axis=1).any(axis=1)]
        first = candidates[:, :1]
        # Infinite pixels are missing ones.
        same = ((candidates == first) & np.isfinite(first)).all(axis=1).any(axis=1)
        self.stamps_with_constant_channel += int(same.sum())


def _write_index(out: Path, detectors: Sequence[Detector], entries: list[dict]) -> None:
    tables = []
    for detector, entry in zip(detectors, entries, strict=True):
        index = np.arange(entry["size"])
        leading = pd.DataFrame(
            {
                "unique_index": entry["start_index"] + index,
                "detector_id": entry["detector_id"],
                "sample_index": index,
                "label": detector.labels,
            }
        )
        others = detector.params.drop(columns=leading.columns, errors="ignore")
        tables.append(pd.concat([leading, others], axis=1))
    samples = stacked(tables)
    # A column that is text in one detector and numbers in another has no Parquet type.
    for column in samples.columns[[pd.api.types.is_object_dtype(t) for t in samples.dtypes]]:
        samples[column] = samples[column].astype("string")
    with whole_file(out / SAMPLES) as temporary:
        samples.to_parquet(temporary, index=False)
    info = pd.DataFrame(entries)[["detector_id", "size", "start_index"]]
    with whole_file(out / DATA_INFO) as temporary:
        info.to_csv(temporary)


def _totals(entries: list[dict]) -> dict[str, int]:
    keys = (
        "size",
        "real",
        "bogus",
        "unlabelled",
        "stamps_with_missing_pixels",
        "missing_pixels",
        "stamps_with_constant_channel",
    )
    return {key: sum(entry[key] for entry in entries) for key in keys}
