"""What `fit` and `find_label_errors` do, from settings to a finished run directory."""

import contextlib
import os
import platform
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import tensorflow as tf

from rbkeras import __version__, evaluation, stage1, stage2
from rbkeras.callbacks import log_figure
from rbkeras.config import FitConfig
from rbkeras.data.labels import BOGUS, REAL, missing_class
from rbkeras.data.pipeline import read_stamps
from rbkeras.data.records import Records, open_records, reading
from rbkeras.data.survey import open_stamps
from rbkeras.distribution import do_on_dask, is_local
from rbkeras.errors import InputError
from rbkeras.files import whole_file, write_json
from rbkeras.label_errors import most_suspicious
from rbkeras.models.classifier import RealBogusClassifier
from rbkeras.options import as_plain, from_plain, write_config
from rbkeras.pictures import roc_figure, score_figure, stamps_figure
from rbkeras.pieces import Piece
from rbkeras.report.gather import gather_run
from rbkeras.report.page import write_report
from rbkeras.resume import OtherSettingsError
from rbkeras.review.gallery import write_gallery
from rbkeras.run_summary import summary, suspects_in_words
from rbkeras.rundir import Run
from rbkeras.simulated import simulated

#: Suspects in one picture.
_IN_TENSORBOARD = 48
_PACKAGES = ("keras", "tensorflow", "numpy", "pandas", "scikit-learn", "scipy", "astropy")


def fit(config: FitConfig, *, dask: str | None = None) -> None:
    """Do the whole job: stage 1, stage 2, evaluation; print a summary at the end.

    Workers, where `dask` names some, train the folds, and those of a scheduler stage 2 too: they
    are where the processors are.
    """
    config, run = _start(config, dask)
    # What can be told before hours of training.
    stage2.choose_targets(run, None)
    stage2.refuse_others(run)
    with _described(config):
        rated = stage1.find_label_errors(run, dask=dask)
        # What is told of an earlier stage 2 stands until it is sure to be replaced.
        stands = (run.folder / stage2.MARKER).exists()
        if rated is not None:
            # Before stage 2, which may find too few labels left.
            print("\n".join(suspects_in_words(rated)))
            if not stands:
                _tell_suspects(run, rated)
        if dask is not None and not is_local(dask):
            do_on_dask([_stage2_piece(run)], dask, title="stage 2")

        def on_claimed() -> None:
            _describe(config)
            if rated is not None and stands:
                _tell_suspects(run, rated)

        model = stage2.train_final(run, rated, on_claimed=on_claimed)
    result = _evaluate(run, model)
    write_report(config.out / "report.html", gather_run(config.out, model=model))
    print("\n".join(summary(config, rated, result)))
    print(f"open {config.out / 'report.html'}")


def _evaluate(run: Run, model: RealBogusClassifier) -> dict[str, Any] | None:
    """Score the test stamps, or those of the records that were held out; None without either."""
    config = run.config
    if config.test_real and config.test_bogus:
        scores = evaluation.score_test_set(model, real=config.test_real, bogus=config.test_bogus)
        table = evaluation.scores_of_arrays(*scores)
        source = {
            "test_real": _lasting(config.test_real, config.out),
            "test_bogus": _lasting(config.test_bogus, config.out),
        }
    elif config.hold_out:
        table = stage2.predicted(run, model, run.test_labels, again_from=model.again_from)
        table["score"] = table["prediction1"] - table["prediction0"]
        source = {"records": run.records.directory}
    else:
        return None
    result = evaluation.write_evaluation(config.out / "evaluation", table, source=source)
    scores = [table.loc[table["label"] == label, "score"].to_numpy() for label in (1, 0)]
    with _writer(run, "test"):
        log_figure("test/roc", roc_figure(*scores, title="test set"))
        log_figure("test/scores", score_figure(*scores, title="test set"))
    return result


def _lasting(path: Path, folder: Path) -> Path:
    """Name a file so that it is found from elsewhere; what lies in the run moves with it."""
    return path if path.is_relative_to(folder) else path.resolve()


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
    run = Run(config, open_records(config.data))
    stage2.train_final(run, stage1.find_label_errors(run))


def find_label_errors(
    config: FitConfig, *, fold: int | None, merge_only: bool, dask: str | None = None
) -> None:
    """Do stage 1, one fold of it, or its merging alone."""
    config, run = _start(config, dask)
    if not merge_only:
        with _described(config, stage1_alone=True):
            stage1.train_folds(run, fold, dask=dask)
    missing = stage1.unfinished_folds(run)
    if fold is not None and missing and not merge_only:
        print(f"fold {fold} is finished; label_errors.csv needs {', '.join(missing)} too")
        return
    rated = stage1.merge(run)
    if merge_only:
        _describe(config, stage1_alone=True)
    _tell_suspects(run, rated)
    print("\n".join(summary(config, rated, None)))


def _start(config: FitConfig, dask: str | None) -> tuple[FitConfig, Run]:
    """Make the run directory, simulate a survey if there are no data, check test files."""
    config.out.mkdir(parents=True, exist_ok=True)
    if config.data is None:
        config = simulated(config)
    run = Run(config, open_records(config.data))
    _check_labels(run)
    if dask is None or is_local(dask):
        # Before hours of work, that is; elsewhere there may be more devices than here.
        run.strategy  # noqa: B018
    check_test_files(config, run.records)
    if config.hold_out:
        _check_held_out(run)
    stage1.check_folds(run)
    stage1.known_verdicts(run)
    if run.verdicts is not None:
        print(f"{config.verdicts}: {len(run.verdicts)} verdicts")
    return config, run


_DESCRIPTIONS = ("config.yaml", "environment.json")


def _describe(config: FitConfig, *, stage1_alone: bool = False) -> None:
    if stage1_alone and _has_model(config):
        # They are of the model, and have settings that are none of stage 1's.
        return
    write_config(config.out / _DESCRIPTIONS[0], config)
    write_json(config.out / _DESCRIPTIONS[1], _environment())


def _has_model(config: FitConfig) -> bool:
    return (config.out / "model.keras").exists()


@contextlib.contextmanager
def _described(config: FitConfig, *, stage1_alone: bool = False) -> Iterator[None]:
    """Say in the run directory what is done there; take it back where that is refused.

    What is said there of a model stands until stage 2 replaces that one.
    """
    paths = [config.out / name for name in _DESCRIPTIONS]
    before = [path.read_bytes() if path.exists() else None for path in paths]
    if not _has_model(config):
        _describe(config, stage1_alone=stage1_alone)
    try:
        yield
    except InputError as error:
        if not (isinstance(error, OtherSettingsError) or _has_model(config)):
            raise
        for path, content in zip(paths, before, strict=True):
            if content is not None:
                with whole_file(path) as temporary:
                    temporary.write_bytes(content)
        raise


def _check_labels(run: Run) -> None:
    """Find out before the first fold that there is nothing to tell apart."""
    if run.config.policy == "keep":
        # Verdicts may supply what the records lack; stage 2 looks at what comes out.
        return
    missing = missing_class(run.labels)
    if missing is not None:
        raise InputError(
            f"{run.records.directory}: expected labels of both classes, found no {missing}"
        )


def _check_held_out(run: Run) -> None:
    """Say what is held out, and find out before hours of training that it is no test set."""
    labels = run.test_labels
    real, bogus = np.sum(labels == REAL), np.sum(labels == BOGUS)
    if not (real and bogus):
        raise InputError(
            f"--hold_out: expected real and bogus among the samples set aside of "
            f"{run.records.directory}, found {real} real and {bogus} bogus"
        )
    print(f"{run.records.directory}: {real} real and {bogus} bogus are held out for the test")


def check_test_files(config: FitConfig, records: Records) -> None:
    """Find a wrong test file before hours of training, not after."""
    for path in (config.test_real, config.test_bogus):
        if path is not None:
            found = open_stamps(path).shape[1:]
            if found != records.stamp_shape:
                raise InputError(
                    f"{path}: expected stamps of shape {records.stamp_shape} as in "
                    f"{records.directory}, found {found}"
                )


def _environment() -> dict[str, Any]:
    return {
        "rbkeras": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpus": os.cpu_count(),
        "packages": {name: metadata.version(name) for name in _PACKAGES},
    }


def _writer(run: Run, name: str) -> Any:
    folder = run.folder / "tensorboard" / name
    return tf.summary.create_file_writer(str(folder)).as_default(step=0)


def _tell_suspects(run: Run, rated: pd.DataFrame) -> None:
    """Write all that a run directory says about stage 1."""
    stage1.write(run, rated)
    _show_suspects(run, rated)
    _write_cross_validation(run, rated)


def _show_suspects(run: Run, rated: pd.DataFrame) -> None:
    """Write `label_errors.html` and show TensorBoard the most suspicious stamps."""
    ranked = most_suspicious(rated)
    page = ranked["unique_index"].head(run.config.label_errors.gallery).to_numpy()
    if not len(page):
        # One of other suspects.
        (run.folder / "label_errors.html").unlink(missing_ok=True)
    chosen = ranked[ranked["suspect"] == 1].head(_IN_TENSORBOARD)
    # Read together, since it takes a pass over all records.
    wanted = np.union1d(page, chosen["unique_index"])
    if not len(wanted):
        return
    with reading(run.records.directory):
        stamps = read_stamps(run.records, wanted)
    if len(page):
        write_gallery(
            run.folder / "label_errors.html",
            rated,
            stamps[np.searchsorted(wanted, page)],
            samples=run.records.samples,
            verdicts=stage1.known_verdicts(run),
            title=f"{run.records.directory.name}, {run.folder.name}",
        )
    if chosen.empty:
        return
    names = {0: "bogus", 1: "real"}
    captions = [
        f"labelled {names[row.label]}, P(real) {row.probability_real:.3f}"
        for row in chosen.itertuples()
    ]
    figure = stamps_figure(stamps[np.searchsorted(wanted, chosen["unique_index"])], captions)
    with _writer(run, "label_errors"):
        log_figure("suspects", figure)


def _write_cross_validation(run: Run, rated: pd.DataFrame) -> None:
    """Figures of merit of the out-of-fold predictions against the labels as given."""
    score = rated["prediction1"] - rated["prediction0"]
    scores = [score[rated["label"] == label].to_numpy() for label in (1, 0)]
    result = evaluation.summarise(*scores)
    write_json(run.folder / "evaluation" / "cross_validation.json", result)
    with _writer(run, "label_errors"):
        log_figure("cross_validation/roc", roc_figure(*scores, title="out of fold, given labels"))
        log_figure("cross_validation/scores", score_figure(*scores, title="out of fold"))
