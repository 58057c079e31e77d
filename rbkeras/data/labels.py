"""Label names and the integers they stand for."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from rbkeras.errors import InputError

REAL = 1
BOGUS = 0
UNLABELLED = -1
#: The words for the two classes, and for all labels, that people read and write.
CLASS_NAMES = {BOGUS: "bogus", REAL: "real"}
LABEL_NAMES = CLASS_NAMES | {UNLABELLED: "unlabelled"}
# Target of a sample that is not selected at all; below every label.
SKIP = -2

DEFAULT_LABELS = {
    "artifact": BOGUS,
    "bogus": BOGUS,
    "galx_artificial_real": REAL,
    "rand_artificial_real": REAL,
    "real": REAL,
    "unlabelled": UNLABELLED,
}
#: Column that says which labels are certain.
TRUSTED = "trusted"
#: What labels are called on the command line.
_VALUES = {name: value for value, name in LABEL_NAMES.items()}
_VALUES |= {str(value): value for value in _VALUES.values()}


def missing_class(labels: np.ndarray) -> str | None:
    """Name the class, 'real' or 'bogus', that labels (N,) have none of; None where both are."""
    for label in (REAL, BOGUS):
        if not (labels == label).any():
            return CLASS_NAMES[label]
    return None


def require_both_classes(
    labels: np.ndarray,
    *,
    source: str | Path,
    part: str,
    more: Callable[[str], str] = lambda missing: "",
) -> None:
    """Raise `InputError` where a part of `source`, of labels (N,), has no real or no bogus.

    `more` is what to add about the class that is missing, 'real' or 'bogus'.
    """
    missing = missing_class(labels)
    if missing is not None:
        raise InputError(
            f"{source}: expected real and bogus labels in {part}, found no {missing}{more(missing)}"
        )


def require_labels(labels: pd.Series, *, source: str | Path) -> None:
    """Raise `InputError` where there is anything but 0, 1 and -1; it names `source`."""
    strange = labels[~labels.isin((REAL, BOGUS, UNLABELLED))]
    if len(strange):
        raise InputError(f"{source}: expected labels 0, 1 or -1, found {strange.iloc[0]}")


def as_trusted(words: pd.Series, *, source: str | Path) -> pd.Series:
    """Read what a column `trusted` says: 1 or true, 0, false or nothing.

    Returns
    -------
    pandas.Series
        bool, nothing being False.

    Raises
    ------
    InputError
        When it has anything else; it names `source`.
    """
    texts = words.astype("string").str.strip().str.lower()
    values = pd.to_numeric(texts.replace({"true": "1", "false": "0", "": "0"}), errors="coerce")
    wrong = ~(values.isin((0, 1)) | texts.isna())
    if wrong.any():
        raise InputError(
            f"{source}: expected 0, 1 or nothing in the column {TRUSTED}, found "
            f"{words[wrong].iloc[0]!r:.80}"
        )
    return (values == 1).fillna(False).astype(bool)


def parse_labels(assignments: Sequence[str]) -> dict[str, int]:
    """Read `NAME=VALUE` assignments into a label map on top of the default one.

    Parameters
    ----------
    assignments
        Strings such as 'asteroid=1'. VALUE is 0 or bogus, 1 or real, -1 or unlabelled.

    Returns
    -------
    dict
        Label name to integer.

    Raises
    ------
    InputError
        When an assignment has no name or no such value.
    """
    labels = dict(DEFAULT_LABELS)
    for assignment in assignments:
        parts = assignment.split(",")
        if len(parts) > 1 and all("=" in part for part in parts):
            raise InputError(
                f"--labels: expected spaces between NAME=VALUE, as in {' '.join(parts)}, got "
                f"{assignment!r}"
            )
        name, equals, value = assignment.rpartition("=")
        if not equals or not name or value not in _VALUES:
            raise InputError(
                "--labels: expected NAME=VALUE with VALUE bogus (0), real (1) or unlabelled (-1), "
                f"got {assignment!r}"
            )
        labels[name] = _VALUES[value]
    return labels


def encode_labels(names: pd.Series, labels: Mapping[str, int], *, source: str) -> np.ndarray:
    """Turn label names into int8 (N,) of {0, 1, -1}.

    Raises
    ------
    InputError
        When a name is not in `labels`; it names `source`, the unknown names and the option that
        maps them.
    """
    encoded = names.map(labels)
    unknown = sorted(names[encoded.isna()].astype(str).unique())
    if unknown:
        shown = ", ".join(map(repr, unknown[:5])) + (", ..." if len(unknown) > 5 else "")
        raise InputError(
            f"{source}: column object_type holds names that no label is known for: {shown}; "
            f"known are {', '.join(sorted(labels))}; map others with --labels NAME=VALUE, such as "
            f"{f'{unknown[0]}=1'!r} where it is real"
        )
    return encoded.to_numpy(dtype=np.int8)
