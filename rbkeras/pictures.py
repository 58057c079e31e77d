"""Pictures of stamps, scores and ROC curves, as matplotlib figures and PNG bytes."""

import io
from collections.abc import Sequence

import numpy as np
from astropy.visualization import AsinhStretch, ImageNormalize, PercentileInterval
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import Colormap
from matplotlib.figure import Figure
from sklearn.metrics import roc_curve

CHANNEL_NAMES = ("new", "reference", "difference")
REAL_COLOUR, BOGUS_COLOUR = "#0b6e99", "#c1440e"


def png_bytes(figure: Figure, *, dpi: int = 90) -> bytes:
    """Render a figure."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi)
    return buffer.getvalue()


def stamps_figure(stamps: np.ndarray, captions: Sequence[str], *, columns: int = 4) -> Figure:
    """Lay out stamps, each as its channels side by side with a caption above.

    Parameters
    ----------
    stamps
        (N, H, W, C), NaN allowed (drawn grey).
    captions
        N short texts.
    columns
        Stamps in a row.
    """
    count, height, _, channels = stamps.shape
    rows = max(-(-count // columns), 1)
    strip, gap = max(height // 4, 5), max(height // 10, 2)
    cell = (height + strip, channels * (stamps.shape[2] + 1) - 1 + gap)
    # One picture of all: axes for each stamp would take six times as long to draw.
    canvas = np.ones((rows * cell[0], columns * cell[1], 4))
    width = 1.05 * channels * columns
    figure = Figure(figsize=(width, width * canvas.shape[0] / canvas.shape[1]))
    frame = figure.add_axes((0, 0, 1, 1))
    frame.set_axis_off()
    for number, (stamp, caption) in enumerate(zip(stamps, captions, strict=False)):
        row, column = divmod(number, columns)
        top, left = row * cell[0] + strip, column * cell[1] + gap // 2
        panels = grey_map()(np.ma.masked_invalid(side_by_side(stamp)[::-1]))
        canvas[top : top + height, left : left + panels.shape[1]] = panels
        middle = left + panels.shape[1] / 2
        frame.text(middle, top - 1, caption, fontsize=7, ha="center", va="bottom")
    frame.imshow(canvas, interpolation="nearest", aspect="auto")
    return figure


def grey_map() -> Colormap:
    """Grey levels, with missing pixels in blue-grey."""
    return colormaps["gray"].with_extremes(bad="#8899aa")


def side_by_side(stamp: np.ndarray) -> np.ndarray:
    """Stretch each channel on its own and join them with a gap: (H, C (W + 1) - 1)."""
    panels = []
    for channel in np.moveaxis(stamp, -1, 0):
        finite = channel[np.isfinite(channel)]
        low, high = PercentileInterval(99.0).get_limits(finite) if finite.size else (0.0, 1.0)
        if not high > low:
            # A constant channel; the step has to be seen by floats of any size.
            high = low + (abs(low) * 1e-6 or 1.0)
        stretch = ImageNormalize(vmin=low, vmax=high, stretch=AsinhStretch(0.2))
        panels += [stretch(np.ma.masked_invalid(channel)).filled(np.nan)]
        panels += [np.full((channel.shape[0], 1), np.nan)]
    return np.concatenate(panels[:-1], axis=1)


def _chart() -> tuple[Figure, Axes]:
    """Axes with room for labels; matplotlib would take as long as for all the rest to find it."""
    figure = Figure(figsize=(5, 4))
    return figure, figure.add_axes((0.14, 0.13, 0.83, 0.79))


def roc_figure(real: np.ndarray, bogus: np.ndarray, *, title: str) -> Figure:
    """Draw the ROC curve of the scores of both classes."""
    figure, axes = _chart()
    draw_roc(axes, real, bogus)
    axes.set_title(title)
    axes.grid(alpha=0.3)
    return figure


def score_figure(real: np.ndarray, bogus: np.ndarray, *, title: str) -> Figure:
    """Draw histograms of the scores of both classes."""
    figure, axes = _chart()
    draw_scores(axes, real, bogus)
    axes.set_title(title)
    axes.legend()
    return figure


def draw_roc(axes: Axes, real: np.ndarray, bogus: np.ndarray, *, label: str | None = None) -> None:
    """Draw a ROC curve over a logarithmic axis of false positive rates, and what 0.9 is."""
    floor = 0.5 / len(bogus)
    axes.step(*roc_rates(real, bogus), where="post", color=REAL_COLOUR, label=label)
    axes.axhline(0.9, color="#8a949e", linewidth=0.8, linestyle=":")
    axes.set(xscale="log", xlim=(floor, 1), ylim=(0, 1.02))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set(xlabel="false positive rate", ylabel="true positive rate")


def roc_rates(real: np.ndarray, bogus: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Find the false and true positive rates of a ROC curve, for an axis without a zero.

    Half of what one bogus would make stands for a false positive rate of 0.
    """
    labels = np.r_[np.ones(len(real)), np.zeros(len(bogus))]
    fpr, tpr, _ = roc_curve(labels, np.r_[real, bogus])
    return np.maximum(fpr, 0.5 / len(bogus)), tpr


def draw_scores(axes: Axes, real: np.ndarray, bogus: np.ndarray) -> None:
    """Draw histograms of the scores of both classes, counts on a logarithmic axis."""
    everything = np.r_[real, bogus]
    edges = np.linspace(everything.min(), everything.max() + 1e-6, 61)
    for scores, colour, name in ((bogus, BOGUS_COLOUR, "bogus"), (real, REAL_COLOUR, "real")):
        axes.hist(scores, edges.tolist(), color=colour, alpha=0.55, label=name, edgecolor="none")
    axes.set(yscale="log", xlabel="score (log-odds of real)", ylabel="stamps")
    axes.yaxis.set_major_formatter("{x:g}")
