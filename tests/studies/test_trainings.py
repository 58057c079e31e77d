from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from rbkeras.config import FitConfig
from rbkeras.data.labels import SKIP
from rbkeras.errors import InputError
from rbkeras.options import with_settings
from rbkeras.studies.noise_settings import Noise
from rbkeras.studies.trainings import Seed, load_scores, suspect_quality


def test_settings_are_replaced_by_flag_name():
    config = with_settings(FitConfig(), {"loss.lambda_vat": 3.0, "policy": "keep"})
    assert (config.loss.lambda_vat, config.policy) == (3.0, "keep")
    assert replace(config, policy="unlabel", loss=FitConfig().loss) == FitConfig()
    with pytest.raises(ValueError, match="lambda_vaat"):
        with_settings(FitConfig(), {"loss.lambda_vaat": 3.0})


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut"])
def test_damaged_scores_are_named(tmp_path, content):
    (tmp_path / "test_scores.npz").write_bytes(content)
    with pytest.raises(InputError, match=r"test_scores\.npz: expected stored scores"):
        load_scores(tmp_path / "test_scores.npz")


@pytest.fixture
def seed(records_dir, tmp_path):
    return Seed(FitConfig(data=records_dir, out=tmp_path, seed=3), tmp_path, Noise(rate=0.1))


def test_parts_select_detectors(seed):
    detectors = seed.records.samples["detector_id"].to_numpy()
    one = seed.labels(errors=1.0, part=10)
    assert (one[detectors == 10] == seed.given[detectors == 10]).all()
    assert (one[detectors != 10] == SKIP).all()
    mix = seed.labels(errors=1.0, part="mix")
    assert np.sum(mix != SKIP) == pytest.approx(len(mix) / 3, abs=3)
    assert set(detectors[mix != SKIP]) == set(detectors)
    assert (mix[mix != SKIP] == seed.given[mix != SKIP]).all()


def test_added_errors_are_repeatable_and_spare_the_unlabelled(seed):
    once, again = (seed.labels(errors=4.0, part=None) for _ in range(2))
    assert (once == again).all()
    assert (once != seed.given).any()
    other = replace(seed, config=replace(seed.config, seed=4))
    assert (once != other.labels(errors=4.0, part=None)).any()
    assert ((once == -1) == (seed.given == -1)).all()


def test_errors_of_unknown_rate_cannot_be_multiplied(seed):
    unknown = replace(seed, noise=Noise())
    with pytest.raises(InputError, match="--truth, --noise_rate or"):
        unknown.labels(errors=2.0, part=None)


def test_a_named_truth_makes_the_rate_known(seed, tmp_path):
    samples = seed.records.samples
    wrong = samples["label"].ge(0) & (samples["unique_index"] % 10 == 0)
    true = samples["label"].clip(lower=0) ^ wrong
    samples.assign(true_label=true).to_csv(tmp_path / "truth.csv", index=False)
    known = replace(seed, noise=Noise(truth=tmp_path / "truth.csv"))
    assert (known.truth == true).all()
    corrected = known.true_labels(None)
    assert (corrected[seed.given >= 0] == true[seed.given >= 0]).all()
    assert (corrected[seed.given < 0] == -1).all()
    flipped = known.labels(errors=2.0, part=None) != seed.given
    assert 0 < flipped.mean() < 0.3


@pytest.fixture
def reviewed(seed, tmp_path):
    """The seed with a stage 1 that doubts every fourth label, half of these doubts reviewed."""
    samples = seed.records.samples
    labelled = samples[samples["label"] >= 0]
    doubted = np.arange(len(labelled)) % 4 == 0
    of_label = np.where(doubted, 0.12, 0.92)
    rated = labelled[["unique_index", "label"]].assign(
        probability_real=np.where(labelled["label"] == 1, of_label, 1 - of_label)
    )
    looked_at = labelled[doubted].iloc[::2]
    verdicts = looked_at[["detector_id", "sample_index"]].assign(
        verdict=np.where(looked_at["label"] == 1, "bogus", "real")
    )
    verdicts.to_csv(tmp_path / "verdicts.csv", index=False)
    noise = Noise(kind="score", reviewed=tmp_path / "verdicts.csv")
    return replace(seed, noise=noise, _rated={(1.0, None): rated}), labelled, doubted


def test_errors_are_added_where_a_review_found_them(reviewed):
    seed, labelled, doubted = reviewed
    flipped = seed.labels(errors=2.0, part=None)[labelled["unique_index"]] != labelled["label"]
    # Everyone that was looked at in the two bins of the doubted was wrong, nobody elsewhere.
    assert (flipped == doubted).all()
    bins = pd.read_csv(seed.folder / "noise_bins.csv")
    assert bins["r1"].tolist() == pytest.approx([0.05, 0.1, 0.85, 0.9])
    assert bins["probability"].tolist() == [0, 1, 1, 0]


def test_the_rate_that_a_review_found_is_that_of_all_labels(reviewed):
    seed, _, doubted = reviewed
    uniform = replace(seed, noise=replace(seed.noise, kind="uniform"))
    assert uniform._error_rate() == pytest.approx(doubted.mean())


def test_suspect_quality_by_hand():
    rated = pd.DataFrame(
        {"unique_index": [0, 1, 3, 4], "label": [1, 0, 1, 0], "suspect": [1, 1, 0, 0]}
    )
    # Wrong: 0 and 3; suspected: 0 and 1.
    found = suspect_quality(rated, np.array([0, 0, 1, 0, 0]))
    assert found == {"errors": 2, "suspects": 2, "recall": 0.5, "precision": 0.5, "f1": 0.5}
    # Nothing was suspected, then nothing was wrong either.
    rated["suspect"] = 0
    found = suspect_quality(rated, np.array([0, 0, 1, 0, 0]))
    assert (found["recall"], found["f1"]) == (0, 0)
    assert np.isnan(found["precision"])
    found = suspect_quality(rated, np.array([1, 0, 1, 1, 0]))
    assert np.isnan([found["recall"], found["precision"], found["f1"]]).all()
