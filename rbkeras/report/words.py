"""Numbers and names as they stand in captions and tables."""

import unicodedata

import numpy as np

NOTHING = "\N{EN DASH}"


def rate(value: float, low: float | None = None, high: float | None = None) -> str:
    """Write a fraction: with its interval, to two digits of the width; alone, to three digits."""
    if low is None or high is None:
        return _decimals(value, _needed(min(value, 1 - value), 3))
    if not np.isfinite(value):
        return NOTHING
    return f"{_decimals(value, _needed(high - low, 2))}  ({interval(low, high)})"


def interval(low: float, high: float) -> str:
    """Write the edges of an interval to two digits of its width."""
    digits = _needed(high - low, 2)
    return f"{_decimals(low, digits)} to {_decimals(high, digits)}"


def probability(value: float) -> str:
    """Write a single sample's probability."""
    if value < 0.001:
        return "< 0.001"
    return "> 0.999" if value > 0.999 else f"{value:.3f}"


def per_million(value: float, low: float | None = None, high: float | None = None) -> str:
    """Write a fraction as a number among a million, with as many digits as `rate`."""
    if low is None or high is None:
        return f"{_significant(1e6 * value, 3):,.0f}"
    shown = [f"{_significant(1e6 * edge, 2):,.0f}" for edge in (value, low, high)]
    return f"{shown[0]}  ({shown[1]} to {shown[2]})"


def signed(value: float, digits: int = 2) -> str:
    """Write a score with its sign, as typographers do."""
    return f"{value:+.{digits}f}".replace("-", "\N{MINUS SIGN}")


def clipped(text: object, length: int = 40) -> str:
    """Shorten a name that came from elsewhere; what is no character becomes a sign for that."""
    text = "".join(
        "\N{REPLACEMENT CHARACTER}" if unicodedata.category(character)[0] == "C" else character
        for character in str(text)[: length + 1]
    )
    return text if len(text) <= length else text[: length - 1] + "…"


def _needed(scale: float, significant: int) -> int:
    """Decimals that show so many digits of a number of this size."""
    if not scale > 0:
        return 3
    return int(np.clip(significant - 1 - np.floor(np.log10(scale)), 2, 7))


def _decimals(value: float, digits: int) -> str:
    if not np.isfinite(value):
        return NOTHING
    return f"{value:.0f}" if value in (0, 1) else f"{value:.{digits}f}"


def _significant(value: float, digits: int) -> float:
    """Round to so many significant digits."""
    return float(f"{value:.{digits}g}")
