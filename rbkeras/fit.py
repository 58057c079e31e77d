"""`python -m rbkeras.fit`: find label errors, train without them, evaluate."""

from collections.abc import Sequence

from rbkeras.cli import continues, load_tensorflow, run_command
from rbkeras.distribution import check_dask
from rbkeras.options import add_dask_flag, checked, make_parser, parse_config

_EXAMPLES = """\
examples:
  python -m rbkeras.fit
      simulate a small survey and do the whole job on it, in a few minutes
  python -m rbkeras.fit --data RECORDS --test_real real.npy --test_bogus bogus.npy --out RUN
  python -m rbkeras.fit --data RECORDS --out RUN --label_errors.group objectId
  python -m rbkeras.fit --data RECORDS --out RUN2 --label_errors.table RUN/label_errors.csv \\
      --verdicts verdicts.csv
      with a person's verdicts, collected in RUN/label_errors.html
  python -m rbkeras.fit --config RUN/config.yaml --out OTHER --loss.lambda_vat 0
  python -m rbkeras.fit --data RECORDS --out RUN --dask local:4
      the folds of stage 1 by four workers

Called again with the same settings, it goes on where it was interrupted.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; see `--help`."""
    parser = make_parser(
        prog="rbkeras fit",
        description="Train a real/bogus classifier on labels that are partly wrong.",
        examples=_EXAMPLES,
    )
    add_dask_flag(parser, "the folds of stage 1, and by a scheduler stage 2 too,")
    config, parsed = parse_config(parser, argv)

    def work() -> None:
        checked(config)
        check_dask(parsed.dask)
        load_tensorflow()
        from rbkeras.run import fit

        fit(config, dask=parsed.dask)

    return run_command(work, interrupted=continues(overwrite=config.overwrite))


if __name__ == "__main__":
    raise SystemExit(main())
