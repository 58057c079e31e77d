"""What `fit` and `find_label_errors` do, from settings to a finished run directory."""

from shlex import quote
from typing import Any

from rbkeras import evaluation, stage1, stage2
from rbkeras.callbacks import log_figure
from rbkeras.config import FitConfig
from rbkeras.data.records import open_records, require_no_records
from rbkeras.descriptions import describe, described
from rbkeras.distribution import do_on_dask, is_local
from rbkeras.early_checks import (
    check_held_out,
    check_labels,
    check_start_of_folds,
    check_start_of_stage2,
    check_test_files,
)
from rbkeras.files import remove_abandoned
from rbkeras.model_file import STAGE2_MARKER
from rbkeras.models.classifier import RealBogusClassifier
from rbkeras.options import as_plain, from_plain
from rbkeras.pictures import roc_figure, score_figure
from rbkeras.pieces import Piece
from rbkeras.report.gather import gather_run
from rbkeras.report.page import write_report
from rbkeras.run_summary import summary, suspects_in_words
from rbkeras.rundir import Run
from rbkeras.simulated import simulated
from rbkeras.stage1_results import tell_suspects


def fit(config: FitConfig, *, dask: str | None = None) -> None:
    """Do the whole job: stage 1, stage 2, evaluation; print a summary at the end.

    Workers, where `dask` names some, train the folds, and those of a scheduler stage 2 too: they
    are where the processors are.
    """
    config, run = _start(config, dask)
    # What can be told before hours of training.
    if config.policy != "flip":  # which may find more of a class than is given
        stage2.choose_targets(run, None)
    if config.label_errors.table is None and config.policy != "keep":
        check_start_of_folds(run)
    check_start_of_stage2(run)
    stage2.refuse_others(run)
    with described(config):
        rated = stage1.find_label_errors(run, dask=dask)
        # What is told of an earlier stage 2 stands until it is sure to be replaced.
        stands = (run.folder / STAGE2_MARKER).exists()
        if rated is not None:
            # Before stage 2, which may find too few labels left.
            print("\n".join(suspects_in_words(rated)))
            if not stands:
                tell_suspects(run, rated)
        if dask is not None and not is_local(dask):
            do_on_dask([_stage2_piece(run)], dask, title="stage 2")

        def on_claimed() -> None:
            describe(config)
            if rated is not None and stands:
                tell_suspects(run, rated)

        model = stage2.train_final(run, rated, on_claimed=on_claimed)
    result = _evaluate(run, model)
    write_report(config.out / "report.html", gather_run(config.out, model=model))
    print("\n".join(summary(config, rated, result)))
    print(f"open {quote(str(config.out / 'report.html'))}")


def _evaluate(run: Run, model: RealBogusClassifier) -> dict[str, Any] | None:
    """Score the test stamps, or those of the records that were held out; None without either."""
    config = run.config
    if config.test_real and config.test_bogus:
        scores = evaluation.score_test_set(model, real=config.test_real, bogus=config.test_bogus)
        table = evaluation.scores_of_arrays(*scores)
        source = {
            # As in config.yaml; what lies in the run is found where it has moved to.
            "test_real": config.test_real.absolute(),
            "test_bogus": config.test_bogus.absolute(),
        }
    elif config.hold_out:
        table = stage2.predicted(run, model, run.test_labels, again_from=model.again_from)
        table["score"] = table["prediction1"] - table["prediction0"]
        source = {"records": run.records.directory}
    else:
        return None
    result = evaluation.write_evaluation(config.out / "evaluation", table, source=source)
    real, bogus = (table.loc[table["label"] == label, "score"].to_numpy() for label in (1, 0))
    with run.tensorboard("test"):
        log_figure("test/roc", roc_figure(real, bogus, title="test set"))
        log_figure("test/scores", score_figure(real, bogus, title="test set"))
    return result


def _stage2_piece(run: Run) -> Piece:
    return Piece(
        name="stage 2",
        work=train_final_elsewhere,
        arguments={"settings": as_plain(run.config)},
        log=run.folder / "logs" / "stage-2.txt",
    )


def train_final_elsewhere(*, settings: dict[str, Any]) -> None:
    """Stage 2 of a run whose stage 1 is finished, its settings as `as_plain` gives them."""
    config = from_plain(settings)
    run = Run(config, open_records(config.records_directory))
    stage2.train_final(run, stage1.find_label_errors(run))


def find_label_errors(
    config: FitConfig, *, fold: int | None, merge_only: bool, dask: str | None = None
) -> None:
    """Do stage 1, one fold of it, or its merging alone."""
    config, run = _start(config, dask)
    if not merge_only:
        check_start_of_folds(run)
        with described(config, stage1_alone=True):
            stage1.train_folds(run, fold, dask=dask)
    missing = stage1.unfinished_folds(run)
    if fold is not None and missing and not merge_only:
        print(f"fold {fold} is finished; label_errors.csv needs {', '.join(missing)} too")
        return
    rated = stage1.merge(run)
    if merge_only:
        describe(config, stage1_alone=True)
    tell_suspects(run, rated)
    print("\n".join(summary(config, rated, None)))


def _start(config: FitConfig, dask: str | None) -> tuple[FitConfig, Run]:
    """Make the run directory, simulate a survey if there are no data, check test files."""
    require_no_records(config.out)
    config.out.mkdir(parents=True, exist_ok=True)
    remove_abandoned(config.out)
    if config.data is None:
        config = simulated(config)
    run = Run(config, open_records(config.records_directory))
    check_labels(run)
    if dask is None or is_local(dask):
        # Before hours of work, that is; elsewhere there may be more devices than here.
        run.strategy  # noqa: B018
    check_test_files(config, run.records)
    if config.hold_out:
        check_held_out(run)
    stage1.check_folds(run)
    stage1.known_verdicts(run)
    if run.verdicts is not None:
        print(f"{config.verdicts}: {len(run.verdicts)} verdicts")
    return config, run
