import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.special import expit, logit, softmax

from rbkeras.crossval import mean_prediction, merge_folds
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


# --- averaging ------------------------------------------------------------------------------------


def test_probabilities_are_averaged():
    logits = np.random.default_rng(0).normal(0, 3, (5, 40, 2))
    mean = mean_prediction(logits)
    np.testing.assert_allclose(softmax(mean, axis=-1), softmax(logits, axis=-1).mean(0))


def test_one_network_that_is_too_sure_does_not_outvote_the_others():
    logits = np.zeros((3, 1, 2))
    logits[:, 0, 1] = [-2, -2, 40]
    assert logits.mean(0)[0, 1] > 0
    (mean,) = mean_prediction(logits)
    assert mean[1] < mean[0]


@settings(deadline=None)
@given(arrays(np.float64, (3, 4, 2), elements=st.floats(-1e6, 1e6)))
def test_means_of_finite_logits_are_finite_and_between_them(logits):
    mean = mean_prediction(logits)
    assert np.isfinite(mean).all()
    score, scores = mean[:, 1] - mean[:, 0], logits[..., 1] - logits[..., 0]
    margin = 1e-9 * (1 + np.abs(scores).max())
    assert (score >= scores.min(0) - margin).all()
    assert (score <= scores.max(0) + margin).all()


def test_predictions_that_are_not_finite_stay_so():
    assert np.isnan(mean_prediction(np.array([[[0.0, np.nan]], [[0.0, 1.0]]]))).any()
