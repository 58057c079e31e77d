"""Label names for stamps that come without: from a table, or from the survey's own score."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from rbkeras.data.survey import LABEL_COLUMN
from rbkeras.errors import InputError
from rbkeras.tables import read_table

NO_LABEL = "unlabelled"
TRUST_COLUMN = "trusted"
# Gives every row of an identity table a label name.
Namer = Callable[[pd.DataFrame], pd.Series]


def own_names(identity: pd.DataFrame) -> pd.Series:
    """Names of the column `object_type`; 'unlabelled' where it is empty, blank or missing."""
    if LABEL_COLUMN not in identity:
        return pd.Series(NO_LABEL, index=identity.index)
    return _stripped(identity[LABEL_COLUMN]).fillna(NO_LABEL)


def _stripped(names: pd.Series) -> pd.Series:
    """Leave out blanks around names; those of blanks alone are missing."""
    names = names.astype("string").str.strip()
    return names.mask(names == "")


def names_by_score(threshold: float) -> Namer:
    """Call 'real' what reaches a threshold, 'bogus' what does not, 'unlabelled' the unscored.

    The namer raises `InputError` when there is no score at all.
    """

    def name(identity: pd.DataFrame) -> pd.Series:
        score = identity["survey_score"]
        if score.isna().all():
            raise InputError(
                "--score_threshold: expected packets with a survey score (drb, rb, reliability, or "
                "what --score_field names), found none"
            )
        names = np.where(score >= _as_stored(threshold, score), "real", "bogus")
        return pd.Series(names, index=identity.index).mask(score.isna(), NO_LABEL)

    return name


def _as_stored(threshold: float, score: pd.Series) -> float:
    """Round a threshold as scores are: packets hold float32, where 0.7 is a little less."""
    scores = score.to_numpy(np.float64)
    single = scores.astype(np.float32)
    return float(np.float32(threshold)) if np.array_equal(single, scores, True) else threshold


def require_scores(namer: Namer, field: str) -> Namer:
    """Have a namer raise `InputError` where no packet has the score that a person has named."""

    def name(identity: pd.DataFrame) -> pd.Series:
        if identity["survey_score"].isna().all():
            raise InputError(
                f"--score_field: expected a place where packets have a number, such as "
                f"candidate.rb, got {field}, where none has"
            )
        return namer(identity)

    return name


def names_by_table(path: str | Path) -> Namer:
    """Look names up by alert_id; 'unlabelled' what is not in the table.

    Parameters
    ----------
    path
        CSV with the columns `alert_id` and `object_type`; it may have other alerts and columns.

    Raises
    ------
    InputError
        When it cannot be read, or an alert has two names. The namer raises when it knows none of
        the alerts.
    """
    known = _by_alert(path, _read(path), LABEL_COLUMN, what="name")

    def name(identity: pd.DataFrame) -> pd.Series:
        found = identity["alert_id"].map(known)
        if found.isna().all():
            example = identity["alert_id"].iloc[0]
            raise InputError(
                f"{path}: expected names for alerts such as {example}, found none of these alerts"
            )
        return found.fillna(NO_LABEL)

    return name


def trust_by_table(path: str | Path) -> Namer | None:
    """Look up by alert_id which labels of such a table are certain; None if it does not say.

    Parameters
    ----------
    path
        See `names_by_table`. Its column `trusted` is what `rbkeras.data.records.Records.trusted`
        takes; nothing where an alert is not in it.

    Raises
    ------
    InputError
        When it cannot be read, or an alert is both trusted and not.
    """
    table = _read(path)
    if TRUST_COLUMN not in table:
        return None
    known = _by_alert(path, table, TRUST_COLUMN, what="value of trusted")
    return lambda identity: identity["alert_id"].map(known)


def _read(path: str | Path) -> pd.DataFrame:
    wanted = ["alert_id", LABEL_COLUMN]
    dtypes = {"alert_id": "string", TRUST_COLUMN: "string"}
    return read_table(path, wanted, dtype=dtypes, words=LABEL_COLUMN)


def _by_alert(path: str | Path, table: pd.DataFrame, column: str, *, what: str) -> pd.Series:
    """Texts of a column, indexed by alert_id; those of blanks alone are left out."""
    pairs = pd.DataFrame({"alert_id": _stripped(table["alert_id"]), "it": _stripped(table[column])})
    pairs = pairs.dropna().drop_duplicates()
    twice = pairs["alert_id"][pairs["alert_id"].duplicated()]
    if len(twice):
        both = ", ".join(pairs["it"][pairs["alert_id"] == twice.iloc[0]])
        raise InputError(f"{path}: expected one {what} for alert {twice.iloc[0]}, found {both}")
    return pairs.set_index("alert_id")["it"]
