import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rbkeras.errors import InputError
from rbkeras.studies.noise import (
    bin_probabilities,
    flip_labels,
    probability_by_bin,
    read_bins,
    reviewed_bins,
    uniform_probability,
)
from rbkeras.studies.noise_settings import read_truth


def test_uniform_flips_multiply_the_rate():
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 2, 200_000)
    given_labels = flip_labels(truth, 0.05, rng=rng)
    noisy = flip_labels(given_labels, uniform_probability(0.05, 3), rng=rng)
    assert np.mean(noisy != truth) == pytest.approx(0.15, abs=0.004)


def test_uniform_probability_by_hand():
    # 0.1 (1 - 0.125) + 0.9 x 0.125 = 0.2
    assert uniform_probability(0.1, 2) == pytest.approx(0.125)
    assert uniform_probability(0.1, 1) == 0


@pytest.mark.parametrize(("rate", "factor"), [(0.5, 1), (0.2, 3), (0.1, 0.5), (-0.1, 2)])
def test_impossible_rates_are_refused(rate, factor):
    with pytest.raises(InputError, match="expected an error rate"):
        uniform_probability(rate, factor)


@given(
    st.lists(st.sampled_from([0, 1, -1]), min_size=1, max_size=40),
    st.sampled_from([0.0, 0.5, 1.0]),
    st.integers(0, 100),
)
def test_flips_leave_the_unlabelled_alone(labels, probability, seed):
    labels = np.array(labels)
    flipped = flip_labels(labels, probability, rng=np.random.default_rng(seed))
    assert flipped.dtype == np.int8
    assert ((flipped == -1) == (labels == -1)).all()
    if probability == 0:
        assert (flipped == labels).all()
    if probability == 1:
        assert (flipped[labels >= 0] == 1 - labels[labels >= 0]).all()


def test_bins_by_hand():
    probability = np.array([0.0, 0.1, 0.2, 0.6, 0.9, 1.0])
    wrong = np.array([True, False, False, True, False, True])
    table = bin_probabilities(probability, wrong, edges=np.array([0, 0.2, 0.4, 0.5, 1]))
    expected = pd.DataFrame(
        {"r1": [0.0, 0.2, 0.5], "r2": [0.2, 0.4, 1.0], "probability": [0.5, 0.0, 2 / 3]}
    )
    pd.testing.assert_frame_equal(table, expected)
    looked_up = probability_by_bin(np.array([0.05, 0.2, 0.45, 1.0, np.nan]), table)
    assert looked_up == pytest.approx([0.5, 0.0, 0.0, 2 / 3, 0.0])


def test_reviewed_bins_by_hand():
    # Bin 0 to 0.5: two labels real, of which one of one reviewed is wrong, and three bogus of
    # which none was looked at. Bin 0.5 to 1: of two reviewed labels bogus one is wrong, and so
    # half of all four; the label real was found right.
    probability = np.array([0.1, 0.1, 0.1, 0.1, 0.1, 0.9, 0.9, 0.9, 0.9, 0.9, np.nan])
    labels = np.array([1, 1, 0, 0, 0, 0, 0, 0, 0, 1, -1])
    verdicts = pd.Series({0: "bogus", 1: "unlabelled", 5: "real", 6: "ok", 9: "real"})
    table = reviewed_bins(probability, labels, verdicts, edges=np.array([0, 0.5, 1]))
    assert table["probability"].tolist() == pytest.approx([2 / 5, 2 / 5])


def test_reviewing_the_suspicious_alone_does_not_multiply_the_errors():
    rng = np.random.default_rng(1)
    truth = rng.integers(0, 2, 20_000)
    labels = np.where(rng.random(len(truth)) < 0.05, 1 - truth, truth)
    probability = np.clip(np.where(truth == 1, 0.9, 0.1) + rng.normal(0, 0.15, len(truth)), 0, 1)
    quality = np.where(labels == 1, probability, 1 - probability)
    reviewed = np.argsort(quality)[:2000]
    words = {index: "real" if truth[index] else "bogus" for index in reviewed}
    found = probability_by_bin(probability, reviewed_bins(probability, labels, pd.Series(words)))
    # Of those reviewed 45% are wrong, of all 5%.
    assert np.mean(labels[reviewed] != truth[reviewed]) > 0.4
    assert found.mean() == pytest.approx(np.mean(labels != truth), rel=0.1)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=60), st.integers(0, 1000))
def test_flips_by_bin_are_as_many_as_the_errors(values, seed):
    rng = np.random.default_rng(seed)
    probability, wrong = np.array(values), rng.random(len(values)) < 0.3
    found = probability_by_bin(probability, bin_probabilities(probability, wrong))
    assert found.sum() == pytest.approx(wrong.sum())


def test_bins_hold_what_is_looked_up_in_them_whatever_the_type():
    # 0.35 in float32 lies below the edge.
    probability = np.array([0.32, 0.35, 0.38], np.float32)
    table = bin_probabilities(probability, np.array([0, 0, 1]))
    assert table["probability"].tolist() == [0, 1]
    assert probability_by_bin(probability, table).tolist() == [0, 0, 1]


def write(tmp_path, text):
    path = tmp_path / "bins.csv"
    path.write_text(text)
    return path


def test_bins_are_read_in_any_order(tmp_path):
    path = write(tmp_path, "r1,r2,probability,note\n0.5,1,0.2,b\n0,0.5,0.1,a\n")
    assert read_bins(path)["probability"].tolist() == [0.1, 0.2]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "cannot be read"),
        ("r1,r2\n0,1\n", "missing"),
        ("r1,r2,probability\n0,1,1.5\n", "row 2"),
        ("r1,r2,probability\n0,1,0.5\n0.5,0.4,x\n", "row 3"),
        ("r1,r2,probability\n", "found none"),
        ("r1,r2,probability\n0,0.6,0.1\n0.5,1,0.1\n", "overlap"),
    ],
)
def test_broken_tables_are_refused(tmp_path, text, complaint):
    with pytest.raises(InputError, match=complaint):
        read_bins(write(tmp_path, text))


# --- the truth of given data ----------------------------------------------------------------------

SAMPLES = pd.DataFrame({"detector_id": [3, 3, 7], "sample_index": [0, 1, 0]})


def test_the_truth_is_matched_by_detector_and_sample(tmp_path):
    path = tmp_path / "truth.csv"
    # In another order, with a sample that the records do not have, and a column of other things.
    path.write_text("sample_index,true_label,detector_id,snr\n0,1,7,5\n1,0,3,\n0,1,3,\n9,0,9,\n")
    found = read_truth(path, SAMPLES)
    assert found.tolist() == [1, 0, 1]
    assert found.dtype == np.int8


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("detector_id,sample_index\n3,0\n", "true_label"),
        ("detector_id,sample_index,true_label\n3,0,1\n3,1,0\n", "1 of 3 without"),
        ("detector_id,sample_index,true_label\n3,0,1\n3,1,-1\n7,0,\n", "2 of 3 without"),
        ("detector_id,sample_index,true_label\n3,0,1\n3,0,0\n7,0,0\n", "each sample once"),
        ("detector_id,sample_index,true_label\na,0,1\nb,1,0\nc,0,0\n", "3 of 3 without"),
    ],
)
def test_a_truth_that_lacks_samples_is_refused(tmp_path, text, complaint):
    path = tmp_path / "truth.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=complaint):
        read_truth(path, SAMPLES)
