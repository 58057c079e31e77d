"""`python -m rbkeras.evaluate`: figures of merit of a model on a test set."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from rbkeras.cli import load_tensorflow, run_command, words_of

_EXAMPLES = """\
examples:
  python -m rbkeras.evaluate RUN --test_real real.npy --test_bogus bogus.npy --out RUN/evaluation
  python -m rbkeras.evaluate NEW --beside OLD --test_real real.npy --test_bogus bogus.npy --out OUT
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; see `--help`."""
    arguments = _parser().parse_args(words_of(argv))
    return run_command(lambda: _evaluate(arguments))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="rbkeras evaluate",
        description="Measure AUC and false positive rates of a model, with 95% intervals.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("model", help="model.keras, or the run directory that holds it")
    parser.add_argument("--test_real", required=True, help="stamps that are real, .npy")
    parser.add_argument("--test_bogus", required=True, help="stamps that are bogus, .npy")
    parser.add_argument(
        "--out", required=True, help="folder for metrics.json, scores.csv, plots, report"
    )
    parser.add_argument(
        "--beside",
        metavar="MODEL",
        help="another model, or its run directory, to compare on the same stamps, in pairs",
    )
    return parser


def _evaluate(arguments: argparse.Namespace) -> None:
    from rbkeras.data.survey import open_stamps
    from rbkeras.files import whole_file
    from rbkeras.model_file import trained_model

    # Wrong files are found before TensorFlow and the model are loaded.
    for model in (arguments.model, arguments.beside):
        if model:
            trained_model(model)
    for path in (arguments.test_real, arguments.test_bogus):
        open_stamps(path)
    load_tensorflow()
    from rbkeras import evaluation
    from rbkeras.comparison import compare_scores, format_comparison
    from rbkeras.inference import load_classifier
    from rbkeras.report.gather import gather_evaluation
    from rbkeras.report.page import write_report

    model = load_classifier(arguments.model)
    files = {"real": arguments.test_real, "bogus": arguments.test_bogus}
    scores = evaluation.score_test_set(model, **files)
    if arguments.beside:
        # Before anything is written: another model may not take these stamps.
        theirs = evaluation.score_test_set(load_classifier(arguments.beside), **files)
        for both in (scores, theirs):
            evaluation.require_scores(*both)
    result = evaluation.write_evaluation(
        arguments.out,
        evaluation.scores_of_arrays(*scores),
        # Whole, since a report may be written from another folder.
        source={f"test_{name}": str(Path(path).resolve()) for name, path in files.items()},
    )
    findings = gather_evaluation(arguments.model, model, scores, metrics=result, **files)
    write_report(Path(arguments.out) / "report.html", findings)
    print("\n".join(evaluation.format_metrics(result)))
    comparison = Path(arguments.out) / "comparison.csv"
    # It would be of other models.
    comparison.unlink(missing_ok=True)
    if arguments.beside:
        table = compare_scores(scores, theirs)
        with whole_file(comparison) as temporary:
            table.to_csv(temporary, index=False)
        print(f"beside {arguments.beside}:")
        print("\n".join(format_comparison(table)))


if __name__ == "__main__":
    raise SystemExit(main())
