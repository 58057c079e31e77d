"""Survey directories made by hand, for several test modules."""

import numpy as np
import pandas as pd


def write_detector(directory, detector, stamps, names, **columns):
    directory.mkdir(parents=True, exist_ok=True)
    np.save(directory / f"images{detector}.npy", stamps)
    table = pd.DataFrame({"object_type": names, **columns})
    table.to_csv(directory / f"params{detector}.csv", index=False)
