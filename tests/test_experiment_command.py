import json
import shutil

import numpy as np
import pandas as pd
import pytest

from rbkeras import experiment
from rbkeras.config import FitConfig, SimulationConfig
from rbkeras.data.records import open_records
from rbkeras.data.write_records import convert_survey
from rbkeras.errors import InputError
from rbkeras.options import with_settings
from rbkeras.presets import PRESETS
from rbkeras.studies import runner
from rbkeras.studies.grid import STUDIES, make_grid
from rbkeras.studies.trainings import load_scores

TINY = [
    "--model.network",
    "simple",
    "--model.width",
    "0.2",
    "--loss.lambda_vat",
    "0",
    "--training.shift",
    "0",
    "--simulation.detectors",
    "2",
    "--simulation.per_detector",
    "60",
    "--simulation.label_error",
    "0.1",
    "--simulation.test_real",
    "40",
    "--simulation.test_bogus",
    "60",
    "--training.epochs",
    "1",
    "--training.min_steps",
    "0",
    "--label_errors.epochs",
    "1",
    "--label_errors.min_steps",
    "24",
    "--label_errors.folds",
    "2",
    "--optimizer.learning_rate",
    "0.005",
    "--training.batch_size",
    "32",
]
EXTRA = {
    "label-noise": [
        "--errors",
        "2",
        "--noise",
        "score",
        "--policies",
        "oracle",
        "unlabel",
    ],
    "label-errors": ["--policies", "unlabel", "flip", "truth"],
    "losses": ["--loss.lambda_vat", "0.1", "--loss.vat_share", "0.5"],
}
ARMS = {"treatments": 3, "label-errors": 3, "label-noise": 2, "losses": 6}


@pytest.mark.parametrize("study", STUDIES)
def test_each_study_runs_and_resumes(study, tmp_path, capsys, fails_with):
    arguments = [study, "--out", str(tmp_path), "--seeds", "0", *TINY, *EXTRA.get(study, [])]
    assert experiment.main(arguments) == 0
    arms = pd.read_csv(tmp_path / "arms.csv")
    assert arms["arm"].nunique() == ARMS[study]
    differences = pd.read_csv(tmp_path / "differences.csv")
    assert np.isfinite(differences["difference"]).all()
    assert (tmp_path / "results.md").read_text().startswith(f"# Study: {study}")
    if study == "label-noise":
        # 12 label errors were planted; stage 1 is judged by those that were added too.
        assert pd.read_csv(tmp_path / "suspects.csv")["errors"].iloc[0] > 12
    # Every arm's figure is that of the scores it stored.
    stored = {path.parent.name: path for path in tmp_path.glob("seed0/runs/*/test_scores.npz")}
    assert len(stored) == ARMS[study] + (study == "treatments")
    for path in stored.values():
        real, bogus = load_scores(path)
        assert (len(real), len(bogus)) == (40, 60)
        metrics = json.loads((path.parent / "evaluation" / "metrics.json").read_text())
        assert metrics["n_bogus"] == 60

    # Scores of another model, or of other test stamps, are none of this one's.
    damaged = next(iter(stored)) if study == "treatments" else None
    if damaged:
        origin = tmp_path / "seed0" / "runs" / damaged / "test_scores.json"
        origin.write_text(origin.read_text().replace('"bytes": ', '"bytes": 1'))
        kept = load_scores(stored[damaged])
        np.savez(stored[damaged], real=np.zeros(1), bogus=np.zeros(1))
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("seed0/runs/*/model.keras")}
    capsys.readouterr()
    assert experiment.main(arguments) == 0
    assert "training on" not in capsys.readouterr().out
    if damaged:
        np.testing.assert_allclose(load_scores(stored[damaged])[1], kept[1], atol=1e-5)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    error = fails_with(experiment.main, [*arguments, "--optimizer.learning_rate", "0.5"])
    assert "learning_rate was" in error


def test_an_overwritten_study_has_no_tables_of_the_one_before(tmp_path, monkeypatch):
    (tmp_path / "study.json").write_text('{"finished": true, "settings": {"study": "losses"}}')
    tables = [tmp_path / name for name in ("arms.csv", "results.md", "report.html")]
    for path in tables:
        path.write_text("of the study before")

    def interrupted(study):
        raise KeyboardInterrupt

    monkeypatch.setattr(runner, "_train_all", interrupted)
    arguments = ["label-errors", "--out", str(tmp_path), "--seeds", "0", *TINY]
    assert experiment.main([*arguments, "--overwrite"]) != 0
    assert not any(path.exists() for path in tables)


def test_what_a_study_decides_is_neither_listed_nor_taken(tmp_path, capsys, fails_with):
    with pytest.raises(SystemExit):
        experiment.main(["--help"])
    listed = capsys.readouterr().out
    assert "\n  --policies " in listed
    assert "\n  --hold_out " not in listed
    for flag, value in (("--policy", "keep"), ("--policy_threshold", "0.5"), ("--seed", "7")):
        assert f"\n  {flag} " not in listed
        error = fails_with(experiment.main, ["losses", "--out", tmp_path, flag, value])
        assert f"{flag}: expected none, since" in error


def test_true_labels_differ_from_the_given_ones_as_planted(tmp_path):
    from rbkeras.simulated import simulated
    from rbkeras.studies.noise_settings import Noise
    from rbkeras.studies.trainings import Seed

    simulation = SimulationConfig(
        detectors=2, per_detector=100, label_error=0.1, test_real=4, test_bogus=4
    )
    seed = Seed(simulated(FitConfig(out=tmp_path, simulation=simulation)), tmp_path, Noise())
    wrong = seed.given != seed.truth
    assert wrong.sum() == 20
    assert np.bincount(seed.truth[wrong]).tolist() == [10, 10]


def test_the_oracle_unlabels_the_wrong_labels_and_no_others(tmp_path, monkeypatch):
    from rbkeras import stage2
    from rbkeras.simulated import simulated
    from rbkeras.studies.noise_settings import Noise
    from rbkeras.studies.trainings import Seed

    trained = []

    def watched(run, rated):
        trained.append((run.labels, rated))
        raise InterruptedError

    monkeypatch.setattr(stage2, "train_final", watched)
    simulation = SimulationConfig(
        detectors=2, per_detector=100, label_error=0.1, test_real=4, test_bogus=4
    )
    seed = Seed(simulated(FitConfig(out=tmp_path, simulation=simulation)), tmp_path, Noise())
    grid = make_grid(
        "label-noise", networks=["simple"], errors=[2], detectors=[1, 2], policies=["oracle"]
    )
    with pytest.raises(InterruptedError):
        seed.train(grid.arms[0], None)
    labels, rated = trained[0]
    given = seed.labels(errors=2, part=None)
    wrong = given != seed.truth
    assert wrong.sum() > 20
    np.testing.assert_array_equal(labels, np.where(wrong, -1, given))
    # It needs no stage 1.
    assert rated is None


def test_an_interrupted_simulation_is_begun_again(tmp_path, monkeypatch):
    from rbkeras import simulated

    simulation = SimulationConfig(detectors=2, per_detector=20, test_real=4, test_bogus=4)
    config = FitConfig(out=tmp_path, simulation=simulation)

    def killed(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        # The survey is there, its records are not.
        patched.setattr(simulated, "convert_survey", killed)
        with pytest.raises(KeyboardInterrupt):
            simulated.simulated(config)
    assert (tmp_path / "survey" / "raw").exists()
    assert (simulated.simulated(config).data / "manifest.json").exists()


@pytest.mark.parametrize("place", ["survey/raw/images1.npy", "records/data1.tfrecord"])
def test_data_of_somebody_else_are_not_replaced(tmp_path, place):
    from rbkeras.simulated import simulated

    (tmp_path / place).parent.mkdir(parents=True)
    (tmp_path / place).write_bytes(b"years of work")
    # Not the second time either.
    for _ in range(2):
        with pytest.raises(InputError, match="expected nothing there, since no --data was given"):
            simulated(FitConfig(out=tmp_path))
    assert (tmp_path / place).read_bytes() == b"years of work"


def test_a_simulated_survey_without_its_records_is_made_again(tmp_path):
    from rbkeras.simulated import simulated

    simulation = SimulationConfig(detectors=2, per_detector=20, test_real=4, test_bogus=4)
    config = FitConfig(out=tmp_path, simulation=simulation)
    shutil.rmtree(simulated(config).data)
    assert (simulated(config).data / "manifest.json").exists()


def test_plan_trains_nothing(tmp_path, capsys):
    arguments = ["losses", "--out", str(tmp_path), "--plan", "--seeds", "4", *TINY]
    assert experiment.main([*arguments, *EXTRA["losses"]]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "simple, CE + AUC, seed 4" in lines
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--seeds", "1", "1"], "--seeds"),
        (["--seeds", "-1"], "--seeds"),
        (["--seeds", "2147483648"], "--seeds: expected numbers in [0, 2147483648)"),
        (["--errors", "0.5"], "--errors"),
        (["--errors", ".nan"], "--errors: expected different factors of at least 1, got nan"),
        (["--errors", ".inf"], "--errors: expected different factors of at least 1, got inf"),
        (["--errors", "2", "2.0000001"], "--errors: expected different factors"),
        (["--policies", "truth"], "--policies: expected at least one of keep, remove"),
        (["--policies", "keep", "keep"], "--policies: expected different policies, got keep keep"),
        (["--noise", "score", "--noise_rate", "0.1"], "--noise_rate: expected --noise uniform"),
        (["--networks", "simple", "simple"], "--networks"),
        (["--noise_table", "bins.csv"], "--noise score"),
        (["--noise_table", "bins.csv", "--noise", "score"], "bins.csv: expected a CSV table"),
        (["--noise_reviewed", "verdicts.csv"], "--data"),
        (["--truth", "truth.csv"], "--data"),
        (["--seed", "3"], "--seed: expected none, since --seeds"),
        (["--policy", "remove"], "--policies"),
        (["--noise_reviewed", "verdicts.csv", "--noise_rate", "0.1"], "--noise_rate"),
        (["--noise_rate", "0.2"], "--errors: expected an error rate that stays at most 0.5"),
        (["--label_errors.table", "x.csv"], "--label_errors.table"),
    ],
)
def test_wrong_flags(arguments, complaint, tmp_path, fails_with):
    assert complaint in fails_with(
        experiment.main, ["label-noise", "--out", tmp_path, *TINY, *arguments]
    )


def test_factors_and_policies_need_a_study_that_takes_them(tmp_path, fails_with):
    arguments = ["treatments", "--out", tmp_path, *TINY]
    assert "label-noise or losses" in fails_with(experiment.main, [*arguments, "--errors", "2"])
    line = fails_with(experiment.main, [*arguments, "--policies", "keep"])
    assert "--policies: expected the study label-errors or label-noise" in line
    line = fails_with(experiment.main, [*arguments, "--noise", "score"])
    assert "which adds no label errors" in line
    arguments = ["losses", "--out", tmp_path, *TINY, "--noise_rate", "0.1"]
    assert "expected --errors above 1 with it" in fails_with(experiment.main, arguments)


def test_the_study_of_losses_needs_all_of_them(tmp_path, fails_with):
    line = fails_with(experiment.main, ["losses", "--out", tmp_path, *TINY])
    assert "--loss.lambda_vat: expected a weight above 0 in the study losses" in line


@pytest.mark.parametrize(
    ("study", "flag", "value", "why"),
    [
        ("treatments", "--loss.lambda_auc", "0.5", "on cross-entropy alone, got 0.5"),
        ("treatments", "--loss.lambda_ce", "2", "on cross-entropy alone, got 2.0"),
        ("losses", "--loss.vat_space", "input", "one of either kind, got input"),
    ],
)
def test_what_tells_the_trainings_of_a_study_apart_is_no_flag_of_it(
    study, flag, value, why, tmp_path, fails_with
):
    arguments = [study, "--out", tmp_path, flag, value]
    assert f"{flag}: expected none, since" in (line := fails_with(experiment.main, arguments))
    assert why in line


def test_a_study_is_not_made_among_records(records_dir, fails_with):
    line = fails_with(experiment.main, ["label-errors", "--out", records_dir, "--plan"])
    assert "expected a folder of its own for --out, found records" in line


def test_what_a_preset_says_of_it_is_no_fault(tmp_path, capsys):
    arguments = ["--out", str(tmp_path), "--preset", "original", "--plan", "--seeds", "0"]
    for study in ("treatments", "losses"):
        assert experiment.main([study, *arguments]) == 0
    assert "CE + VAT on raw pixels" in capsys.readouterr().out


@pytest.mark.parametrize("preset", ["default", "original"])
def test_variants_of_the_loss_differ(preset):
    own = with_settings(FitConfig(), {**PRESETS[preset], "loss.auc_beta": 0.1})
    grid = make_grid("losses", networks=["simple"], errors=[1], detectors=[1], policies=[])
    losses = {with_settings(own, arm.settings).loss for arm in grid.arms}
    assert len(losses) == len(grid.arms)


@pytest.mark.parametrize(("asked", "taken"), [(1.0, 0.1), (0.03, 0.03)])
def test_the_partial_auc_has_the_part_that_is_asked_for(asked, taken):
    options = {"networks": ["simple"], "errors": [1], "detectors": [1], "policies": []}
    grid = make_grid("losses", **options, auc_beta=asked)
    own = with_settings(FitConfig(), {"loss.auc_beta": asked})
    found = {arm.name: with_settings(own, arm.settings).loss.auc_beta for arm in grid.arms}
    assert found.pop("simple, CE + partial AUC") == taken
    assert found.pop("simple, CE + AUC") == found.pop("simple, CE + AUC + VAT") == 1.0


def shared_test(tmp_path, records):
    """Flags of a study on records and a test set of zeros."""
    flags = ["--data", records]
    for name in ("real", "bogus"):
        path = tmp_path / f"{name}.npy"
        np.save(path, np.zeros((4, 7, 7, 3), np.float32))
        flags += [f"--test_{name}", path]
    return flags


def test_true_labels_that_nobody_knows_are_not_left_out_in_silence(
    records_dir, tmp_path, fails_with, capsys
):
    out = tmp_path / "study"
    arguments = ["label-errors", "--out", out, *TINY, *shared_test(tmp_path, records_dir)]
    line = fails_with(experiment.main, [*arguments, "--policies", "keep", "truth", "oracle"])
    assert "--policies: expected --truth with truth, oracle" in line
    # By default they are trained on where they are known; and naming trainings leaves nothing.
    assert experiment.main([str(word) for word in [*arguments, "--plan", "--seeds", "0"]]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 4
    assert not out.exists()


def test_a_rate_that_the_truth_has_is_checked_before_training(records_dir, tmp_path, fails_with):
    truth = tmp_path / "truth.csv"
    samples = open_records(records_dir).samples
    wrong = samples["label"].where(np.arange(len(samples)) % 4 > 0, 1 - samples["label"])
    table = samples[["detector_id", "sample_index"]].assign(true_label=wrong.clip(0, 1))
    table.to_csv(truth, index=False)
    arguments = ["label-noise", "--out", tmp_path / "out", *TINY, "--truth", truth]
    arguments += [*shared_test(tmp_path, records_dir), "--errors", "4"]
    assert "--errors: expected an error rate" in fails_with(experiment.main, arguments)
    assert not list(tmp_path.rglob("runs"))


def test_a_review_that_judges_nothing_is_refused(records_dir, tmp_path, fails_with):
    verdicts = tmp_path / "verdicts.csv"
    verdicts.write_text("unique_index,verdict\n3,\n4,unlabelled\n")
    arguments = ["label-noise", "--out", tmp_path / "out", *TINY, "--noise_reviewed", verdicts]
    arguments += shared_test(tmp_path, records_dir)
    assert "expected verdicts that say" in fails_with(experiment.main, arguments)


def test_a_detector_without_one_class_cannot_be_trained_on_alone(make_survey, tmp_path, fails_with):
    survey = make_survey(tmp_path / "survey")
    (path, *_) = sorted(survey.glob("params*.csv"))
    table = pd.read_csv(path)
    labels = list(dict.fromkeys(table["object_type"]))
    table["object_type"] = next(name for name in labels if "bogus" in str(name))
    table.to_csv(path, index=False)
    convert_survey(survey, tmp_path / "records", progress=False)
    arguments = ["treatments", "--out", tmp_path / "out", *TINY]
    arguments += shared_test(tmp_path, tmp_path / "records")
    line = fails_with(experiment.main, arguments)
    assert "found no real of detector" in line
    assert not list(tmp_path.rglob("runs"))


def test_errors_of_unknown_rate_are_told_before_training(records_dir, tmp_path, fails_with):
    test = ["--test_real", tmp_path / "real.npy", "--test_bogus", tmp_path / "bogus.npy"]
    for path in (test[1], test[3]):
        np.save(path, np.zeros((4, 21, 21, 3), np.float32))
    arguments = ["label-noise", "--out", tmp_path / "out", "--data", records_dir, *TINY, *test]
    assert "--truth, --noise_rate" in fails_with(experiment.main, arguments)
    assert not list(tmp_path.rglob("stage1"))
    assert not list(tmp_path.rglob("runs"))


def test_seeds_that_share_a_test_set_are_known_to(tmp_path):
    from rbkeras.studies.noise_settings import Noise
    from rbkeras.studies.runner import Study, _remarks

    def study(**given):
        return Study(
            name="losses",
            config=FitConfig(out=tmp_path, **given),
            seeds=(0, 1),
            networks=("simple",),
            errors=(1.0,),
            policies=("keep",),
            noise=Noise(),
        )

    assert not study().shared
    # Even where each simulates a survey of its own to be trained on.
    same = study(test_real=tmp_path / "real.npy", test_bogus=tmp_path / "bogus.npy")
    assert same.shared
    assert "a survey of its own and the same test set" in _remarks(same)[0]


def test_a_review_of_other_records_is_refused_before_training(records_dir, tmp_path, fails_with):
    verdicts = tmp_path / "verdicts.csv"
    verdicts.write_text("detector_id,sample_index,verdict\n99,0,real\n")
    arguments = ["label-noise", "--out", tmp_path / "out", "--data", records_dir, *TINY]
    # The test files are looked at later.
    arguments += ["--test_real", verdicts, "--test_bogus", verdicts, "--noise_reviewed", verdicts]
    assert "verdicts.csv, row 2: expected a sample" in fails_with(experiment.main, arguments)


def test_test_stamps_of_another_shape_are_refused_before_training(
    records_dir, tmp_path, fails_with
):
    np.save(tmp_path / "test.npy", np.zeros((4, 9, 9, 3), np.float32))
    arguments = ["losses", "--out", tmp_path / "out", "--data", records_dir, *TINY]
    arguments += EXTRA["losses"]
    arguments += ["--test_real", tmp_path / "test.npy", "--test_bogus", tmp_path / "test.npy"]
    assert "test.npy: expected stamps of shape" in fails_with(experiment.main, arguments)
    assert not list(tmp_path.rglob("stage1"))


def test_data_without_a_test_set_is_refused(records_dir, tmp_path, fails_with):
    error = fails_with(experiment.main, ["losses", "--out", tmp_path, "--data", records_dir])
    assert "--test_real" in error
