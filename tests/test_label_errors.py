import numpy as np
import pandas as pd
import pytest

from rbkeras.data.pipeline import SKIP
from rbkeras.errors import InputError
from rbkeras.label_errors import (
    COLUMNS,
    apply_policy,
    rate_labels,
    read_label_errors,
    suspects_per_class,
    write_label_errors,
)

# unique_index 2 is unlabelled. ln 3 and ln 9 are odds of 3 and 9.
LABELS = np.array([0, 1, -1, 1, 0], np.int8)


@pytest.fixture
def out_of_fold():
    return pd.DataFrame(
        {
            "unique_index": [4, 0, 3, 1],
            "detector_id": [7, 7, 7, 7],
            "sample_index": [4, 0, 3, 1],
            "label": [0, 0, 1, 1],
            "prediction0": [1.0, 0.0, np.log(3), 0.5],
            "prediction1": [1.0 + np.log(9), -np.log(3), 0.0, 0.5 + np.log(3)],
            "another": [1, 2, 3, 4],
        }
    )


@pytest.fixture
def rated(out_of_fold):
    return rate_labels(out_of_fold)


def test_labels_are_rated_by_the_probability_of_the_given_one(rated):
    assert list(rated.columns) == COLUMNS
    assert rated["unique_index"].tolist() == [0, 1, 3, 4]
    np.testing.assert_allclose(rated["probability_real"], [0.25, 0.75, 0.25, 0.9])
    np.testing.assert_allclose(rated["label_quality"], [0.75, 0.75, 0.25, 0.1])
    assert rated["suspect"].tolist() == [0, 0, 1, 1]


def test_extreme_logits_do_not_overflow(out_of_fold):
    out_of_fold["prediction1"] = [5000.0, -5000.0, 5000.0, -5000.0]
    quality = rate_labels(out_of_fold)["label_quality"]
    np.testing.assert_allclose(quality, [1, 0, 1, 0])


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_predictions_that_are_not_finite_are_refused(out_of_fold, value):
    out_of_fold.loc[1, "prediction0"] = value
    with pytest.raises(InputError, match=r"finite.*diverged"):
        rate_labels(out_of_fold)


def test_samples_predicted_twice_are_refused(out_of_fold):
    with pytest.raises(InputError, match="several of unique_index 0"):
        rate_labels(pd.concat([out_of_fold, out_of_fold.iloc[[1]]]))


@pytest.mark.parametrize("label", [-1, 2])
def test_other_labels_are_refused(out_of_fold, label):
    out_of_fold.loc[0, "label"] = label
    with pytest.raises(InputError, match="labels 0 and 1"):
        rate_labels(out_of_fold)


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ("unlabel", [0, 1, -1, -1, -1]),
        ("remove", [0, 1, -1, SKIP, SKIP]),
        ("keep", [0, 1, -1, 1, 0]),
        ("flip", [0, 1, -1, 0, 1]),
        # Wrongness of 3 and 4: 0.75 and 0.9.
        ("threshold", [0, 1, -1, 1, -1]),
    ],
)
def test_policies_change_suspects_alone(rated, policy, expected):
    given = LABELS.copy()
    targets = apply_policy(given, rated, policy=policy, threshold=0.8)
    assert targets.tolist() == expected
    assert targets.dtype == np.int8
    assert given.tolist() == LABELS.tolist()


def test_lower_thresholds_unlabel_more(rated):
    counts = [
        (apply_policy(LABELS, rated, policy="threshold", threshold=t) == -1).sum()
        for t in (0.95, 0.8, 0.5, 0.2)
    ]
    assert counts == [1, 2, 3, 5]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"policy": "forgive"}, "policy: expected one of unlabel, .* got 'forgive'"),
        ({"policy": "threshold", "threshold": 1.5}, "policy_threshold: .* got 1.5"),
        ({"policy": "threshold", "threshold": np.nan}, "policy_threshold: .* got nan"),
    ],
)
def test_bad_policies_are_named(rated, options, message):
    with pytest.raises(InputError, match=message):
        apply_policy(LABELS, rated, **options)


def test_table_round_trip(rated, tmp_path):
    path = tmp_path / "label_errors.csv"
    write_label_errors(path, rated)
    assert pd.read_csv(path).columns.tolist() == COLUMNS
    read = read_label_errors(path, LABELS)
    pd.testing.assert_frame_equal(read, rated, check_dtype=False)
    assert [p.name for p in tmp_path.iterdir()] == ["label_errors.csv"]


@pytest.mark.parametrize("labels", [[0, 1, -1, 1], [0, 1, 1, 1, 0], [1, 1, -1, 1, 0]])
def test_table_of_other_records_is_refused(rated, tmp_path, labels):
    path = tmp_path / "label_errors.csv"
    write_label_errors(path, rated)
    with pytest.raises(InputError, match=r"label_errors\.csv: .*other records"):
        read_label_errors(path, np.array(labels))


@pytest.mark.parametrize("content", ["", "a,b\n1,2\n", None])
def test_broken_table_is_refused_by_name(tmp_path, content):
    path = tmp_path / "table.csv"
    if content is not None:
        path.write_text(content)
    with pytest.raises(InputError, match=r"table\.csv: expected"):
        read_label_errors(path, LABELS)


def test_suspects_are_counted_per_class(rated):
    counts = suspects_per_class(rated)
    assert counts.loc["bogus"].tolist() == [2, 1]
    assert counts.loc["real"].tolist() == [2, 1]
    only_real = suspects_per_class(rated[rated["label"] == 1])
    assert only_real.loc["bogus"].tolist() == [0, 0]
