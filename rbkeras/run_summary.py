"""What a run prints about its outcome."""

from shlex import quote
from typing import Any

import pandas as pd

from rbkeras import evaluation
from rbkeras.config import FitConfig
from rbkeras.files import read_json
from rbkeras.label_errors import doubts_of_suspects, suspects_per_class


def summary(
    config: FitConfig, rated: pd.DataFrame | None, result: dict[str, Any] | None
) -> list[str]:
    """Lines that a command ends with: suspects, figures of merit, and where everything is.

    Parameters
    ----------
    config
        Whose `out` holds the out-of-fold figures, where there are suspects.
    rated
        Table of `rbkeras.label_errors.rate_labels`; None without stage 1.
    result
        Figures of `rbkeras.evaluation.summarise` on the test set; None without one.
    """
    lines = [""]
    if rated is not None:
        lines += suspects_in_words(rated)
        out_of_fold = read_json(config.out / "evaluation" / "cross_validation.json")
        lines += ["cross-validation, against the labels as given:"]
        lines += [f"  {line}" for line in evaluation.format_metrics(out_of_fold)]
    if result is not None:
        lines += [f"test set, {result['n_real']} real and {result['n_bogus']} bogus:"]
        lines += [f"  {line}" for line in evaluation.format_metrics(result)]
    lines += [f"everything is in {config.out}", f"tensorboard --logdir {quote(str(config.out))}"]
    return lines


def suspects_in_words(rated: pd.DataFrame) -> list[str]:
    """Lines with the suspects of either class, and a warning where they are too many."""
    lines = []
    for name, row in suspects_per_class(rated).iterrows():
        share = row["suspects"] / max(row["labelled"], 1)
        text = f"{row['suspects']} of {row['labelled']} ({share:.1%})"
        lines.append(f"suspects labelled {name:<9}   {text}")
    return lines + [f"warning: {doubt}" for doubt in doubts_of_suspects(rated)]
