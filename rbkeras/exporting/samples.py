"""Stamps to check an exported file on, and to calibrate int8 by."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rbkeras.data.sources import require_stamp_shape
from rbkeras.data.survey import open_stamps
from rbkeras.errors import InputError
from rbkeras.exporting.runtimes import INPUT
from rbkeras.files import read_yaml

#: Stamps of a check, and of a calibration.
CHECKED, CALIBRATED = 1024, 512


@dataclass(frozen=True)
class Sample:
    """Stamps with what is known of them.

    Attributes
    ----------
    stamps
        float32 (N, H, W, C).
    labels
        int8 (N,): 0, 1, or -1 where unknown.
    source
        Where they come from, for messages.
    """

    stamps: np.ndarray
    labels: np.ndarray
    source: str


def check_sample(
    model: Path,
    shape: tuple[int, int, int],
    *,
    test_real: Path | None = None,
    test_bogus: Path | None = None,
) -> Sample:
    """Choose stamps to compare engines on.

    The test set that is given; or else the one that the run was tested on, then the records that
    it was trained on, if they still lie where they lay; or else simulated stamps.

    Raises
    ------
    InputError
        When a file that is named is at fault, or has stamps of another shape.
    """
    if test_real is not None or test_bogus is not None:
        if test_real is None or test_bogus is None:
            raise InputError("expected both of --test_real and --test_bogus, got one")
        return _from_arrays(test_real, test_bogus, shape)
    settings = _run_settings(model)
    real, bogus = settings.get("test_real"), settings.get("test_bogus")
    # What a run once read may have moved or changed; the model is none the worse for it.
    if real is not None and bogus is not None:
        with suppress(InputError):
            return _from_arrays(Path(real), Path(bogus), shape)
    if settings.get("data") is not None:
        with suppress(InputError):
            return _from_records(Path(settings["data"]), shape, first=CALIBRATED, count=CHECKED)
    return _simulated(shape)


def calibration_sample(
    model: Path, shape: tuple[int, int, int], *, calibration: Path | None = None
) -> np.ndarray:
    """Choose stamps whose activations set the ranges of int8, float32 (N, H, W, C).

    An array or records that are named, or else the records that the run was trained on.

    Raises
    ------
    InputError
        When there are none, or they have another shape.
    """
    path = calibration or _run_settings(model).get("data")
    if path is None:
        raise InputError(
            f"{model}: expected stamps to calibrate int8 by, found no run that names its records; "
            "--calibration takes a .npy file or a records directory"
        )
    path = Path(path)
    if path.is_dir() or path.suffix != ".npy":
        return _from_records(path, shape, first=0, count=CALIBRATED).stamps
    return _some(open_stamps(path), CALIBRATED, shape=shape, source=path)


def in_batches(stamps: np.ndarray, size: int = 32) -> Iterator[dict[str, np.ndarray]]:
    """Give stamps (N, H, W, C) to a quantizer, `size` at a time, by the name of the input."""
    for first in range(0, len(stamps), size):
        yield {INPUT: stamps[first : first + size]}


def _run_settings(model: Path) -> dict[str, str]:
    """Take the paths from the settings of the model's run, if it lies in one."""
    folder = model if model.is_dir() else model.parent
    try:
        settings = read_yaml(folder / "config.yaml")
    except InputError:
        return {}
    found = settings if isinstance(settings, dict) else {}
    return {name: path for name, path in found.items() if isinstance(path, str) and path}


def _from_arrays(real: Path, bogus: Path, shape: tuple[int, int, int]) -> Sample:
    parts = [
        _some(open_stamps(path), CHECKED // 2, shape=shape, source=path) for path in (real, bogus)
    ]
    labels = np.repeat(np.array([1, 0], np.int8), [len(part) for part in parts])
    return Sample(np.concatenate(parts), labels, f"{real} and {bogus.name}")


def _from_records(path: Path, shape: tuple[int, int, int], *, first: int, count: int) -> Sample:
    """Take samples by a fixed shuffle, so that other positions of it are other samples."""
    from rbkeras.data.pipeline import read_stamps
    from rbkeras.data.records import open_records, reading

    records = open_records(path)
    require_stamp_shape(records.stamp_shape, shape, source=path)
    shuffled = np.random.default_rng(0).permutation(len(records))
    chosen = shuffled[first : first + count] if len(shuffled) > first else shuffled[:count]
    with reading(path):
        stamps = read_stamps(records, chosen)
    return Sample(stamps, records.samples["label"].to_numpy(np.int8)[chosen], str(path))


def _some(
    stamps: np.ndarray, count: int, *, shape: tuple[int, int, int], source: Path
) -> np.ndarray:
    require_stamp_shape(stamps.shape[1:], shape, source=source)
    chosen = np.sort(np.random.default_rng(0).permutation(len(stamps))[:count])
    return np.asarray(stamps[chosen], dtype=np.float32)


def _simulated(shape: tuple[int, int, int]) -> Sample:
    """Simulate stamps; where the shape is not square or not of three channels, cut and repeat."""
    from rbkeras.data.simulation import simulate_stamps
    from rbkeras.data.simulation.sky import draw_conditions

    rng = np.random.default_rng(0)
    height, width, channels = shape
    parts = []
    for kind in ("real", "bogus"):
        images, _ = simulate_stamps(
            CHECKED // 4,
            kind=kind,
            conditions=draw_conditions(rng),
            rng=rng,
            # Smaller ones the simulator has no room in.
            size=max(height, width, 15),
        )
        parts.append(images[:, :height, :width, np.arange(channels) % 3])
    labels = np.repeat(np.array([1, 0], np.int8), CHECKED // 4)
    return Sample(np.ascontiguousarray(np.concatenate(parts)), labels, "simulated stamps")
