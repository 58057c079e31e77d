import json
import shutil
from itertools import islice

import numpy as np
import pandas as pd
import pytest
from detectors import write_detector
from hypothesis import given, settings
from hypothesis import strategies as st

from rbkeras import convert, inject
from rbkeras.data.injection import Channels, inject_survey
from rbkeras.data.injection.point_source import (
    differences_snr,
    fit_sources,
    noise_around,
    unit_noise,
)
from rbkeras.data.injection.scenes import move, noise_peaks, quiet_scenes
from rbkeras.data.records import open_records
from rbkeras.data.simulation import simulate_stamps, simulate_survey
from rbkeras.data.simulation.sky import Psf, draw_conditions
from rbkeras.data.survey import read_survey
from rbkeras.data.write_records import convert_survey
from rbkeras.errors import InputError
from rbkeras.verdicts import read_verdicts

SIZE = 29


@pytest.fixture(scope="module")
def survey(tmp_path_factory):
    """Two detectors, a fifth of whose labels are wrong."""
    out = tmp_path_factory.mktemp("simulation") / "sim"
    options = {"detectors": 2, "per_detector": 300, "test_real": 0, "test_bogus": 0, "seed": 3}
    simulate_survey(out, label_error=0.2, progress=False, **options)
    return out


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A survey directory of one detector, quickly gone through."""
    out = tmp_path_factory.mktemp("small") / "sim"
    options = {"detectors": 1, "per_detector": 90, "test_real": 0, "test_bogus": 0, "seed": 4}
    simulate_survey(out, progress=False, **options)
    return out / "raw"


@pytest.fixture(scope="module")
def injected(survey, tmp_path_factory):
    out = tmp_path_factory.mktemp("injected") / "out"
    found = inject_survey(survey / "raw", out, count=60, progress=False)
    return out, found


def planted(psf, *, flux, x, y, noise, rng):
    """Differences of nothing but point sources in white noise."""
    images = psf.render(flux, x, y, size=SIZE, dtype=np.float64)
    return images + rng.normal(0, noise, images.shape)


# --- the shape of a point source ------------------------------------------------------------------


def test_noise_is_that_of_the_pixels_around():
    rng = np.random.default_rng(0)
    differences = rng.normal(3.0, 2.0, (50, SIZE, SIZE))
    differences[:, 12:17, 12:17] += 1000
    differences[:, 0] = np.nan
    differences[:, 1] = np.inf
    np.testing.assert_allclose(noise_around(differences), 2.0, rtol=0.15)


@pytest.mark.parametrize(
    "psf", [Psf(2.5, 3.0), Psf(3.6, 2.6, (0.06, -0.03))], ids=["narrow", "elongated"]
)
def test_shape_flux_and_places_of_planted_sources_are_found(psf):
    rng = np.random.default_rng(1)
    n = 60
    snr = rng.uniform(20, 60, n)
    x, y = rng.normal(0, 0.3, (2, n))
    flux = snr * 5.0 * unit_noise(psf, SIZE)
    found = fit_sources(planted(psf, flux=flux, x=x, y=y, noise=5.0, rng=rng))

    assert found.psf.fwhm == pytest.approx(psf.fwhm, rel=0.03)
    np.testing.assert_allclose(found.psf.ellipticity, psf.ellipticity, atol=0.02)
    assert len(found.snr) == n
    # Some hundredths of a pixel is what noise leaves at these signal-to-noise ratios.
    for places, true in ((found.x, x), (found.y, y)):
        assert np.std(places - true) < 0.08
        np.testing.assert_allclose(places, true, atol=0.4)
    assert np.median(found.snr / snr) == pytest.approx(1, rel=0.05)


def test_a_source_of_unit_signal_to_noise_has_just_that():
    # By hand: with white noise of s, the best estimate of a flux f has an error s / sqrt(sum p²).
    psf = Psf(3.0, 3.0)
    image = psf.render(1.0, 0.0, 0.0, size=SIZE, dtype=np.float64)[0]
    assert unit_noise(psf, SIZE) == pytest.approx(1 / np.sqrt((image**2).sum()))
    flux = 7.0 * 2.0 * unit_noise(psf, SIZE)
    snr = differences_snr(flux * image[np.newaxis], psf, np.array([2.0]))
    # All but some hundredths of it are within the eleven pixels that are looked at.
    assert snr[0] == pytest.approx(7.0, rel=0.03)


def test_too_few_bright_sources_are_no_shape():
    rng = np.random.default_rng(2)
    psf = Psf(3.0, 3.0)
    faint = 6.0 * unit_noise(psf, SIZE) * np.ones(40)
    assert fit_sources(planted(psf, flux=faint, x=0, y=0, noise=1.0, rng=rng)) is None


def test_constant_differences_and_none_at_all_are_no_shape():
    assert fit_sources(np.zeros((30, SIZE, SIZE))) is None
    assert fit_sources(np.zeros((0, SIZE, SIZE))) is None


def test_wrong_labels_do_not_change_the_shape():
    rng = np.random.default_rng(4)
    conditions = draw_conditions(rng)
    parts = [
        simulate_stamps(count, kind=kind, conditions=conditions, rng=rng)[0]
        for kind, count in (("real", 160), ("bogus", 60))
    ]
    differences = np.concatenate(parts)[..., 2].astype(np.float64)
    found = fit_sources(differences)
    assert found.psf.fwhm == pytest.approx(conditions.psf.fwhm, rel=0.06)


def test_what_is_no_point_source_is_left_out_even_where_it_is_half():
    rng = np.random.default_rng(5)
    psf, n = Psf(3.2, 3.0, (0.1, 0.05)), 60
    flux = rng.uniform(15, 40, n) * unit_noise(psf, SIZE)
    sources = planted(psf, flux=flux, x=rng.normal(0, 0.3, n), y=0, noise=1.0, rng=rng)
    # Hit by a cosmic ray, and brighter than most; light that leans in from beside; nothing.
    hit, beside, nothing = rng.normal(0, 1, (3, 45, SIZE, SIZE))
    hit[:, 14, 14:16] += 60
    beside += planted(psf, flux=flux[:45], x=3.0, y=0, noise=0.0, rng=rng)
    found = fit_sources(np.concatenate([hit, beside, nothing, sources]))
    assert found.psf.fwhm == pytest.approx(3.2, rel=0.05)
    np.testing.assert_allclose(found.psf.ellipticity, (0.1, 0.05), atol=0.02)
    # Of the others, hits included, which are as bright as reals and as central, hardly one.
    assert n - 2 <= len(found.snr) <= n + 4
    assert (np.abs(found.x) < 1.4).all()
    assert found.snr.min() > 5


# --- moved stamps ---------------------------------------------------------------------------------


@given(
    rows=st.integers(-13, 13),
    columns=st.integers(-13, 13),
    size=st.integers(21, 31),
    seed=st.integers(0, 99),
)
@settings(max_examples=40, deadline=None)
def test_moving_takes_every_pixel_along_and_fills_up_with_mirror_images(rows, columns, size, seed):
    stamp = np.random.default_rng(seed).normal(size=(size, size, 2))
    moved = move(stamp, (rows, columns))
    assert moved.shape == stamp.shape
    for i in range(0, size, 5):
        for j in range(0, size, 5):
            # The mirror lies on the outermost pixels: -1 is 1, size is size - 2.
            a, b = (abs(at) for at in (i - rows, j - columns))
            a, b = (at if at < size else 2 * (size - 1) - at for at in (a, b))
            assert (moved[i, j] == stamp[a, b]).all()


def useful(draws, count):
    return list(islice((scene for scene in draws if scene is not None), count))


def detection_is_beside(scene, stamps):
    """Say whether the middle of the stamp that a scene was is 7 pixels or more from its centre."""
    places = np.argwhere((scene.pixels == stamps[scene.row][14, 14].astype(float)).all(axis=2))
    return len(places) > 0 and bool((np.abs(places - 14).max(axis=1) >= 7).all())


def test_quiet_scenes_have_nothing_in_the_centre_and_their_own_detection_elsewhere(survey):
    stamps = next(read_survey(survey / "raw")).stamps
    rng = np.random.default_rng(5)
    for scene in useful(quiet_scenes(stamps, reference=1, difference=2, rng=rng), 40):
        centre = scene.pixels[12:17, 12:17, 2]
        assert np.abs(centre).max() <= 3.5 * scene.noise
        assert detection_is_beside(scene, stamps)


def test_peaks_of_the_noise_are_maxima_of_the_difference(survey):
    stamps = next(read_survey(survey / "raw")).stamps
    rng, psf = np.random.default_rng(6), Psf(3.0, 3.0)
    scenes = useful(noise_peaks(stamps, psf, difference=2, count=240, rng=rng), 240)
    snr = np.array([scene.snr for scene in scenes])
    assert ((snr > 2) & (snr < 5)).all()
    assert all(detection_is_beside(scene, stamps) for scene in scenes)
    # The same number by a plain sum over the moved stamp, with the noise of the stamp that it was.
    noise = noise_around(stamps[[scene.row for scene in scenes]][..., 2])
    moved = np.array([scene.pixels[..., 2] for scene in scenes])
    np.testing.assert_allclose(differences_snr(moved, psf, noise), snr, rtol=1e-6)
    # It is a peak of the moved stamp too, mirror images included.
    for down, right in ((0, 1), (0, -1), (1, 0), (-1, 0), (1, 1), (2, 0), (0, -2)):
        beside = differences_snr(np.roll(moved, (down, right), axis=(1, 2)), psf, noise)
        assert (beside <= snr * (1 + 1e-6)).all()


def test_no_peak_comes_again_before_all_have_come(survey):
    stamps, psf = next(read_survey(survey / "raw")).stamps[:12], Psf(3.0, 3.0)
    draws = noise_peaks(stamps, psf, difference=2, count=60, rng=np.random.default_rng(6))
    came = [(scene.row, scene.pixels.tobytes()) for scene in useful(draws, 60)]
    times = [came.count(peak) for peak in set(came)]
    assert 5 < len(times) < 60
    assert max(times) - min(times) <= 1


def test_the_highest_peaks_of_four_times_as_many_stamps_come_first():
    rng, psf = np.random.default_rng(9), Psf(3.0, 3.0)
    stamps = rng.normal(size=(200, SIZE, SIZE, 3))
    # Every other stamp has a peak that is higher than nearly all others.
    stamps[::2, ..., 2] += 4.2 * unit_noise(psf, SIZE) * psf.render(1.0, 9.0, 4.0, size=SIZE)[0]

    def drawn(count):
        draws = noise_peaks(stamps, psf, difference=2, count=count, rng=np.random.default_rng(0))
        return useful(draws, count)

    snr = [scene.snr for scene in drawn(60)]
    assert snr == sorted(snr, reverse=True)
    assert np.mean([scene.row % 2 == 0 for scene in drawn(10)]) > 0.8
    looked_at = np.random.default_rng(0).permutation(200)[:8]
    assert {scene.row for scene in drawn(2)} <= set(looked_at.tolist())


def test_no_peak_at_all_is_a_useless_draw():
    flat = np.zeros((3, SIZE, SIZE, 3))
    draws = noise_peaks(flat, Psf(3.0, 3.0), difference=2, count=2, rng=np.random.default_rng(0))
    assert list(islice(draws, 5)) == [None] * 5


def test_scenes_without_data_in_the_centre_are_not_taken():
    stamps = np.random.default_rng(7).normal(size=(4, SIZE, SIZE, 3))
    stamps[:2] = np.nan
    stamps[2, ..., 2] = 0.0
    draws = quiet_scenes(stamps, reference=1, difference=2, rng=np.random.default_rng(8))
    taken = {scene.row for scene in islice(draws, 300) if scene is not None}
    assert taken == {3}


@pytest.mark.parametrize("bright", [0.0, 50.0])
def test_every_other_scene_has_a_host_if_there_is_one(bright):
    rng = np.random.default_rng(10)
    stamps = rng.normal(size=(50, SIZE, SIZE, 3))
    stamps[:, 22, 6, 1] += bright
    draws = list(islice(quiet_scenes(stamps, reference=1, difference=2, rng=rng), 400))
    scenes = [scene for scene in draws if scene is not None]
    if not bright:
        # Draws for a host find nothing.
        assert len(scenes) < 0.5 * len(draws)
        return
    near = [scene.pixels[10:19, 10:19, 1].max() > 25 for scene in scenes]
    assert 0.4 < np.mean(near) < 0.8


# --- the survey that is written -------------------------------------------------------------------


def test_an_injected_source_is_in_the_new_image_and_the_difference_alone(survey, injected):
    out, _ = injected
    for before, after in zip(read_survey(survey / "raw"), read_survey(out), strict=True):
        rows = after.params["made_from"].to_numpy()
        reals = np.flatnonzero(after.labels == 1)
        assert len(reals) == 30
        for k in reals[:10]:
            source = np.asarray(before.stamps[rows[k]], np.float64)
            made = np.asarray(after.stamps[k], np.float64)
            # Whatever was added, the moved stamp has the same sets of these pixels.
            added = np.sort((made[..., 0] - made[..., 2])[10:19, 10:19].ravel())
            possible = source[..., 0] - source[..., 2]
            nearest = np.abs(added[:, None] - possible.ravel()).min(axis=1)
            assert nearest.max() < 0.05 * np.abs(possible).max()
            assert np.isin(made[10:19, 10:19, 1], source[..., 1]).all()


@pytest.mark.parametrize("size", [29, 30])
def test_sources_are_where_reals_are_and_hosts_are_of_the_reference(tmp_path, size):
    rng, psf, n = np.random.default_rng(11), Psf(3.0, 3.0, (0.1, 0.15)), 60
    stamps = rng.normal(size=(2 * n, size, size, 3)).astype(np.float32)
    source = psf.render(40 * unit_noise(psf, size), 0.8, -0.4, size=size)
    stamps[:n, ..., 0] += source
    stamps[:n, ..., 2] += source
    stamps[:, 22, 6, 1] += 50
    write_detector(tmp_path / "survey", 1, stamps, ["real"] * n + ["bogus"] * n)
    inject_survey(tmp_path / "survey", tmp_path / "out", count=n, progress=False)
    made = np.load(tmp_path / "out" / "images1.npy")[:n]
    again = fit_sources(made[..., 2])
    assert again.psf.fwhm == pytest.approx(3.0, rel=0.05)
    np.testing.assert_allclose(again.psf.ellipticity, (0.1, 0.15), atol=0.03)
    assert (np.median(again.x), np.median(again.y)) == pytest.approx((0.8, -0.4), abs=0.05)
    near = made[:, 10:19, 10:19, 1].max(axis=(1, 2)) > 25
    assert 0.35 < near.mean() < 0.85


def test_injected_reals_are_as_bright_as_they_say(injected):
    out, found = injected
    for detector in read_survey(out):
        real = detector.labels == 1
        differences = np.asarray(detector.stamps[real][..., 2], np.float64)
        psf = found[detector.detector_id].psf
        snr = differences_snr(differences, psf, noise_around(differences))
        said = detector.params["snr"].to_numpy()[real]
        assert np.median(snr / said) == pytest.approx(1, abs=0.1)
        assert np.corrcoef(np.log(said), np.log(np.maximum(snr, 1)))[0, 1] > 0.9


def test_columns_ride_along_but_those_of_the_detection(survey, injected):
    out, _ = injected
    before = pd.read_csv(survey / "raw" / "params1.csv")
    after = pd.read_csv(out / "params1.csv")
    assert list(after.columns) == ["object_type", "x", "y", "snr", "made_from", "trusted"]
    assert after["object_type"].value_counts().to_dict() == {"real": 30, "bogus": 30}
    np.testing.assert_array_equal(after["x"], before["x"][after["made_from"]])


def test_a_scene_does_not_hand_down_the_kind_of_its_detection(small, tmp_path):
    folder = tmp_path / "kinds"
    folder.mkdir()
    (folder / "images1.npy").symlink_to(small / "images1.npy")
    table = pd.read_csv(small / "params1.csv")
    table.assign(family="cosmic_ray", mag=20.0, trusted=0, made_from=5).to_csv(
        folder / "params1.csv", index=False
    )
    inject_survey(folder, tmp_path / "out", count=3, progress=False)
    after = pd.read_csv(tmp_path / "out" / "params1.csv")
    assert not {"family", "mag"} & set(after)
    assert (after["trusted"] == 1).all()
    assert (after["made_from"] != 5).any()


def test_notes_say_how_it_was_made(injected):
    out, found = injected
    notes = json.loads((out / "injection.json").read_text())
    assert [part["detector_id"] for part in notes["detectors"]] == [1, 2]
    assert [part["stamps"] for part in notes["detectors"]] == [30, 30]
    assert notes["detectors"][0]["fwhm"] == found[1].psf.fwhm


def test_same_seed_same_stamps(small, tmp_path):
    made = {}
    for name, seed in (("one", 0), ("again", 0), ("other", 1)):
        inject_survey(small, tmp_path / name, count=6, seed=seed, progress=False)
        made[name] = (tmp_path / name / "images1.npy").read_bytes()
    assert made["one"] == made["again"] != made["other"]


def test_converted_together_they_follow_the_detectors_own(survey, injected, tmp_path):
    assert convert.main([*map(str, (survey / "raw", injected[0], tmp_path / "records"))]) == 0
    samples = open_records(tmp_path / "records").samples
    assert len(samples) == 600 + 120
    own = samples[samples["detector_id"] == 1]
    assert own["sample_index"].tolist() == list(range(360))
    assert own["made_from"].notna().sum() == 60
    assert own["made_from"].iloc[300:].notna().all()


def test_as_many_as_are_labelled_real_unless_told(small, tmp_path):
    inject_survey(small, tmp_path / "out", progress=False)
    reals = (pd.read_csv(small / "params1.csv")["object_type"] != "artifact").sum()
    assert len(np.load(tmp_path / "out" / "images1.npy")) == 2 * reals


def test_a_detector_without_a_share_has_no_files(survey, tmp_path):
    inject_survey(survey / "raw", tmp_path / "out", count=1, progress=False)
    assert len(list((tmp_path / "out").glob("images*.npy"))) == 1
    notes = json.loads((tmp_path / "out" / "injection.json").read_text())
    assert [part["stamps"] for part in notes["detectors"]] == [1]
    convert_survey(tmp_path / "out", tmp_path / "records", progress=False)


def test_suspects_do_not_count_as_reals(survey, tmp_path):
    truth = pd.read_csv(survey / "truth.csv")
    truth["suspect"] = (truth["given_label"] == 1).astype(int)
    with pytest.raises(InputError, match="raw: expected at least 10 bright reals"):
        inject_survey(survey / "raw", tmp_path / "out", suspects=truth, progress=False)
    truth["suspect"] = (truth["given_label"] != truth["true_label"]).astype(int)
    found = inject_survey(survey / "raw", tmp_path / "out", suspects=truth, count=8, progress=False)
    reals = ((truth["given_label"] == 1) & (truth["true_label"] == 1)).sum()
    # Nearly all that are left are point sources.
    assert sum(len(sources.snr) for sources in found.values()) > 0.9 * reals


def test_a_detector_with_few_bright_reals_takes_the_shape_of_all(survey, tmp_path):
    truth = pd.read_csv(survey / "truth.csv")
    # Of the second detector nothing is left but three reals.
    truth["suspect"] = (truth["detector_id"] == 2).astype(int)
    truth.loc[truth[truth["detector_id"] == 2].index[:3], "suspect"] = 0
    found = inject_survey(survey / "raw", tmp_path / "out", suspects=truth, count=8, progress=False)
    widths = [sources.psf.fwhm for sources in found.values()]
    # All that there is to go by are the first detector's.
    assert widths[1] == pytest.approx(widths[0], rel=0.1)
    assert len(np.load(tmp_path / "out" / "images2.npy")) == 8


def test_suspects_that_the_survey_does_not_have_are_refused(survey, tmp_path):
    other = pd.DataFrame({"detector_id": [2], "sample_index": [300], "suspect": [1]})
    with pytest.raises(InputError, match=r"among the 300 stamps of images2\.npy, found others"):
        inject_survey(survey / "raw", tmp_path / "out", suspects=other, progress=False)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"suspect": "yes"}, "expected suspect 0 or 1, found 'yes'"),
        ({"suspect": None}, "expected suspect 0 or 1, found None"),
        ({"detector_id": 9}, "expected detectors of .*raw, found none of them"),
        ({"label": 1}, r"expected the labels of .*params1\.csv, found others"),
    ],
)
def test_suspects_of_other_stamps_are_refused(survey, tmp_path, changes, message):
    truth = pd.read_csv(survey / "truth.csv").assign(**{"suspect": 0} | changes)
    with pytest.raises(InputError, match=message):
        inject_survey(survey / "raw", tmp_path / "out", suspects=truth, progress=False)


def test_suspects_of_the_survey_and_another_one_are_taken(survey, tmp_path):
    truth = pd.read_csv(survey / "truth.csv").assign(suspect=0)
    truth["label"] = truth["given_label"]
    # What was converted together with it: more stamps of the same detectors, and other detectors.
    more = truth.assign(sample_index=truth["sample_index"] + 300, label=1 - truth["label"])
    other = truth.assign(detector_id=truth["detector_id"] + 5, label=1 - truth["label"])
    table = pd.concat([truth, more, other])
    inject_survey(survey / "raw", tmp_path / "out", suspects=table, count=4, progress=False)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"channels": Channels(0, 1, 3)}, "expected three different numbers from 0 to 2"),
        ({"channels": Channels(0, 0, 2)}, "got 0 0 2"),
        ({"count": 0}, "--count from 1 on, got 0 and 0"),
        ({"seed": -1}, "expected --seed from 0"),
    ],
)
def test_options_out_of_range_are_refused(survey, tmp_path, options, message):
    with pytest.raises(InputError, match=message):
        inject_survey(survey / "raw", tmp_path / "out", progress=False, **options)
    assert not (tmp_path / "out").exists()


def test_small_stamps_are_refused(tmp_path):
    options = {"detectors": 1, "per_detector": 20, "test_real": 0, "test_bogus": 0, "size": 15}
    simulate_survey(tmp_path / "sim", progress=False, **options)
    with pytest.raises(InputError, match="square stamps of at least 21 pixels, found 15 x 15"):
        inject_survey(tmp_path / "sim" / "raw", tmp_path / "out", progress=False)


def test_stamps_that_are_not_square_are_refused(tmp_path, random_stamps):
    write_detector(tmp_path / "survey", 1, random_stamps(4, (29, 28, 3)), ["real", "bogus"] * 2)
    with pytest.raises(InputError, match="at least 21 pixels, found 29 x 28"):
        inject_survey(tmp_path / "survey", tmp_path / "out", progress=False)


def test_stamps_without_a_quiet_place_are_told(survey, tmp_path):
    # Sources all over the difference.
    loud = tmp_path / "loud"
    loud.mkdir()
    stamps = np.load(survey / "raw" / "images1.npy")
    rows = np.abs(np.indices((SIZE, SIZE)) - 14).max(axis=0) > 5
    comb = np.where(np.indices((SIZE, SIZE)).sum(axis=0) % 6 == 0, 1e6, 0.0)
    stamps[..., 2] += np.where(rows, comb, 0)
    np.save(loud / "images1.npy", stamps)
    pd.read_csv(survey / "raw" / "params1.csv").to_csv(loud / "params1.csv", index=False)
    with pytest.raises(InputError, match="stamps called real, found 0"):
        inject_survey(loud, tmp_path / "out", count=5, progress=False)
    assert not (tmp_path / "out").exists()


def test_injected_reals_are_integers_where_the_survey_is(small, tmp_path):
    folder = tmp_path / "integers"
    folder.mkdir()
    stamps = np.load(small / "images1.npy")
    stamps[..., 0] += 32767 - np.median(stamps[..., 0]) - 100
    np.save(folder / "images1.npy", np.clip(np.rint(stamps), -32768, 32767).astype(np.int16))
    pd.read_csv(small / "params1.csv").to_csv(folder / "params1.csv", index=False)
    inject_survey(folder, tmp_path / "out", count=20, progress=False)
    made = np.load(tmp_path / "out" / "images1.npy")
    assert (made == np.rint(made)).all()
    # Sources are cut off where the survey's own are.
    assert made[:20, 14, 14, 0].max() == made.max() == 32767


def test_pixels_beyond_float32_are_missing_pixels(small, tmp_path):
    folder = tmp_path / "wide"
    folder.mkdir()
    stamps = np.load(small / "images1.npy").astype(np.float64)
    # In the middle, where a shape is fitted, and at the edge.
    stamps[::3, 14, 14, 2], stamps[::2, :3] = 1e300, -1e300
    np.save(folder / "images1.npy", stamps)
    pd.read_csv(small / "params1.csv").to_csv(folder / "params1.csv", index=False)
    found = inject_survey(folder, tmp_path / "out", count=6, progress=False)
    assert np.isfinite(found[1].snr).all()
    made = np.load(tmp_path / "out" / "images1.npy")
    assert np.isfinite(made[:, 9:20, 9:20]).all()


# --- the command ----------------------------------------------------------------------------------


def test_command(small, tmp_path, capsys):
    words = [str(small), str(tmp_path / "out"), "--count", "12", "--no_progress"]
    assert inject.main(words) == 0
    said = capsys.readouterr().out
    assert "detector 1: point sources of" in said
    assert f"rbkeras.convert {small} {tmp_path / 'out'} NEW_RECORDS" in said
    assert convert_survey(tmp_path / "out", tmp_path / "records", progress=False) is None

    assert inject.main(words) == 2
    assert "--overwrite replaces them" in capsys.readouterr().err
    assert inject.main([*words, "--overwrite"]) == 0


def test_command_leaves_other_folders_alone(small, tmp_path, capsys):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    words = [str(small), str(tmp_path / "mine"), "--overwrite", "--no_progress"]
    assert inject.main(words) == 2
    assert "empty or absent, found files" in capsys.readouterr().err
    assert (tmp_path / "mine" / "notes.txt").read_text() == "mine"


def test_injected_reals_do_not_replace_what_they_are_made_of(small, tmp_path, fails_with):
    survey = tmp_path / "injected"
    assert inject.main([str(small), str(survey), "--count", "40", "--no_progress"]) == 0
    before = (survey / "images1.npy").read_bytes()
    said = fails_with(inject.main, [survey, survey, "--count", 4, "--overwrite", "--no_progress"])
    assert said == f"error: {survey}: expected a folder that does not hold the survey"
    survey.rename(tmp_path / "inner")
    (tmp_path / "injected").mkdir()
    (tmp_path / "inner").rename(survey / "inner")
    (survey / "injection.json").write_text("{}")
    fails_with(inject.main, [survey / "inner", survey, "--count", 4, "--overwrite"])
    assert (survey / "inner" / "images1.npy").read_bytes() == before


def test_command_reads_suspects(small, tmp_path, capsys):
    table = tmp_path / "label_errors.csv"
    table.write_text("detector_id,sample_index\n1,0\n")
    words = [str(small), str(tmp_path / "out"), "--no_progress", "--count", "4"]
    assert inject.main([*words, "--label_errors", str(table)]) == 2
    assert "suspect" in capsys.readouterr().err
    table.write_text("detector_id,sample_index,suspect\n1,0,1\n")
    assert inject.main([*words, "--label_errors", str(table)]) == 0


# --- made of records ------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_records_give_what_their_survey_gives(dtype, small, tmp_path):
    survey = shutil.copytree(small, tmp_path / "survey")
    stamps = np.load(survey / "images1.npy")
    np.save(survey / "images1.npy", stamps.astype(dtype))
    convert_survey(survey, tmp_path / "records", progress=False)
    for source, out in ((survey, "expected"), (tmp_path / "records", "found")):
        inject_survey(source, tmp_path / out, count=15, progress=False)
    whole = np.load(tmp_path / "found" / "images1.npy") % 1 == 0
    assert whole.all() == (dtype is np.int32)
    for name in ("images1.npy", "params1.csv"):
        expected = (tmp_path / "expected" / name).read_bytes()
        assert (tmp_path / "found" / name).read_bytes() == expected
    convert_survey(survey, tmp_path / "one", more=[tmp_path / "expected"], progress=False)
    convert_survey(
        tmp_path / "records", tmp_path / "other", more=[tmp_path / "found"], progress=False
    )
    one, other = (open_records(tmp_path / name) for name in ("one", "other"))
    assert one.files[0].read_bytes() == other.files[0].read_bytes()
    pd.testing.assert_frame_equal(one.samples, other.samples)


def test_every_injected_alert_has_a_name_of_its_own(small, tmp_path):
    survey = shutil.copytree(small, tmp_path / "survey")
    table = pd.read_csv(survey / "params1.csv")
    numbers = range(2_500_000_000_000_000_000, 2_500_000_000_000_000_000 + len(table))
    table.assign(alert_id=numbers, survey_score=0.9).to_csv(survey / "params1.csv", index=False)
    inject_survey(survey, tmp_path / "made", count=10, seed=5, progress=False)
    made = pd.read_csv(tmp_path / "made" / "params1.csv")
    expected = [f"injected-5-1-{numbers[k]}-{i}" for i, k in enumerate(made["made_from"])]
    assert made["alert_id"].tolist() == expected
    assert "survey_score" not in made
    convert_survey(survey, tmp_path / "records", more=[tmp_path / "made"], progress=False)
    samples = open_records(tmp_path / "records").samples
    assert samples["alert_id"].tolist() == [*map(str, numbers), *made["alert_id"]]
    (tmp_path / "verdicts.csv").write_text(f"alert_id,verdict\n{numbers[3]},bogus\n")
    assert read_verdicts(tmp_path / "verdicts.csv", samples).to_dict() == {3: "bogus"}


def test_what_records_hold_already_is_not_joined_with_them_again(small, tmp_path):
    survey = shutil.copytree(small, tmp_path / "survey")
    table = pd.read_csv(survey / "params1.csv")
    table.assign(alert_id=range(len(table)), file="a").to_csv(survey / "params1.csv", index=False)
    made, joined = tmp_path / "made", tmp_path / "joined"
    inject_survey(survey, made, count=10, progress=False)
    convert_survey(survey, joined, more=[made], progress=False)
    with pytest.raises(InputError, match=r"params1\.csv: expected other alerts than those of the"):
        convert_survey(joined, tmp_path / "again", more=[made], progress=False)


def test_label_names_of_records_stay_when_injecting(small, tmp_path):
    convert_survey(small, tmp_path / "records", progress=False)
    with pytest.raises(InputError, match="expected galx_artificial_real to mean bogus"):
        inject_survey(
            tmp_path / "records",
            tmp_path / "made",
            labels={"galx_artificial_real": 0},
            progress=False,
        )
