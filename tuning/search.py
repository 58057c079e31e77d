"""`python -m tuning.search`: look for better settings with KerasTuner."""

import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from jsonargparse import ArgumentParser

from rbkeras.cli import continues, load_tensorflow, run_command
from rbkeras.config import FitConfig
from rbkeras.errors import InputError
from rbkeras.options import checked, make_parser, parse_config

_DESCRIPTION = """\
Search the settings of training and network for those that let the fewest bogus through.

Each trial is cross-validated and judged on the folds held out. All flags of fit hold for every
trial, except those that are searched, --policy, which needs --label_errors.table, and
--training.start_from, since trials differ in their networks.
"""
_EXAMPLES = """\
examples:
  python -m tuning.search --data RECORDS --out SWEEP --max_trials 30 --epochs 20
  python -m tuning.search --data RECORDS --out SWEEP --label_errors.table RUN/label_errors.csv
      the suspects of an earlier stage 1, by --policy; without a table labels are as given
  python -m tuning.search --data RECORDS --out SWEEP --space architecture --cost --hours 8
  python -m tuning.search --data RECORDS --out SWEEP --tuner grid --space none \\
      --vary loss.lambda_auc loss.lambda_vat --grid_points 4 --max_trials 100
  python -m tuning.search --data RECORDS --out SWEEP --workers 4 --threads_per_worker 2
  python -m rbkeras.fit --config SWEEP/best.yaml

Called again with the same settings, it goes on where it was interrupted, and with a higher
--max_trials it adds trials.
"""


def add_flags(parser: ArgumentParser) -> None:
    """Add what a sweep has beside the flags of fit."""
    from tuning.words import OBJECTIVE_NAMES, SPACE_NAMES, TUNER_NAMES

    def add(name: str, **options: Any) -> None:
        parser.add_argument(f"--{name}", **options)

    add("space", choices=SPACE_NAMES, default="losses", help="which settings are searched")
    add(
        "vary",
        nargs="+",
        default=[],
        help="further settings to search, by flag; or use_auc, use_vat",
    )
    add("fix", nargs="+", default=[], help="settings not to search, by flag; or use_auc, use_vat")
    add("tuner", choices=TUNER_NAMES, default="bayesian", help="how proposals are made")
    add("grid_points", type=int, default=3, help="values of each range, for --tuner grid")
    add("max_trials", type=int, default=20, help="trials of the sweep, earlier calls included")
    add("hours", type=float | None, default=None, help="no trial is begun later than this")
    add("max_failures", type=int, default=5, help="failures in a row that end the search")
    add(
        "epochs",
        type=int | None,
        default=None,
        help="epochs of each training, whatever --training.min_steps; hyperband's longest",
    )
    add("folds", type=int, default=3, help="validation parts; 1 is --training.validation_fraction")
    add("executions_per_trial", type=int, default=1, help="repeats of the folds, other seeds")
    add(
        "objective",
        choices=OBJECTIVE_NAMES,
        default="fpr90",
        help="figure by which trials are compared",
    )
    add("abandon", type=bool, default=True, help="give hopeless trials up between their folds")
    add("cost", action="store_true", help="also record multiply-adds and speed")
    add(
        "max_multiply_adds",
        type=float | None,
        default=None,
        help="networks that need more for a stamp are not tried",
    )
    add(
        "process_per_trial",
        type=bool,
        default=True,
        help="do each trial in a process of its own, so that memory does not grow",
    )
    add("workers", type=int, default=0, help="processes that share the trials; 0 has none")
    add(
        "threads_per_worker",
        type=int | None,
        default=None,
        help="of --workers; null shares the processors",
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; see `--help`."""
    parser = make_parser(
        prog="python -m tuning.search",
        description=_DESCRIPTION,
        examples=_EXAMPLES,
        unlisted=("training.start_from",),
    )
    add_flags(parser)
    config, parsed = parse_config(parser, argv)

    def work() -> int:
        checked(config)
        if config.training.start_from is not None:
            raise InputError(
                "--training.start_from: expected none, since trials differ in their networks, got "
                f"{config.training.start_from}"
            )
        load_tensorflow()
        from rbkeras.pieces import end_with_parent
        from tuning.sweep import check_sweep, run_sweep, work_for_chief
        from tuning.workers import check_address, role, wait_for_chief

        sweep = make_sweep(config, parsed)
        check_sweep(sweep)
        budget = parsed.max_multiply_adds
        if budget is not None and not budget > 0:
            raise InputError(f"--max_multiply_adds: expected a number above 0, got {budget}")
        for flag in ("workers", "threads_per_worker"):
            if (getattr(parsed, flag) or 0) < 0:
                raise InputError(f"--{flag}: expected at least 0, got {getattr(parsed, flag)}")
        of_another = end_with_parent()
        if role() == "worker":
            wait_for_chief()
            return work_for_chief(with_data(sweep))
        if role() == "chief":
            check_address()
        sweep = with_data(sweep)
        if not parsed.workers or role() == "chief":
            # The command whose chief this is says itself what came out.
            return run_sweep(sweep, say=not of_another)
        arguments = list(sys.argv[1:] if argv is None else argv)
        options = {"workers": parsed.workers, "threads": parsed.threads_per_worker or None}
        return run_sweep(sweep, by=lambda: share(arguments, **options))

    return run_command(work, interrupted=continues(overwrite=config.overwrite))


def share(argv: list[str], *, workers: int, threads: int | None) -> int:
    """Have workers do the trials; 1 and a message if one, or the chief, did not end well."""
    from tuning.workers import run_workers

    statuses = run_workers(argv, workers=workers, threads=threads)
    lost = [f"{name} ({status})" for name, status in statuses.items() if status]
    if lost:
        print(
            f"processes that ended early, with their status: {', '.join(lost)}; the same command "
            "goes on with what they left",
            file=sys.stderr,
        )
    return 1 if lost else 0


def make_sweep(config: FitConfig, parsed: Any) -> Any:
    """Put the settings together."""
    from tuning.plan import Plan
    from tuning.sweep import Sweep
    from tuning.tuners import Limits

    policy, training = config.policy, config.training
    if parsed.epochs is not None:
        training = replace(training, epochs=parsed.epochs, min_steps=0)
    elif parsed.tuner == "hyperband":
        # Its trainings differ in length on purpose.
        training = replace(training, min_steps=0)
    if config.label_errors.table is None:
        config = replace(config, policy="keep")
    config = checked(replace(config, training=training))
    return Sweep(
        plan=Plan(
            config=config,
            objective=parsed.objective,
            folds=parsed.folds,
            executions=parsed.executions_per_trial,
            abandon=parsed.abandon,
            cost=parsed.cost,
        ),
        policy=policy,
        space=parsed.space,
        vary=tuple(parsed.vary),
        fix=tuple(parsed.fix),
        tuner=parsed.tuner,
        grid_points=parsed.grid_points,
        limits=Limits(
            max_trials=parsed.max_trials, hours=parsed.hours, failures=parsed.max_failures
        ),
        process_per_trial=parsed.process_per_trial,
        max_multiply_adds=parsed.max_multiply_adds,
    )


def with_data(sweep: Any) -> Any:
    """Simulate a survey inside the sweep's folder where no data are named."""
    if sweep.plan.config.data is not None:
        return sweep
    from rbkeras.simulated import simulated

    sweep.folder.mkdir(parents=True, exist_ok=True)
    return replace(sweep, plan=replace(sweep.plan, config=simulated(sweep.plan.config)))


if __name__ == "__main__":
    raise SystemExit(main())
