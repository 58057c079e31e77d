"""A person's verdicts on labels: reading the file, and what they make of training targets."""

import csv
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from rbkeras.data.labels import BOGUS, REAL, UNLABELLED
from rbkeras.errors import InputError
from rbkeras.tables import separator_of, spreadsheet_row

# What a verdict makes of the label; None leaves the given one.
VERDICTS: dict[str, int | None] = {
    "real": REAL,
    "bogus": BOGUS,
    "unlabelled": UNLABELLED,
    "ok": None,
}
# Alerts keep their name when records of more of them are made; places among them change.
_BY_ALERT = ("alert_id",)
_BY_STAMP = ("detector_id", "sample_index")
_BY_NUMBER = ("unique_index",)
_INTEGER = re.compile(r"-?\d{1,18}")


def read_verdicts(path: str | Path, samples: pd.DataFrame, *, blank: bool = False) -> pd.Series:
    """Read a table of verdicts and find the samples that it speaks of.

    Parameters
    ----------
    path
        CSV with a header. Column `verdict`: one of `VERDICTS`, in any case, or empty, which says
        nothing. The sample is named by `alert_id`, where every one of the records has its own; else
        by `detector_id` and `sample_index`, or by `unique_index`. Other columns are ignored, save
        that `label` and, without `alert_id`, `unique_index`, where present, must be those of the
        records. `label_errors.csv` is such a table.
    samples
        The records' table: unique_index, detector_id, sample_index, label and maybe alert_id.
    blank
        Return empty verdicts too, as '': such a row takes back what an earlier table said.

    Returns
    -------
    pandas.Series
        Verdicts in lower case, indexed by unique_index in its order.

    Raises
    ------
    InputError
        For an unreadable table, missing columns, an unknown word, a sample that the records do
        not have, or one named twice; it names the file, and the row as a spreadsheet counts it.
    """
    path = Path(path)
    rows = [row for row in _rows(path) if blank or row[1]["verdict"]]
    if not rows:
        return _series({})
    numbers = np.array([number for number, _ in rows])
    header = rows[0][1]
    key: tuple[str, ...]
    if "alert_id" in header and _all_named(samples):
        key = _BY_ALERT
        wanted = {"alert_id": np.array([row["alert_id"] for _, row in rows], object)}
    else:
        key = _BY_STAMP if all(name in header for name in _BY_STAMP) else _BY_NUMBER
        if not set(key) <= set(header):
            raise InputError(f"{path}: expected alert_id among the records' columns, found none")
        wanted = {name: _integers(path, rows, name) for name in key}
    position = _positions(path, samples, wanted)
    _refuse(path, numbers, position < 0, wanted, "a sample of the records, found")
    for name in ("label",) if key == _BY_ALERT else ("unique_index", "label"):
        if name in header:
            given = _integers(path, rows, name)
            expected = samples[name].to_numpy()[position]
            other = given != expected
            if other.any():
                row = int(other.argmax())
                raise InputError(
                    f"{path}, row {numbers[row]}: expected {name} {expected[row]} as in the "
                    f"records, found {given[row]}; the table is of other records"
                )
    unique = samples["unique_index"].to_numpy()[position]
    twice = pd.Series(unique).duplicated().to_numpy()
    _refuse(path, numbers, twice, wanted, "one verdict per sample, found another of")
    return _series(dict(zip(unique.tolist(), (row["verdict"] for _, row in rows), strict=True)))


def gather_verdicts(named: Path | None, kept: Sequence[Path], samples: pd.DataFrame) -> pd.Series:
    """Join the verdicts of several tables; of two on one sample the first table's counts.

    Parameters
    ----------
    named
        Table that a person named now, the first one; its empty verdicts count too: they take back
        what the others say.
    kept
        Tables of before. Those that do not exist, or have no column `verdict`, have none.
    samples
        As for `read_verdicts`.
    """
    found = [] if named is None else [read_verdicts(named, samples, blank=True)]
    found += [read_verdicts(path, samples) for path in kept if _has_verdicts(path)]
    joined = pd.concat([_series({}), *found])
    joined = joined[~joined.index.duplicated()].sort_index()
    return joined[joined != ""]


def _all_named(samples: pd.DataFrame) -> bool:
    names = samples.get("alert_id")
    return names is not None and bool(names.notna().all()) and _texts(names).is_unique


def _texts(names: pd.Series) -> pd.Series:
    """Names as they stand in the cells of a table."""
    return names.astype(str).str.strip().astype(object)


def _has_verdicts(path: Path) -> bool:
    if not path.exists():
        return False
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        return "verdict" in file.readline()


def _series(verdicts: dict[int, str]) -> pd.Series:
    index = pd.Index(list(verdicts), dtype=np.int64, name="unique_index")
    return pd.Series(list(verdicts.values()), index, dtype=object, name="verdict").sort_index()


def _rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Rows, verdicts in lower case, with their numbers in a spreadsheet."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            header = [name.strip() for name in next(reader, [])]
            _check_header(path, header)
            place = header.index("verdict")
            for number, cells in enumerate(reader, spreadsheet_row(0)):
                if not any(cells):
                    continue
                if len(cells) != len(header):
                    raise InputError(
                        f"{path}, row {number}: expected {len(header)} cells, found {len(cells)}"
                    )
                word = cells[place].strip().lower()
                if word and word not in VERDICTS:
                    raise InputError(
                        f"{path}, row {number}: expected a verdict of {', '.join(VERDICTS)} or "
                        f"none, found {word[:40]!r}"
                    )
                row = dict(zip(header, (cell.strip() for cell in cells), strict=True))
                yield number, row | {"verdict": word}
    except OSError as error:
        raise InputError(
            f"{path}: expected a table of verdicts, but it cannot be read: {error.strerror}"
        ) from None
    except (csv.Error, UnicodeDecodeError) as error:
        raise InputError(f"{path}: expected CSV in UTF-8, but reading says: {error}") from None


def _check_header(path: Path, header: list[str]) -> None:
    if len(header) == 1 and (other := separator_of(header[0])):
        raise InputError(f"{path}: expected commas between the columns, found {other}")
    identified = any(set(key) <= set(header) for key in (_BY_ALERT, _BY_STAMP, _BY_NUMBER))
    if "verdict" not in header and identified:
        raise InputError(f"{path}: expected a column verdict, found {header!r:.200}")
    if "verdict" not in header or not identified or len(set(header)) != len(header):
        raise InputError(
            f"{path}: expected different columns, among them verdict and either detector_id and "
            f"sample_index, unique_index or alert_id, separated by commas; found {header!r:.200}"
        )


def _integers(path: Path, rows: list[tuple[int, dict[str, str]]], name: str) -> np.ndarray:
    for number, row in rows:
        if not _INTEGER.fullmatch(row[name]):
            raise InputError(
                f"{path}, row {number}: expected an integer {name}, found {row[name][:40]!r}"
            )
    return np.array([int(row[name]) for _, row in rows], np.int64)


def _positions(path: Path, samples: pd.DataFrame, wanted: dict[str, np.ndarray]) -> np.ndarray:
    """Row of each wanted sample in `samples`, -1 where there is none."""
    known = samples[list(wanted)]
    if "alert_id" in known:
        known = known.assign(alert_id=_texts(known["alert_id"]))
    index = pd.MultiIndex.from_frame(known)
    if not index.is_unique:
        raise InputError(
            f"{path}: expected samples named by unique_index alone, since the records have "
            f"several of the same {' and '.join(wanted)}"
        )
    return index.get_indexer(pd.MultiIndex.from_arrays(list(wanted.values())))


def _refuse(
    path: Path, numbers: np.ndarray, bad: np.ndarray, wanted: dict[str, np.ndarray], text: str
) -> None:
    if bad.any():
        row = int(bad.argmax())
        name = ", ".join(f"{key} {values[row]}" for key, values in wanted.items())
        raise InputError(f"{path}, row {numbers[row]}: expected {text} {name}")


def apply_verdicts(targets: np.ndarray, labels: np.ndarray, verdicts: pd.Series) -> np.ndarray:
    """Overrule what a policy decided wherever a person has judged.

    Parameters
    ----------
    targets
        Integers (N,) in {0, 1, -1} or `rbkeras.data.labels.SKIP`, by unique_index, as
        `rbkeras.label_errors.apply_policy` returns.
    labels
        Given labels (N,).
    verdicts
        What `read_verdicts` returned.

    Returns
    -------
    numpy.ndarray
        int8 (N,), a new array: the verdict's label; for 'ok' the given one.
    """
    targets = np.array(targets, dtype=np.int8)
    for word, label in VERDICTS.items():
        judged = verdicts.index[verdicts == word]
        targets[judged] = labels[judged] if label is None else label
    return targets
