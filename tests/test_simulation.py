import dataclasses
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from rbkeras import simulate
from rbkeras.data.simulation import bogus, simulate_stamps, simulate_survey, sources
from rbkeras.data.simulation import survey as survey_module
from rbkeras.data.simulation.sky import (
    Matching,
    Psf,
    draw_conditions,
    pixel_grid,
    psf_snr,
)
from rbkeras.data.simulation.survey import draw_label_errors
from rbkeras.errors import InputError

SIZE = 29
MIDDLE = SIZE // 2
KINDS = (("images", "npy"), ("params", "csv"))
SMALL = {"detectors": 3, "per_detector": 40, "test_real": 7, "test_bogus": 11, "progress": False}


@pytest.fixture(scope="module")
def survey(tmp_path_factory):
    out = tmp_path_factory.mktemp("simulation") / "survey"
    simulate_survey(out, label_error=0.1, real_fraction=0.4, seed=3, **SMALL)
    return out


def files_of(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def layers_of(name, conditions, n=64):
    draw, _ = bogus.FAMILIES[name]
    sigma = np.full(n, conditions.sky_sigma)
    return draw(
        n, conditions=conditions, sigma=sigma, rng=np.random.default_rng(5), size=SIZE
    ), sigma


# The survey on disk


def test_layout(survey):
    expected = {f"raw/{name}{i}.{end}" for i in (1, 2, 3) for name, end in KINDS}
    expected |= {f"test/{name}.{end}" for name in ("real", "bogus") for end in ("npy", "csv")}
    assert set(files_of(survey)) == expected | {"truth.csv"}
    for detector_id in (1, 2, 3):
        images = np.load(survey / f"raw/images{detector_id}.npy")
        assert images.shape == (40, SIZE, SIZE, 3)
        assert images.dtype == np.float32
        assert np.isfinite(images).all()
        params = pd.read_csv(survey / f"raw/params{detector_id}.csv")
        assert len(params) == 40
        assert {"object_type", "snr", "magnitude"} <= set(params)
        assert not params.isna().any(axis=None)
    assert np.load(survey / "test/real.npy").shape == (7, SIZE, SIZE, 3)
    assert np.load(survey / "test/bogus.npy").shape == (11, SIZE, SIZE, 3)


def test_truth_matches_the_given_labels(survey):
    truth = pd.read_csv(survey / "truth.csv")
    assert list(truth) == [
        "detector_id",
        "sample_index",
        "given_label",
        "true_label",
        "family",
        "snr",
    ]
    assert len(truth) == 120
    assert truth.snr.notna().all()
    for detector_id, rows in truth.groupby("detector_id"):
        params = pd.read_csv(survey / f"raw/params{detector_id}.csv")
        assert list(rows.sample_index) == list(range(40))
        given = params.object_type != "artifact"
        assert (given.to_numpy() == (rows.given_label == 1).to_numpy()).all()
        assert rows.true_label.sum() == 16
        # Shuffled: the classes do not stand in two blocks.
        assert np.abs(np.diff(rows.true_label)).sum() > 3
        names = rows.family.map({"random": "rand", "near_galaxy": "galx"}).to_numpy()
        right = ((rows.true_label == 1) & (rows.given_label == 1)).to_numpy()
        assert (params.object_type.str[:4].to_numpy() == names)[right].all()
    assert set(truth.family[truth.true_label == 1]) == {"random", "near_galaxy"}
    assert set(truth.family[truth.true_label == 0]) <= set(bogus.FAMILIES)


def test_label_errors_are_counted_exactly_per_class(survey):
    truth = pd.read_csv(survey / "truth.csv")
    wrong = truth.given_label != truth.true_label
    assert wrong[truth.true_label == 1].sum() == round(0.1 * 48)
    assert wrong[truth.true_label == 0].sum() == round(0.1 * 72)


@pytest.mark.parametrize("rate", [0.0, 0.03, 0.05, 0.49])
def test_draw_label_errors(rate):
    true_label = np.arange(5 * 61).reshape(5, 61) % 3 // 2
    wrong = draw_label_errors(true_label, rate, rng=np.random.default_rng(0))
    for value in (0, 1):
        assert wrong[true_label == value].sum() == round(rate * (true_label == value).sum())


def test_same_seed_same_bytes(survey, tmp_path):
    simulate_survey(tmp_path / "a", label_error=0.1, real_fraction=0.4, seed=3, **SMALL)
    assert files_of(tmp_path / "a") == files_of(survey)


def test_test_tables_have_a_row_per_stamp_in_order(survey):
    for name, count in (("real", 7), ("bogus", 11)):
        table = pd.read_csv(survey / f"test/{name}.csv")
        assert list(table) == ["detector_id", "family", "snr", "magnitude"]
        # Detectors take turns.
        assert table["detector_id"].tolist() == [1 + row % 3 for row in range(count)]
        assert not table.isna().any(axis=None)
        assert (table["family"].isin(bogus.FAMILIES) == (name == "bogus")).all()


def test_test_set_depends_on_the_seed_but_not_on_the_training_set(survey, tmp_path):
    longer = {**SMALL, "per_detector": 50}
    simulate_survey(tmp_path / "longer", label_error=0.0, seed=3, **longer)
    simulate_survey(tmp_path / "other", label_error=0.1, real_fraction=0.4, seed=4, **SMALL)
    for name in ("test/real.npy", "test/bogus.npy"):
        assert (tmp_path / "longer" / name).read_bytes() == (survey / name).read_bytes()
        assert (tmp_path / "other" / name).read_bytes() != (survey / name).read_bytes()


def test_detectors_do_not_depend_on_their_number(survey, tmp_path):
    # As many test stamps of each of the two as among those of three.
    fewer = {**SMALL, "detectors": 2, "test_real": 5, "test_bogus": 8}
    simulate_survey(tmp_path / "fewer", label_error=0.1, real_fraction=0.4, seed=3, **fewer)
    for name in ("raw/images1.npy", "raw/images2.npy"):
        assert (tmp_path / "fewer" / name).read_bytes() == (survey / name).read_bytes()
    for name in ("test/real.npy", "test/bogus.npy"):
        of_two, of_three = np.load(tmp_path / "fewer" / name), np.load(survey / name)
        for index in range(2):
            np.testing.assert_array_equal(of_two[index::2], of_three[index::3])


def test_conditions_differ_between_seeds_and_detectors():
    drawn = {draw_conditions(np.random.default_rng(seed)).psf.fwhm for seed in range(20)}
    assert len(drawn) == 20


def test_empty_classes_and_test_sets(tmp_path):
    simulate_survey(
        tmp_path / "s",
        detectors=1,
        per_detector=5,
        real_fraction=1.0,
        test_real=0,
        test_bogus=0,
        size=11,
        progress=False,
    )
    assert np.load(tmp_path / "s/raw/images1.npy").shape == (5, 11, 11, 3)
    assert len(np.load(tmp_path / "s/test/bogus.npy")) == 0
    assert len(pd.read_csv(tmp_path / "s/test/bogus.csv")) == 0


# Reals


@pytest.mark.parametrize("snr", [10.0, 60.0])
def test_injected_flux_gives_the_requested_snr(conditions, snr):
    images, table = simulate_stamps(
        600,
        kind="real",
        conditions=conditions,
        rng=np.random.default_rng(1),
        family="random",
        snr=snr,
    )
    # Independent of the simulator: Moffat's formula, and the noise seen in the difference.
    rows, columns = np.mgrid[:SIZE, :SIZE] - MIDDLE
    gamma = 3.0 / (2 * np.sqrt(2 ** (1 / 3.5) - 1))
    psf = (1 + (rows**2 + columns**2) / gamma**2) ** -3.5
    difference = images[..., 2]
    border = np.concatenate([difference[:, :4].ravel(), difference[:, -4:].ravel()])
    sigma = 1.4826 * np.median(np.abs(border - np.median(border)))
    measured = (difference * psf).sum(axis=(1, 2)) / sigma / np.sqrt((psf**2).sum())
    assert np.median(measured) == pytest.approx(snr, rel=0.06)
    assert (table.injected_snr == snr).all()
    assert np.median(table.snr) == pytest.approx(snr, rel=0.2)


def test_reals_are_in_the_new_image_and_the_difference_only(conditions):
    images, _ = simulate_stamps(
        200,
        kind="real",
        conditions=conditions,
        rng=np.random.default_rng(1),
        family="random",
        snr=50.0,
    )
    ring = images[:, MIDDLE - 8, MIDDLE - 1 : MIDDLE + 2].mean(axis=1)
    excess = images[:, MIDDLE, MIDDLE] - ring
    assert np.median(excess[:, 0]) > 5 * conditions.sky_sigma
    assert np.median(excess[:, 2]) > 5 * conditions.sky_sigma
    assert abs(np.median(excess[:, 1])) < conditions.sky_sigma


@pytest.mark.parametrize("size", [28, 29, 30, 31])
def test_galaxies_are_centred_whatever_the_size(conditions, size):
    # Round, in the middle, and not moved by the registration.
    exact = Matching(np.zeros(1), np.zeros(1), np.ones(1), np.ones(1))
    columns, rows = pixel_grid(size + 2 * sources.PADDING)
    profile = np.exp(-(columns**2 + rows**2) / 8).astype(np.float32)
    round_psf = dataclasses.replace(conditions, psf=Psf(4.0, 3.0))
    image = sources._blur(profile, conditions=round_psf, matching=exact).new
    columns, rows = pixel_grid(size)
    assert abs((image * columns).sum() / image.sum()) < 0.01
    assert abs((image * rows).sum() / image.sum()) < 0.01


def test_galaxies_are_where_they_are_said_to_be(conditions):
    centre = {}
    for family in ("random", "near_galaxy"):
        images, _ = simulate_stamps(
            200,
            kind="real",
            conditions=conditions,
            rng=np.random.default_rng(1),
            family=family,
        )
        centre[family] = np.median(images[:, MIDDLE, MIDDLE, 1]) - conditions.sky
    assert centre["near_galaxy"] > 5 * conditions.sky_sigma
    assert centre["random"] < conditions.sky_sigma


def test_galaxies_do_not_give_the_class_away(conditions):
    share = {}
    for kind, family in (("real", "random"), ("bogus", "noise_peak")):
        images, _ = simulate_stamps(
            600, kind=kind, conditions=conditions, rng=np.random.default_rng(1), family=family
        )
        centre = images[:, MIDDLE, MIDDLE, 1] - conditions.sky
        share[kind] = np.mean(centre > 2 * conditions.sky_sigma)
    assert share["real"] == pytest.approx(share["bogus"], abs=0.06)
    assert share["bogus"] > 0.06


def test_psf_keeps_its_flux_and_width():
    image = Psf(4.0, 3.0).render([2.0], [0.0], [0.0], size=101)[0]
    assert image.sum() == pytest.approx(2.0, rel=0.01)
    assert image[50, 52] == pytest.approx(image[50, 50] / 2, rel=1e-5)


def test_psf_snr_of_a_star_is_flux_over_its_error():
    psf = Psf(3.0, 3.5).render([1.0], [0.0], [0.0], size=SIZE)
    variance = np.full_like(psf, 9.0)
    expected = 100 / (3 / np.sqrt((psf**2).sum()))
    np.testing.assert_allclose(psf_snr(100 * psf, psf, variance), expected, rtol=1e-5)


# Bogus


@pytest.mark.parametrize("family", list(bogus.FAMILIES))
def test_families_are_finite_and_reproducible(conditions, family):
    first, second = (
        simulate_stamps(
            40, kind="bogus", conditions=conditions, rng=np.random.default_rng(8), family=family
        )
        for _ in range(2)
    )
    assert np.isfinite(first[0]).all()
    np.testing.assert_array_equal(first[0], second[0])
    assert (first[1].family == family).all()


@pytest.mark.parametrize("family", ["cosmic_ray", "hot_pixel", "trail", "bad_column"])
def test_defects_of_the_new_image_are_not_in_the_reference(conditions, family):
    layers, sigma = layers_of(family, conditions)
    assert not layers.reference.any()
    assert not layers.matched.any()
    images, _ = simulate_stamps(
        300, kind="bogus", conditions=conditions, rng=np.random.default_rng(8), family=family
    )
    near = images[:, MIDDLE - 2 : MIDDLE + 3, MIDDLE - 2 : MIDDLE + 3]
    excess = near.max(axis=(1, 2)) - np.median(images, axis=(1, 2))
    assert np.median(excess[:, 0]) > 5 * sigma[0]
    assert np.median(excess[:, 2]) > 5 * sigma[0]
    assert np.median(excess[:, 1]) < 2 * sigma[0]


def test_cosmic_rays_are_sharper_than_the_psf(conditions):
    layers, _ = layers_of("cosmic_ray", conditions)
    star = conditions.psf.render([1.0], [0.0], [0.0], size=SIZE)
    spot = layers.new.max(axis=(1, 2)) / layers.new.sum(axis=(1, 2))
    assert np.median(spot) > 1.5 * star.max()


def test_hot_pixels_are_one_or_two(conditions):
    layers, _ = layers_of("hot_pixel", conditions)
    assert set((layers.new > 0).sum(axis=(1, 2))) == {1, 2}


def test_trails_cross_the_stamp(conditions):
    layers, _ = layers_of("trail", conditions)
    lit = layers.new > 0.3 * layers.new.max(axis=(1, 2), keepdims=True)
    borders = [lit[:, 0], lit[:, -1], lit[:, :, 0], lit[:, :, -1]]
    assert (np.sum([border.any(axis=1) for border in borders], axis=0) >= 2).all()


def test_bad_columns_fill_whole_lines(conditions):
    layers, _ = layers_of("bad_column", conditions)
    lit = layers.new > 0
    columns, rows = lit.any(axis=1).sum(axis=1), lit.any(axis=2).sum(axis=1)
    assert set(np.minimum(columns, rows)) == {1, 2}
    assert (np.maximum(columns, rows) >= MIDDLE - 3).all()
    np.testing.assert_array_equal(lit.sum(axis=(1, 2)), columns * rows)
    ends = np.array([lit[:, 0], lit[:, -1], lit[:, :, 0], lit[:, :, -1]]).any(axis=2)
    # What is no whole line may begin at any side.
    assert ends[:, ends.sum(axis=0) == 1].any(axis=1).all()


def test_dipoles_have_two_lobes(conditions):
    layers, _ = layers_of("dipole", conditions)
    residual = layers.new - layers.matched
    high, low = residual.max(axis=(1, 2)), -residual.min(axis=(1, 2))
    assert (high > 0).all()
    assert ((high / low > 0.2) & (high / low < 5)).mean() > 0.9


def test_psf_mismatches_change_sign_outwards(conditions):
    layers, _ = layers_of("psf_mismatch", conditions)
    residual = layers.new - layers.matched
    assert (residual.max(axis=(1, 2)) > 0).all()
    assert (residual.min(axis=(1, 2)) < 0).all()


def test_saturated_stars_stop_at_the_full_well(conditions):
    images, _ = simulate_stamps(
        64, kind="bogus", conditions=conditions, rng=np.random.default_rng(8), family="saturated"
    )
    flat = images[..., 0] > 0.95 * conditions.saturation
    assert np.median(flat.sum(axis=(1, 2))) > 3
    assert images[..., 0].max() < 1.05 * conditions.saturation


def test_chip_edges_have_no_data_beyond(conditions):
    images, _ = simulate_stamps(
        64, kind="bogus", conditions=conditions, rng=np.random.default_rng(8), family="chip_edge"
    )
    missing = images[..., 0] == 0
    assert (missing.mean(axis=(1, 2)) > 0.1).all()
    assert (missing.mean(axis=(1, 2)) < 0.9).all()
    assert not images[..., 2][missing].any()


def test_noise_peaks_pass_the_threshold_in_the_difference_only(conditions):
    layers, sigma = layers_of("noise_peak", conditions)
    assert not layers.new.any()
    assert not layers.reference.any()
    height = np.sqrt((layers.peak**2).sum(axis=(1, 2))) / sigma
    assert height.min() >= 3.99
    assert height.max() < 5.41


# The command


def test_command_writes_a_survey(tmp_path, capsys):
    out = tmp_path / "out"
    command = [
        str(out),
        *("--detectors", "1", "--per_detector", "20", "--test-real", "3", "--test_bogus", "4"),
        *("--size", "15", "--no-progress"),
    ]
    assert simulate.main(command) == 0
    assert np.load(out / "raw/images1.npy").shape == (20, 15, 15, 3)
    assert simulate.main(command) == 2
    assert "--overwrite" in capsys.readouterr().err
    (out / "raw/images2.npy").write_bytes(b"left over")
    assert simulate.main([*command, "--overwrite"]) == 0
    assert not (out / "raw/images2.npy").exists()


@pytest.mark.parametrize("kind", ["no simulation", "another file", "a link"])
def test_overwriting_takes_nothing_but_simulations(tmp_path, capsys, kind):
    out = tmp_path / "out"
    command = [str(out), "--detectors", "1", "--per_detector", "20", "--size", "15"]
    command += ["--test_real", "3", "--test_bogus", "4", "--no-progress"]
    if kind != "no simulation":
        assert simulate.main(command) == 0
    (out / "test").mkdir(parents=True, exist_ok=True)
    if kind == "a link":
        (out / "raw").rename(tmp_path / "elsewhere")
        (out / "raw").symlink_to(tmp_path / "elsewhere")
    else:
        (out / "test" / "notes.txt").write_text("of somebody")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.*") if path.is_file()}
    assert simulate.main([*command, "--overwrite"]) == 2
    message = {
        "no simulation": "expected an earlier simulation with its truth.csv, found none",
        "another file": "notes.txt: expected files of a simulation alone",
        "a link": "raw: expected a folder of a simulation, found a link",
    }[kind]
    assert message in capsys.readouterr().err
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.*") if path.is_file()} == before


def test_test_stamps_are_written_as_numpy_writes_them(survey, tmp_path):
    path = survey / "test" / "bogus.npy"
    np.save(tmp_path / "again.npy", np.load(path))
    assert path.read_bytes() == (tmp_path / "again.npy").read_bytes()


def test_an_interrupted_simulation_begins_anew(tmp_path, monkeypatch):
    command = [str(tmp_path), "--detectors", "1", "--per_detector", "20", "--size", "15"]
    command += ["--test_real", "3", "--test_bogus", "4", "--no-progress"]

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(survey_module, "_write_test", interrupted)
        assert simulate.main(command) == 1
    assert (tmp_path / "raw/images1.npy").exists()
    assert simulate.main(command) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["raw", "test", "truth.csv"]


def test_a_survey_half_replaced_is_never_taken_for_a_whole_one(tmp_path, monkeypatch):
    command = [str(tmp_path), "--detectors", "1", "--per_detector", "20", "--size", "15"]
    command += ["--test_real", "3", "--test_bogus", "4", "--no-progress"]
    assert simulate.main(command) == 0

    def killed(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(survey_module.shutil, "rmtree", killed)
        assert simulate.main([*command, "--overwrite"]) == 1
    assert (tmp_path / ".unfinished").exists()
    assert simulate.main(command) == 0
    assert not (tmp_path / ".unfinished").exists()


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--detectors", "0"),
        ("--per-detector", "-1"),
        ("--test-real", "-1"),
        ("--label-error", "0.5"),
        ("--label-error", "-0.1"),
        ("--label-error", "nan"),
        ("--real-fraction", "1.5"),
        ("--size", "10"),
        ("--seed", "-1"),
    ],
)
def test_command_refuses_bad_values(tmp_path, capsys, option, value):
    assert simulate.main([str(tmp_path / "out"), f"{option}={value}"]) == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert value in message
    assert not (tmp_path / "out").exists()


def test_out_may_not_be_a_file(tmp_path):
    (tmp_path / "out").write_text("")
    with pytest.raises(InputError, match="expected a folder"):
        simulate_survey(tmp_path / "out", progress=False)


def test_help_does_not_load_the_simulator():
    code = (
        "import sys\n"
        "from rbkeras import simulate\n"
        "try:\n    simulate.main(['--help'])\n"
        "except SystemExit as end:\n    assert end.code == 0\n"
        "assert 'numpy' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "examples:" in done.stdout
