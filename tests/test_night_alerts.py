"""Alert packets and FITS stamps through `predict`."""

import errno
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from packets import fits_bytes, images_of, needs_real, write_packets, ztf_packet
from test_night import engine as engine
from test_night import ids, parts_folder
from test_night import model as model
from test_night import run as run

from rbkeras import scoring

# The first pixel of what is cut out of images of 9 x 9 is one row and one column further in.
INSIDE = 11


@pytest.fixture
def alerts(tmp_path):
    folder = tmp_path / "alerts"
    write_packets(folder / "a.avro", [ztf_packet(number) for number in range(1, 5)])
    write_packets(folder / "b.avro", [ztf_packet(5), ztf_packet(6), ztf_packet(7)])
    return folder


def expected(*numbers):
    return [1000.0 * number + INSIDE for number in numbers]


def test_packets_are_cut_to_the_model_and_named(engine, run, alerts, tmp_path):
    assert run([alerts], tmp_path / "scores.csv") == 0
    table = pd.read_csv(tmp_path / "scores.csv")
    assert table["score"].tolist() == expected(*range(1, 8))
    assert table["alert_id"].tolist() == [10**18 + number for number in range(1, 8)]
    assert table["decision"].tolist() == [1] * 7
    assert "fault" not in table


def test_packets_beside_arrays(engine, run, alerts, tmp_path, random_stamps):
    np.save(tmp_path / "night.npy", random_stamps(3, (7, 7, 3)))
    assert run([tmp_path / "night.npy", alerts], tmp_path / "scores.parquet") == 0
    table = pd.read_parquet(tmp_path / "scores.parquet")
    assert table["score"].tolist() == ids(1, 3) + expected(*range(1, 8))
    assert table["alert_id"].isna().tolist() == [True] * 3 + [False] * 7


def test_a_packet_at_fault_stops_the_night_or_has_no_score(engine, run, alerts, tmp_path, capsys):
    broken = ztf_packet(6) | {"cutoutScience": None}
    write_packets(alerts / "b.avro", [ztf_packet(5), broken, ztf_packet(7)])
    out = tmp_path / "scores.csv"
    assert run([alerts], out) == 2
    assert "b.avro: packet 2: expected a cutoutScience" in capsys.readouterr().err
    assert not out.exists()
    assert run([alerts], out, "--skip_bad") == 1
    assert "skipped: " in capsys.readouterr().err
    table = pd.read_csv(out)
    assert len(table) == 7
    fault = table["fault"].notna()
    assert fault.tolist() == [False] * 5 + [True, False]
    assert table["score"][~fault].tolist() == expected(1, 2, 3, 4, 5, 7)
    assert table.loc[fault, ["score", "probability_real", "decision"]].isna().all(axis=None)


def test_a_file_without_packets_is_told(engine, run, alerts, tmp_path, capsys):
    write_packets(alerts / "c.avro", [])
    out = tmp_path / "scores.csv"
    assert run([alerts], out, "--skip_bad") == 1
    assert "c.avro: expected at least one alert packet, found none" in capsys.readouterr().err
    assert pd.read_csv(out)["fault"].notna().tolist() == [False] * 7 + [True]


def test_faults_found_before_a_kill_are_told_after_it(engine, run, alerts, tmp_path, capsys):
    write_packets(alerts / "a.avro", [ztf_packet(0) | {"cutoutScience": None}, ztf_packet(1)])
    (alerts / "b.avro").unlink()
    write_packets(alerts / "c.avro", [ztf_packet(number) for number in range(2, 12)])
    out = tmp_path / "scores.csv"
    engine.fail_at = expected(10)[0]
    assert run([alerts], out, "--skip_bad") == 1
    assert "interrupted" in capsys.readouterr().err
    assert parts_folder(out).exists()
    engine.fail_at = None
    assert run([alerts], out, "--skip_bad") == 1
    assert "a.avro: packet 1: expected a cutoutScience" in capsys.readouterr().err
    assert pd.read_csv(out)["score"].tolist()[1:] == expected(*range(1, 12))


@pytest.fixture
def files(tmp_path):
    """Files of 1, 2, 3, 4 and 1 packets, counted on from 1."""
    paths, first = [], 1
    for name, count in zip("abcde", (1, 2, 3, 4, 1), strict=True):
        paths.append(tmp_path / f"{name}.avro")
        write_packets(paths[-1], [ztf_packet(first + number) for number in range(count)])
        first += count
    return paths


@pytest.mark.parametrize("together", [1, 4, 100])
def test_files_given_one_by_one_keep_their_names(
    engine, run, files, tmp_path, random_stamps, monkeypatch, together
):
    monkeypatch.setattr(scoring, "_PACKETS_TOGETHER", together)
    calls = []
    logits = engine.logits
    monkeypatch.setattr(
        engine, "logits", lambda x: calls.append(len(x)) or logits(x), raising=False
    )
    night = tmp_path / "night.npy"
    np.save(night, random_stamps(2, (7, 7, 3)))
    # The same file twice is two inputs, as of every other kind.
    given = [*files[:3], night, *files[3:], files[0]]
    assert run(given, tmp_path / "scores.csv") == 0
    table = pd.read_csv(tmp_path / "scores.csv")
    assert table["score"].tolist() == expected(*range(1, 7)) + ids(1, 2) + expected(
        *range(7, 12), 1
    )
    lengths = [1, 2, 3, 2, 4, 1, 1]
    assert table["source"].tolist() == np.repeat(list(map(str, given)), lengths).tolist()
    assert table["sample_index"].tolist() == [row for length in lengths for row in range(length)]
    # Blocks of three, across the files of a group.
    assert (
        calls
        == {
            1: [1, 2, 3, 2, 3, 1, 1, 1],
            # Files of 1 and 2, of 3, of 4, of 1 and 1.
            4: [3, 3, 2, 3, 1, 2],
            100: [3, 3, 2, 3, 3],
        }[together]
    )


def test_files_given_one_by_one_go_on_after_a_kill(engine, run, files, tmp_path, capsys):
    out = tmp_path / "scores.csv"
    engine.fail_at = expected(10)[0]
    assert run(files, out) == 1
    engine.fail_at = None
    assert run(files, out) == 0
    # The first six were stored when it was stopped, in the middle of a file.
    assert "6 of 11 stamps are scored already" in capsys.readouterr().err
    assert engine.seen == expected(*range(1, 10), *range(7, 12))
    assert pd.read_csv(out)["score"].tolist() == expected(*range(1, 12))


def test_faults_among_files_given_one_by_one(engine, run, files, tmp_path, capsys):
    write_packets(files[1], [ztf_packet(2), ztf_packet(3) | {"cutoutScience": None}])
    files[3].write_bytes(files[3].read_bytes()[:-40])
    files.insert(2, tmp_path / "none.avro")
    out = tmp_path / "scores.csv"
    assert run(files, out) == 2
    assert "none.avro: expected" in capsys.readouterr().err
    assert run(files, out, "--skip_bad") == 1
    messages = capsys.readouterr().err
    for name in ("none.avro", "b.avro: packet 2", "d.avro"):
        assert f"{name}: expected" in messages
    table = pd.read_csv(out)
    scored = table[table["fault"].isna()]
    assert scored["score"].tolist() == expected(1, 2, 4, 5, 6, 7, 8, 9, 11)
    faults = table[table["fault"].notna()]
    assert faults["source"].tolist() == [str(files[1]), str(files[4])]
    assert faults["sample_index"].tolist() == [1, 3]


@pytest.mark.parametrize("grown", [True, False])
def test_a_file_that_changes_meanwhile_moves_no_other(
    engine, run, files, tmp_path, monkeypatch, grown
):
    """The third of three packets is there when they are counted, or comes a moment later."""
    count = 4 if grown else 2
    numbers = range(4, 4 + count)
    opened = scoring._together

    def meanwhile(sources):
        write_packets(files[2], [ztf_packet(number) for number in numbers])
        return opened(sources)

    monkeypatch.setattr(scoring, "_together", meanwhile)
    out = tmp_path / "scores.csv"
    assert run(files, out, "--skip_bad") == (0 if grown else 1)
    table = pd.read_csv(out)
    assert table["source"].tolist() == np.repeat(list(map(str, files)), [1, 2, 3, 4, 1]).tolist()
    found = table["score"].dropna()
    assert found.tolist() == expected(*(n for n in range(1, 12) if grown or n != 6))
    if not grown:
        assert f"{files[2]}: expected 3 packets, found fewer" in table["fault"].tolist()


def test_a_file_that_can_be_read_a_moment_later_is_told(engine, run, files, tmp_path, monkeypatch):
    readable, refused = Path.open, []

    def once(path, *arguments, **options):
        if path == files[2] and not refused:
            refused.append(path)
            raise OSError(errno.EIO, "Input/output error", str(path))
        return readable(path, *arguments, **options)

    monkeypatch.setattr(Path, "open", once)
    assert run(files, tmp_path / "scores.csv", "--skip_bad") == 1
    table = pd.read_csv(tmp_path / "scores.csv")
    assert table["score"].dropna().tolist() == expected(1, 2, 3, *range(7, 12))
    assert "Input/output error" in table["fault"].dropna().item()


def test_a_file_that_can_be_read_again_is_noticed(
    engine, run, files, tmp_path, capsys, monkeypatch
):
    """Its packets would move all that follow it."""
    out = tmp_path / "scores.csv"
    unreadable = Path.open

    def refused(path, *arguments, **options):
        if path == files[2]:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return unreadable(path, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", refused)
        engine.fail_at = expected(10)[0]
        assert run(files, out, "--skip_bad") == 1
    engine.fail_at = None
    capsys.readouterr()
    assert run(files, out, "--skip_bad") == 2
    assert f"inputs.{files[2]}.stamps was 1, is 3" in capsys.readouterr().err
    assert run(files, out, "--skip_bad", "--overwrite") == 0
    assert pd.read_csv(out)["score"].tolist() == expected(*range(1, 12))


def test_fits_stamps(engine, run, tmp_path):
    folder = tmp_path / "fits"
    folder.mkdir()
    for number in range(3):
        (folder / f"{number}.fits").write_bytes(fits_bytes(np.stack(images_of(number))))
    (folder / "stamps.csv").write_text("file\n0.fits\n1.fits\n2.fits\n")
    assert run([folder], tmp_path / "scores.csv") == 0
    assert pd.read_csv(tmp_path / "scores.csv")["score"].tolist() == expected(0, 1, 2)


def test_fits_files_that_changed_meanwhile_are_noticed(engine, run, tmp_path, capsys):
    for number in range(8):
        (tmp_path / f"{number}.fits").write_bytes(fits_bytes(np.stack(images_of(number))))
    table, out = tmp_path / "night.csv", tmp_path / "scores.csv"
    table.write_text("file\n" + "".join(f"{number}.fits\n" for number in range(8)))
    engine.fail_at = expected(7)[0]
    assert run([table], out) == 1
    engine.fail_at = None
    (tmp_path / "0.fits").write_bytes(fits_bytes(np.stack(images_of(9))))
    capsys.readouterr()
    assert run([table], out) == 2
    assert f"inputs.{table}" in capsys.readouterr().err
    assert run([table], out, "--overwrite") == 0
    assert pd.read_csv(out)["score"].tolist()[:2] == expected(9, 1)


def test_columns_of_a_table_never_stand_for_ours(engine, run, tmp_path):
    (tmp_path / "0.fits").write_bytes(fits_bytes(np.stack(images_of(0))))
    header = "file,source,score,fault,decision,night"
    (tmp_path / "stamps.csv").write_text(f"{header}\n0.fits,north,-7,dome,yes,3\n")
    assert run([tmp_path], tmp_path / "out.csv") == 0
    (row,) = pd.read_csv(tmp_path / "out.csv").to_dict("records")
    assert [row["score"]] == expected(0)
    assert row["source"] == str(tmp_path)
    own = ("table_source", "table_score", "table_fault", "table_decision", "night")
    assert [row[name] for name in own] == ["north", -7, "dome", "yes", 3]


@needs_real("ztf")
@needs_real("lsst")
def test_real_packets(engine, run, tmp_path):
    from packets import SHARED

    folders = [SHARED / survey / "alerts" for survey in ("ztf", "lsst")]
    assert run(folders, tmp_path / "scores.csv") == 0
    table = pd.read_csv(tmp_path / "scores.csv")
    assert table["source"].value_counts().to_dict() == {str(folders[0]): 115, str(folders[1]): 16}
    assert table["alert_id"].is_unique
