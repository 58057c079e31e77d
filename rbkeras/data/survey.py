"""Reading a survey directory: `images<ID>.npy` with `params<ID>.csv` beside each."""

import errno
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from tokenize import TokenError
from typing import Any, BinaryIO

import numpy as np
import pandas as pd

from rbkeras.data.detectors import Stamps
from rbkeras.data.labels import DEFAULT_LABELS, encode_labels
from rbkeras.errors import InputError
from rbkeras.file_states import checksum, require_state, state_of
from rbkeras.tables import DAMAGED, read_table, spreadsheet_row

LABEL_COLUMN = "object_type"


@dataclass(frozen=True)
class DetectorFiles:
    """The two files of a detector."""

    detector_id: int
    images: Path
    params: Path


def is_survey(directory: str | Path) -> bool:
    """Whether a directory looks like a survey."""
    directory = Path(directory)
    return any(any(directory.glob(name)) for name in ("images*.npy", "params*.csv"))


def find_detectors(directory: str | Path) -> list[DetectorFiles]:
    """List the detectors of a survey directory in file-name order.

    Raises
    ------
    InputError
        When the directory is missing or holds no stamps, an array or a table stands alone, or an
        ID is not an integer or occurs twice.
    """
    detectors, problems = list_detectors(directory)
    if problems:
        raise InputError(problems[0])
    return detectors


def list_detectors(directory: str | Path) -> tuple[list[DetectorFiles], list[str]]:
    """List the whole detectors of a survey directory, and a sentence for every misfit."""
    directory = Path(directory)
    if not directory.is_dir():
        return [], [f"{directory}: expected a survey directory, found none"]
    arrays = sorted(directory.glob("images*.npy"), key=lambda path: path.name)
    tables = {path.name for path in directory.glob("params*.csv")}
    problems = []
    if not arrays:
        problems.append(f"{directory}: expected images<ID>.npy files, found none")
    found: dict[int, DetectorFiles] = {}
    for array in arrays:
        # 18 digits fit into the 64-bit integers that records store.
        match = re.fullmatch(r"images([0-9]{1,18})\.npy", array.name)
        if not match:
            problems.append(f"{array}: expected a name images<ID>.npy with ID an integer")
            continue
        params = array.with_name(f"params{match[1]}.csv")
        if params.name not in tables:
            problems.append(f"{array}: expected {params.name} beside it, found no such file")
            continue
        tables.discard(params.name)
        detector_id = int(match[1])
        if detector_id in found:
            other = found[detector_id].images.name
            problems.append(f"{array}: detector {detector_id} also stands in {other}")
            continue
        found[detector_id] = DetectorFiles(detector_id, array, params)
    problems += [
        f"{directory / alone}: expected an images<ID>.npy for it, found none"
        for alone in sorted(tables)
    ]
    return list(found.values()), problems


def open_stamps(path: str | Path, *, allow_none: bool = False) -> np.memmap:
    """Map an array of stamps into memory, read-only.

    Parameters
    ----------
    path
        The `.npy` file.
    allow_none
        Take an array of no stamps, (0, H, W, C), too.

    Returns
    -------
    numpy.memmap
        (N, H, W, C), N >= 1, real numbers, NaN and infinities allowed.

    Raises
    ------
    InputError
        When the file is missing, truncated, not an array, holds Python objects, is empty or has
        another number of axes.
    """
    path = Path(path)
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise InputError(f"{path}: expected a .npy file of stamps, found a pipe or a device")
    try:
        # Absurd sizes overflow, and numpy warns of it before it refuses them.
        with np.errstate(all="ignore"):
            stamps = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise InputError(f"{path}: expected a .npy file of stamps, found none") from None
    except (*DAMAGED, OverflowError, SyntaxError, TokenError) as error:
        if getattr(error, "errno", None) == errno.EMFILE:
            raise  # no fault of the file's
        # numpy takes what is no array at all for a pickle, and tells how to run it.
        reason = "it holds no array of numbers" if "pickle" in str(error) else error
        raise InputError(
            f"{path}: expected a whole .npy file of numbers (N, H, W, C), but it cannot be read: "
            f"{reason}"
        ) from None
    if not isinstance(stamps, np.memmap) or stamps.dtype.kind not in "fiu":
        kind = getattr(stamps, "dtype", type(stamps).__name__)
        raise InputError(f"{path}: expected an array of real numbers, found {kind}")
    if stamps.ndim != 4:
        raise InputError(f"{path}: expected stamps of shape (N, H, W, C), found {stamps.shape}")
    if 0 in stamps.shape[1 if allow_none else 0 :]:
        raise InputError(f"{path}: expected at least one stamp, found shape {stamps.shape}")
    return stamps


def write_header(file: BinaryIO, shape: tuple[int, ...]) -> int:
    """Begin a `.npy` file of float32 stamps; return the place of the first byte of them.

    What follows is written by hand: numpy's own errors do not say that a disk is full.
    """
    np.lib.format.write_array_header_1_0(
        file, {"descr": "<f4", "fortran_order": False, "shape": shape}
    )
    return file.tell()


def read_params(path: str | Path) -> pd.DataFrame:
    """Read a detector's table; every column but the label's rides along untouched.

    Raises
    ------
    InputError
        When the file is not a table with a column `object_type` without gaps.
    """
    table = read_table(path, [LABEL_COLUMN], words=LABEL_COLUMN)
    missing = np.flatnonzero(table[LABEL_COLUMN].isna())
    if missing.size:
        raise InputError(
            f"{path}: expected a label name in every row, found none in row "
            f"{spreadsheet_row(missing[0])}"
        )
    table[LABEL_COLUMN] = table[LABEL_COLUMN].astype(str).str.strip()
    # A table saved with its row numbers brings them back as a column without a name.
    return table.loc[:, ~table.columns.str.startswith("Unnamed:")]


@dataclass(frozen=True)
class DetectorData:
    """A detector's stamps (memory-mapped, (N, H, W, C)), labels (int8, (N,)) and table."""

    files: DetectorFiles
    stamps: np.ndarray
    labels: np.ndarray
    params: pd.DataFrame
    #: What the two files were when they were opened.
    states: tuple[dict[str, Any], ...]

    @property
    def detector_id(self) -> int:
        """The detector's number."""
        return self.files.detector_id

    def checksums(self) -> dict[str, str]:
        """SHA-256 of the two files."""
        found = {
            "images_sha256": checksum(self.files.images),
            "params_sha256": checksum(self.files.params),
        }
        self.require_unchanged()
        return found

    def require_unchanged(self) -> None:
        """Raise `InputError` where a file is another by now than the one that was opened."""
        for path, state in zip(_paths(self.files), self.states, strict=True):
            require_state(path, state)


def read_detector(
    files: DetectorFiles, *, labels: Mapping[str, int] = DEFAULT_LABELS
) -> DetectorData:
    """Open a detector's files and check that they belong together.

    Raises
    ------
    InputError
        As `open_stamps`, `read_params` and `encode_labels` do, and when the lengths differ.
    """
    states = tuple(map(state_of, _paths(files)))
    stamps = open_stamps(files.images)
    params = read_params(files.params)
    require_row_per_stamp(files, stamps, params)
    encoded = encode_labels(params[LABEL_COLUMN], labels, source=str(files.params))
    return DetectorData(files, stamps, encoded, params, states)


def _paths(files: DetectorFiles) -> tuple[Path, Path]:
    return files.images, files.params


def read_survey(
    directory: str | Path, *, labels: Mapping[str, int] = DEFAULT_LABELS
) -> Iterator[DetectorData]:
    """Open a survey's detectors one after the other, in file-name order.

    Raises
    ------
    InputError
        As `find_detectors` and `read_detector` do, and when a detector's stamps have another
        shape than the first one's.
    """
    first: DetectorData | None = None
    for files in find_detectors(directory):
        detector = read_detector(files, labels=labels)
        first = first or detector
        require_same_shape(files, detector.stamps, first.files, first.stamps)
        yield detector


def require_row_per_stamp(files: DetectorFiles, stamps: np.ndarray, params: pd.DataFrame) -> None:
    """Raise `InputError` unless a detector's table is as long as its array."""
    if len(params) != len(stamps):
        raise InputError(
            f"{files.params}: expected {len(stamps)} rows, one per stamp of "
            f"{files.images.name}, found {len(params)}"
        )


def require_same_shape(
    files: DetectorFiles, stamps: Stamps, first_files: DetectorFiles, first: Stamps
) -> None:
    """Raise `InputError` unless a detector's stamps have the shape of the first one's."""
    expected, found = first.shape[1:], stamps.shape[1:]
    if found != expected:
        raise InputError(
            f"{files.images}: expected stamps of shape {expected} as in "
            f"{first_files.images.name}, found {found}"
        )
