"""The command `report`: write `report.html` of a finished run again, or for the first time."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from rbkeras.cli import load_tensorflow, run_command, words_of
from rbkeras.errors import InputError

_EXAMPLES = """\
examples:
  python -m rbkeras.report RUN
  python -m rbkeras.report RUN --out night-report.html

The report is one file and works offline. `fit` writes it at its end.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; see `--help`."""
    parser = argparse.ArgumentParser(
        prog="rbkeras report",
        description="Write report.html about a run.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("run", metavar="RUN", help="run directory of fit")
    parser.add_argument("--out", help="the file to write (RUN/report.html)")
    arguments = parser.parse_args(words_of(argv))

    def work() -> None:
        folder = Path(arguments.run)
        out = Path(arguments.out) if arguments.out else folder / "report.html"
        from rbkeras.report.reading import require_run

        if out.suffix != ".html":
            raise InputError(f"{out}: expected an output ending in .html")
        require_run(folder)
        load_tensorflow()
        from rbkeras.report.gather import gather_run
        from rbkeras.report.page import write_report

        write_report(out, gather_run(folder))
        print(f"{out}: written")

    return run_command(work)
