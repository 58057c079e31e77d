"""The one exception that means "your input is at fault", not the program."""


class InputError(Exception):
    """Bad input or usage.

    The message is one sentence that names the file, what was expected and what was found.
    Commands print it on stderr without a traceback and exit with status 2.
    """
