"""What can be told before hours of training: labels, samples, test files and starts that fail."""

from dataclasses import asdict

import numpy as np

from rbkeras.config import FitConfig
from rbkeras.data.labels import BOGUS, REAL, missing_class
from rbkeras.data.records import Records
from rbkeras.data.survey import open_stamps
from rbkeras.errors import InputError
from rbkeras.resume import digest
from rbkeras.rundir import Run
from rbkeras.stage1 import fold_model
from rbkeras.start_weights import StartWeights


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


def check_start_of_folds(run: Run) -> None:
    """Raise `InputError` where the weights that folds begin with know the labels to judge.

    Or where they are of another network.
    """
    start = run.start("label_errors")
    if start is None:
        return
    if _trained_here(start, run):
        raise InputError(
            f"{start.source}: expected a model that has not seen {run.records.directory}, "
            "whose labels it is to judge, found one trained on them"
        )
    run.built(fold_model(run), start)


def check_start_of_stage2(run: Run) -> None:
    """Raise `InputError` where the weights to start from know the samples set aside as a test.

    Or where they are of another network.
    """
    start = run.start("training")
    if start is None:
        return
    if _trained_here(start, run):
        if run.config.hold_out and start.trained_on.get("labels") != digest(run.labels):
            raise InputError(
                f"{start.source}: expected a model that has not seen the samples that --hold_out "
                f"sets aside, found one trained on {run.records.directory} with others or none "
                "set aside"
            )
        print(
            f"{start.source}: trained on these records, so that threshold and calibration may be "
            "measured on stamps that it has seen"
        )
    run.built(asdict(run.config.model), start)


def _trained_here(start: StartWeights, run: Run) -> bool:
    return start.trained_on.get("records") == run.records.fingerprint
