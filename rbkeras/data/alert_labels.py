"""Label names for stamps that come without: from a table, or from the survey's own score."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from rbkeras.data.labels import TRUSTED, as_trusted
from rbkeras.data.survey import LABEL_COLUMN
from rbkeras.errors import InputError
from rbkeras.tables import read_table

NO_LABEL = "unlabelled"
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


@dataclass(frozen=True)
class LabelTable:
    """A table of labels by alert_id."""

    path: Path
    #: Label names, indexed by alert_id.
    names: pd.Series
    #: Whether they are certain, indexed by alert_id; None where the table does not say.
    trusted: pd.Series | None

    def name(self, identity: pd.DataFrame) -> pd.Series:
        """Look names up by alert_id; 'unlabelled' what is not in the table.

        Raises
        ------
        InputError
            When none of the alerts is in the table.
        """
        found = identity["alert_id"].map(self.names)
        if found.isna().all():
            example = identity["alert_id"].iloc[0]
            raise InputError(
                f"{self.path}: expected names for alerts such as {example}, found none of these "
                "alerts"
            )
        return found.fillna(NO_LABEL)

    def trust(self, identity: pd.DataFrame) -> pd.Series:
        """Look up by alert_id which labels are certain: 1, 0, or nothing."""
        if self.trusted is None:
            raise ValueError(f"{self.path} has no column {TRUSTED}")
        return identity["alert_id"].map(self.trusted.astype(float))


def read_label_table(path: str | Path) -> LabelTable:
    """Read a table of labels.

    Parameters
    ----------
    path
        CSV with the columns `alert_id` and `object_type`, and maybe `trusted`, see
        `rbkeras.data.labels.as_trusted`; it may have other alerts and columns. Rows without a name
        say nothing.

    Raises
    ------
    InputError
        When it cannot be read, or an alert has two names, or is both trusted and not.
    """
    dtypes = {"alert_id": "string", TRUSTED: "string"}
    table = read_table(path, ["alert_id", LABEL_COLUMN], dtype=dtypes, words=LABEL_COLUMN)
    table = table.assign(
        alert_id=_stripped(table["alert_id"]), **{LABEL_COLUMN: _stripped(table[LABEL_COLUMN])}
    ).dropna(subset=["alert_id", LABEL_COLUMN])
    trusted = None
    if TRUSTED in table:
        table[TRUSTED] = as_trusted(table[TRUSTED], source=path)
        trusted = _by_alert(table, TRUSTED, path, what="value of trusted")
    return LabelTable(Path(path), _by_alert(table, LABEL_COLUMN, path, what="name"), trusted)


def _by_alert(table: pd.DataFrame, column: str, path: str | Path, *, what: str) -> pd.Series:
    pairs = table[["alert_id", column]].drop_duplicates()
    twice = pairs["alert_id"][pairs["alert_id"].duplicated()]
    if len(twice):
        both = ", ".join(map(str, pairs[column][pairs["alert_id"] == twice.iloc[0]]))
        raise InputError(f"{path}: expected one {what} for alert {twice.iloc[0]}, found {both}")
    return pairs.set_index("alert_id")[column]
