import numpy as np
import pandas as pd
import pytest
from packets import ZTF, fits_bytes, images_of, write_packets, ztf_packet

from rbkeras import check


def summary_of(text):
    rows = [line.strip().split("  ", 1) for line in text.splitlines()[1:]]
    return {name: value.strip() for name, value in rows}


def test_sound_alerts_are_summed_up(tmp_path, capsys):
    nan = [np.full((9, 5), np.nan)] * 3
    packets = [ztf_packet(0), ztf_packet(1, images=nan), ztf_packet(2, rcid=9, drb=None)]
    path = write_packets(tmp_path / "night" / "a.avro", packets)
    for named in (path, path.parent):
        assert check.main([str(named)]) == 0
        out, err = capsys.readouterr()
        assert err == ""
        assert out.splitlines()[0] == f"{named}: sound alerts"
        assert summary_of(out) == {
            "detectors": "2",
            "stamps": "3",
            "stamps with missing pixels": "1",
            "sizes": "9 x 9 (2), 9 x 5 (1)",
            "with a survey score": "2",
        }


def test_every_problem_of_alerts_is_listed(tmp_path, capsys):
    write_packets(tmp_path / "a.avro", [ztf_packet(0), ztf_packet(1) | {"cutoutTemplate": None}])
    path = write_packets(tmp_path / "b.avro", [ztf_packet(2), ztf_packet(3)])
    path.write_bytes(path.read_bytes()[:-100])
    write_packets(tmp_path / "c.avro", [ztf_packet(0), ztf_packet(4)])
    (tmp_path / "d.avro").write_bytes(b"")
    assert check.main([str(tmp_path)]) == 2
    out, err = capsys.readouterr()
    problems = out.splitlines()
    assert [line.split(": expected")[0] for line in problems] == [
        f"{tmp_path}/a.avro: packet 2",
        f"{tmp_path}/b.avro",
        f"{tmp_path}/c.avro: packet 1",
        f"{tmp_path}/d.avro",
    ]
    assert "also stands in" in problems[2]
    assert "a.avro: packet 1" in problems[2]
    assert err == f"error: {tmp_path}: expected a sound directory, found 4 problems\n"


def write_stamps(folder, object_type):
    for number in range(3):
        (folder / f"{number}.fits").write_bytes(fits_bytes(np.stack(images_of(number))))
    names = [f"{number}.fits" for number in range(3)]
    table = pd.DataFrame({"file": names, "object_type": object_type, "detector_id": [1, 2, 2]})
    table.to_csv(folder / "stamps.csv", index=False)


def test_sound_fits_stamps_are_summed_up(tmp_path, capsys):
    write_stamps(tmp_path, ["real", None, "junk"])
    assert check.main([str(tmp_path), "--labels", "junk=0"]) == 0
    out, _ = capsys.readouterr()
    assert summary_of(out) == {
        "detectors": "2",
        "stamps": "3",
        "stamps with missing pixels": "0",
        "sizes": "9 x 9 (3)",
        "real": "1",
        "bogus": "1",
        "unlabelled": "1",
    }


def test_every_problem_of_fits_stamps_is_listed(tmp_path, capsys):
    write_stamps(tmp_path, ["real", "junk", "bogus"])
    (tmp_path / "0.fits").write_bytes(b"GIF89a")
    (tmp_path / "1.fits").write_bytes(fits_bytes(np.ones((2, 9, 9))))
    assert check.main([str(tmp_path / "stamps.csv")]) == 2
    out, err = capsys.readouterr()
    problems = out.splitlines()
    assert len(problems) == 3
    assert "0.fits: expected a FITS file" in problems[0]
    assert "as many planes each, found 2, 3" in problems[1]
    assert "'junk'" in problems[2]
    assert "expected a sound file, found 3 problems" in err
    (tmp_path / "stamps.csv").unlink()
    assert check.main([str(tmp_path)]) == 2


EMPTY = {"type": "record", "name": "e", "fields": [{"name": "y", "type": "null"}]}
RECURSIVE = {"type": "record", "name": "r", "fields": [{"name": "y", "type": ["null", "r"]}]}


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (["null", RECURSIVE], "known depth, found r in itself"),
        (["null", {"type": "array", "items": "null"}], "found lists of nothing"),
        ({"type": "map", "values": ["null", {"type": "map", "values": "null"}]}, "of nothing"),
        (["null", {"type": "array", "items": {"type": "null"}}], "of nothing"),
        (["null", {"type": "array", "items": EMPTY}], "of nothing"),
        (["null", {"type": "fixed", "name": "f", "size": 0}], "of nothing"),
    ],
)
def test_packets_without_end_are_refused(kind, said, tmp_path, capsys):
    """fastavro would decode them until the stack, or the memory, ends."""
    empty = {} if isinstance(kind, dict) else None
    schema = ZTF | {"fields": [{"name": "endless", "type": kind}, *ZTF["fields"]]}
    path = write_packets(tmp_path / "a.avro", [ztf_packet(0) | {"endless": empty}], schema)
    assert check.main([str(path)]) == 2
    assert said in capsys.readouterr().out
