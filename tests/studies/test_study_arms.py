"""What an arm of a study trains on: which targets, by which loss, with which label errors."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from rbkeras import stage2
from rbkeras.config import FitConfig
from rbkeras.data.labels import SKIP
from rbkeras.data.records import RAW, Records
from rbkeras.files import read_yaml
from rbkeras.options import with_settings
from rbkeras.studies import trainings
from rbkeras.studies.grid import make_grid
from rbkeras.studies.noise_settings import Noise
from rbkeras.studies.trainings import Seed

# --- label errors that are added ------------------------------------------------------------------

LABELLED = 60_000
#: Out-of-fold probabilities of real of a third each, and how often labels there are wrong.
WRONG = {0.02: 0.02, 0.52: 0.15, 0.97: 0.06}


@pytest.fixture(scope="module")
def stand_in():
    """Samples with a stage 1 that says where labels are wrong, their truth, and 1000 unlabelled."""
    rng = np.random.default_rng(0)
    probability = np.repeat(list(WRONG), LABELLED // 3)
    wrong = np.concatenate(
        [np.arange(LABELLED // 3) < rate * LABELLED // 3 for rate in WRONG.values()]
    )
    truth = rng.integers(0, 2, LABELLED + 1000)
    labels = np.r_[truth[:LABELLED] ^ wrong, np.full(1000, -1)]
    index = np.arange(len(labels))
    samples = pd.DataFrame(
        {"unique_index": index, "detector_id": 1, "sample_index": index, "label": labels}
    )
    rated = pd.DataFrame({"unique_index": index[:LABELLED], "probability_real": probability})
    return samples, rated, truth, wrong


@pytest.fixture
def noisy(stand_in, tmp_path, monkeypatch):
    """Give a seed whose label errors are multiplied in the way that is named."""
    samples, rated, truth, _ = stand_in
    records = Records(tmp_path, (), (len(samples),), (1, 1, 1), RAW, "")
    vars(records)["samples"] = samples
    monkeypatch.setattr(trainings, "open_records", lambda _: records)
    path = tmp_path / "truth.csv"
    samples[["detector_id", "sample_index"]].assign(true_label=truth).to_csv(path, index=False)
    config = FitConfig(data=tmp_path / "records", out=tmp_path)
    return lambda kind: Seed(config, tmp_path, Noise(kind=kind, truth=path), {(1.0, None): rated})


@pytest.mark.parametrize("errors", [3.0, 4.0])
def test_uniform_errors_become_so_many_times_as_many(noisy, stand_in, errors):
    _, _, truth, wrong = stand_in
    labels = noisy("uniform").labels(errors=errors, part=None)
    now = labels[:LABELLED] != truth[:LABELLED]
    assert wrong.mean() == pytest.approx(0.23 / 3, rel=1e-3)
    assert now.mean() == pytest.approx(errors * wrong.mean(), abs=0.006)
    assert (labels[LABELLED:] == -1).all()
    # Any label alike: by hand, (k - 1) e / (1 - 2 e) of them.
    expected = (errors - 1) * (0.23 / 3) / (1 - 0.46 / 3)
    flipped = now != wrong
    for third in np.split(flipped, 3):
        assert third.mean() == pytest.approx(expected, abs=0.015)


@pytest.mark.parametrize("errors", [3.0, 4.0])
def test_errors_are_added_in_each_bin_as_often_as_they_are_there(noisy, stand_in, errors):
    _, _, truth, wrong = stand_in
    seed = noisy("score")
    labels = seed.labels(errors=errors, part=None)
    flipped = (labels[:LABELLED] != truth[:LABELLED]) != wrong
    for third, rate in zip(np.split(flipped, 3), WRONG.values(), strict=True):
        # What is there stays, so that k - 1 times as many are added; the largest is 0.45.
        assert third.mean() == pytest.approx((errors - 1) * rate, abs=0.015)
    assert (labels[LABELLED:] == -1).all()
    bins = pd.read_csv(seed.folder / "noise_bins.csv")
    assert bins["probability"].tolist() == pytest.approx(list(WRONG.values()), rel=1e-3)


@pytest.mark.parametrize("kind", ["uniform", "score"])
def test_trusted_labels_stay_and_rates_are_those_of_the_others(noisy, stand_in, kind):
    samples, _, _, wrong = stand_in
    seed = noisy(kind)
    # All wrong labels are among the others, a quarter of which are wrong.
    sure = ~wrong & (np.arange(LABELLED) % 4 > 0)
    trusted = np.r_[sure, np.ones(1000, bool)]
    vars(seed.records)["samples"] = samples.assign(trusted=trusted.astype(int))
    labels = seed.labels(errors=1.5, part=None)
    assert (labels[trusted] == samples["label"][trusted]).all()
    rate = wrong[~sure].mean()
    expected = 0.5 * rate if kind == "score" else 0.5 * rate / (1 - 2 * rate)
    flipped = (labels != samples["label"])[:LABELLED][~sure]
    assert flipped.mean() == pytest.approx(expected, abs=0.01)


# --- what an arm trains on ------------------------------------------------------------------------


@pytest.fixture
def told(monkeypatch):
    """Give the run and the table of suspects that the training of an arm begins with."""
    calls = []

    def watched(run, rated):
        calls.append((run, rated))
        raise InterruptedError

    monkeypatch.setattr(stage2, "train_final", watched)

    def train(seed, arm, part=None):
        with pytest.raises(InterruptedError):
            seed.train(arm, part)
        return calls.pop()

    return train


@pytest.fixture
def doubted(records_dir, tmp_path):
    """A seed, the suspects of its stage 1, of which half are wrong, and the three wrong labels."""
    config = FitConfig(data=records_dir, out=tmp_path)
    bare = Seed(config, tmp_path, Noise(truth=tmp_path / "truth.csv"))
    samples = bare.records.samples
    reals, bogus = (np.flatnonzero(samples["label"] == label) for label in (1, 0))
    suspects, wrong = [*reals[[0, 3]], *bogus[[1, 4]]], [reals[0], bogus[1], reals[5]]
    true = samples["label"].clip(lower=0)
    true[wrong] = 1 - true[wrong]
    samples.assign(true_label=true).to_csv(tmp_path / "truth.csv", index=False)
    rated = samples[samples["label"] >= 0].assign(label_quality=0.5)
    rated["suspect"] = rated["unique_index"].isin(suspects).astype(int)
    return replace(bare, _rated={(1.0, None): rated}), suspects, wrong


@pytest.mark.parametrize(
    ("name", "policy", "which", "real", "bogus"),
    [
        ("all labels", "keep", "nothing", 1, 0),
        ("removed", "remove", "suspects", SKIP, SKIP),
        ("unlabelled", "unlabel", "suspects", -1, -1),
        ("flipped", "flip", "suspects", 0, 1),
        ("true labels", "keep", "wrong", 0, 1),
        ("wrong ones unlabelled", "keep", "wrong", -1, -1),
    ],
)
def test_arms_train_on_what_their_names_say(doubted, told, name, policy, which, real, bogus):
    seed, suspects, wrong = doubted
    policies = ["keep", "remove", "unlabel", "flip", "truth", "oracle"]
    grid = make_grid(
        "label-errors", networks=["simple"], errors=[1], detectors=[1], policies=policies
    )
    (arm,) = (arm for arm in grid.arms if arm.name == f"simple, {name}")
    run, rated = told(seed, arm)
    expected = seed.given.copy()
    for index in {"nothing": [], "suspects": suspects, "wrong": wrong}[which]:
        expected[index] = real if seed.given[index] == 1 else bogus
    assert stage2.judged_targets(run, rated).tolist() == expected.tolist()
    assert run.config.policy == policy
    assert read_yaml(run.folder / "config.yaml")["policy"] == policy


def test_treatments_train_on_cross_entropy_and_all_labels_alone(doubted, told):
    seed, _, _ = doubted
    own = {"loss.lambda_ce": 0.1, "loss.lambda_auc": 3.0, "loss.lambda_vat": 2.0}
    seed = replace(seed, config=with_settings(seed.config, own))
    grid = make_grid(
        "treatments", networks=["simple"], errors=[1], detectors=[1, 2, 10], policies=[]
    )
    detectors = seed.records.samples["detector_id"].to_numpy()
    for arm in grid.arms:
        for part in arm.parts:
            run, rated = told(seed, arm, part)
            loss = run.config.loss
            assert loss.lambda_ce > 0
            assert (loss.lambda_auc, loss.lambda_vat) == (0, 0)
            assert rated is None
            targets = stage2.judged_targets(run, rated)
            used = targets != SKIP
            assert (targets[used] == seed.given[used]).all()
            assert set(detectors[used]) == ({part} if isinstance(part, int) else {1, 2, 10})
            assert used.mean() == pytest.approx(1 if part is None else 1 / 3)


@pytest.mark.parametrize(
    ("name", "auc", "vat", "beta"),
    [
        ("CE", False, False, None),
        ("CE + AUC", True, False, 1.0),
        ("CE + partial AUC", True, False, 0.1),
        ("CE + VAT", False, True, None),
        ("CE + AUC + VAT", True, True, 1.0),
        ("CE + VAT on raw pixels", False, True, None),
    ],
)
def test_variants_of_the_loss_have_the_terms_that_they_name(doubted, told, name, auc, vat, beta):
    seed, _, _ = doubted
    grid = make_grid("losses", networks=["simple"], errors=[1], detectors=[1], policies=[])
    (arm,) = (arm for arm in grid.arms if arm.name == f"simple, {name}")
    run, _ = told(seed, arm)
    loss, own = run.config.loss, seed.config.loss
    assert loss.lambda_ce == own.lambda_ce
    assert loss.lambda_auc == (own.lambda_auc if auc else 0)
    assert loss.lambda_vat == (own.lambda_vat if vat else 0)
    assert loss.vat_space == ("input" if "raw" in name else "normalised")
    if auc:
        assert loss.auc_beta == beta
