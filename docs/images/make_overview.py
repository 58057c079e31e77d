"""Draw `overview.png`: suspects that `python -m rbkeras.fit` found, and the ROC curve.

python docs/images/make_overview.py rbkeras-run docs/images/overview.png
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from sklearn.metrics import roc_curve

from rbkeras.pictures import BOGUS_COLOUR, REAL_COLOUR, grey_map, side_by_side


def main(run: Path, out: Path) -> None:
    """Draw the most suspicious stamps of each class beside the ROC curve of a finished run."""
    figure = Figure(figsize=(11, 3.4), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=(1.7, 1))
    rated = pd.read_csv(run / "label_errors.csv")
    suspects = rated[rated["suspect"] == 1].sort_values("error_probability", ascending=False)
    rated = suspects.groupby("label").head(6).sort_values("label", kind="stable")
    left.suptitle("labels that stage 1 suspects (new, reference, difference)", fontsize=10)
    for axes, row in zip(left.subplots(3, 4).flat, rated.itertuples(), strict=False):
        stamps = np.load(run / f"survey/raw/images{row.detector_id}.npy", mmap_mode="r")
        axes.imshow(side_by_side(stamps[row.sample_index]), cmap=grey_map(), origin="lower")
        label = "real" if row.label else "bogus"
        axes.set_title(f"labelled {label}, P(real) {row.probability_real:.3f}", fontsize=7, pad=2)
        axes.set_axis_off()
    scores = pd.read_csv(run / "evaluation" / "scores.csv")
    fpr, tpr, _ = roc_curve(scores["label"], scores["score"], drop_intermediate=False)
    axes = right.subplots()
    floor = 0.5 / (scores["label"] == 0).sum()
    axes.step(np.maximum(fpr, floor), tpr, where="post", color=REAL_COLOUR)
    axes.axhline(0.9, color=BOGUS_COLOUR, linewidth=0.8, linestyle=":")
    axes.set(xscale="log", xlim=(floor, 1), ylim=(0, 1.01))
    axes.set(xlabel="false positive rate", ylabel="true positive rate")
    axes.set_title("ROC curve on the test set", fontsize=10)
    axes.grid(alpha=0.3)
    figure.savefig(out, dpi=110)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
