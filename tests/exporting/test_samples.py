"""Which stamps an export is checked on, and int8 is calibrated by."""

import numpy as np
import pytest
import yaml

from rbkeras.errors import InputError
from rbkeras.exporting import samples

SHAPE = (7, 7, 3)


@pytest.fixture
def run(tmp_path, records_dir):
    rng = np.random.default_rng(0)
    for name in ("real", "bogus"):
        np.save(tmp_path / f"{name}.npy", rng.normal(size=(5, *SHAPE)))
    settings = {
        "data": str(records_dir),
        "test_real": str(tmp_path / "real.npy"),
        "test_bogus": str(tmp_path / "bogus.npy"),
    }
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(settings))
    return tmp_path


def test_the_test_set_of_the_run_comes_first(run):
    found = samples.check_sample(run / "model.keras", SHAPE)
    assert found.labels.tolist() == [1] * 5 + [0] * 5
    assert found.stamps.dtype == np.float32
    np.testing.assert_array_equal(found.stamps[:5], np.load(run / "real.npy").astype(np.float32))


def test_then_its_records_then_simulated_stamps(run, records_dir):
    (run / "real.npy").unlink()
    found = samples.check_sample(run, SHAPE)
    assert found.source == str(records_dir)
    # Detectors 1, 2 and 10 with 12 samples, whose first pixel says which one they are.
    assert len(set(found.stamps[:, 0, 0, 0])) == 36
    assert set(found.labels) == {0, 1, -1}
    (run / "config.yaml").write_text(yaml.safe_dump({"data": str(run / "moved")}))
    assert "simulated" in samples.check_sample(run, SHAPE).source


def test_no_file_is_checked_on_what_int8_was_calibrated_by(run, monkeypatch):
    (run / "real.npy").unlink()
    monkeypatch.setattr(samples, "CALIBRATED", 10)
    monkeypatch.setattr(samples, "CHECKED", 20)
    calibrated = samples.calibration_sample(run, SHAPE)[:, 0, 0, 0]
    checked = samples.check_sample(run, SHAPE).stamps[:, 0, 0, 0]
    assert (len(set(calibrated)), len(set(checked))) == (10, 20)
    assert not set(calibrated) & set(checked)


@pytest.mark.parametrize("shape", [(9, 6, 2), (21, 21, 3), (17, 16, 4)])
def test_simulated_stamps_have_any_shape(tmp_path, shape):
    found = samples.check_sample(tmp_path, shape)
    assert found.stamps.shape[1:] == shape
    assert len(found.stamps) == len(found.labels)
    # Off the chip's edge a stamp may be blank.
    assert np.median(np.ptp(found.stamps, axis=(1, 2))) > 0


def test_int8_is_calibrated_by_records_or_what_is_named(run, tmp_path):
    assert samples.calibration_sample(run, SHAPE).shape == (36, *SHAPE)
    named = samples.calibration_sample(run, SHAPE, calibration=run / "bogus.npy")
    np.testing.assert_array_equal(named, np.load(run / "bogus.npy").astype(np.float32))
    with pytest.raises(InputError, match="--calibration"):
        samples.calibration_sample(tmp_path / "elsewhere" / "model.keras", SHAPE)


def test_named_files_have_to_fit(run):
    real, bogus = run / "real.npy", run / "bogus.npy"
    with pytest.raises(InputError, match="both of --test_real"):
        samples.check_sample(run, SHAPE, test_real=real)
    with pytest.raises(InputError, match=r"real\.npy: expected stamps of shape \(9, 9, 3\)"):
        samples.check_sample(run, (9, 9, 3), test_real=real, test_bogus=bogus)
