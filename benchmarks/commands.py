"""Commands of rbkeras, called from Python."""

from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any


def call(command: ModuleType, words: Sequence[Any], options: Mapping[str, Any]) -> None:
    """Call a command with words and with options by their flags; end where it fails."""
    flags = [f"--{name}={value}" for name, value in options.items()]
    status = command.main([*map(str, words), *flags])
    if status:
        raise SystemExit(status)
