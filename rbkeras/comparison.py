"""Two networks on the same test stamps, in pairs."""

import numpy as np
import pandas as pd

from rbkeras.merit import BOGUS_NEEDED, FIGURE_NAMES, FIGURES, Fraction
from rbkeras.metrics import binomial_interval
from rbkeras.statistics import Scores, estimate, paired_fractions, resample, widened


def compare_scores(
    ours: Scores, theirs: Scores, *, resamples: int = 500, confidence: float = 0.95
) -> pd.DataFrame:
    """Compare the scores that two networks give to the same stamps.

    Every bootstrap resample of the stamps is the same one for both, so that what makes a stamp
    easy or hard for both cancels. The intervals are about these two networks: another training of
    either, with another seed, would have come out differently, which `rbkeras.experiment` measures.

    Parameters
    ----------
    ours, theirs
        (real scores, bogus scores), finite, 1-d; the stamps in the same order.
    resamples
        Of the bootstrap; a fifth of them, at least 50, for all but the first figure.
    confidence
        Level of the intervals.

    Returns
    -------
    pandas.DataFrame
        A row per figure of merit: figure, ours, theirs, difference, low, high, p_value. Interval
        and p-value of a rate are at least those of `paired_fractions`, which take the thresholds
        for given. The interval of a rate that is the same on all resamples is what exact ones of
        both leave; with a single real or bogus, or fewer bogus than `BOGUS_NEEDED`, it is -1 to 1
        and the p-value 1. With some ten of a class intervals are too narrow: of twelve reals one
        in ten excludes no difference where there is none.

    Raises
    ------
    ValueError
        When the numbers of stamps differ.
    """
    sizes, others = (tuple(map(len, scores)) for scores in (ours, theirs))
    if sizes != others:
        raise ValueError(f"expected scores of the same stamps, got {sizes} and {others} of them")
    same = all(map(np.array_equal, ours, theirs))
    rows = []
    for number, (name, figure) in enumerate(FIGURES.items()):
        count = max(resamples // 5, 50) if number else resamples
        one, other = (
            resample([scores], figure, shared=True, resamples=count) for scores in (ours, theirs)
        )
        found = estimate(one - other, confidence=confidence)
        low, high, p_value = found.low, found.high, found.p_value
        if (min(sizes) < 2 or sizes[1] < BOGUS_NEEDED.get(name, 0)) and not same:
            # One sample of a class tells nothing of others, nor do few at a low rate.
            low, high, p_value = -1.0, 1.0, 1.0
        elif isinstance(figure, Fraction) and not same:
            tested = sizes[figure.of]
            passing = (figure.passing(*scores) for scores in (ours, theirs))
            fewest, most, chance = paired_fractions(*passing, confidence=confidence)
            low, high, p_value = min(low, fewest), max(high, most), max(p_value, chance)
            passed = np.array([one.values[0], other.values[0]]) * tested
            edges = binomial_interval(passed, tested, confidence=confidence)
            lower, upper = (edge.tolist() for edge in edges)
            low, high = widened(low, high, *zip(lower, upper, strict=True))
        rows.append(
            {
                "figure": name,
                "ours": one.values[0],
                "theirs": other.values[0],
                "difference": found.mean,
                "low": low,
                "high": high,
                "p_value": p_value,
            }
        )
    return pd.DataFrame(rows)


def format_comparison(table: pd.DataFrame) -> list[str]:
    """Lines of text for a person."""
    lines = [f"{'':20}{'this':>10}{'that':>10}{'difference':>12}   95% interval"]
    for row in table.itertuples():
        certain = row.p_value < 0.05 and not row.low <= 0 <= row.high
        chance = "" if certain else "  (may be chance)"
        lines.append(
            f"{FIGURE_NAMES[row.figure]:20}{row.ours:10.5f}{row.theirs:10.5f}"
            f"{row.difference:+12.5f}   {row.low:+.5f} to {row.high:+.5f}{chance}"
        )
    return lines
