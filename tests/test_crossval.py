import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, logit

from rbkeras.crossval import merge_folds
from rbkeras.errors import InputError


def write_folds(folder, indices, score):
    """One fold's predictions per list of indices; logits score(index, fold) and 0."""
    for fold, held_out in enumerate(indices):
        table = pd.DataFrame({"unique_index": held_out, "detector_id": 1, "label": 1})
        table["sample_index"], table["prediction0"] = table["unique_index"], 0.0
        table["prediction1"] = [score(index, fold) for index in held_out]
        (folder / str(fold)).mkdir(parents=True)
        table.to_csv(folder / str(fold) / "validation_result.csv", index=False)
    return [folder / str(fold) for fold in range(len(indices))]


def test_one_cross_validation_is_joined_as_it_is(tmp_path):
    folders = write_folds(tmp_path, [[3, 0], [1, 2]], lambda index, fold: index + 0.25)
    merged = merge_folds(folders)
    assert merged["unique_index"].tolist() == [3, 0, 1, 2]
    assert merged["prediction1"].tolist() == [3.25, 0.25, 1.25, 2.25]


def test_repeats_are_averaged_per_sample(tmp_path):
    # The second repeat has other folds; 0.2 and 0.6 make 0.4.
    folders = write_folds(
        tmp_path, [[3, 0], [1, 2], [0, 1], [2, 3]], lambda _, fold: logit(0.2 if fold < 2 else 0.6)
    )
    merged = merge_folds(folders, repeats=2)
    assert merged["unique_index"].tolist() == [0, 1, 2, 3]
    np.testing.assert_allclose(expit(merged["prediction1"] - merged["prediction0"]), 0.4)


def test_missing_folds_of_any_repeat_are_named(tmp_path):
    folders = write_folds(tmp_path, [[0], [1], [0], [1]], lambda index, fold: 0.0)
    for fold in (1, 2):
        (folders[fold] / "validation_result.csv").unlink()
    with pytest.raises(InputError, match=r"all 4 folds finished, missing 1, 2; train them"):
        merge_folds(folders, repeats=2)


def test_repeats_of_other_samples_are_refused(tmp_path):
    folders = write_folds(tmp_path, [[0], [1], [0], [2]], lambda index, fold: 0.0)
    with pytest.raises(InputError, match="same samples in every repeat, found others in folds 2 t"):
        merge_folds(folders, repeats=2)
