"""A trial in a process of its own: `python -m tuning.own_trial SWEEP NUMBER`."""

import sys
from collections.abc import Sequence
from pathlib import Path

from rbkeras.cli import load_tensorflow, run_command
from rbkeras.errors import InputError
from rbkeras.pieces import end_with_parent


def main(argv: Sequence[str] | None = None) -> int:
    """Do one trial whose plan and values are in the sweep's folder already."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if len(arguments) != 2:
        print("usage: python -m tuning.own_trial SWEEP NUMBER", file=sys.stderr)
        return 2
    folder, trial = Path(arguments[0]), arguments[1]
    end_with_parent()

    def work() -> None:
        # First, since it keeps TensorFlow's start-up notices back.
        load_tensorflow()
        from tuning.plan import read_plan, read_values
        from tuning.trial import do_trial

        plan = read_plan(folder)
        values = read_values(plan, trial)
        if values is None:
            raise InputError(f"{folder}: expected values of trial {trial}, found none")
        do_trial(plan, trial, values)

    return run_command(work)


if __name__ == "__main__":
    raise SystemExit(main())
