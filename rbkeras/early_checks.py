"""What can be told before hours of training: labels, held out samples and test files that fail."""

import numpy as np

from rbkeras.config import FitConfig
from rbkeras.data.labels import BOGUS, REAL, missing_class
from rbkeras.data.records import Records
from rbkeras.data.survey import open_stamps
from rbkeras.errors import InputError
from rbkeras.rundir import Run


def check_labels(run: Run) -> None:
    """Find out before the first fold that there is nothing to tell apart."""
    if run.config.policy == "keep":
        # Verdicts may supply what the records lack; stage 2 looks at what comes out.
        return
    missing = missing_class(run.labels)
    if missing is not None:
        raise InputError(
            f"{run.records.directory}: expected labels of both classes, found no {missing}"
        )


def check_held_out(run: Run) -> None:
    """Say what is held out, and find out before hours of training that it is no test set."""
    labels = run.test_labels
    real, bogus = np.sum(labels == REAL), np.sum(labels == BOGUS)
    if not (real and bogus):
        raise InputError(
            f"--hold_out: expected real and bogus among the samples set aside of "
            f"{run.records.directory}, found {real} real and {bogus} bogus"
        )
    print(f"{run.records.directory}: {real} real and {bogus} bogus are held out for the test")


def check_test_files(config: FitConfig, records: Records) -> None:
    """Find a wrong test file before hours of training, not after."""
    for path in (config.test_real, config.test_bogus):
        if path is not None:
            found = open_stamps(path).shape[1:]
            if found != records.stamp_shape:
                raise InputError(
                    f"{path}: expected stamps of shape {records.stamp_shape} as in "
                    f"{records.directory}, found {found}"
                )
