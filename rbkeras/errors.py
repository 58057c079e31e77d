"""Exceptions that commands tell in one sentence: "your input is at fault", and "work failed"."""

import contextlib
from collections.abc import Iterator


class InputError(Exception):
    """Bad input or usage.

    The message is one sentence that names the file, what was expected and what was found.
    Commands print it on stderr without a traceback and exit with status 2.
    """


class WorkError(Exception):
    """Work that failed in another process, for a reason that is not known to be the input.

    The message is one sentence that names the piece of work. Commands print it on stderr without
    a traceback, which the other process has written down, and exit with status 1.
    """


def first_line(error: BaseException) -> str:
    """Give the first line of what an exception says, or its type where it says nothing."""
    return (str(error).splitlines() or [""])[0][:200] or type(error).__name__


@contextlib.contextmanager
def because_of(setting: str) -> Iterator[None]:
    """Put the setting that a function was called for in front of what it complains about."""
    try:
        yield
    except InputError as error:
        if str(error).startswith("--"):
            # Another setting is to blame.
            raise
        raise InputError(f"{setting}: {error}") from None
