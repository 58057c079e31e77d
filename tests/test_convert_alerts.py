import json

import numpy as np
import pandas as pd
import pytest
from packets import (
    CUTOUTS,
    OTHER,
    SHARED,
    fits_bytes,
    images_of,
    needs_real,
    write_packets,
    ztf_packet,
)

from rbkeras import convert
from rbkeras.config import FitConfig
from rbkeras.data import write_records
from rbkeras.data.records import open_records
from rbkeras.data.spool import StampSpool
from rbkeras.rundir import Run

SCORES = (0.1, 0.5, None, 0.9)


def run(*arguments):
    return convert.main([str(argument) for argument in arguments])


def packet(number):
    """Detectors 1, 3 and 10 take turns; every packet's score and NaN pixel depend on its number."""
    images = images_of(number)
    images[1][4, number % 9] = np.nan
    rcid = (0, 8, 36)[number % 3]
    return ztf_packet(number, images=images, rcid=rcid, drb=SCORES[number % 4])


@pytest.fixture
def alerts(tmp_path):
    folder = tmp_path / "alerts"
    write_packets(folder / "a.avro", map(packet, range(7)))
    write_packets(folder / "b.avro", map(packet, range(7, 12)))
    return folder


def times(directory):
    return {path.name: path.stat().st_mtime_ns for path in directory.glob("data*.tfrecord")}


def test_alerts_become_records_by_detector(alerts, tmp_path, read_all):
    out = tmp_path / "out"
    assert run(alerts, out, "--size", 5) == 0
    records = open_records(out)
    assert records.stamp_shape == (5, 5, 3)
    assert [path.name for path in records.files] == [f"data{i}.tfrecord" for i in (1, 10, 3)]
    order = [number for first in (0, 2, 1) for number in range(first, 12, 3)]
    expected = [
        np.stack(packet_images, axis=-1)[2:7, 2:7] for packet_images in map(images_of, order)
    ]
    for stamp, number in zip(expected, order, strict=True):
        if 2 <= number % 9 < 7:
            stamp[2, number % 9 - 2, 1] = np.nan
    np.testing.assert_array_equal(read_all(records), expected)
    samples = records.samples
    assert samples["alert_id"].tolist() == [str(10**18 + number) for number in order]
    assert samples["object_id"].tolist() == [f"ZTF{number // 2}" for number in order]
    assert samples["file"].tolist() == ["a.avro" if number < 7 else "b.avro" for number in order]
    assert samples["detector_id"].tolist() == [1] * 4 + [10] * 4 + [3] * 4
    assert samples["label"].tolist() == [-1] * 12
    assert samples["object_type"].unique().tolist() == ["unlabelled"]
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["complete"]
    assert manifest["missing_pixels"] == sum(2 <= number % 9 < 7 for number in order)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == [".out.lock"]


def test_labels_from_a_table(alerts, tmp_path, fails_with):
    labels = tmp_path / "labels.csv"
    names = {0: "real", 3: "junk", 11: "bogus", 99: "real"}
    rows = [(10**18 + number, name, "me") for number, name in names.items()]
    pd.DataFrame(rows, columns=["alert_id", "object_type", "by"]).to_csv(labels, index=False)
    options = ("--labels_csv", labels)
    assert "'junk'" in fails_with(convert.main, [alerts, tmp_path / "out", *options])
    assert not (tmp_path / "out").exists()
    assert run(alerts, tmp_path / "out", *options, "--labels", "junk=0") == 0
    found = open_records(tmp_path / "out").samples.set_index("alert_id")["label"]
    assert found[found >= 0].to_dict() == {
        str(10**18): 1,
        str(10**18 + 3): 0,
        str(10**18 + 11): 0,
    }


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("alert_id,object_type\n5,real\n", "expected names for alerts such as 10000"),
        ("alert_id,object_type\n5,real\n5,bogus\n", "one name for alert 5, found real, bogus"),
        ("candid,object_type\n5,real\n", "expected the columns alert_id, object_type"),
    ],
)
def test_a_table_of_labels_at_fault(alerts, tmp_path, fails_with, text, words):
    labels = tmp_path / "labels.csv"
    labels.write_text(text)
    line = fails_with(convert.main, [alerts, tmp_path / "out", "--labels_csv", labels])
    assert words in line
    assert "labels.csv" in line


def test_labels_from_the_surveys_score(alerts, tmp_path, fails_with):
    assert run(alerts, tmp_path / "out", "--score_threshold", 0.5) == 0
    samples = open_records(tmp_path / "out").samples.sort_values("alert_id")
    assert samples["label"].tolist() == [0, 1, -1, 1] * 3
    field = ("--score_field", "candidate.rb")
    for more in (["--score_threshold", 0.5, *field], field):
        line = fails_with(convert.main, [alerts, tmp_path / "rb", *more])
        assert "--score_field: expected a place where packets have a number" in line
        assert "got candidate.rb, where none has" in line
    line = fails_with(convert.main, [alerts, tmp_path / "rb", "--score_threshold", "nan"])
    assert "--score_threshold: expected a finite score, got nan" in line
    assert (
        run(alerts, tmp_path / "jd", "--score_threshold", 2460006, "--score_field", "candidate.jd")
        == 0
    )
    samples = open_records(tmp_path / "jd").samples.sort_values("alert_id")
    assert samples["label"].tolist() == [0] * 6 + [1] * 6


def test_an_alert_that_comes_twice_is_refused_or_left_out(alerts, tmp_path, fails_with, capsys):
    write_packets(alerts / "z.avro", [packet(3), packet(20)])
    line = fails_with(convert.main, [alerts, tmp_path / "out"])
    assert f"expected every alert once, but {10**18 + 3}, number 13, has been there before" in line
    assert not (tmp_path / "out").exists()
    assert run(alerts, tmp_path / "out", "--skip_bad") == 1
    assert f"skipped: {alerts}: expected every alert once" in capsys.readouterr().err
    samples = open_records(tmp_path / "out").samples
    assert len(samples) == 13
    assert samples["alert_id"].is_unique
    assert str(10**18 + 20) in samples["alert_id"].tolist()


def test_alerts_without_a_name_are_strangers(tmp_path):
    images = [fits_bytes(image) for image in images_of(1)]
    nameless = [dict(zip(CUTOUTS, images, strict=True))]
    for folder in ("one", "two"):
        write_packets(tmp_path / "alerts" / folder / "a.avro", nameless, OTHER)
    assert run(tmp_path / "alerts", tmp_path / "out") == 0
    assert len(open_records(tmp_path / "out").samples) == 2


def test_unchanged_detectors_are_kept(alerts, tmp_path):
    out = tmp_path / "out"
    assert run(alerts, out) == 0
    before = times(out)
    assert run(alerts, out) == 0
    assert times(out) == before
    write_packets(alerts / "c.avro", [packet(14)])  # detector 10
    assert run(alerts, out) == 0
    after = times(out)
    assert {name for name in after if after[name] != before[name]} == {
        "data10.tfrecord",
        "data3.tfrecord",  # whose unique_index moves
    }
    assert len(open_records(out)) == 13


def test_an_interrupted_conversion_goes_on(alerts, tmp_path, monkeypatch, read_all, capsys):
    out = tmp_path / "out"
    frame_block, left = write_records.frame_block, iter(range(6))

    def failing(*arguments, **keywords):
        if next(left, None) is None:
            raise KeyboardInterrupt
        return frame_block(*arguments, **keywords)

    with monkeypatch.context() as patch:
        patch.setattr(write_records, "_CHUNK", 1)
        patch.setattr(write_records, "frame_block", failing)
        assert run(alerts, out) == 1
    assert "the same command continues" in capsys.readouterr().err
    before = times(out)
    assert list(before) == ["data1.tfrecord"]
    assert run(alerts, out) == 0
    assert times(out)["data1.tfrecord"] == before["data1.tfrecord"]
    assert read_all(open_records(out))[:, 0, 0, 0].tolist() == [
        1000 * number for first in (0, 2, 1) for number in range(first, 12, 3)
    ]


def test_bad_packets_stop_it_or_are_skipped(alerts, tmp_path, fails_with, capsys):
    out = tmp_path / "out"
    assert run(alerts, out, "--size", 7) == 0
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    write_packets(alerts / "b.avro", [packet(8) | {"cutoutScience": None}, packet(9)])
    (alerts / "c.avro").write_bytes(b"no Avro")
    line = fails_with(convert.main, [alerts, out, "--size", 7])
    assert "b.avro: packet 1: expected a cutoutScience" in line
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    capsys.readouterr()
    # Stamps that the records have are not dropped for it.
    line = fails_with(convert.main, [alerts, out, "--size", 7, "--skip_bad"])
    assert "pass --overwrite to drop them" in line
    assert run(alerts, out, "--size", 7, "--skip_bad", "--overwrite") == 1
    skipped = [line for line in capsys.readouterr().err.splitlines() if "skipped" in line]
    assert [line.split(": ")[0] for line in skipped] == ["skipped", "skipped"]
    assert len(open_records(out)) == 8
    # All of them at fault is no records at all.
    bad = alerts / "c.avro"
    assert "found no sound one" in fails_with(convert.main, [bad, tmp_path / "new", "--skip_bad"])


def test_fits_stamps_become_records(tmp_path, read_all, fails_with):
    folder = tmp_path / "stamps"
    folder.mkdir()
    table = {"file": [], "object_type": ["real", "junk", None], "detector_id": [2, 1, 2]}
    for number in range(3):
        (folder / f"{number}.fits").write_bytes(fits_bytes(np.stack(images_of(number))))
        table["file"].append(f"{number}.fits")
    pd.DataFrame(table).to_csv(folder / "stamps.csv", index=False)
    assert "'junk'" in fails_with(convert.main, [folder, tmp_path / "out"])
    assert run(folder, tmp_path / "out", "--labels", "junk=0") == 0
    records = open_records(tmp_path / "out")
    assert records.samples["label"].tolist() == [0, 1, -1]
    assert read_all(records)[:, 0, 0, 0].tolist() == [1000, 0, 2000]
    assert run(folder / "stamps.csv", tmp_path / "o5", "--labels", "junk=0", "--size", 5) == 0
    assert open_records(tmp_path / "o5").stamp_shape == (5, 5, 3)
    (folder / "1.fits").unlink()
    assert run(folder, tmp_path / "o2", "--skip_bad") == 1
    assert open_records(tmp_path / "o2").samples["label"].tolist() == [1, -1]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--size", 0), "--size: expected 1 to 10000, got 0"),
        (("--score_threshold", 0.5, "--labels_csv", "x.csv"), "at most one of"),
        (("--labels_csv", "nowhere.csv"), "nowhere.csv: expected a CSV table"),
    ],
)
def test_options_at_fault(alerts, tmp_path, fails_with, options, words):
    assert words in fails_with(convert.main, [alerts, tmp_path / "out", *options])
    assert not (tmp_path / "out").exists()


def test_options_of_other_inputs(survey, tmp_path, fails_with):
    for option in (("--size", 9), ("--score_threshold", 0.5), ("--skip_bad",)):
        line = fails_with(convert.main, [survey, tmp_path / "out", *option])
        assert line.startswith(f"error: {option[0]}: expected alert packets")
    (tmp_path / "empty").mkdir()
    line = fails_with(convert.main, [tmp_path / "empty", survey, tmp_path / "out"])
    assert "where there are several inputs" in line
    line = fails_with(convert.main, [tmp_path / "empty", tmp_path / "out"])
    assert "images<ID>.npy, alert packets (*.avro), stamps.csv or records, found none" in line


def test_a_negative_detector_is_refused(alerts, tmp_path, fails_with):
    write_packets(alerts / "c.avro", [ztf_packet(1, rcid=-8)])
    line = fails_with(convert.main, [alerts, tmp_path / "out"])
    assert "c.avro: packet 1: expected a number in candidate.rcid, found -8" in line


def test_a_spool_gives_back_any_selection_and_leaves_no_file(tmp_path):
    stamps = np.random.default_rng(0).normal(size=(10, 4, 3, 2)).astype("f4")
    stamps[3, 0] = np.nan
    with StampSpool(tmp_path / "not" / "yet", (4, 3, 2)) as spool:
        spool.append(stamps[:6])
        spool.append(stamps[6:].astype("f8"))
        index = np.array([9, 3, 0, 7])
        rows = spool.rows(index)
        assert rows.shape == (4, 4, 3, 2)
        assert rows[1:3].tobytes() == stamps[index[1:3]].tobytes()
        assert len(rows[:]) == len(rows) == 4
    assert not list(tmp_path.iterdir())


@needs_real("ztf")
def test_real_packets_are_converted_and_sound(tmp_path, read_all):
    from rbkeras import check

    out = tmp_path / "out"
    assert run(SHARED / "ztf" / "alerts", out, "--size", 29, "--score_threshold", 0.5) == 0
    assert check.main([str(out)]) == 0
    records = open_records(out)
    assert records.samples["label"].value_counts().to_dict() == {1: 75, 0: 40}
    raw = SHARED / "ztf" / "raw"
    stamps = read_all(records)
    for detector, rows in records.samples.groupby("detector_id"):
        params = pd.read_csv(raw / f"params{detector}.csv")
        known = dict(zip(params["candid"], np.load(raw / f"images{detector}.npy"), strict=True))
        for row in rows.itertuples():
            np.testing.assert_array_equal(stamps[row.unique_index], known[int(row.alert_id)])


def test_records_of_more_alerts_are_joined(alerts, tmp_path, fails_with):
    first, second = tmp_path / "first", tmp_path / "second"
    for file, records in (("a.avro", first), ("b.avro", second)):
        assert run(alerts / file, records, "--size", 5) == 0
    assert run(alerts, tmp_path / "expected", "--size", 5) == 0
    assert run(first, second, tmp_path / "found") == 0
    found, expected = (open_records(tmp_path / name) for name in ("found", "expected"))
    assert [path.read_bytes() for path in found.files] == [
        path.read_bytes() for path in expected.files
    ]
    pd.testing.assert_frame_equal(found.samples, expected.samples)
    said = fails_with(convert.main, [first, tmp_path / "found", tmp_path / "out"])
    name = open_records(first).samples["alert_id"].iloc[0]
    assert f"expected every alert once, but {name} also stands in {first}" in said


def test_labels_of_a_table_may_be_trusted(alerts, tmp_path, fails_with):
    names = [packet(number)["candid"] for number in range(12)]
    labels = tmp_path / "labels.csv"
    table = pd.DataFrame({"alert_id": names, "object_type": ["real", "bogus"] * 6})
    table.assign(trusted=[1, 0, None] * 4).head(9).to_csv(labels, index=False)
    assert run(alerts, tmp_path / "out", "--size", 5, "--labels_csv", labels) == 0
    records = open_records(tmp_path / "out")
    trusted = Run(FitConfig(data=tmp_path / "out"), records, records.samples["label"]).trusted
    found = set(records.samples["alert_id"][trusted])
    assert found == {str(names[number]) for number in (0, 3, 6)}
    with labels.open("a") as file:
        file.write(f"{names[0]},real,0\n")
    line = fails_with(convert.main, [alerts, tmp_path / "again", "--labels_csv", labels])
    assert f"expected one value of trusted for alert {names[0]}, found True, False" in line


def test_packets_are_converted_before_they_are_joined(alerts, survey, tmp_path, fails_with):
    for inputs in ([alerts, survey], [survey, alerts]):
        line = fails_with(convert.main, [*inputs, tmp_path / "out"])
        assert f"{alerts}: expected only surveys and records where there are some" in line
    assert not (tmp_path / "out").exists()
