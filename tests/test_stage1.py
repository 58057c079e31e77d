"""Stage 1 in a run directory: repeats, what is trained again, the gallery and verdicts."""

import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from detectors import write_detector

from rbkeras import find_label_errors, stage1
from rbkeras.config import FitConfig, LabelErrorConfig
from rbkeras.data.pipeline import read_stamps
from rbkeras.data.records import open_records
from rbkeras.data.splits import repeat_seed
from rbkeras.data.write_records import convert_survey
from rbkeras.errors import InputError
from rbkeras.label_errors import most_suspicious
from rbkeras.resume import mark_finished
from rbkeras.rundir import Run
from rbkeras.stage1 import train_folds
from rbkeras.stage2 import choose_targets


@pytest.fixture
def flags(records_dir, tmp_path):
    out = tmp_path / "run"
    return ["--data", str(records_dir), "--out", str(out), "--label_errors.folds", "2"]


@pytest.fixture
def trained(monkeypatch):
    """Folds as they are trained, in place of training them: folder name, seed, held-out labels."""
    calls = []

    def instead(records, targets, *, folder, seed, settings, **_):
        if (folder / "validation_result.csv").exists():
            return
        calls.append((folder.name, seed, np.flatnonzero(targets[1] >= 0).tolist()))
        table = records.samples[["unique_index", "detector_id", "sample_index", "label"]]
        table = table[targets[1] >= 0].copy()
        # Every third label is contradicted.
        side = np.where(table["unique_index"] % 3 == 0, -1, 1) * (2 * table["label"] - 1)
        table["prediction0"], table["prediction1"] = 0.0, 4.0 * side
        folder.mkdir(parents=True)
        table.to_csv(folder / "validation_result.csv", index=False)
        (folder / "model.keras").touch()
        mark_finished(folder / "fold.json", settings)

    monkeypatch.setattr(stage1, "train_fold", instead)
    return calls


def run(flags, *more):
    return find_label_errors.main([*flags, *map(str, more)])


@pytest.mark.parametrize(("share", "odds"), [("0.0", 1), ("0.5", 3 / 2)])
def test_predictions_are_for_the_classes_as_they_come(flags, monkeypatch, share, odds):
    """Six of ten labels are real; in batches, as many as are bogus."""
    shifts, mixtures = [], []

    def instead(*_, shift, settings, **__):
        shifts.append(shift)
        mixtures.append(settings.get("mixture"))
        raise KeyboardInterrupt

    monkeypatch.setattr(stage1, "train_fold", instead)
    assert run(flags, "--training.minority_share", share) == 1
    assert shifts == [pytest.approx(np.log(odds))]
    assert mixtures == [None if odds == 1 else {"minority_share": 0.5}]


def test_predictions_cut_short_are_not_merged(flags, trained, tmp_path, fails_with):
    assert run(flags) == 0
    path = tmp_path / "run" / "folds" / "1" / "validation_result.csv"
    whole = path.read_text().splitlines(keepends=True)
    before = (tmp_path / "run" / "label_errors.csv").read_bytes()
    for rows, named in ((whole[:-1], str(path)), (whole[:1], str(path)), ([], "missing 1;")):
        path.write_text("".join(rows))
        message = fails_with(find_label_errors.main, [*flags, "--merge"])
        assert named in message
    assert (tmp_path / "run" / "label_errors.csv").read_bytes() == before


def test_settings_of_a_model_are_left_to_it(flags, trained, tmp_path):
    assert run(flags) == 0
    config = tmp_path / "run" / "config.yaml"
    (tmp_path / "run" / "model.keras").touch()
    before = config.read_bytes()
    for more in ((), ("--merge",)):
        assert run(flags, "--label_errors.threshold", 0.9, *more) == 0
        assert config.read_bytes() == before


# --- repeats --------------------------------------------------------------------------------------


def test_folds_of_repeats_are_numbered_on_and_differ(flags, trained, tmp_path):
    assert run(flags, "--label_errors.repeats", 3, "--seed", 5) == 0
    assert [name for name, _, _ in trained] == ["0", "1", "2", "3", "4", "5"]
    assert [seed for _, seed, _ in trained] == [5, 6, 7, 8, 9, 10]
    held_out = [frozenset(indices) for _, _, indices in trained]
    assert len(set(held_out)) == 6
    for first in (0, 2, 4):
        assert not held_out[first] & held_out[first + 1]
        assert held_out[first] | held_out[first + 1] == held_out[0] | held_out[1]
    judged = pd.read_csv(tmp_path / "run" / "label_errors.csv")
    assert judged["unique_index"].is_unique
    assert set(judged["unique_index"]) == held_out[0] | held_out[1]


def test_more_repeats_train_only_the_new_folds(flags, trained):
    assert run(flags) == 0
    first = list(trained)
    assert [name for name, _, _ in first] == ["0", "1"]
    trained.clear()
    assert run(flags, "--repeats", 2) == 0
    assert [name for name, _, _ in trained] == ["2", "3"]
    trained.clear()
    assert run(flags) == 0
    assert trained == []


def test_the_fold_flag_reaches_all_repeats(flags, trained, capsys):
    flags = [*flags, "--label_errors.repeats", "2"]
    assert run(flags, "--fold", 3) == 0
    assert "needs 0, 1, 2 too" in capsys.readouterr().out
    assert run(flags, "--merge") == 2
    assert "the settings of this run, missing 0, 1, 2;" in capsys.readouterr().err
    assert run(flags, "--fold", 4) == 2
    assert "--fold: expected 0 to 3, got 4" in capsys.readouterr().err


def test_folds_of_other_settings_are_not_merged(flags, trained, tmp_path, capsys):
    assert run(flags) == 0
    table, config = tmp_path / "run" / "label_errors.csv", tmp_path / "run" / "config.yaml"
    before = table.read_bytes(), config.read_bytes()
    assert run(flags, "--merge", "--optimizer.learning_rate", 0.5) == 2
    assert "the settings of this run, missing 0, 1;" in capsys.readouterr().err
    # Three folds of the same names would leave two fifths of the labels unjudged.
    assert run(flags, "--merge", "--label_errors.folds", 1) == 2
    assert (table.read_bytes(), config.read_bytes()) == before
    # Another rule trains nothing anew.
    assert run(flags, "--merge", "--label_errors.threshold", 0.9) == 0


def test_settings_of_a_fold_do_not_know_of_repeats(records_dir, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(stage1, "train_fold", lambda *_, settings, **__: seen.append(settings))
    for repeats in (1, 2):
        own = LabelErrorConfig(folds=2, repeats=repeats)
        config = FitConfig(data=records_dir, out=tmp_path, label_errors=own)
        train_folds(Run(config, open_records(records_dir)))
    assert seen[0] == seen[2]
    assert seen[1] == seen[3]
    assert [settings["fold"] for settings in seen] == [0, 1, 0, 1, 2, 3]


def test_the_first_repeat_has_the_folds_of_the_seed():
    assert repeat_seed(17, 0) == 17
    seeds = {repeat_seed(seed, repeat) for seed in range(20) for repeat in range(20)}
    assert len(seeds) == 400
    assert all(0 <= seed < 2**32 for seed in seeds)


@pytest.mark.parametrize(
    ("flag", "value", "expected"),
    [
        ("repeats", "0", "at least 1"),
        ("gallery", "-1", "at least 0"),
        ("threshold", "1.0", r"a number in (0, 1)"),
        ("certainty", "1.0", r"a number in [0, 1)"),
    ],
)
def test_bad_settings_are_told_before_anything_is_trained(
    flags, trained, fails_with, flag, value, expected
):
    message = fails_with(find_label_errors.main, [*flags, f"--label_errors.{flag}", value])
    assert f"--label_errors.{flag}: expected {expected}, got {value}" in message
    assert trained == []


# --- gallery and verdicts -------------------------------------------------------------------------


def test_labels_that_a_study_changed_are_judged_not_those_of_the_records(
    records_dir, tmp_path, trained
):
    records = open_records(records_dir)
    given = records.samples["label"].to_numpy(np.int8)
    changed = np.flatnonzero(given >= 0)[:7]
    labels = given.copy()
    labels[changed] = 1 - labels[changed]
    config = FitConfig(out=tmp_path, label_errors=LabelErrorConfig(folds=2, rule="argmax"))
    rated = stage1.find_label_errors(Run(config, records, labels)).set_index("unique_index")
    assert (rated["label"] == labels[rated.index]).all()
    # Predictions contradict every third label of the records.
    contradicted = (rated.index % 3 == 0) != np.isin(rated.index, changed)
    assert (rated["suspect"] == contradicted).all()


def test_labels_that_the_survey_trusts_are_not_suspected(tmp_path, random_stamps, trained):
    names, trusted = ["artifact", "real"] * 12, [0] * 12 + [1] * 12
    write_detector(tmp_path / "survey", 1, random_stamps(24), names, trusted=trusted)
    convert_survey(tmp_path / "survey", tmp_path / "records", progress=False)
    flags = ["--data", str(tmp_path / "records"), "--out", str(tmp_path / "run")]
    assert run(flags, "--label_errors.folds", 2, "--label_errors.rule", "argmax") == 0
    # Every third label is contradicted.
    table = pd.read_csv(tmp_path / "run" / "label_errors.csv", index_col="unique_index")
    assert table.index[table["suspect"] == 1].tolist() == [0, 3, 6, 9]
    assert (table.loc[12:, "error_probability"] == 0).all()
    assert table["trusted"].tolist() == trusted


@pytest.mark.parametrize(
    ("trusted", "words"),
    [
        (["no", "yes"] * 6, "expected 0, 1 or nothing in the column trusted"),
        ([0, 1] * 6, "the labels that are not trusted"),
    ],
)
def test_trust_that_leaves_nothing_to_judge_is_told_before_the_first_fold(
    tmp_path, random_stamps, trained, fails_with, trusted, words
):
    names = ["artifact", "real"] * 6
    write_detector(tmp_path / "survey", 1, random_stamps(12), names, trusted=trusted)
    convert_survey(tmp_path / "survey", tmp_path / "records", progress=False)
    flags = ["--data", str(tmp_path / "records"), "--out", str(tmp_path / "run")]
    assert words in fails_with(find_label_errors.main, [*flags, "--label_errors.folds", 2])
    assert not trained


def test_stage_one_ends_with_a_gallery(flags, trained, tmp_path):
    page = tmp_path / "run" / "label_errors.html"
    assert run(flags, "--label_errors.gallery", 0) == 0
    assert not page.exists()
    # Made anew without training, with the verdicts that a person wrote into the table.
    path = tmp_path / "run" / "label_errors.csv"
    table = pd.read_csv(path, dtype={"verdict": str})
    table.loc[most_suspicious(table).loc[1, "unique_index"] == table["unique_index"], "verdict"] = (
        "unlabelled"
    )
    table.to_csv(path, index=False)
    assert run(flags, "--merge", "--label_errors.gallery", 3) == 0
    assert page.read_text().count("<article") == 3
    assert page.read_text().count('data-verdict="unlabelled"') == 1
    assert run(flags, "--merge", "--label_errors.gallery", 0) == 0
    assert not page.exists()
    assert len(trained) == 2


def test_stamps_are_read_in_the_order_asked(records_dir):
    stamps = read_stamps(open_records(records_dir), np.array([25, 3, 14]))
    # Detectors 1, 10 and 2 have 12 stamps each; the first pixel says which one it is.
    assert stamps[:, 0, 0, 0].tolist() == [2001, 1003, 10002]
    assert read_stamps(open_records(records_dir), np.array([], int)).shape[0] == 0


def test_verdicts_written_into_the_table_are_not_lost(records_dir, trained, tmp_path, capsys):
    own = LabelErrorConfig(folds=2)
    config = FitConfig(data=records_dir, out=tmp_path / "run", label_errors=own)

    def merge(**options):
        capsys.readouterr()
        run = Run(replace(config, **options), open_records(records_dir))
        stage1.write(run, stage1.merge(run))
        return pd.read_csv(path)["verdict"].dropna().to_dict(), capsys.readouterr().out

    path = config.out / "label_errors.csv"
    train_folds(Run(config, open_records(records_dir)))
    assert merge() == ({}, "")
    table = pd.read_csv(path, dtype={"verdict": str})
    table.loc[2, "verdict"] = "Bogus"
    table.to_csv(path, index=False)
    written, said = merge()
    assert written == {2: "bogus"}
    assert "verdicts kept but not obeyed: 1;" in said
    # The table is itself such a file, and others go before it.
    assert merge(verdicts=path) == ({2: "bogus"}, "")
    other = tmp_path / "verdicts.csv"
    other.write_text(f"unique_index,verdict\n{table.loc[2, 'unique_index']},ok\n")
    assert merge(verdicts=other) == ({2: "ok"}, "")


def test_verdicts_on_samples_that_are_now_held_out_are_kept(records_dir, trained, tmp_path):
    def merge(**options):
        own = LabelErrorConfig(folds=2)
        config = FitConfig(data=records_dir, out=tmp_path / "run", label_errors=own, **options)
        run = Run(config, open_records(records_dir))
        train_folds(run)
        stage1.write(run, stage1.merge(run))
        return run

    run = merge()
    path, beside = tmp_path / "run" / "label_errors.csv", tmp_path / "run" / "other_verdicts.csv"
    pd.read_csv(path).assign(verdict="ok").to_csv(path, index=False)
    number = len(pd.read_csv(path))
    shutil.rmtree(tmp_path / "run" / "folds")
    held_out = merge(hold_out=0.25)
    assert len(pd.read_csv(path)) < number
    assert len(pd.read_csv(path)) + len(pd.read_csv(beside)) == number
    assert (stage1.known_verdicts(held_out) == "ok").sum() == number
    shutil.rmtree(tmp_path / "run" / "folds")
    run = merge()
    assert (pd.read_csv(path)["verdict"] == "ok").sum() == number
    assert not beside.exists()
    assert len(stage1.known_verdicts(run)) == number


def test_a_table_is_no_input_of_the_command_that_makes_it(flags, trained, fails_with, tmp_path):
    message = fails_with(find_label_errors.main, [*flags, "--label_errors.table", "t.csv"])
    assert "--label_errors.table: expected none, since this command makes such a table" in message
    assert trained == []


def test_wrong_verdicts_are_told_before_anything_is_trained(flags, trained, fails_with, tmp_path):
    path = tmp_path / "verdicts.csv"
    path.write_text("unique_index,verdict\n999,ok\n")
    message = fails_with(find_label_errors.main, [*flags, "--verdicts", path])
    assert (
        "verdicts.csv, row 2: expected a sample of the records, found unique_index 999" in message
    )
    # A faulty row counts though it says nothing, since it may take something back.
    path.write_text("unique_index,verdict\n1,\n1,\n")
    message = fails_with(find_label_errors.main, [*flags, "--verdicts", path])
    assert "row 3: expected one verdict per sample" in message
    message = fails_with(find_label_errors.main, [*flags, "--verdicts", tmp_path / "none.csv"])
    assert "none.csv: expected a table of verdicts for --verdicts, found none" in message
    assert trained == []


@pytest.mark.parametrize("policy", ["unlabel", "remove", "flip", "keep"])
def test_verdicts_decide_what_stage_two_trains_on(records_dir, tmp_path, policy):
    records = open_records(records_dir)
    labels = records.samples["label"].to_numpy()
    labelled = np.flatnonzero(labels >= 0)
    chosen = dict(zip(labelled[:4].tolist(), ("real", "bogus", "unlabelled", "ok"), strict=True))
    chosen[int(np.flatnonzero(labels < 0)[0])] = "real"
    path = tmp_path / "verdicts.csv"
    rows = "".join(f"{index},{word}\n" for index, word in chosen.items())
    path.write_text(f"unique_index,verdict\n{rows}")
    rated = None
    if policy != "keep":
        # Suspects among those judged and among the others.
        suspect = (np.arange(len(labelled)) % 3 == 0).astype(int)
        rated = records.samples.loc[labelled].assign(suspect=suspect, label_quality=0.1)

    def targets(verdicts):
        config = FitConfig(data=records_dir, out=tmp_path, policy=policy, verdicts=verdicts)
        training, validation = choose_targets(Run(config, records), rated)
        return np.maximum(training, validation)

    plain, judged = targets(None), targets(path)
    assert [judged[index] for index in chosen] == [1, 0, -1, labels[labelled[3]], 1]
    others = np.setdiff1d(np.arange(len(labels)), list(chosen))
    np.testing.assert_array_equal(judged[others], plain[others])


def test_a_fold_without_a_class_is_found_before_the_first_one(records_dir, tmp_path):
    """One real leaves the training part of the fold that holds it out without any."""
    records = open_records(records_dir)
    labels = np.zeros(len(records), np.int8)
    labels[7] = 1
    config = FitConfig(data=records_dir, out=tmp_path, label_errors=LabelErrorConfig(folds=3))
    with pytest.raises(InputError, match=r"training part of fold \d, found no real$"):
        stage1.check_folds(Run(config, records, relabelled=labels))
    labels[20] = 1
    stage1.check_folds(Run(config, records, relabelled=labels))
