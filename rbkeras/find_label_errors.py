"""`python -m rbkeras.find_label_errors`: stage 1 alone, or one fold of it."""

import re
from collections.abc import Sequence

from rbkeras.cli import continues, load_tensorflow, run_command, words_of
from rbkeras.distribution import check_dask
from rbkeras.errors import InputError
from rbkeras.options import add_dask_flag, checked, make_parser, parse_config

_EXAMPLES = """\
examples:
  python -m rbkeras.find_label_errors --data RECORDS --out RUN
  python -m rbkeras.find_label_errors --data RECORDS --out RUN --fold 3
      one fold; run the others elsewhere on the same --out, then
  python -m rbkeras.find_label_errors --data RECORDS --out RUN --merge
      makes label_errors.csv and label_errors.html anew, without training
  python -m rbkeras.find_label_errors --data RECORDS --out RUN --repeats 2
      two cross-validations, whose predictions are averaged (--label_errors.repeats)
  python -m rbkeras.find_label_errors --data RECORDS --out RUN --dask tcp://host:8786
      the folds by the workers of a Dask scheduler
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; see `--help`."""
    parser = make_parser(
        prog="rbkeras find_label_errors",
        description="Find suspected label errors by cross-validation (stage 1 of fit).",
        examples=_EXAMPLES,
        unlisted=("label_errors.table",),
    )
    parser.add_argument("--fold", type=int | None, default=None, help="train this fold alone")
    parser.add_argument("--merge", action="store_true", help="train nothing, merge the folds")
    add_dask_flag(parser, "the folds")
    # Here the settings of stage 1 are the command's own.
    words = [re.sub("^--repeats(?=$|=)", "--label_errors.repeats", word) for word in words_of(argv)]
    config, parsed = parse_config(parser, words)

    def work() -> None:
        checked(config)
        if config.label_errors.table is not None:
            raise InputError(
                "--label_errors.table: expected none, since this command makes such a table, got "
                f"{config.label_errors.table}; rbkeras.fit takes it"
            )
        check_dask(parsed.dask)
        load_tensorflow()
        from rbkeras.run import find_label_errors

        find_label_errors(config, fold=parsed.fold, merge_only=parsed.merge, dask=parsed.dask)

    return run_command(work, interrupted=continues(overwrite=config.overwrite))


if __name__ == "__main__":
    raise SystemExit(main())
