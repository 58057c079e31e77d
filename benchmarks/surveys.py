"""Survey directories for benchmarks of speed, where the pixels' content does not matter."""

from pathlib import Path

import numpy as np
import pandas as pd


def write_random_survey(
    folder: str | Path,
    *,
    detectors: int,
    per_detector: int,
    size: int = 29,
    unlabelled: float = 0.0,
    seed: int = 0,
) -> Path:
    """Write stamps of noise with random labels, a fraction of them without one."""
    folder = Path(folder)
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    known = (1 - unlabelled) / 2
    for detector_id in range(1, detectors + 1):
        # Noise does not compress, which is what GZIP finds in a survey's float pixels too.
        stamps = rng.normal(100, 15, (per_detector, size, size, 3)).astype(np.float32)
        np.save(folder / f"images{detector_id}.npy", stamps)
        names = rng.choice(
            ["artifact", "galx_artificial_real", "unlabelled"],
            per_detector,
            p=[known, known, unlabelled],
        )
        table = pd.DataFrame({"object_type": names})
        table.to_csv(folder / f"params{detector_id}.csv", index=False)
    return folder
