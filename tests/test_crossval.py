import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, logit

from rbkeras.crossval import fold_targets, merge_folds, train_fold
from rbkeras.data.pipeline import stamp_dataset
from rbkeras.data.records import open_records
from rbkeras.errors import InputError
from rbkeras.inference import load_classifier, score_records
from rbkeras.losses import RealBogusLoss
from rbkeras.models.classifier import build_classifier
from rbkeras.resume import mark_finished
from rbkeras.training import compile_classifier, make_optimizer


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


def test_predictions_are_moved_by_the_shift(tmp_path, records_dir):
    records = open_records(records_dir)
    targets = fold_targets(records.samples["label"].to_numpy(), np.arange(len(records)) % 3, 0)

    def make_model(steps):
        model = build_classifier(records.stamp_shape, network="simple", width=0.125, padding="same")
        optimizer = make_optimizer(total_steps=steps)
        compile_classifier(model, optimizer=optimizer, loss=RealBogusLoss())
        return model

    def make_dataset(targets, *, training, begun=0):
        return stamp_dataset(records, targets, batch_size=64)

    options = {"make_model": make_model, "make_dataset": make_dataset, "epochs": 1, "seed": 0}
    options |= {"deterministic": False, "symmetries": False, "shift": 2.5, "overwrite": False}
    train_fold(records, targets, **options, folder=tmp_path, settings={})
    found = pd.read_csv(tmp_path / "validation_result.csv")
    expected = score_records(load_classifier(tmp_path), records, targets[1])
    np.testing.assert_allclose(found["prediction0"], expected["prediction0"], atol=1e-5)
    np.testing.assert_allclose(found["prediction1"], expected["prediction1"] + 2.5, atol=1e-5)


def test_of_a_finished_fold_the_predictions_alone_are_needed(tmp_path, records_dir):
    def untrainable(*_, **__):
        raise KeyboardInterrupt

    records = open_records(records_dir)
    targets = fold_targets(records.samples["label"].to_numpy(), np.arange(len(records)) % 3, 0)
    options = {"make_model": untrainable, "make_dataset": untrainable, "epochs": 1, "seed": 0}
    options |= {"deterministic": False, "symmetries": False, "shift": 0.0, "overwrite": False}
    options |= {"folder": tmp_path, "settings": {"fold": 0}}
    mark_finished(tmp_path / "fold.json", {"fold": 0})
    (tmp_path / "validation_result.csv").write_text("unique_index\n")
    # A kill after it was marked may have left these; the network is somebody's to delete.
    (tmp_path / "backup").mkdir()
    train_fold(records, targets, **options)
    assert not (tmp_path / "backup").exists()
    (tmp_path / "validation_result.csv").unlink()
    with pytest.raises(KeyboardInterrupt):
        train_fold(records, targets, **options)
