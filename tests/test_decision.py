"""The record that a model carries: what it measures, and that it survives."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit, logit

from rbkeras.decision import Decision, OperatingPoint, SecondLook
from rbkeras.decision_fit import fit_decision
from rbkeras.errors import InputError

POINT = OperatingPoint(true_positive_rate=0.9, threshold=1.0, false_positive_rate=0.01)


def draw(n=200, seed=0):
    labels = np.tile([0, 1], n // 2)
    return labels, scores_of(labels, seed)


def scores_of(labels, seed=0):
    return np.random.default_rng(seed).normal(3.0 * (2 * labels - 1), 3)


def test_operating_point_by_hand():
    labels = np.r_[np.ones(10, int), np.zeros(20, int)]
    scores = np.r_[np.arange(10.0), np.arange(-18.0, 2.0)]
    decision = fit_decision(labels, scores, true_positive_rate=0.9)
    # Nine of ten reals reach 1, and so does one of twenty bogus.
    assert decision.operating_point.threshold == 1.0
    assert decision.operating_point.false_positive_rate == 1 / 20
    assert decision.point_at(0.5).threshold == 5.0
    assert (decision.n_real, decision.n_bogus) == (10, 20)


def test_a_network_that_saw_more_reals_than_there_are_is_not_taken_for_too_sure():
    rng = np.random.default_rng(0)
    labels = (rng.random(40_000) < 0.1).astype(int)
    # Bayes' log-odds of two normal distributions, 3 apart, for one real in four.
    x = rng.normal(3 * labels, 1)
    scores = 3 * x - 4.5 + logit(0.25)
    decision = fit_decision(labels, scores, training_prevalence=0.1, network_prevalence=0.25)
    assert decision.temperature == pytest.approx(1, rel=0.03)
    for stated in (0.1, 1e-4):
        shifted = logit(decision.probability(np.array([2.0]), prevalence=stated))
        usual = logit(decision.probability(np.array([2.0])))
        assert shifted - usual == pytest.approx(logit(stated) - logit(0.1), abs=1e-9)
    np.testing.assert_allclose(
        logit(decision.probability(np.array([-2.0, 0.0, 2.0]))),
        np.array([-2.0, 0.0, 2.0]) + logit(0.1) - logit(0.25),
        atol=0.1,
    )
    stepwise = fit_decision(
        labels,
        scores,
        calibration_method="isotonic",
        training_prevalence=0.1,
        network_prevalence=0.25,
    )
    np.testing.assert_allclose(
        stepwise.probability(np.array([-2.0, 0.0])),
        decision.probability(np.array([-2.0, 0.0])),
        atol=0.05,
    )
    assert stepwise.network_prevalence == 0.25
    naive = fit_decision(labels, scores, training_prevalence=0.1)
    assert abs(naive.temperature - 1) > 0.05


def test_a_rate_without_threshold_names_those_that_have_one():
    decision = fit_decision(*draw(), true_positive_rate=0.85)
    assert decision.point_at(0.85) == decision.operating_point
    with pytest.raises(InputError, match=r"0\.85, 0\.9.*got 0\.77"):
        decision.point_at(0.77)


@given(
    method=st.sampled_from(["temperature", "isotonic", "none"]),
    probability=st.floats(1e-6, 1 - 1e-6),
    prevalence=st.none() | st.floats(1e-6, 0.9),
    score=st.floats(-30, 30),
)
def test_scores_from_the_threshold_on_have_the_probability(method, probability, prevalence, score):
    decision = fit_decision(
        *draw(), calibration_method=method, prevalence=0.01, network_prevalence=0.25
    )
    threshold = decision.threshold_at(probability, prevalence=prevalence)
    for at in {score, threshold} - {np.inf}:
        found = float(decision.probability(np.array([at]), prevalence=prevalence)[0])
        # At the threshold itself they are equal but for the last bits.
        if found != pytest.approx(probability, rel=1e-9):
            assert (found >= probability) == (at >= threshold)


def test_threshold_of_a_probability_by_hand():
    plain = Decision(operating_point=POINT, n_real=10, n_bogus=10, temperature=2.0)
    assert plain.threshold_at(0.5) == 0.0
    assert plain.threshold_at(0.9) == pytest.approx(2 * np.log(9))
    # One real for 999 bogus takes odds of 999 for even chances.
    assert plain.threshold_at(0.5, prevalence=1e-3) == pytest.approx(2 * np.log(999))
    knots = ((-1.0, 0.0, 0.0, 4.0), (0.1, 0.1, 0.6, 0.8))
    steps = replace(plain, calibration="isotonic", temperature=1.0, knots=knots)
    assert steps.threshold_at(0.7) == pytest.approx(2.0)
    assert steps.threshold_at(0.5) == 0.0
    assert steps.threshold_at(0.05) == -np.inf
    assert steps.threshold_at(0.85) == np.inf


@pytest.mark.parametrize("method", ["temperature", "isotonic", "none"])
def test_json_brings_the_same_back(method):
    decision = fit_decision(
        *draw(), calibration_method=method, prevalence=0.01, label_names={"artifact": 0}
    )
    assert decision.calibration == method
    assert (decision.prevalence, decision.labels) == (0.01, {"artifact": 0})
    again = Decision.from_json(json.loads(json.dumps(decision.to_json(), allow_nan=False)))
    assert again == decision
    scores = np.linspace(-20, 20, 9)
    np.testing.assert_array_equal(again.probability(scores), decision.probability(scores))
    twice = replace(again, second_look=SecondLook(from_score=-1.5, share=0.25, decision=decision))
    content = json.loads(json.dumps(twice.to_json(), allow_nan=False))
    assert Decision.from_json(content) == twice
    assert Decision.from_json(content).final == decision
    assert decision.final is decision


def test_a_second_look_without_its_decision_is_no_record():
    content = fit_decision(*draw()).to_json()
    del content["second_look"]
    assert Decision.from_json(content).second_look is None
    with pytest.raises(ValueError, match="expected a whole record"):
        Decision.from_json(content | {"second_look": {"from_score": 0.0, "share": 0.1}})


@pytest.mark.parametrize("method", ["temperature", "isotonic", "none"])
def test_probability_rises_with_the_score(method):
    decision = fit_decision(*draw(), calibration_method=method)
    probabilities = decision.probability(np.linspace(-30, 30, 500))
    assert (np.diff(probabilities) >= 0).all()
    assert ((probabilities >= 0) & (probabilities <= 1)).all()


def test_probability_by_hand():
    decision = Decision(
        operating_point=POINT,
        n_real=5,
        n_bogus=5,
        calibration="temperature",
        temperature=2.0,
        training_prevalence=0.5,
    )
    scores = np.array([2 * np.log(3), np.nan])
    np.testing.assert_allclose(decision.probability(scores), [0.75, np.nan])
    np.testing.assert_allclose(decision.probability(scores, prevalence=0.01)[0], 3 / 102)


def test_a_stated_prevalence_holds_until_another_is_given():
    decision = Decision(operating_point=POINT, n_real=5, n_bogus=5, prevalence=0.01)
    score = np.zeros(1)
    assert decision.probability(score) == pytest.approx(0.01)
    assert decision.probability(score, prevalence=0.2) == pytest.approx(0.2)


def test_isotonic_refers_to_the_prevalence_of_its_own_samples():
    labels, scores = draw(400)
    kept = (labels == 1) | (np.arange(400) % 4 == 0)
    decision = fit_decision(
        labels[kept], scores[kept], calibration_method="isotonic", training_prevalence=0.1
    )
    assert decision.training_prevalence == pytest.approx(2 / 3)
    assert decision.network_prevalence == 0.1
    own = decision.probability(scores[kept])
    assert own.mean() == pytest.approx(2 / 3, abs=0.02)
    shifted = decision.probability(scores[kept], prevalence=0.1)
    np.testing.assert_allclose(logit(own) - logit(shifted), logit(2 / 3) - logit(0.1))


@pytest.mark.parametrize(("real", "bogus"), [(19, 19), (19, 200), (200, 19)])
def test_few_samples_of_a_class_get_a_temperature_and_a_remark(real, bogus):
    labels = np.repeat([1, 0], [real, bogus])
    decision = fit_decision(labels, scores_of(labels), calibration_method="isotonic")
    assert decision.calibration == "temperature"
    assert decision.knots is None
    assert any("isotonic" in remark for remark in decision.remarks)
    assert any(f"rest on {real} real and {bogus} bogus" in remark for remark in decision.remarks)


def test_twenty_samples_of_each_class_are_enough_for_isotonic_regression():
    decision = fit_decision(*draw(40), calibration_method="isotonic")
    assert decision.calibration == "isotonic"
    assert not any("rest on" in remark for remark in decision.remarks)


def test_few_samples_are_not_calibrated_where_nobody_asks_for_it():
    decision = fit_decision(*draw(30), calibration_method="none")
    assert (decision.calibration, decision.temperature) == ("none", 1.0)
    assert not any("isotonic" in remark for remark in decision.remarks)


def test_a_temperature_that_nothing_contradicts_is_remarked_on():
    assert any("stays 1" in remark for remark in fit_decision([1, 0], [3.0, -2.0]).remarks)


def test_many_samples_of_either_class_leave_nothing_to_remark():
    assert fit_decision(*draw()).remarks == ()


@pytest.mark.parametrize(("count", "cleaned"), [(400, True), (30, False), (30, True)])
def test_what_cannot_show_mistakes_makes_no_network_surer(count, cleaned):
    labels, scores = draw(count)
    assert fit_decision(labels, scores / 3, cleaned=cleaned).temperature == 1
    assert fit_decision(labels, 3 * scores, cleaned=cleaned).temperature > 1
    # Of many samples as they come it is believed.
    labels, scores = draw(400)
    assert fit_decision(labels, scores / 3).temperature < 1


def test_unlabelled_and_broken_scores_are_passed_over():
    labels, scores = draw()
    plain = fit_decision(labels, scores)
    more = fit_decision(np.r_[labels, -1, 0], np.r_[scores, 50.0, np.nan])
    assert more.operating_point == plain.operating_point
    assert "1 scores are not finite" in more.remarks[0]


def test_a_missing_class_is_named():
    with pytest.raises(InputError, match="no real"):
        fit_decision(np.zeros(3, int), np.zeros(3))


@pytest.mark.parametrize(
    "change",
    [
        {"temperature": -1.0},
        {"temperature": 0.0},
        {"calibration": "magic"},
        {"training_prevalence": 1.0},
        {"prevalence": 0.0},
        {"knots": [[0.0], [0.5]]},
        {"calibration": "isotonic", "temperature": 1.0, "knots": [[0.0, 1.0], [0.5]]},
        {"surprise": 1},
        {"operating_point": {"threshold": 1.0}},
        {"operating_point": None},
    ],
)
def test_broken_records_are_refused(change):
    content = fit_decision(*draw()).to_json() | change
    with pytest.raises(ValueError, match=r"expected"):
        Decision.from_json(content)


def test_log_odds_tell_scores_apart_whose_probabilities_are_one():
    decision = fit_decision(np.r_[1, 0, 1, 0], np.r_[3.0, -2.0, 45.0, 40.0])
    log_odds = decision.log_odds([40.0, 45.0]) * decision.temperature
    assert log_odds.tolist() == pytest.approx([40.0, 45.0])
    plain = fit_decision([1, 0], [3.0, -2.0], calibration_method="none")
    assert plain.log_odds([45.0], prevalence=0.5).tolist() == [45.0]
    assert plain.probability([45.0]).tolist() == [1.0]


def test_no_calibration_is_the_plain_logistic():
    scores = np.array([-2.0, 0.0, 3.0])
    decision = fit_decision(*draw(), calibration_method="none")
    np.testing.assert_allclose(decision.probability(scores), expit(scores))
