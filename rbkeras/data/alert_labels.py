"""Label names for stamps that come without: from a table, or from the survey's own score."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from rbkeras.data.survey import LABEL_COLUMN
from rbkeras.errors import InputError
from rbkeras.tables import read_table

NO_LABEL = "unlabelled"
# Gives every row of an identity table a label name.
Namer = Callable[[pd.DataFrame], pd.Series]


def own_names(identity: pd.DataFrame) -> pd.Series:
    """Names of the column `object_type`; 'unlabelled' where it is empty or missing."""
    if LABEL_COLUMN not in identity:
        return pd.Series(NO_LABEL, index=identity.index)
    return identity[LABEL_COLUMN].astype("string").str.strip().fillna(NO_LABEL)


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
        names = np.where(score >= threshold, "real", "bogus")
        return pd.Series(names, index=identity.index).mask(score.isna(), NO_LABEL)

    return name


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
    table = read_table(path, ["alert_id", LABEL_COLUMN], dtype={"alert_id": "string"})
    table = table[["alert_id", LABEL_COLUMN]].dropna()
    names = table[LABEL_COLUMN].astype(str).str.strip()
    pairs = pd.DataFrame({"alert_id": table["alert_id"].str.strip(), "name": names})
    pairs = pairs.drop_duplicates()
    twice = pairs["alert_id"][pairs["alert_id"].duplicated()]
    if len(twice):
        both = ", ".join(pairs["name"][pairs["alert_id"] == twice.iloc[0]])
        raise InputError(f"{path}: expected one name for alert {twice.iloc[0]}, found {both}")
    known = pairs.set_index("alert_id")["name"]

    def name(identity: pd.DataFrame) -> pd.Series:
        found = identity["alert_id"].map(known)
        if found.isna().all():
            example = identity["alert_id"].iloc[0]
            raise InputError(
                f"{path}: expected names for alerts such as {example}, found none of these alerts"
            )
        return found.fillna(NO_LABEL)

    return name
