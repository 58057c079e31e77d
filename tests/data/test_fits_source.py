import gzip
import os

import numpy as np
import pandas as pd
import pytest
from astropy.io import fits
from packets import fits_bytes, images_of

from rbkeras import check, convert
from rbkeras.data import cutouts
from rbkeras.data.fits_source import FitsSource
from rbkeras.data.records import open_records
from rbkeras.errors import InputError

PLANES = ("new", "reference", "difference")


def write_table(folder, table):
    folder.mkdir(exist_ok=True)
    pd.DataFrame(table).to_csv(folder / "stamps.csv", index=False)
    return folder


def write_stacks(folder, n=5, *, cube=True, shape=(9, 9)):
    folder.mkdir()
    for number in range(n):
        images = images_of(number, shape)
        content = fits_bytes(np.stack(images)) if cube else fits_bytes(None, *images)
        (folder / f"s{number}.fits").write_bytes(content)
    return write_table(folder, {"file": [f"s{number}.fits" for number in range(n)]})


def write_triples(folder, n=5):
    folder.mkdir()
    table = {name: [f"{number}_{name}.fits" for number in range(n)] for name in PLANES}
    for number in range(n):
        for name, image in zip(PLANES, images_of(number), strict=True):
            content = fits_bytes(image, np.zeros((2, 2)), compress=number == 1)
            (folder / f"{number}_{name}.fits").write_bytes(content)
    return write_table(folder, table)


def everything(source, start=0, size=512):
    tables, stamps = zip(*source.blocks(start, size), strict=True)
    return pd.concat(tables, ignore_index=True), np.concatenate(stamps)


@pytest.mark.parametrize(
    "write", [write_stacks, lambda folder: write_stacks(folder, cube=False), write_triples]
)
def test_stamps_of_every_layout(tmp_path, write):
    source = FitsSource(write(tmp_path / "stamps"))
    assert len(source) == 5
    assert source.stamp_shape == (9, 9, 3)
    table, stamps = everything(source, start=1, size=3)
    assert table["sample_index"].tolist() == [1, 2, 3, 4]
    assert table["detector_id"].tolist() == [0] * 4
    assert stamps.dtype == np.float32
    np.testing.assert_array_equal(stamps[2], np.stack(images_of(3), axis=-1))
    assert len(list(source.blocks(1, 3))) == 2


def test_stamps_that_are_named_twice_are_told_and_left_out(tmp_path, fails_with, capsys):
    folder = write_triples(tmp_path / "stamps")
    table = pd.read_csv(folder / "stamps.csv")
    # One file in common is none in common.
    table.loc[4, "reference"] = table.loc[3, "reference"]
    again = table.iloc[[2]].assign(new="./" + table["new"][2])
    write_table(folder, pd.concat([table, again]).assign(object_type="real"))
    twice = "expected every stamp once, but that of row 7 has been there before"
    records = tmp_path / "records"
    assert check.main([str(folder)]) == 2
    told = capsys.readouterr()
    assert twice in told.out
    assert "found 1 problem" in told.err
    assert twice in fails_with(convert.main, [folder, records])
    assert convert.main([str(folder), str(records), "--skip_bad"]) == 1
    assert f"skipped: {folder}: {twice}" in capsys.readouterr().err
    assert len(open_records(records)) == 5


def test_rows_without_files_are_not_the_same_stamp(tmp_path):
    folder = write_stacks(tmp_path / "stamps")
    source = FitsSource(write_table(folder, {"file": ["s0.fits", None, None, "s1.fits"]}))
    assert not source.repeated(source.table).any()


def test_a_label_may_be_called_what_pandas_takes_for_missing(tmp_path):
    folder = write_stacks(tmp_path / "stamps", n=3)
    table = {"file": ["s0.fits", "s1.fits", "s2.fits"], "object_type": ["NA", "1", None]}
    source = FitsSource(write_table(folder, table))
    assert source.table["object_type"].fillna("-").tolist() == ["NA", "1", "-"]


def test_stamps_are_cut_and_padded_to_a_size(tmp_path):
    folder = write_stacks(tmp_path / "stamps", shape=(9, 4))
    source = FitsSource(folder, size=5)
    assert source.stamp_shape == (5, 5, 3)
    stamp = everything(source)[1][0]
    np.testing.assert_array_equal(stamp[:, 1:, 0], images_of(0, (9, 4))[0][2:7])
    assert np.isnan(stamp[:, 0]).all()


def test_any_number_of_channels_and_any_table_name(tmp_path):
    (tmp_path / "a.fits.gz").write_bytes(gzip.compress(fits_bytes(np.ones((2, 7, 6)))))
    (tmp_path / "mine.csv").write_text("file,seeing\na.fits.gz,1.5\n")
    table, stamps = everything(FitsSource(tmp_path / "mine.csv"))
    assert stamps.shape == (1, 7, 6, 2)
    assert table["seeing"].tolist() == [1.5]


def test_columns_ride_along_and_detectors_are_integers(tmp_path):
    folder = write_stacks(tmp_path / "stamps")
    table = pd.read_csv(folder / "stamps.csv")
    table = table.assign(detector_id=[3, 3.0, 1, 1, 2], object_type="real", sample_index=9)
    table.to_csv(folder / "stamps.csv")  # with row numbers
    found, _ = everything(FitsSource(folder), size=2)
    assert list(found) == ["sample_index", "file", "detector_id", "object_type"]
    assert found["detector_id"].tolist() == [3, 3, 1, 1, 2]
    assert found["sample_index"].tolist() == [0, 1, 2, 3, 4]


def remove(folder):
    (folder / "s2.fits").unlink()
    return r"s2.fits: expected a readable FITS file, as row 4 of stamps.csv names, got No such"


def cut(folder):
    path = folder / "s2.fits"
    path.write_bytes(path.read_bytes()[:3000])
    return r"s2.fits: expected a FITS file, found something else or a damaged one"


def flatten(folder):
    (folder / "s2.fits").write_bytes(fits_bytes(np.ones(9)))
    return r"s2.fits: expected images of two axes or a cube of three, found shape \(9,\)"


def lose_a_plane(folder):
    (folder / "s2.fits").write_bytes(fits_bytes(np.ones((2, 9, 9))))
    return r"s2.fits: expected 3 planes as in the first stamp, found 2"


def grow(folder):
    (folder / "s2.fits").write_bytes(fits_bytes(np.ones((3, 9, 11))))
    return r"s2.fits: expected images of 9 x 9 pixels as in the first stamp, found 9 x 11; --size"


def forget_name(folder):
    table = pd.read_csv(folder / "stamps.csv")
    table.loc[2, "file"] = None
    table.to_csv(folder / "stamps.csv", index=False)
    return r"stamps.csv: expected a file name in row 4, column file, found none"


@pytest.mark.parametrize("damage", [remove, cut, flatten, lose_a_plane, grow, forget_name])
def test_a_stamp_at_fault_is_named_or_left_out(tmp_path, damage):
    folder = write_stacks(tmp_path / "stamps")
    words = damage(folder)
    with pytest.raises(InputError, match=rf"^\S*{words}[^\n]*$"):
        everything(FitsSource(folder))
    bad = []
    table, stamps = everything(FitsSource(folder, on_bad=bad.append))
    assert table["sample_index"].tolist() == [0, 1, 3, 4]
    assert len(stamps) == 4
    assert len(bad) == 1


def test_no_sound_stamp(tmp_path):
    folder = write_table(tmp_path / "stamps", {"file": ["gone.fits"]})
    with pytest.raises(InputError, match=r"gone.fits: expected"):
        everything(FitsSource(folder))
    with pytest.raises(InputError, match="expected FITS stamps, found no sound one"):
        everything(FitsSource(folder, on_bad=print))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "cannot be read"),
        (
            "path\na.fits\n",
            "expected the column file, or new, reference, difference,",
        ),
        ("new,reference\na,b\n", "expected the column file, or new, reference, difference"),
        ("file\n", "expected a row per stamp, found none"),
        (
            "file,detector_id\na.fits,3\nb.fits,C4\n",
            "of at least 0 in row 3, found C4",
        ),
        ("file,detector_id\na.fits,\n", "integer detector_id of at least 0 in row 2, found nan"),
    ],
)
def test_a_table_at_fault(tmp_path, text, words):
    if text is not None:
        (tmp_path / "stamps.csv").write_text(text)
    with pytest.raises(InputError, match=rf"^\S*stamps.csv: [^\n]*{words}"):
        FitsSource(tmp_path)


def test_a_stamp_that_is_no_file_is_named(tmp_path):
    folder = write_stacks(tmp_path / "stamps")
    (folder / "s2.fits").unlink()
    os.mkfifo(folder / "s2.fits")
    with pytest.raises(InputError, match=r"s2\.fits: expected a FITS file, found a folder, pipe"):
        everything(FitsSource(folder))


def test_tables_beside_the_images_are_passed_over(tmp_path):
    folder = write_stacks(tmp_path / "stamps", n=1)
    with fits.open(folder / "s0.fits", mode="append") as file:
        file.append(fits.BinTableHDU.from_columns([fits.Column("x", "E", array=[1.0, 2.0])]))
    _, stamps = everything(FitsSource(folder))
    assert stamps.shape == (1, 9, 9, 3)


def test_an_image_of_more_pixels_than_a_file_may_have_bytes_is_refused(tmp_path, monkeypatch):
    """A few kilobytes of a compressed one can unpack to gigabytes."""
    folder = write_stacks(tmp_path / "stamps", n=1)
    monkeypatch.setattr(cutouts, "_LONGEST", 3 * 9 * 9 - 1)
    with pytest.raises(InputError, match=r"s0\.fits: expected a FITS file"):
        everything(FitsSource(folder))
