"""Reading the records of the original scripts: GZIP, float lists, no manifest."""

import contextlib
import gzip
import itertools
import os
import zlib
from pathlib import Path

import numpy as np
import pandas as pd

from rbkeras.data.encoding import FOOTER_BYTES, HEADER_BYTES
from rbkeras.data.labels import require_labels
from rbkeras.data.records import DATA_INFO, FLOAT_LIST, IDENTITY, RAW, Records, reading
from rbkeras.errors import InputError

_INFO_COLUMNS = ("detector_id", "size", "start_index")
_LONGEST = 2**26


def open_original(directory: Path) -> Records:
    """Open a directory that holds only `data_info.csv` and `data<ID>.tfrecord` files.

    Compression and encoding are read off the first record. Its stamp is taken to be square with
    three channels, or one.

    Raises
    ------
    InputError
        When a file is missing or not a TFRecord, or the stamp's length fits neither.
    """
    info = read_info(directory / DATA_INFO)
    for path in info["file"]:
        if not path.exists():
            raise InputError(f"{path}: expected the file that {DATA_INFO} lists, found none")
    return describe(directory, info, info["file"].iloc[0])


def describe(directory: Path, info: pd.DataFrame, sample: Path) -> Records:
    """Open the files of `info`, all of which are taken to be of the kind of `sample`."""
    compression = "GZIP" if _is_gzip(sample) else ""
    encoding, length = _peek(sample, compression)
    return Records(
        directory=directory,
        files=tuple(info["file"]),
        sizes=tuple(int(size) for size in info["size"]),
        stamp_shape=_stamp_shape(length, sample),
        encoding=encoding,
        compression=compression,
    )


def read_info(path: Path) -> pd.DataFrame:
    """Read `data_info.csv` in order of start_index, with the column `file` (paths) added."""
    try:
        info = pd.read_csv(path, index_col=0)
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{path}: expected a CSV table, but it cannot be read: {reason}") from None
    missing = [column for column in _INFO_COLUMNS if column not in info.columns]
    if missing or info.empty:
        raise InputError(f"{path}: expected rows of {', '.join(_INFO_COLUMNS)}, missing {missing}")
    try:
        info = info[list(_INFO_COLUMNS)].astype("int64")
    except (ValueError, TypeError):
        raise InputError(f"{path}: expected integers in {', '.join(_INFO_COLUMNS)}") from None
    files = [path.with_name(f"data{detector_id}.tfrecord") for detector_id in info["detector_id"]]
    return info.assign(file=files).sort_values("start_index")


def _is_gzip(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) == b"\x1f\x8b"


def _require_lengths(path: Path, compression: str, *, first: int | None = None) -> None:
    """Raise `InputError` where one of the `first` records, or any, says that it is too long.

    TensorFlow takes the room first and reads then; where there is none the process dies.
    """
    opened = gzip.open if compression else open
    # Other damage is told by TensorFlow.
    with contextlib.suppress(EOFError, OSError, zlib.error), opened(path, "rb") as file:
        for _ in itertools.count() if first is None else range(first):
            header = file.read(HEADER_BYTES)
            if len(header) < HEADER_BYTES:
                break
            length = int.from_bytes(header[:8], "little")
            if length > _LONGEST:
                raise InputError(
                    f"{path}: expected a stamp per record, found one of {length:,} bytes"
                )
            file.seek(length + FOOTER_BYTES, os.SEEK_CUR)


def _peek(path: Path, compression: str) -> tuple[str, int]:
    """Return the encoding of the first record's image and its number of pixels."""
    import tensorflow as tf
    from google.protobuf.message import DecodeError

    _require_lengths(path, compression, first=1)
    with reading(path):
        serialised = next(iter(tf.data.TFRecordDataset(str(path), compression).take(1)), None)
    if serialised is None:
        raise InputError(f"{path}: expected at least one record, found none")
    try:
        feature = tf.train.Example.FromString(serialised.numpy()).features.feature
    except DecodeError:
        raise InputError(f"{path}: expected tf.train.Example records, found others") from None
    missing = [name for name in ("image", "label", "unique_index") if name not in feature]
    if missing:
        raise InputError(f"{path}: expected records with {', '.join(missing)}, found none")
    if feature["image"].WhichOneof("kind") == "bytes_list":
        return RAW, len(next(iter(feature["image"].bytes_list.value), b"")) // 4
    return FLOAT_LIST, len(feature["image"].float_list.value)


def _stamp_shape(length: int, path: Path) -> tuple[int, int, int]:
    for channels in (3, 1):
        side = int(np.sqrt(length // channels))
        if side and side * side * channels == length:
            return side, side, channels
    raise InputError(f"{path}: expected square stamps of 3 or 1 channels, found {length} pixels")


def scan_samples(records: Records) -> pd.DataFrame:
    """Read every record's integers; row i is the sample with unique_index i.

    Raises
    ------
    InputError
        When a file is damaged, its number of records differs from `data_info.csv`, or the
        unique indices are not 0 to N - 1, each once.
    """
    import tensorflow as tf

    features = {name: tf.io.FixedLenFeature([], tf.int64) for name in IDENTITY}
    tables = []
    for path, size in zip(records.files, records.sizes, strict=True):
        _require_lengths(path, records.compression)
        dataset = tf.data.TFRecordDataset(str(path), records.compression).batch(1024)
        dataset = dataset.map(lambda batch: tf.io.parse_example(batch, features))
        with reading(path):
            batches = [pd.DataFrame(batch) for batch in dataset.as_numpy_iterator()]
        table = pd.concat(batches) if batches else pd.DataFrame(columns=list(features))
        if len(table) != size:
            raise InputError(f"{path}: expected {size} records, found {len(table)}")
        require_labels(table["label"], source=path)
        tables.append(table)
    samples = pd.concat(tables, ignore_index=True).sort_values("unique_index", ignore_index=True)
    if not (samples["unique_index"] == np.arange(len(samples))).all():
        raise InputError(
            f"{records.directory}: expected unique_index 0 to {len(samples) - 1}, each once, "
            "found something else"
        )
    return samples.astype({"label": np.int8})
