"""What jsonargparse says of wrong flags, in the words of all other bad input."""

import re
from collections.abc import Collection
from difflib import get_close_matches

_KEY = re.compile(
    r'(?:Parser key|Problem with given) "(?P<key>[^"]+)"(?: element \d+)?: (?P<rest>.*)'
)
_GIVEN = re.compile(r"(?:Got value|Given value):(?P<value>.*)$")
_LITERAL = re.compile(r"typing\.Literal\[(?P<words>[^\]]*)\]")
_UNKNOWN = re.compile(r"unrecognized arguments: (?P<flag>--[\w.]+)")
#: In the order in which they are told.
_TYPES = {"int": "an integer", "float": "a number", "bool": "true or false", "NoneType": "null"}


def in_words(message: str, flags: Collection[str]) -> str:
    """Say in a sentence which flag expected what, and which flags may have been meant.

    Parameters
    ----------
    message
        The parser's, on one line; given back as it is where it is of another kind.
    flags
        All flags there are, with their dashes.
    """
    unknown = _UNKNOWN.search(message)
    if unknown:
        meant = _meant(unknown["flag"], flags)
        return message + (f"; did you mean {' or '.join(meant)}?" if meant else "")
    key = _KEY.search(message)
    given = _GIVEN.search(message)
    if key is None or given is None or f"--{key['key']}" not in flags:
        return message
    expected = _expected(key["rest"])
    if not expected:
        return message
    # A file that is at fault stands before the key.
    start, value = message[: key.start()], given["value"].strip()
    return f"{start}--{key['key']}: expected {' or '.join(expected)}, got {value or 'nothing'}"


def _expected(text: str) -> list[str]:
    expected = []
    literal = _LITERAL.search(text)
    if literal:
        expected.append("one of " + literal["words"].replace("'", ""))
    kinds = set(re.findall(r"<class '(\w+)'>", text.split("Given value type")[0]))
    return expected + [words for kind, words in _TYPES.items() if kind in kinds]


def _meant(flag: str, flags: Collection[str]) -> list[str]:
    """Find flags whose last part is this one's, else those that are spelt alike."""
    last = flag.removeprefix("--").rpartition(".")[2]
    same = sorted(one for one in flags if one.removeprefix("--").rpartition(".")[2] == last)
    return same or get_close_matches(flag, sorted(flags), n=3, cutoff=0.75)
