"""Scoring a list of inputs into one table."""

from collections.abc import Sequence
from pathlib import Path

import keras
import pandas as pd
from tqdm import tqdm

from rbkeras.data.records import open_records
from rbkeras.data.survey import open_stamps
from rbkeras.errors import InputError
from rbkeras.files import whole_file
from rbkeras.inference import (
    check_stamp_shape,
    load_classifier,
    score_array,
    score_records,
    with_probability,
)

_ENDINGS = (".csv", ".parquet")


def score_inputs(
    model: str | Path,
    inputs: Sequence[str | Path],
    *,
    out: str | Path,
    batch_size: int = 512,
    progress: bool = True,
) -> None:
    """Score `.npy` files and records directories; write CSV or Parquet by `out`'s ending.

    All inputs are checked before the first is scored, and the output appears whole.

    Raises
    ------
    InputError
        When the model or an input is at fault, or `out` has another ending.
    """
    out = Path(out)
    if out.suffix not in _ENDINGS:
        raise InputError(f"{out}: expected an output ending in .csv or .parquet")
    if batch_size < 1:
        raise InputError(f"--batch_size: expected at least 1, got {batch_size}")
    classifier = load_classifier(model)
    paths = [Path(path) for path in inputs]
    for path in paths:
        shape = open_records(path).stamp_shape if path.is_dir() else open_stamps(path).shape[1:]
        check_stamp_shape(classifier, shape, source=path)
    tables = [
        _score_one(classifier, path, batch_size=batch_size)
        for path in tqdm(paths, desc="scoring", unit="file", disable=not progress)
    ]
    scores = pd.concat(tables, ignore_index=True)
    with whole_file(out) as temporary:
        if out.suffix == ".csv":
            scores.to_csv(temporary, index=False)
        else:
            scores.to_parquet(temporary, index=False)


def _score_one(model: keras.Model, path: Path, *, batch_size: int) -> pd.DataFrame:
    if path.is_dir():
        table = with_probability(score_records(model, open_records(path), batch_size=batch_size))
        columns = ["detector_id", "sample_index", "score", "probability_real"]
    else:
        logits = score_array(model, open_stamps(path), source=path, batch_size=batch_size)
        table = pd.DataFrame(logits, columns=["prediction0", "prediction1"])
        table = with_probability(table).rename_axis("sample_index").reset_index()
        columns = ["sample_index", "score", "probability_real"]
    table = table[columns]
    table.insert(0, "source", str(path))
    return table
