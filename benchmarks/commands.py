"""Commands of rbkeras, called from Python, and what benchmarks of quality have in common."""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any


def call(command: ModuleType, words: Sequence[Any], options: Mapping[str, Any]) -> None:
    """Call a command with words and with options by their flags; end where it fails."""
    flags = [f"--{name}={value}" for name, value in options.items()]
    status = command.main([*map(str, words), *flags])
    if status:
        raise SystemExit(status)


def make_parser(description: str | None, examples: str) -> argparse.ArgumentParser:
    """Make a parser of a benchmark that leaves surveys and runs in a folder."""
    parser = argparse.ArgumentParser(
        description=description,
        epilog=examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--work", type=Path, required=True, help="folder of surveys and runs")
    return parser
