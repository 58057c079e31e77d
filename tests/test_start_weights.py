"""Trainings that begin with the weights of another."""

import shutil

import numpy as np
import pytest
from tiny import SMALL, data_flags

from rbkeras import experiment, find_label_errors, fit
from rbkeras.errors import InputError
from rbkeras.inference import load_classifier
from rbkeras.models.classifier import build_classifier
from rbkeras.start_weights import StartWeights
from tuning import search

SHAPE = (15, 15, 3)
# Steps of such a length change no weight but those that are 0.
STANDING_STILL = ["--optimizer.learning_rate", "1e-30"]


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    path = tmp_path_factory.mktemp("start") / "model.keras"
    build_classifier(SHAPE, width=0.25).save(path)
    return StartWeights.read(path, flag="training.start_from")


def same(first, second):
    pairs = zip(first.get_weights(), second.get_weights(), strict=True)
    return all(np.allclose(ours, theirs, rtol=0, atol=1e-20) for ours, theirs in pairs)


def test_a_network_that_was_given_weights_scores_as_the_one_they_are_of(start, random_stamps):
    model = build_classifier(SHAPE, width=0.25)
    stamps = random_stamps(5, SHAPE)
    source = load_classifier(start.source.split()[1])
    assert not np.allclose(model(stamps), source(stamps))
    start.give_to(model)
    assert np.array_equal(model(stamps), source(stamps))


@pytest.mark.parametrize(("shape", "options"), [((23, 17, 3), {}), (SHAPE, {"dropout": 0.0})])
def test_stamps_may_be_larger_and_dropout_another(start, shape, options):
    model = build_classifier(shape, width=0.25, **options)
    start.give_to(model)
    assert all(map(np.array_equal, model.get_weights(), start.weights))


@pytest.mark.parametrize(
    ("shape", "options", "complaint"),
    [
        ((15, 15, 2), {}, "for stamps of 2 channels, as the records have, found one for 3"),
        # As many weights of the same shapes in the first two.
        (SHAPE, {"normalisation": "minmax"}, "kind is clipped_zscore and not minmax"),
        (SHAPE, {"stride": 1}, r"in the layer stem0, strides is \(2, 2\) and not \(1, 1\)"),
        (SHAPE, {"width": 0.5}, "in the layer stem0, filters is 10 and not 20"),
        (SHAPE, {"depth": 2}, "found another"),
        (SHAPE, {"network": "simple"}, "found another"),
    ],
)
def test_weights_of_another_network_are_refused(start, shape, options, complaint):
    model = build_classifier(shape, **{"width": 0.25} | options)
    before = [weights.copy() for weights in model.get_weights()]
    with pytest.raises(InputError, match=r"--training.start_from .*: expected .*" + complaint):
        start.give_to(model)
    assert all(map(np.array_equal, model.get_weights(), before))


def test_a_flattened_stamp_has_to_be_of_the_same_size(tmp_path):
    path = tmp_path / "model.keras"
    build_classifier((15, 15, 1), network="simple", width=0.125).save(path)
    start = StartWeights.read(path, flag="training.start_from")
    with pytest.raises(InputError, match="in the layer dense0, shapes of weights is"):
        start.give_to(build_classifier((23, 23, 1), network="simple", width=0.125))


def test_stage_two_begins_with_them(tiny_survey, tiny_run, tmp_path, fails_with):
    arguments = [*data_flags(tiny_survey), "--out", str(tmp_path / "run"), *SMALL]
    arguments += ["--policy", "keep", *STANDING_STILL, "--training.epochs", "1"]
    begun = [*arguments, "--training.start_from", str(tiny_run)]
    assert fit.main(begun) == 0
    ours, theirs = load_classifier(tmp_path / "run"), load_classifier(tiny_run)
    assert same(ours, theirs)
    # Threshold and calibration are its own, and a repeated command does nothing.
    assert ours.decision != theirs.decision
    assert fit.main(begun) == 0
    # Where it lies does not matter, what is in it does.
    shutil.copy(tiny_run / "model.keras", tmp_path / "copy.keras")
    assert fit.main([*arguments, "--training.start_from", str(tmp_path / "copy.keras")]) == 0
    others = [*arguments, "--training.start_from", str(tiny_run / "folds" / "0")]
    assert "other start" in fails_with(fit.main, others)
    assert "start was given, is None" in fails_with(fit.main, arguments)


def test_folds_begin_with_them(tiny_survey, tiny_run, tmp_path):
    shutil.copy(tiny_run / "model.keras", tmp_path / "elsewhere.keras")
    arguments = [*data_flags(tiny_survey)[:2], "--out", str(tmp_path / "run"), *SMALL]
    arguments += [*STANDING_STILL, "--label_errors.epochs", "1"]
    arguments += ["--label_errors.start_from", str(tmp_path / "elsewhere.keras")]
    assert find_label_errors.main(arguments) == 0
    for fold in ("0", "1"):
        assert same(load_classifier(tmp_path / "run" / "folds" / fold), load_classifier(tiny_run))


@pytest.mark.parametrize("model", ["", "model.keras", "folds/1", "folds/1/model.keras"])
def test_labels_are_not_judged_by_what_was_trained_on_them(
    tiny_survey, tiny_run, tmp_path, fails_with, model
):
    arguments = [*data_flags(tiny_survey)[:2], "--out", str(tmp_path / "run"), *SMALL]
    arguments += ["--label_errors.start_from", str(tiny_run / model)]
    for main in (fit.main, find_label_errors.main):
        assert "expected a model that has not seen" in fails_with(main, arguments)
    # Which trains its folds whatever becomes of the suspects.
    arguments += ["--policy", "keep"]
    assert "has not seen" in fails_with(find_label_errors.main, arguments)
    assert not (tmp_path / "run" / "folds").exists()


def test_what_is_set_aside_for_the_test_is_not_known_to_the_start(
    tiny_survey, tiny_run, tmp_path, fails_with, capsys
):
    arguments = [*data_flags(tiny_survey)[:2], *SMALL, "--policy", "keep", "--hold_out", "0.2"]
    arguments += ["--training.epochs", "1"]
    begun = [*arguments, "--training.start_from"]
    said = fails_with(fit.main, [*begun, str(tiny_run), "--out", str(tmp_path / "run")])
    assert "expected a model that has not seen the samples that --hold_out sets aside" in said
    # One that has not seen the same ones is welcome.
    assert fit.main([*arguments, "--out", str(tmp_path / "first")]) == 0
    assert fit.main([*begun, str(tmp_path / "first"), "--out", str(tmp_path / "second")]) == 0
    assert "threshold and calibration may be measured on stamps that it" in capsys.readouterr().out


@pytest.mark.parametrize("stage", ["training", "label_errors"])
def test_another_network_is_noticed_before_anything_is_trained(
    tiny_survey, tmp_path, fails_with, stage
):
    build_classifier((21, 21, 3), network="middle", width=0.25).save(tmp_path / "model.keras")
    arguments = [*data_flags(tiny_survey)[:2], "--out", str(tmp_path / "run"), *SMALL]
    said = fails_with(fit.main, [*arguments, f"--{stage}.start_from", str(tmp_path)])
    assert f"--{stage}.start_from {tmp_path}: expected the network of these settings" in said
    assert not (tmp_path / "run" / "folds").exists()


def test_a_run_does_not_begin_with_what_it_replaces(tiny_survey, tiny_run, tmp_path, fails_with):
    run = shutil.copytree(tiny_run, tmp_path / "run")
    arguments = [*data_flags(tiny_survey), "--out", str(run), *SMALL, "--overwrite"]
    said = fails_with(fit.main, [*arguments, "--training.start_from", str(run)])
    assert "expected a model outside of --out" in said
    assert (run / "model.keras").exists()


def test_what_is_no_model_is_refused(tiny_survey, tmp_path, fails_with):
    arguments = [*data_flags(tiny_survey), "--out", str(tmp_path / "run"), *SMALL]
    missing = str(tmp_path / "nosuch.keras")
    assert "found none" in fails_with(fit.main, [*arguments, "--training.start_from", missing])
    cut = tmp_path / "cut.keras"
    cut.write_bytes(b"PK\x03\x04")
    said = fails_with(fit.main, [*arguments, "--label_errors.start_from", str(cut)])
    assert f"{cut}: expected a .keras file" in said


def test_studies_and_sweeps_begin_untrained(tiny_survey, tiny_run, tmp_path, fails_with):
    flags = [*data_flags(tiny_survey), "--out", str(tmp_path / "out")]
    flags += ["--training.start_from", str(tiny_run)]
    said = fails_with(experiment.main, ["losses", *flags])
    assert "--training.start_from" in said
    assert "begin untrained" in said
    said = fails_with(search.main, flags)
    assert "--training.start_from: expected none" in said
