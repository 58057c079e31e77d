"""What is wrong with a survey or a records directory: every problem, one sentence each."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from rbkeras.data.labels import DEFAULT_LABELS, encode_labels
from rbkeras.data.manifest import MANIFEST, read_manifest
from rbkeras.data.original_records import describe, read_info
from rbkeras.data.records import (
    DATA_INFO,
    FLOAT_LIST,
    IDENTITY,
    RAW,
    SAMPLES,
    Records,
    data_fault,
    read_samples,
)
from rbkeras.data.survey import (
    LABEL_COLUMN,
    list_detectors,
    open_stamps,
    read_params,
    require_row_per_stamp,
    require_same_shape,
)
from rbkeras.errors import InputError

_CHUNK = 1024
_EMPTY = "stamps without any pixel"


@dataclass(frozen=True)
class Report:
    """Problems (sentences), and of what is sound a summary for people."""

    problems: list[str]
    summary: dict[str, Any]

    def remarks(self) -> Iterator[str]:
        """Say what is no fault, and yet seldom meant."""
        for name in ("real", "bogus"):
            if self.summary.get(name) == 0:
                yield f"no stamp is labelled {name}, and fit needs both classes"
        if self.summary.get(_EMPTY):
            yield "all pixels of some stamps are missing; they look alike to the network"
        shape = self.summary.get("stamp shape", "").split(" x ")
        if len(shape) == 3:
            yield from remarks_on_shape([int(size) for size in shape])


def remarks_on_shape(shape: Sequence[int]) -> Iterator[str]:
    """Say where height, width and channels seem to stand in another order."""
    if shape[0] < 6 < shape[2]:
        yield f"stamps are height x width x channels, so these have {shape[2]} channels"


def check_survey(directory: str | Path, *, labels: Mapping[str, int] = DEFAULT_LABELS) -> Report:
    """Read all of a survey directory."""
    detectors, problems = list_detectors(directory)
    first: tuple | None = None
    all_labels = []
    size = with_missing = empty = 0
    for files in detectors:
        stamps = _try(problems, open_stamps, files.images)
        params = _try(problems, read_params, files.params)
        if stamps is not None:
            first = first or (files, stamps)
            _try(problems, require_same_shape, files, stamps, *first)
            size += len(stamps)
            some, all_of_them = _stamps_with_missing_pixels(stamps)
            with_missing, empty = with_missing + some, empty + all_of_them
        if params is not None:
            encode = partial(encode_labels, source=str(files.params))
            encoded = _try(problems, encode, params[LABEL_COLUMN], labels)
            all_labels.append(np.zeros(0, np.int8) if encoded is None else encoded)
            if stamps is not None:
                _try(problems, require_row_per_stamp, files, stamps, params)
    shape = first[1].shape[1:] if first else ()
    summary = _summary(len(detectors), size, all_labels, with_missing, shape)
    return Report(problems, summary | ({_EMPTY: empty} if empty else {}))


def _try(problems: list[str], work: Callable, *arguments: Any) -> Any:
    """Return the result, or None with the problem noted."""
    try:
        return work(*arguments)
    except InputError as error:
        problems.append(str(error))
        return None


def _stamps_with_missing_pixels(stamps: np.ndarray) -> tuple[int, int]:
    """Count stamps that miss pixels once they are float32, and those that miss all of them."""
    some = empty = 0
    for first in range(0, len(stamps), _CHUNK):
        with np.errstate(over="ignore"):
            missing = ~np.isfinite(stamps[first : first + _CHUNK].astype(np.float32))
        some += int(missing.any(axis=(1, 2, 3)).sum())
        empty += int(missing.all(axis=(1, 2, 3)).sum())
    return some, empty


def _summary(detectors: int, size: int, labels: list, with_missing: int, shape: tuple) -> dict:
    values = np.concatenate(labels) if labels else np.zeros(0, np.int8)
    return {
        "detectors": detectors,
        "stamps": size,
        "real": int((values == 1).sum()),
        "bogus": int((values == 0).sum()),
        "unlabelled": int((values == -1).sum()),
        "stamps with missing pixels": with_missing,
        "stamp shape": " x ".join(map(str, shape)),
    }


def check_records(directory: str | Path) -> Report:
    """Read every record of a records directory, ours or the original's."""
    directory = Path(directory)
    problems: list[str] = []
    opened = _open_ours if (directory / MANIFEST).exists() else _open_original
    result = _try(problems, opened, directory, problems)
    if result is None:
        return Report(problems, {})
    records, info = result
    samples = None
    if (directory / MANIFEST).exists():
        samples = _try(problems, read_samples, directory / SAMPLES, int(info["size"].sum()))
    tables = []
    for path, (_, entry) in zip(info["file"], info.iterrows(), strict=True):
        table = _scan(path, int(entry["size"]), records, problems) if path.exists() else None
        if table is not None:
            problems += [f"{path}: {text}" for text in _faults(table, entry, records, samples)]
            tables.append(table)
    with_missing = sum(int(table["missing"].sum()) for table in tables)
    labels = [table["label"].to_numpy() for table in tables]
    size = sum(map(len, tables))
    return Report(problems, _summary(len(info), size, labels, with_missing, records.stamp_shape))


def _open_ours(directory: Path, problems: list[str]) -> tuple[Records, pd.DataFrame]:
    manifest = read_manifest(directory)
    if not manifest.get("complete"):
        raise InputError(f"{directory / MANIFEST}: expected a finished conversion, found a part")
    info = pd.DataFrame(manifest["detectors"])
    info["file"] = [directory / name for name in info["file"]]
    for path, expected in zip(info["file"], info["bytes"], strict=True):
        found = path.stat().st_size if path.exists() else None
        if found != expected:
            size = "no such file" if found is None else f"{found} bytes"
            problems.append(f"{path}: expected {expected} bytes, found {size}")
    columns = ["detector_id", "size", "start_index"]
    listed = _try(problems, read_info, directory / DATA_INFO)
    if listed is not None and not np.array_equal(listed[columns], info[columns]):
        problems.append(f"{directory / DATA_INFO}: expected what {MANIFEST} says, found other rows")
    return Records(
        directory=directory,
        files=tuple(info["file"]),
        sizes=tuple(info["size"]),
        stamp_shape=tuple(manifest["stamp_shape"]),
        encoding=RAW,
        compression=manifest["compression"],
    ), info


def _open_original(directory: Path, problems: list[str]) -> tuple[Records, pd.DataFrame]:
    info = read_info(directory / DATA_INFO)
    expected = np.cumsum(info["size"]) - info["size"]
    if not np.array_equal(info["start_index"], expected):
        problems.append(f"{directory / DATA_INFO}: expected each start_index to follow the sizes")
    for path in info["file"]:
        if not path.exists():
            problems.append(f"{path}: expected the file that {DATA_INFO} lists, found none")
    unreadable: list[str] = []
    for path in filter(Path.exists, info["file"]):
        records = _try(unreadable, describe, directory, info, path)
        # A file that cannot even be begun is named when it is scanned.
        if records is not None:
            return records, info
    problems += unreadable
    raise InputError(f"{directory}: expected at least one readable file, found none")


def _scan(path: Path, size: int, records: Records, problems: list[str]) -> pd.DataFrame | None:
    """Read a file's records: their integers, their number of pixels, and if any is missing."""
    import tensorflow as tf

    try:
        batches = list(_parsed(path, records, batch=256))
    except tf.errors.OpError:
        problems.append(f"{path}: {_first_damage(path, size, records)}")
        return None
    if not batches:
        problems.append(f"{path}: expected {size} records, found none")
        return None
    return pd.concat(batches, ignore_index=True)


def _parsed(path: Path, records: Records, *, batch: int) -> Iterator[pd.DataFrame]:
    import tensorflow as tf

    pixels = int(np.prod(records.stamp_shape))
    features: dict[str, Any] = {name: tf.io.FixedLenFeature([], tf.int64) for name in IDENTITY}
    is_list = records.encoding == FLOAT_LIST
    features["image"] = (
        tf.io.RaggedFeature(tf.float32) if is_list else tf.io.FixedLenFeature([], tf.string)
    )

    def parse(serialised: tf.Tensor) -> dict[str, tf.Tensor]:
        parsed = tf.io.parse_example(serialised, features)
        image = parsed.pop("image")
        if is_list:
            length, image = 4 * image.row_lengths(), image.to_tensor()
        else:
            length = tf.strings.length(image)
            image = tf.io.decode_raw(image, tf.float32, fixed_length=4 * pixels)
        missing = tf.reduce_any(~tf.math.is_finite(image), axis=1)
        return {**parsed, "bytes": length, "missing": missing}

    dataset = tf.data.TFRecordDataset(str(path), records.compression).batch(batch).map(parse)
    yield from map(pd.DataFrame, dataset.as_numpy_iterator())


def _first_damage(path: Path, size: int, records: Records) -> str:
    """Read record by record up to the first that cannot be read."""
    import tensorflow as tf

    whole = 0
    try:
        for _ in _parsed(path, records, batch=1):
            whole += 1
    except tf.errors.OpError as error:
        reason = data_fault(error) or str(error).splitlines()[0]
        return f"record {whole + 1} of {size} cannot be read ({reason}), nor can what follows it"
    return f"reading failed after record {whole} of {size}, but not when tried again"


def _faults(
    table: pd.DataFrame, entry: pd.Series, records: Records, samples: pd.DataFrame | None
) -> Iterator[str]:
    """Compare a file's records with what the index and the manifest say of them."""
    size, start = int(entry["size"]), int(entry["start_index"])
    if len(table) != size:
        yield f"expected {size} records, found {len(table)}"
    position = np.arange(len(table))
    yield from _unlike(table, "bytes", np.full(len(table), 4 * np.prod(records.stamp_shape)))
    yield from _unlike(table, "detector_id", np.full(len(table), entry["detector_id"]))
    strange = table.loc[~table["label"].isin((0, 1, -1)), "label"]
    for row, label in strange.head(1).items():
        yield f"expected labels 0, 1 or -1, found {label} in record {row + 1}"
    if "bytes" not in entry:  # the original's: the order within a file is free
        if not np.array_equal(np.sort(table["unique_index"]), start + position):
            yield f"expected unique_index {start} to {start + size - 1}, each once, found others"
        return
    yield from _unlike(table, "unique_index", start + position)
    yield from _unlike(table, "sample_index", position)
    if samples is not None and len(table) == size:
        expected = samples.iloc[start : start + size]
        # What is wrong in a record has been said: here it is the table that may be.
        right = table.assign(detector_id=entry["detector_id"], sample_index=position)
        for name in ("detector_id", "sample_index", "label"):
            yield from _unlike(right, name, expected[name].to_numpy(), f" as in {SAMPLES}")
    found = {
        "real": (table["label"] == 1).sum(),
        "bogus": (table["label"] == 0).sum(),
        "unlabelled": (table["label"] == -1).sum(),
        "stamps_with_missing_pixels": table["missing"].sum(),
    }
    for name, count in found.items():
        if count != entry[name]:
            yield f"expected {entry[name]} of {name}, as {MANIFEST} says, found {count}"


def _unlike(table: pd.DataFrame, column: str, expected: np.ndarray, where: str = "") -> list[str]:
    found = table[column].to_numpy()
    wrong = np.flatnonzero(found != expected)
    if not wrong.size:
        return []
    first = wrong[0]
    name = "stamps of bytes" if column == "bytes" else column
    more = f" ({wrong.size - 1} more differ)" if wrong.size > 1 else ""
    return [
        f"expected {name} {expected[first]}{where} in record {first + 1}, found "
        f"{found[first]}{more}"
    ]
