"""Settings of the tiny run that several test modules share."""

#: Without a seed, since studies have several.
SMALL_TRAININGS = [
    *("--model.network", "simple", "--label_errors.folds", "2", "--label_errors.epochs", "2"),
    *("--training.epochs", "2", "--optimizer.learning_rate", "2e-3"),
    *("--label_errors.min_steps", "0", "--training.min_steps", "0"),
]
SMALL = [*SMALL_TRAININGS, "--seed", "3"]


def data_flags(survey):
    """Flags that name the records and the test set of `tiny_survey`."""
    test = survey / "sim" / "test"
    return [
        *("--data", str(survey / "records")),
        *("--test_real", str(test / "real.npy"), "--test_bogus", str(test / "bogus.npy")),
    ]
