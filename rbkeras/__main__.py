"""`rbkeras VERB ...`: the same as `python -m rbkeras.VERB ...`."""

import importlib
import sys
from collections.abc import Sequence

COMMANDS = {
    "simulate": "write a simulated survey",
    "inject": "stamps with right labels, made of a survey's own ones",
    "convert": "survey directory, alert packets or FITS stamps to records",
    "check": "say what is wrong with a survey, records, alert packets or FITS stamps",
    "fit": "find label errors, train without them, evaluate",
    "find_label_errors": "stage 1 of fit alone, or one fold of it",
    "predict": "score stamps with a trained model",
    "evaluate": "figures of merit of a model on a test set",
    "export": "SavedModel, ONNX and LiteRT files of a model",
    "report": "one page about a run",
    "experiment": "the published comparisons, over several seeds",
}


def module_of(verb: str) -> str:
    """Name the module whose `main` a verb is."""
    # A package for others to import does not load its command.
    return "rbkeras.report.command" if verb == "report" else f"rbkeras.{verb}"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command that the first argument names."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    verb = arguments[0] if arguments else "--help"
    if verb in ("-h", "--help"):
        print("usage: rbkeras VERB [options]; rbkeras VERB --help tells more\n")
        print("\n".join(f"  {name:<18} {does}" for name, does in COMMANDS.items()))
        return 0
    if verb == "--version":
        from rbkeras import __version__

        print(__version__)
        return 0
    if verb not in COMMANDS:
        expected = ", ".join(COMMANDS)
        print(f"error: expected one of {expected}; got {verb!r}", file=sys.stderr)
        return 2
    return importlib.import_module(module_of(verb)).main(arguments[1:])


if __name__ == "__main__":
    raise SystemExit(main())
