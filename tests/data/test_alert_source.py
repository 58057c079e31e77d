import contextlib
import errno
import io
import json
import math
import os
import shutil
from collections import Counter

import fastavro
import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from packets import (
    CUTOUTS,
    OTHER,
    RUBIN,
    SHARED,
    fits_bytes,
    images_of,
    needs_real,
    rubin_packet,
    write_packets,
    ztf_packet,
)

from rbkeras.data.alert_source import AlertSource
from rbkeras.data.alerts import COLUMNS
from rbkeras.data.avro import count_packets, find_alert_files
from rbkeras.errors import InputError


def everything(source, start=0, size=512):
    tables, stamps = zip(*source.blocks(start, size), strict=True)
    return pd.concat(tables, ignore_index=True), np.concatenate(stamps)


def numbers(source, start=0):
    return [sample.identity["sample_index"] for sample in source.samples(start)]


@pytest.fixture
def night(tmp_path):
    """Eight packets in three files: 0 to 2, 3 to 6, 7."""
    folder = tmp_path / "night"
    write_packets(folder / "a.avro", map(ztf_packet, range(3)))
    write_packets(folder / "b.avro", map(ztf_packet, range(3, 7)), sync_interval=10**9)
    write_packets(folder / "later" / "c.avro", [ztf_packet(7)])
    return folder


# --- identity ----------------------------------------------------------------------------------


def test_a_ztf_packet(tmp_path):
    path = write_packets(tmp_path / "a.avro", [ztf_packet(1, rcid=63, fid=2)])
    table, stamps = everything(AlertSource(path))
    assert table.iloc[0].to_dict() == {
        "sample_index": 0,
        "file": "a.avro",
        "alert_id": "1000000000000000001",
        "object_id": "ZTF0",
        "detector_id": 16,
        "mjd": 60001.0,
        "ra": 10.0,
        "dec": -5.0,
        "band": "r",
        "magnitude": 18.5,
        "survey_score": 0.9,
        "survey_score_name": "drb",
    }
    assert stamps.dtype == np.float32
    np.testing.assert_array_equal(stamps[0], np.stack(images_of(1), axis=-1))


def test_a_rubin_packet(tmp_path):
    path = write_packets(tmp_path / "a.avro", [rubin_packet(1, psfFlux=-1000.0)], RUBIN)
    table, stamps = everything(AlertSource(path))
    row = table.iloc[0].to_dict()
    assert row.pop("magnitude") == pytest.approx(31.4 - 7.5)
    assert row == {
        "sample_index": 0,
        "file": "a.avro",
        "alert_id": "100000000000000001",
        "object_id": "8",
        "detector_id": 3,
        "mjd": 61000.25,
        "ra": 10.0,
        "dec": -5.0,
        "band": "i",
        "survey_score": 0.75,
        "survey_score_name": "reliability",
    }
    np.testing.assert_array_equal(stamps[0], np.stack(images_of(1), axis=-1))


def test_a_packet_of_another_survey_has_its_cutouts_and_a_name(tmp_path):
    cutouts = {name: fits_bytes(image) for name, image in zip(CUTOUTS, images_of(1), strict=True)}
    table, stamps = everything(AlertSource(write_packets(tmp_path / "x", [cutouts] * 2, OTHER)))
    assert table["alert_id"].tolist() == ["x:1", "x:2"]
    assert table["detector_id"].tolist() == [0, 0]
    assert table[["object_id", "survey_score", "magnitude", "band"]].isna().all(axis=None)
    np.testing.assert_array_equal(stamps[1], np.stack(images_of(1), axis=-1))


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ({}, (0.9, "drb")),
        ({"drb": None, "rb": 0.25}, (0.25, "rb")),
        ({"drb": float("nan"), "rb": 0.25}, (0.25, "rb")),
        ({"drb": None}, (None, None)),
    ],
)
def test_the_survey_score_is_the_first_there_is(tmp_path, scores, expected):
    path = write_packets(tmp_path / "a.avro", [ztf_packet(1, **scores)])
    identity = next(AlertSource(path).samples()).identity
    assert (identity["survey_score"], identity["survey_score_name"]) == expected


def test_the_survey_score_can_be_named(tmp_path):
    path = write_packets(tmp_path / "a.avro", [ztf_packet(1, rb=0.25)])
    table, _ = everything(AlertSource(path, score_field="candidate.rb"))
    assert table[["survey_score", "survey_score_name"]].to_numpy().tolist() == [[0.25, "rb"]]
    table, _ = everything(AlertSource(path, score_field="candidate.nothing"))
    assert table["survey_score"].isna().all()
    with pytest.raises(InputError, match="expected a number in objectId, found 'ZTF0'"):
        everything(AlertSource(path, score_field="objectId"))


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ({"diaObjectId": None, "ssObjectId": 5}, "5"),
        ({"diaObjectId": 0, "ssObjectId": 5}, "5"),
        ({"diaObjectId": None}, None),
    ],
)
def test_rubin_names_objects_of_the_solar_system_apart(tmp_path, source, expected):
    path = write_packets(tmp_path / "a.avro", [rubin_packet(1, **source)], RUBIN)
    assert next(AlertSource(path).samples()).identity["object_id"] == expected


@pytest.mark.parametrize("flux", [None, 0.0])
def test_no_flux_is_no_magnitude(tmp_path, flux):
    path = write_packets(tmp_path / "a.avro", [rubin_packet(1, psfFlux=flux)], RUBIN)
    table, _ = everything(AlertSource(path))
    assert table["magnitude"].isna().all()


def test_columns_keep_their_types_whatever_is_missing(tmp_path):
    empty = rubin_packet(2, diaObjectId=None, reliability=None, band=None, psfFlux=None)
    path = write_packets(tmp_path / "a.avro", [rubin_packet(1), empty], RUBIN)
    first, second = (table for table, _ in AlertSource(path).blocks(size=1))
    assert first.dtypes.to_dict() == second.dtypes.to_dict()
    assert tuple(first) == COLUMNS


# --- stamps ------------------------------------------------------------------------------------


def test_cutouts_of_any_sizes_are_cut_and_padded_about_their_centres(tmp_path):
    images = [np.full(shape, np.nan, np.float32) for shape in ((9, 9), (4, 6), (3, 3))]
    for image, middle in zip(images, ((4, 4), (1, 2), (1, 1)), strict=True):
        image[middle] = 5
    images[2][:] = 7
    path = write_packets(tmp_path / "a.avro", [rubin_packet(1, images=images)], RUBIN)
    stamp = everything(AlertSource(path, size=5))[1][0]
    assert stamp.shape == (5, 5, 3)
    assert (stamp[2, 2] == (5, 5, 7)).all()
    assert np.isfinite(stamp).sum(axis=(0, 1)).tolist() == [1, 1, 9]
    assert AlertSource(path, size=(3, 5)).stamp_shape == (3, 5, 3)
    assert everything(AlertSource(path, size=(3, 5)))[1].shape == (1, 3, 5, 3)


def test_without_a_size_all_cutouts_have_to_be_of_one(tmp_path):
    packets = [ztf_packet(1), ztf_packet(2, images=images_of(2, (8, 9))), ztf_packet(3)]
    path = write_packets(tmp_path / "a.avro", packets)
    with pytest.raises(InputError, match=r"packet 2: expected images of 9 x 9 .*found 8 x 9"):
        everything(AlertSource(path))
    bad = []
    table, stamps = everything(AlertSource(path, on_bad=bad.append))
    assert table["sample_index"].tolist() == [0, 2]
    assert stamps.shape == (2, 9, 9, 3)
    assert len(bad) == 1


# Rows and columns of a readout channel are 3080 and 3072; a detection in the pixel that FITS calls
# (x, y) lies in column x - 1 and row y - 1.
@pytest.mark.parametrize(
    ("ypos", "xpos", "shape", "center"),
    [
        (1500.0, 1500.0, (63, 63), (31, 31)),
        (1500.0, 3060.2, (63, 44), (31, 31)),
        (1500.0, 3060.6, (63, 43), (31, 31)),
        (1500.0, 10.4, (63, 41), (31, 9)),
        (1500.0, 10.6, (63, 42), (31, 10)),
        (3.0, 3072.0, (34, 32), (2, 31)),
        (3079.0, 1.0, (33, 32), (31, 0)),
        # No edge of ZTF's explains these, so their own middle it is.
        (1500.0, 10.4, (63, 40), (31, 19)),
        (1500.0, None, (63, 41), (31, 20)),
        (-7.0, 10.4, (63, 41), (31, 20)),
    ],
)
def test_a_ztf_cutout_at_the_detectors_edge_is_centred_on_the_detection(
    tmp_path, ypos, xpos, shape, center
):
    images = images_of(1, shape)
    path = write_packets(tmp_path / "a.avro", [ztf_packet(1, images=images, xpos=xpos, ypos=ypos)])
    stamp = everything(AlertSource(path, size=29))[1][0]
    np.testing.assert_array_equal(stamp[14, 14], [image[center] for image in images])


@pytest.mark.parametrize(
    ("x", "y", "crpix1", "crpix2", "center"),
    [
        (2847.3, 2476.25, 15.3, 15.25, (14, 14)),
        (2847.6, 2476.25, 15.6, 15.25, (14, 15)),
        (208.09, 3978.67, 15.09, 15.67, (15, 14)),
        (3.9, 0.1, 4.9, 29.1, (28, 4)),
        # The middle of what is there: positions of something else, outside, or none.
        (2847.6, 2476.25, 15.6, 15.45, (14, 14)),
        (2847.6, 2476.25, 15.6, 40.25, (14, 14)),
        (None, 2476.25, 15.6, 15.25, (14, 14)),
        (2847.6, 2476.25, "15.6", 15.25, (14, 14)),
    ],
)
def test_a_rubin_cutout_is_centred_on_the_detection(tmp_path, x, y, crpix1, crpix2, center):
    images = images_of(1, (30, 30))
    header = {"CRPIX1": crpix1, "CRPIX2": crpix2}
    packet = rubin_packet(1, images=images, headers=[header] * 3, x=x, y=y)
    path = write_packets(tmp_path / "a.avro", [packet], RUBIN)
    stamp = everything(AlertSource(path, size=29))[1][0]
    np.testing.assert_array_equal(stamp[14, 14], [image[center] for image in images])


def test_channels_stay_aligned_where_one_does_not_say_where_the_detection_is(tmp_path):
    images = images_of(1, (30, 30))
    header = {"CRPIX1": 15.6, "CRPIX2": 15.6}
    packet = rubin_packet(1, images=images, headers=[header, {}, header], x=4.6, y=7.6)
    path = write_packets(tmp_path / "a.avro", [packet], RUBIN)
    stamp = everything(AlertSource(path, size=29))[1][0]
    np.testing.assert_array_equal(stamp[14, 14], [image[14, 14] for image in images])


# --- streaming ---------------------------------------------------------------------------------


def test_packets_come_in_the_order_of_files(night):
    source = AlertSource(night)
    assert len(source) == 8
    assert source.name == str(night)
    table, stamps = everything(source)
    assert table["sample_index"].tolist() == list(range(8))
    assert stamps[:, 0, 0, 0].tolist() == [1000 * number for number in range(8)]
    assert table["file"].tolist() == ["a.avro"] * 3 + ["b.avro"] * 4 + ["c.avro"]


def test_files_can_be_named_in_any_order(night):
    source = AlertSource([night / "later", night / "a.avro"])
    assert everything(source)[1][:, 0, 0, 0].tolist() == [7000, 0, 1000, 2000]
    with pytest.raises(InputError, match="once, found 1 twice"):
        AlertSource([night, night / "a.avro"])


@given(start=st.integers(0, 9), size=st.integers(1, 9))
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_blocks_go_on_anywhere(night, start, size):
    blocks = list(AlertSource(night, size=9).blocks(start, size))
    lengths = [len(table) for table, _ in blocks]
    assert all(length == size for length in lengths[:-1])
    assert [len(stamps) for _, stamps in blocks] == lengths
    index = [number for table, _ in blocks for number in table["sample_index"]]
    assert index == list(range(start, 8))
    assert [stamp[0, 0, 0] / 1000 for _, stamps in blocks for stamp in stamps] == index


@pytest.mark.parametrize("codec", ["null", "deflate", "bzip2", "xz", "snappy", "zstandard", "lz4"])
def test_compressed_files(tmp_path, codec):
    path = write_packets(tmp_path / "a.avro", map(ztf_packet, range(3)), codec=codec)
    assert numbers(AlertSource(path), 1) == [1, 2]
    assert len(AlertSource(path)) == 3


# --- faults ------------------------------------------------------------------------------------


def without(name):
    def damage(packet):
        return packet | {name: None}

    return damage


def with_payload(payload):
    def damage(packet):
        return packet | {"cutoutTemplate": {"fileName": "x", "stampData": payload}}

    return damage


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (without("cutoutScience"), "expected a cutoutScience, found none"),
        (without("cutoutDifference"), "expected a cutoutDifference, found none"),
        (with_payload(b""), "expected a cutoutTemplate, found none"),
        (with_payload(fits_bytes(np.ones((9, 9)), compress=True)[:-40]), "cutoutTemplate: .* gzip"),
        (with_payload(b"GIF89a"), "cutoutTemplate: expected a FITS file"),
        (with_payload(fits_bytes(np.ones((2, 9, 9)))), r"two axes, found shape \(2, 9, 9\)"),
    ],
)
def test_a_packet_at_fault_is_named_or_left_out(night, damage, words):
    packets = [ztf_packet(3), ztf_packet(4), damage(ztf_packet(5)), ztf_packet(6)]
    write_packets(night / "b.avro", packets)
    with pytest.raises(InputError, match=rf"^\S*b.avro: packet 3\b[^\n]*{words}"):
        everything(AlertSource(night))
    bad = []
    table, _ = everything(AlertSource(night, on_bad=bad.append))
    assert table["sample_index"].tolist() == [0, 1, 2, 3, 4, 6, 7]
    assert len(bad) == 1


def test_a_truncated_file_is_read_up_to_the_damage_and_numbers_stay(night):
    path = write_packets(night / "b.avro", map(ztf_packet, range(3, 7)))
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(InputError, match=r"^\S*b.avro: expected a whole Avro file[^\n]*$"):
        everything(AlertSource(night))
    bad = []
    source = AlertSource(night, on_bad=bad.append)
    table, stamps = everything(source)
    assert len(bad) == 1
    assert stamps[:, 0, 0, 0].tolist() == [0, 1000, 2000, 3000, 4000, 5000, 7000]
    index = table["sample_index"].tolist()
    assert index == [*range(6), len(source) - 1]
    for start in range(len(source)):
        assert numbers(source, start) == [number for number in index if number >= start]


@pytest.mark.parametrize("cut", [0, 300, 1000, 3000, 10**6])
def test_packets_at_fault_can_keep_their_rows(night, cut):
    """However a file is damaged, there are as many rows as the source says, from anywhere on."""
    packets = [ztf_packet(3), ztf_packet(4) | {"cutoutScience": None}, ztf_packet(5)]
    path = write_packets(night / "b.avro", [*packets, ztf_packet(6)])
    path.write_bytes(path.read_bytes()[: -cut or None])
    told = []
    source = AlertSource(night, size=5, keep_bad=True, on_bad=told.append)
    table, stamps = everything(source)
    assert table["sample_index"].tolist() == list(range(len(source)))
    bad = table["fault"].notna().to_numpy()
    assert np.isnan(stamps[bad]).all()
    assert np.isfinite(stamps[~bad]).all()
    assert set(table["fault"].dropna()) == set(told)
    assert 1 <= bad.sum() <= 4
    assert table["alert_id"].is_unique
    assert table["alert_id"].notna().all()
    assert stamps[~bad, 0, 0, 0].tolist()[-1] == 7022
    if cut < 3000:
        # A packet without a cutout is still known by its name.
        assert table["alert_id"][4] == str(10**18 + 4)
        assert "packet 2: expected a cutoutScience" in table["fault"][4]
    for start in range(len(source)):
        later, _ = everything(AlertSource(night, size=5, keep_bad=True), start, 2)
        pd.testing.assert_frame_equal(later, table[start:].reset_index(drop=True))


def with_count(path, block, count):
    """Change the number of packets that a block says it holds, which stands before its size."""
    content = path.read_bytes()
    sync = content[-16:]
    place = [i for i in range(len(content)) if content.startswith(sync, i)][block] + 16
    assert content[place] < 128, "a number of one byte"
    written = io.BytesIO()
    fastavro.schemaless_writer(written, "long", count)
    path.write_bytes(content[:place] + written.getvalue() + content[place + 1 :])


@pytest.mark.parametrize("count", [-1, 0, 1, 3, 10**6, 2**62])
@pytest.mark.parametrize("block", [0, 1])
def test_a_wrong_number_of_packets_in_a_block_is_noticed(night, block, count):
    """fastavro believes the number, and passes over what else is in the block."""
    packets = map(ztf_packet, range(10, 18))
    size = len(fits_bytes(images_of(0)[0], compress=True)) * 4
    path = write_packets(night / "b.avro", packets, sync_interval=size)
    with path.open("rb") as file:
        held = [one.num_records for one in fastavro.block_reader(file)]
    assert held == [2, 2, 2, 2]
    with_count(path, block, count)
    # A packet takes a byte, and a byte a packet.
    assert (count_packets(path)[1] is None) == (count in (1, 3))
    with pytest.raises(InputError, match=r"^\S*b.avro: expected a whole Avro file[^\n]*$"):
        everything(AlertSource(night))
    bad = []
    source = AlertSource(night, size=5, on_bad=bad.append)
    table, stamps = everything(source)
    assert len(bad) == 1
    # Of the block at fault none but packets that are surely its own.
    first = stamps[:, 0, 0, 0] // 1000
    assert first.tolist()[:3] == [0, 1, 2]
    assert set(first.tolist()) <= {0, 1, 2, 7, *range(10, 12 + 2 * block)}
    for start in range(0, 14, 3):
        assert numbers(AlertSource(night, on_bad=bad.append), start) == [
            number for number in table["sample_index"] if number >= start
        ]
    if count < 100:
        kept, _ = everything(AlertSource(night, size=5, keep_bad=True))
        assert kept["sample_index"].tolist() == list(range(len(kept)))
        assert kept["fault"].notna().any()


def test_linked_folders_are_searched_once_and_closed_ones_said(night, tmp_path, monkeypatch):
    (night / "circle").symlink_to(night)
    (tmp_path / "elsewhere").mkdir()
    write_packets(tmp_path / "elsewhere" / "d.avro", [ztf_packet(8)])
    (night / "linked").symlink_to(tmp_path / "elsewhere")
    assert numbers(AlertSource(night)) == list(range(9))
    (night / "linked").unlink()
    closed, scandir = night / "closed", os.scandir
    closed.mkdir()

    def refuse(path):
        # Not by its mode, which keeps no administrator out.
        if str(path) == str(closed):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(InputError, match="closed: expected a readable folder, got Permission"):
        AlertSource(night)


@pytest.mark.parametrize("number", [math.nan, math.inf, 1e300, -1.0, 2.5])
def test_a_detector_of_no_number_is_a_fault(tmp_path, number):
    strange = dict(rubin_packet(1)) | {"diaSource": rubin_packet(1)["diaSource"] | {"detector": 0}}
    schema = json.loads(
        json.dumps(RUBIN).replace('"detector", "type": "int"', '"detector", "type": "double"')
    )
    strange["diaSource"]["detector"] = number
    path = write_packets(tmp_path / "a.avro", [strange, rubin_packet(2)], schema)
    with pytest.raises(InputError, match=r"packet 1: expected a number in diaSource\.detector"):
        everything(AlertSource(path))
    assert numbers(AlertSource(path, on_bad=lambda _: None)) == [1]


def test_rows_of_faults_need_a_size(night):
    with pytest.raises(ValueError, match="expected a size with keep_bad"):
        AlertSource(night, keep_bad=True)


def test_files_come_in_the_order_of_their_names(tmp_path, monkeypatch):
    walk = os.walk

    def backwards(*arguments, **options):
        for here, folders, names in walk(*arguments, **options):
            yield here, folders, sorted(names, reverse=True)

    monkeypatch.setattr(os, "walk", backwards)
    paths = [write_packets(tmp_path / f"{name}.avro", []) for name in "abc"]
    assert find_alert_files([tmp_path]) == paths


NOT_PACKETS = {
    "empty": b"",
    "text": b"no Avro at all",
    "magic alone": b"Obj\x01",
    "kafka": b"\x00\x00\x00\x00\x07" + bytes(60),
}


@pytest.mark.parametrize("kind", NOT_PACKETS)
def test_what_is_no_avro_file_is_one_sentence(tmp_path, kind):
    path = tmp_path / "a.avro"
    path.write_bytes(NOT_PACKETS[kind])
    with pytest.raises(InputError, match=r"^\S*a.avro: expected a whole Avro file[^\n]*$"):
        everything(AlertSource(path, size=5))
    bad = []
    assert numbers(AlertSource(path, on_bad=bad.append)) == []
    assert len(bad) == 1


@pytest.mark.parametrize(
    ("schema", "records", "found"),
    [
        (
            {"type": "record", "name": "r", "fields": [{"name": "a", "type": "int"}]},
            [{"a": 1}],
            "a",
        ),
        ("int", [1], "none"),
    ],
)
def test_avro_of_something_else(tmp_path, schema, records, found):
    path = write_packets(tmp_path / "a.avro", records, schema)
    with pytest.raises(InputError, match=f"cutoutDifference, found the fields {found}$"):
        everything(AlertSource(path, size=5))


def test_files_without_packets(tmp_path):
    path = write_packets(tmp_path / "a.avro", [])
    with pytest.raises(InputError, match=r"a.avro: expected at least one alert packet, found none"):
        everything(AlertSource(path, size=5))
    with pytest.raises(InputError, match="expected alert packets, found no sound one"):
        everything(AlertSource(path, on_bad=print))
    (tmp_path / "folder").mkdir()
    for name in ("folder", "nowhere"):
        with pytest.raises(InputError, match=f"{name}: expected .* found none"):
            AlertSource(tmp_path / name)


@given(data=st.data())
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_damage_anywhere_is_an_input_error_or_nothing(tmp_path, data):
    path = write_packets(tmp_path / "a.avro", map(ztf_packet, range(2)))
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 5))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    with contextlib.suppress(InputError):
        everything(AlertSource(path))


# --- real packets ------------------------------------------------------------------------------


@needs_real("ztf")
def test_ztf_packets_give_the_stamps_that_others_have_cut():
    known = {}
    for params in sorted((SHARED / "ztf" / "raw").glob("params*.csv")):
        images = np.load(params.with_name(f"images{params.stem[6:]}.npy"))
        known |= dict(zip(pd.read_csv(params)["candid"].astype(str), images, strict=True))
    table, stamps = everything(AlertSource(SHARED / "ztf" / "alerts", size=29))
    assert len(table) == 115
    assert set(table["alert_id"]) <= set(known)
    for alert_id, stamp in zip(table["alert_id"], stamps, strict=True):
        np.testing.assert_array_equal(stamp, known[alert_id])
    sizes = Counter(s.images[0].shape for s in AlertSource(SHARED / "ztf" / "alerts").samples())
    assert sizes == {(63, 63): 113, (63, 48): 1, (63, 47): 1}


@needs_real("lsst")
def test_rubin_packets_are_read(tmp_path):
    source = AlertSource(SHARED / "lsst" / "alerts", size=35)
    table, stamps = everything(source)
    assert len(source) == len(table) == 16
    assert stamps.shape == (16, 35, 35, 3)
    assert np.isfinite(stamps[:, 17, 17]).all()
    assert table.notna().all(axis=None)
    assert table["survey_score"].between(0, 1).all()
    assert table["detector_id"].between(0, 204).all()
    # One file with all that came before is read like many.
    shutil.copy(SHARED / "lsst" / "alerts" / f"{table['alert_id'][0]}.avro", tmp_path / "one.avro")
    np.testing.assert_array_equal(everything(AlertSource(tmp_path, size=35))[1][0], stamps[0])
