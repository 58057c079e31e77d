"""What a run directory shows of stage 1: table, review page, figures, TensorBoard's pictures."""

import numpy as np
import pandas as pd

from rbkeras import evaluation, stage1
from rbkeras.callbacks import log_figure
from rbkeras.data.labels import CLASS_NAMES
from rbkeras.data.pipeline import read_stamps
from rbkeras.data.records import reading
from rbkeras.files import write_json
from rbkeras.label_errors import most_suspicious
from rbkeras.pictures import roc_figure, score_figure, stamps_figure
from rbkeras.review.gallery import write_gallery
from rbkeras.rundir import Run

#: Suspects in one picture.
_IN_TENSORBOARD = 48


def tell_suspects(run: Run, rated: pd.DataFrame) -> None:
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
    captions = [
        f"labelled {CLASS_NAMES[row.label]}, P(real) {row.probability_real:.3f}"
        for row in chosen.itertuples()
    ]
    figure = stamps_figure(stamps[np.searchsorted(wanted, chosen["unique_index"])], captions)
    with run.tensorboard("label_errors"):
        log_figure("suspects", figure)


def _write_cross_validation(run: Run, rated: pd.DataFrame) -> None:
    """Figures of merit of the out-of-fold predictions against the labels as given."""
    score = rated["prediction1"] - rated["prediction0"]
    scores = [score[rated["label"] == label].to_numpy() for label in (1, 0)]
    result = evaluation.summarise(*scores)
    write_json(run.folder / "evaluation" / "cross_validation.json", result)
    with run.tensorboard("label_errors"):
        log_figure("cross_validation/roc", roc_figure(*scores, title="out of fold, given labels"))
        log_figure("cross_validation/scores", score_figure(*scores, title="out of fold"))
