"""Where a trained model lies."""

import os
from pathlib import Path

from rbkeras.errors import InputError

#: Says what the model of a run directory depends on, and whether it is finished.
STAGE2_MARKER = "stage2.json"


def trained_model(path: str | os.PathLike[str]) -> Path:
    """Give the path of a model that is named by its file or its run directory.

    Raises
    ------
    InputError
        When it is not there.
    """
    path = Path(path)
    if path.is_dir():
        path = path / "model.keras"
    if not path.exists():
        raise InputError(f"{path}: expected a trained model, found none")
    return path
