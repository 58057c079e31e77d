"""Names that flags take; a module that loads nothing, so that `--help` answers at once."""

SPACE_NAMES = ("losses", "architecture", "training", "all", "none")
TUNER_NAMES = ("random", "bayesian", "hyperband", "grid")
OBJECTIVE_NAMES = ("fpr90", "auc")
