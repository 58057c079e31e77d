"""Turning `FitConfig` into flags, `--config` YAML and `--help`, and back into a file."""

import argparse
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, fields, is_dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, NoReturn

import yaml
from jsonargparse import ArgumentError, ArgumentParser, DefaultHelpFormatter, Namespace

from rbkeras.cli import words_of
from rbkeras.complaints import in_words
from rbkeras.config import FitConfig, lookup
from rbkeras.errors import InputError
from rbkeras.files import plain, read_yaml, whole_file
from rbkeras.model_file import trained_model
from rbkeras.presets import PRESETS
from rbkeras.validation import validate

# Settings that are on when named, rather than given true or false.
_SWITCHES = {
    "deterministic": "make runs repeatable bit by bit (slower)",
    "overwrite": "train again what was finished with other settings",
}
_SECTIONS = [name for name, own in vars(FitConfig()).items() if is_dataclass(own)]


class _Formatter(argparse.RawDescriptionHelpFormatter, DefaultHelpFormatter):
    """Defaults in the text, line breaks of the examples as they are."""


class _Parser(ArgumentParser):
    """A parser whose complaints are one sentence, like all other bad input."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Say what is wrong in one line and exit with status 2."""
        if not self.exit_on_error:
            super().error(message, ex)
        flags = [flag for action in self._actions for flag in action.option_strings]
        sys.stderr.write(f"error: {in_words(_one_line(message), flags)}\n")
        self.exit(2)


def _one_line(message: str) -> str:
    return " ".join(message.split())


def make_parser(
    *, prog: str, description: str, examples: str, unlisted: Collection[str] = ()
) -> ArgumentParser:
    """Build a parser that has every setting of a run as a flag.

    `--help` leaves the `unlisted` ones out; the command refuses them in a sentence of its own.
    """
    parser = _Parser(
        prog=prog,
        description=description,
        epilog=examples,
        formatter_class=_Formatter,
        usage=f"{prog} [--config FILE] [--FLAG VALUE ...]",
        allow_abbrev=False,
    )
    parser.add_argument("--config", action="config", help="YAML file of settings; flags win")
    parser.add_class_arguments(FitConfig, as_group=False, skip=set(_SWITCHES))
    for name, text in _SWITCHES.items():
        parser.add_argument(f"--{name}", action="store_true", help=text)
    for flag in unlisted:
        _action_of(parser, flag).help = argparse.SUPPRESS
    return parser


def _action_of(parser: ArgumentParser, flag: str) -> argparse.Action:
    return next(action for action in parser._actions if action.dest == flag)


def add_dask_flag(parser: ArgumentParser, what: str) -> None:
    """Add `--dask`; no setting of the run, since results do not depend on it."""
    text = f"do {what} on Dask: local:N workers here, a scheduler's address, or its file"
    parser.add_argument("--dask", type=str | None, default=None, help=text)


def parse_config(
    parser: ArgumentParser, argv: Sequence[str] | None, *, preset_without_data: str = "quick"
) -> tuple[FitConfig, Namespace]:
    """Parse flags over a YAML file, wherever it is named, over a preset over the defaults.

    Returns
    -------
    tuple
        The settings, and the whole namespace for flags of the command's own. Without `--preset`
        it is 'default' where data are named and `preset_without_data` where they are not.

    Raises
    ------
    SystemExit
        With status 2 and a message for unknown flags and values of the wrong type.
    """
    argv = _files_first(words_of(argv))
    # What `--print_config` prints has the preset in it.
    first = _first_look(parser, [word for word in argv if not word.startswith("--print_config")])
    preset = first.preset or ("default" if first.data else preset_without_data)
    parser.set_defaults({**PRESETS[preset], "preset": preset})
    parsed = parser.parse_args(argv)
    _check_own(parser, parsed)
    return _instantiated(parser, parsed)


def _check_own(parser: ArgumentParser, parsed: Namespace) -> None:
    """Refuse what a file may say of a command's own flags, past their types."""
    typed = {item.name for item in fields(FitConfig)}
    for action in parser._actions:
        value = parsed.get(action.dest)
        if action.dest.partition(".")[0] in typed:
            continue
        if value is None and action.default not in (None, argparse.SUPPRESS):
            parser.error(f"--{action.dest}: expected a value, got null")
        if action.nargs in ("+", "*") and value is not None and not isinstance(value, list):
            parser.error(f"--{action.dest}: expected a list, got {value!r}")


def _instantiated(parser: ArgumentParser, parsed: Namespace) -> tuple[FitConfig, Namespace]:
    objects = parser.instantiate(parsed)
    return FitConfig(**{item.name: objects[item.name] for item in fields(FitConfig)}), objects


def as_plain(config: FitConfig) -> dict[str, Any]:
    """Give the settings as plain values with absolute paths, for a process somewhere else."""

    def absolute(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: absolute(item) for key, item in value.items()}
        return value.absolute() if isinstance(value, Path) else value

    return plain(absolute(asdict(config)))


def from_plain(settings: Mapping[str, Any]) -> FitConfig:
    """Make settings of what `as_plain` gave."""
    parser = make_parser(prog="rbkeras", description="", examples="")
    return _instantiated(parser, parser.parse_object(dict(settings)))[0]


def _first_look(parser: ArgumentParser, argv: Sequence[str]) -> Namespace:
    """Parse; exit with a sentence that names the `--config` file where that one is at fault."""
    files = _files(argv)
    for flag in (word.partition("=")[0] for word in argv):
        # They would take the name of a file, or of a class.
        if flag in (f"--{name}" for name in _SECTIONS):
            parser.error(f"{flag}: expected a setting of it, such as {flag}.NAME")
    for path in files:
        _check_yaml(parser, path)
    complaint = _complaint(parser, argv)
    if complaint is not None:
        # What the flags alone are told, a file has nothing to do with.
        if files and complaint != _complaint(parser, _without_files(argv)):
            complaint = f"{', '.join(files)}: {complaint}"
        parser.error(complaint)
    return parser.parse_args(list(argv))


def _check_yaml(parser: ArgumentParser, path: str) -> None:
    try:
        settings = read_yaml(path)
    except InputError as error:
        parser.error(str(error))
    if not isinstance(settings, dict):
        found = "an empty file" if settings is None else f"a {type(settings).__name__}"
        parser.error(f"{path}: expected settings NAME: VALUE, found {found}")
    if any(str(name).partition(".")[0] == "config" for name in settings):
        parser.error(f"{path}: expected settings alone, found config, the name of another file")
    # The parser would import the module that it names, and run what is in it, before it refuses it.
    if _names_a_class(settings):
        parser.error(f"{path}: expected settings alone, found a class_path")
    # What a file says of a switch goes past its type, and any text would count as yes.
    switches = [act.dest for act in parser._actions if isinstance(act, argparse._StoreTrueAction)]
    for name in switches:
        if not isinstance(settings.get(name, False), bool):
            parser.error(f"{path}: expected true or false for {name}, found {settings[name]!r}")
    for name in _SECTIONS:
        if not isinstance(settings.get(name, {}), dict):
            parser.error(f"{path}: expected settings below {name}, found {settings[name]!r}")


def _names_a_class(settings: Any) -> bool:
    if isinstance(settings, list):
        return any(map(_names_a_class, settings))
    if not isinstance(settings, dict):
        return False
    last_words = {str(key).rpartition(".")[-1] for key in settings}
    return "class_path" in last_words or any(map(_names_a_class, settings.values()))


def _complaint(parser: ArgumentParser, argv: Sequence[str]) -> str | None:
    parser.exit_on_error = False
    try:
        parser.parse_args(list(argv))
    except ArgumentError as error:
        return _one_line(str(error))
    finally:
        parser.exit_on_error = True
    return None


def _files(argv: Sequence[str]) -> list[str]:
    files = [value for flag, value in pairwise(argv) if flag == "--config"]
    return files + [word.removeprefix("--config=") for word in argv if word.startswith("--config=")]


def _files_first(argv: Sequence[str]) -> list[str]:
    """Put `--config` ahead of the flags, since the parser takes the last of two values."""
    nameless = [word for word in argv[-1:] if word == "--config"]
    return [*(f"--config={path}" for path in _files(argv)), *_without_files(argv), *nameless]


def _without_files(argv: Sequence[str]) -> list[str]:
    before = ["", *argv]
    return [
        word
        for previous, word in pairwise(before)
        if "--config" not in (previous, word) and not word.startswith("--config=")
    ]


def checked(config: FitConfig) -> FitConfig:
    """Validate values against each other and see that named files exist.

    Raises
    ------
    InputError
        Naming the flag or file.
    """
    validate(config)
    kinds = {"data": "records directory", "verdicts": "table of verdicts"}
    for flag in ("data", "test_real", "test_bogus", "verdicts"):
        path = getattr(config, flag)
        if path is not None and not path.exists():
            kind = kinds.get(flag, ".npy file")
            raise InputError(f"{path}: expected a {kind} for --{flag}, found none")
    for section in ("training", "label_errors"):
        _check_start(lookup(config, f"{section}.start_from"), section=section, out=config.out)
    return config


def _check_start(path: Path | None, *, section: str, out: Path) -> None:
    if path is not None:
        model = trained_model(path)
        if out.resolve() in model.resolve().parents:
            raise InputError(
                f"--{section}.start_from: expected a model outside of --out {out}, whose models "
                f"are replaced, got {path}"
            )


def write_config(path: str | Path, config: FitConfig) -> None:
    """Write the settings as YAML that `--config` takes, with absolute paths.

    Not `overwrite`, which is said for one time only.
    """
    settings = as_plain(config)
    del settings["overwrite"]
    with whole_file(path) as temporary:
        temporary.write_text(yaml.safe_dump(settings, sort_keys=False))


def with_settings(config: FitConfig, settings: Mapping[str, Any]) -> FitConfig:
    """Replace settings by flag name, such as 'loss.lambda_vat'."""
    for flag, value in settings.items():
        config = _replaced(config, flag.split("."), value)
    return config


def _replaced(config: Any, path: list[str], value: Any) -> Any:
    name, *rest = path
    known = {item.name for item in fields(config)} if is_dataclass(config) else set()
    if name not in known:
        raise ValueError(f"expected the name of a setting, got {name!r}")
    if rest:
        value = _replaced(getattr(config, name), rest, value)
    return replace(config, **{name: value})
