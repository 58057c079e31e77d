"""A records directory: TFRecord files, their index and their manifest, ours and the original's.

Ours hold `image` as raw little-endian float32 bytes, are uncompressed unless asked, and come with
`manifest.json` and `samples.parquet` (one row per record, in order of unique_index). The original
wrote GZIP files with `image` as a flat list of floats and only `data_info.csv` beside them; what
is missing there is found out by one pass over the files.
"""

import contextlib
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from rbkeras.data.labels import TRUSTED, UNLABELLED, as_trusted, require_labels
from rbkeras.data.manifest import MANIFEST, read_manifest
from rbkeras.errors import InputError, first_line

SAMPLES = "samples.parquet"
DATA_INFO = "data_info.csv"
RAW, FLOAT_LIST = "raw", "float_list"
#: What every record and every row of its table says of a sample.
IDENTITY = ["unique_index", "detector_id", "sample_index", "label"]


@dataclass(frozen=True)
class Records:
    """An opened records directory.

    Attributes
    ----------
    directory
        Where the files lie.
    files
        One TFRecord file per detector, in order of unique_index.
    sizes
        Number of records in each file.
    stamp_shape
        Height, width, channels.
    encoding
        'raw' or 'float_list'.
    compression
        '' or 'GZIP'.
    """

    directory: Path
    files: tuple[Path, ...]
    sizes: tuple[int, ...]
    stamp_shape: tuple[int, int, int]
    encoding: str
    compression: str

    @cached_property
    def samples(self) -> pd.DataFrame:
        """One row per record: unique_index, detector_id, sample_index, label, other columns.

        Row i is the sample with unique_index i.
        """
        if self.encoding == FLOAT_LIST or not (self.directory / SAMPLES).exists():
            from rbkeras.data.original_records import scan_samples

            return scan_samples(self)
        return read_samples(self.directory / SAMPLES, sum(self.sizes))

    @cached_property
    def trusted(self) -> np.ndarray:
        """Whether each label is said to be certain, bool (N,): by a column `trusted` of 1.

        Raises
        ------
        InputError
            When the column has anything but 0, 1 and nothing.
        """
        if TRUSTED not in self.samples:
            return np.zeros(len(self), bool)
        return as_trusted(self.samples[TRUSTED], source=self.directory).to_numpy()

    @cached_property
    def doubted(self) -> np.ndarray:
        """Labels that may be wrong, int8 (N,), -1 where one is trusted or there is none."""
        labels = self.samples["label"].to_numpy(np.int8)
        return np.where(self.trusted, np.int8(UNLABELLED), labels)

    @cached_property
    def fingerprint(self) -> str:
        """Changes when the stamps or the labels do: a hash of the sources' checksums.

        For the original's records, which carry none, a hash of names, sizes and labels.
        """
        digest = hashlib.sha256()
        if (self.directory / MANIFEST).exists():
            manifest = read_manifest(self.directory)
            digest.update(json.dumps(manifest["labels"], sort_keys=True).encode())
            for entry in manifest["detectors"]:
                digest.update(f"{entry['images_sha256']} {entry['params_sha256']}".encode())
        else:
            for path in self.files:
                digest.update(f"{path.name} {path.stat().st_size}".encode())
            digest.update(self.samples["label"].to_numpy(np.int8).tobytes())
        return digest.hexdigest()[:16]

    def __len__(self) -> int:
        return sum(self.sizes)


def open_records(directory: str | Path) -> Records:
    """Open a records directory and check its files against the manifest.

    The check is of names and lengths in bytes, so a truncated file is found at once; damage
    inside a file is found when it is read, and by `rbkeras.check`.

    Raises
    ------
    InputError
        When there are no records, files are missing or truncated, or the conversion that wrote
        them did not finish.
    """
    directory = Path(directory)
    if not directory.is_dir():
        raise InputError(f"{directory}: expected a records directory, found none")
    if not (directory / MANIFEST).exists():
        if not (directory / DATA_INFO).exists():
            hint = ""
            if any(directory.glob("images*.npy")):
                hint = "; this looks like a survey directory: run rbkeras.convert on it first"
            raise InputError(f"{directory}: expected {MANIFEST} or {DATA_INFO}, found none{hint}")
        from rbkeras.data.original_records import open_original

        return open_original(directory)
    manifest = read_manifest(directory)
    if not manifest.get("complete"):
        raise InputError(
            f"{directory / MANIFEST}: expected a finished conversion, found an interrupted one; "
            "run the same rbkeras.convert command again to complete it"
        )
    detectors = manifest["detectors"]
    files = tuple(directory / entry["file"] for entry in detectors)
    for path, entry in zip(files, detectors, strict=True):
        found = path.stat().st_size if path.exists() else None
        if found != entry["bytes"]:
            size = "no such file" if found is None else f"{found} bytes"
            raise InputError(f"{path}: expected {entry['bytes']} bytes, found {size}")
    return Records(
        directory=directory,
        files=files,
        sizes=tuple(entry["size"] for entry in detectors),
        stamp_shape=tuple(manifest["stamp_shape"]),
        encoding=RAW,
        compression=manifest["compression"],
    )


def is_records(directory: str | Path) -> bool:
    """Whether a directory looks like records."""
    return any((Path(directory) / name).exists() for name in (MANIFEST, DATA_INFO))


def require_no_records(out: str | Path) -> None:
    """Raise `InputError` where a folder for something else holds records."""
    if is_records(out):
        raise InputError(f"{out}: expected a folder of its own for --out, found records")


def label_names(records: Records) -> dict[str, int] | None:
    """Label names and their values as converted; None for the original's records."""
    if not (records.directory / MANIFEST).exists():
        return None
    return dict(read_manifest(records.directory)["labels"])


def read_samples(path: Path, expected: int) -> pd.DataFrame:
    """Read `samples.parquet` and check that it has a row for each of `expected` records."""
    try:
        # First the number alone: a few megabytes can hold hundreds of millions of rows.
        count = pq.read_metadata(path).num_rows
        samples = pd.read_parquet(path) if count == expected else None
    # On damaged bytes pandas and pyarrow raise whatever their parsing trips over.
    except Exception as error:
        raise InputError(
            f"{path}: expected a Parquet table, but it cannot be read: {first_line(error)}"
        ) from None
    if samples is None:
        raise InputError(f"{path}: expected {expected} rows, found {count}")
    missing = set(IDENTITY) - set(samples.columns)
    if missing:
        raise InputError(f"{path}: expected the columns {', '.join(sorted(missing))}, found none")
    if not (samples["unique_index"] == np.arange(expected)).all():
        raise InputError(f"{path}: expected unique_index 0 to {expected - 1}, found something else")
    require_labels(samples["label"], source=path)
    return samples


@contextlib.contextmanager
def reading(source: str | Path) -> Iterator[None]:
    """Turn TensorFlow's complaint about damaged records into an `InputError` naming `source`."""
    import tensorflow as tf

    try:
        yield
    except (
        tf.errors.DataLossError,
        tf.errors.InvalidArgumentError,
        tf.errors.FailedPreconditionError,
        tf.errors.NotFoundError,
        tf.errors.PermissionDeniedError,
    ) as error:
        fault = data_fault(error)
        if fault is None:
            raise
        raise damaged(source, fault) from None


def damaged(source: str | Path, fault: str) -> InputError:
    """Say that records are damaged, and how."""
    return InputError(
        f"{source}: expected whole records, but some are damaged ({fault}); "
        "rbkeras.check names the file"
    )


def data_fault(error: Exception) -> str | None:
    """Return the part of TensorFlow's message that says how data are damaged, if any does."""
    signs = (
        "corrupted record",
        "truncated record",
        "unreadable record",
        "Could not parse example",
        "inflate()",
        "record of another stamp size",
        # Fewer records than the index says.
        "Input dataset was expected to contain",
        "Feature: ",
        "Key: ",
        "Is a directory",
        "No such file or directory",
        "Permission denied",
    )
    text = str(error)
    # The sentence that matters comes after names of graph nodes, on the same line.
    start = min((text.index(sign) for sign in signs if sign in text), default=None)
    if start is None:
        return None
    return text[start:].splitlines()[0].split(" [Op:")[0][:120]
