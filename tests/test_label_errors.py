import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from scipy.special import logit

from rbkeras.data.labels import SKIP
from rbkeras.errors import InputError
from rbkeras.label_errors import (
    COLUMNS,
    apply_policy,
    doubts_of_suspects,
    most_suspicious,
    rate_labels,
    read_label_errors,
    suspects_per_class,
    write_label_errors,
)
from rbkeras.run_summary import suspects_in_words

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


def test_trusted_labels_are_no_suspects_and_rates_are_those_of_the_others():
    rng = np.random.default_rng(0)
    n = 2000
    true = rng.integers(0, 2, n)
    trusted = rng.random(n) < 0.5
    label = np.where(~trusted & (rng.random(n) < 0.2), 1 - true, true)
    score = rng.normal(4 * (2 * true - 1), 2)
    table = pd.DataFrame(
        {
            "unique_index": np.arange(n),
            "detector_id": 1,
            "sample_index": np.arange(n),
            "label": label,
            "prediction0": -score / 2,
            "prediction1": score / 2,
            "trusted": trusted,
        }
    ).sample(frac=1, random_state=0)
    rated = rate_labels(table)
    alone = rate_labels(table[~table["trusted"]].drop(columns="trusted"))
    others = rated[~trusted].drop(columns="trusted").reset_index(drop=True)
    pd.testing.assert_frame_equal(others, alone)
    assert rated["trusted"].tolist() == trusted.astype(int).tolist()
    assert (rated.loc[trusted, ["label_quality", "suspect", "error_probability"]] == [1, 0, 0]).all(
        axis=None
    )
    np.testing.assert_allclose(rated["probability_real"], 1 / (1 + np.exp(-score)))
    # No policy takes a trusted label away.
    for policy in ("unlabel", "threshold", "flip", "remove"):
        assert (apply_policy(label, rated, policy=policy, threshold=0.5) == label)[trusted].all()


def test_a_class_that_is_trusted_throughout_leaves_nothing_to_compare(out_of_fold):
    out_of_fold["trusted"] = out_of_fold["label"] == 1
    with pytest.raises(InputError, match=r"of labels that are not trusted, found \[0\]"):
        rate_labels(out_of_fold)


def test_larger_logit_decides_by_the_argmax_rule(out_of_fold):
    out_of_fold.loc[0, "prediction1"] = out_of_fold.loc[0, "prediction0"] + 0.01
    assert rate_labels(out_of_fold, rule="argmax")["suspect"].tolist() == [0, 0, 1, 1]


def test_posterior_rule_spares_ambiguous_stamps_with_rare_errors():
    rng = np.random.default_rng(0)
    label = np.r_[np.ones(200), np.zeros(200)].astype(int)
    score = np.where(label == 1, 6.0, -6.0) + rng.normal(size=400)
    score[0], score[1], score[200] = -0.3, -7.0, 7.0  # ambiguous, wrong, wrong
    table = pd.DataFrame({"unique_index": np.arange(400), "detector_id": 1, "label": label})
    table["sample_index"], table["prediction0"], table["prediction1"] = table.index, 0.0, score
    posterior, argmax = (rate_labels(table, rule=rule) for rule in ("posterior", "argmax"))
    assert np.flatnonzero(argmax["suspect"]).tolist() == [0, 1, 200]
    assert np.flatnonzero(posterior["suspect"]).tolist() == [1, 200]
    assert (posterior["error_probability"] > 0.2).to_numpy().nonzero()[0].tolist() == [1, 200]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [0.05, 0.3]),
        ({"certainty": 0.0}, [0.05, 0.3]),
        ({"threshold": 0.1}, [0.05, 0.3]),
        ({"threshold": 0.1, "certainty": 0.6}, [0.05, 0.3, 0.4]),
        ({"threshold": 0.5}, [0.05]),
        ({"certainty": 0.8}, [0.05]),
    ],
    ids=[
        "as usual",
        "certainty 0",
        "threshold 0.1",
        "threshold 0.1 and certainty 0.6",
        "threshold 0.5",
        "certainty 0.8",
    ],
)
def test_threshold_and_certainty_decide_whom_the_posterior_rule_suspects(options, expected):
    """Of eleven labels of each class eight are confirmed, and three more or less contradicted.

    One of nine confident predictions contradicts its label: both noise rates are 1/9. To the
    probabilities 0.05, 0.3 and 0.4 of the given label belong such of the other class of 1, 0.757
    and 0.629, and of an error of 1, 0.280 and 0.175.
    """
    given = np.tile([0.95] * 8 + [0.05, 0.3, 0.4], 2)
    label = np.repeat([1, 0], 11)
    table = pd.DataFrame({"unique_index": np.arange(22), "detector_id": 1, "label": label})
    table["sample_index"], table["prediction0"] = table.index, 0.0
    table["prediction1"] = logit(given) * (2 * label - 1)
    suspect = rate_labels(table, **options)["suspect"].to_numpy() == 1
    assert given[suspect].tolist() == expected * 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rule": "vote"}, "rule: .* got 'vote'"),
        ({"threshold": 1.0}, "threshold: .* got 1.0"),
        ({"certainty": 1.0}, "certainty: .* got 1.0"),
    ],
)
def test_bad_rules_are_named(out_of_fold, options, message):
    with pytest.raises(InputError, match=message):
        rate_labels(out_of_fold, **options)


def test_one_class_alone_is_refused(out_of_fold):
    with pytest.raises(InputError, match=r"labels 0 and 1 .* found \[1\]"):
        rate_labels(out_of_fold[out_of_fold["label"] == 1])


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
        for t in (1.0, 0.95, 0.8, 0.5, 0.2, 0.0)
    ]
    assert counts == [1, 1, 2, 3, 5, 5]


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
    assert pd.read_csv(path).columns.tolist() == [*COLUMNS, "verdict"]
    read = read_label_errors(path, LABELS)
    pd.testing.assert_frame_equal(read[COLUMNS], rated, check_dtype=False)
    assert [p.name for p in tmp_path.iterdir()] == ["label_errors.csv"]


@pytest.mark.parametrize(
    "labels",
    [[0, 1, -1, 1], [0, 1, 1, 1, 0], [1, 1, -1, 1, 0], [0, 1, 1, -1, 0]],
    ids=["fewer", "none unlabelled", "another label", "another one unlabelled"],
)
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


@pytest.mark.parametrize(
    ("column", "value", "expected"),
    [
        ("suspect", 2, "0 or 1"),
        ("suspect", None, "0 or 1"),
        ("label_quality", "good", "a number from 0 to 1"),
        ("error_probability", 1.5, "a number from 0 to 1"),
        ("prediction1", np.inf, "a finite number"),
    ],
)
def test_a_number_out_of_range_is_refused_by_name(rated, tmp_path, column, value, expected):
    path = tmp_path / "table.csv"
    table = rated.astype({column: object})
    table.loc[2, column] = value
    table.to_csv(path, index=False)
    said = rf"table\.csv: expected {expected} as {column} of unique_index 3, found"
    with pytest.raises(InputError, match=said):
        read_label_errors(path, LABELS)


def test_a_number_out_of_range_is_named_in_whatever_order_the_rows_are(rated, tmp_path):
    rated.loc[1, "label_quality"] = 7.0
    rated.iloc[::-1].to_csv(tmp_path / "table.csv", index=False)
    with pytest.raises(InputError, match=r"label_quality of unique_index 1, found 7"):
        read_label_errors(tmp_path / "table.csv", LABELS)


def test_verdicts_in_a_table_are_kept(rated, tmp_path):
    path = tmp_path / "label_errors.csv"
    verdicts = ["ok", *[""] * (len(rated) - 1)]
    write_label_errors(path, rated.assign(verdict=verdicts))
    assert pd.read_csv(path)["verdict"].fillna("").tolist() == verdicts


def test_table_without_verdicts_of_an_earlier_version_is_read(rated, tmp_path):
    rated.to_csv(tmp_path / "label_errors.csv", index=False)
    assert read_label_errors(tmp_path / "label_errors.csv", LABELS)["suspect"].sum() == 2


def test_the_most_suspicious_come_first_also_where_probabilities_are_rounded(out_of_fold):
    # Both contradicted labels are certainly wrong to 16 digits, one by 40 logits and one by 60.
    out_of_fold["prediction1"] = [40.0, -50.0, -60.0, 50.0]
    out_of_fold["prediction0"] = 0.0
    ranked = most_suspicious(rate_labels(out_of_fold))
    assert ranked["unique_index"].tolist()[:2] == [3, 4]
    assert (ranked["error_probability"][:2] == 1).all()


@pytest.mark.parametrize("rule", ["confident", "prune"])
def test_every_rule_can_be_chosen(out_of_fold, rule):
    # Which labels they suspect is tested in test_suspicion.py.
    suspect = rate_labels(out_of_fold, rule=rule)["suspect"]
    assert set(suspect) <= {0, 1}
    assert suspect[3] == 1


def test_suspects_are_counted_per_class(rated):
    counts = suspects_per_class(rated)
    assert counts.loc["bogus"].tolist() == [2, 1]
    assert counts.loc["real"].tolist() == [2, 1]
    only_real = suspects_per_class(rated[rated["label"] == 1])
    assert only_real.loc["bogus"].tolist() == [0, 0]


@pytest.mark.parametrize(("suspects", "doubted"), [(30, False), (31, True)])
def test_more_than_three_in_ten_suspects_of_a_class_are_doubted(suspects, doubted):
    labels = np.repeat([0, 1], 100)
    table = pd.DataFrame({"label": labels, "suspect": (np.arange(200) < suspects).astype(int)})
    doubts = doubts_of_suspects(table)
    assert len(doubts) == doubted
    if doubted:
        assert "31% of the labels bogus are suspect" in doubts[0]
        assert any(line.startswith("warning: 31%") for line in suspects_in_words(table))


def test_trusted_labels_do_not_hide_how_many_of_the_others_are_suspect():
    table = pd.DataFrame({"label": np.repeat([0, 1], 100), "suspect": 0, "trusted": 0})
    table.loc[:19, "suspect"] = 1
    assert not doubts_of_suspects(table)
    table.loc[50:99, "trusted"] = 1
    assert "40% of the labels bogus are suspect" in doubts_of_suspects(table)[0]
    assert any("20 of 50" in line for line in suspects_in_words(table))


def test_judging_labels_needs_no_tensorflow():
    code = "import sys, rbkeras.label_errors; assert 'tensorflow' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
