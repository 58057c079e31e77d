import pickle

import numpy as np
import pandas as pd
import pytest

from rbkeras.data.survey import find_detectors, open_stamps, read_params, read_survey
from rbkeras.errors import InputError


def complaint(survey):
    """The one sentence that reading the survey ends with."""
    with pytest.raises(InputError) as caught:
        list(read_survey(survey))
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_detectors_come_in_file_name_order(survey):
    assert [files.detector_id for files in find_detectors(survey)] == [1, 10, 2]


def test_stamps_labels_and_riding_columns_are_read(survey):
    detector = next(read_survey(survey))
    np.testing.assert_array_equal(detector.stamps, np.load(survey / "images1.npy"))
    assert detector.labels.tolist() == [0, 1, 1, -1, 0, 1] * 2
    assert detector.params["objectId"].tolist()[:3] == ["obj1_0", "obj1_0", "obj1_1"]


def test_stamps_are_mapped_not_loaded(survey):
    assert isinstance(next(read_survey(survey)).stamps, np.memmap)


def test_row_numbers_saved_by_pandas_are_no_column(survey):
    pd.read_csv(survey / "params1.csv").to_csv(survey / "params1.csv")
    assert list(read_params(survey / "params1.csv").columns) == ["object_type", "objectId"]


def test_spaces_around_a_label_name_do_not_matter(survey):
    table = pd.read_csv(survey / "params1.csv")
    table["object_type"] = " " + table["object_type"] + " "
    table.to_csv(survey / "params1.csv", index=False)
    assert next(read_survey(survey)).labels.tolist() == [0, 1, 1, -1, 0, 1] * 2


def test_array_without_table(survey):
    (survey / "params2.csv").unlink()
    assert "images2.npy: expected params2.csv" in complaint(survey)


def test_table_without_array(survey):
    (survey / "images2.npy").unlink()
    assert "params2.csv: expected an images<ID>.npy" in complaint(survey)


def test_differing_lengths(survey):
    np.save(survey / "images2.npy", np.zeros((5, 7, 7, 3)))
    assert "params2.csv: expected 5 rows" in complaint(survey)
    assert "found 12" in complaint(survey)


def test_unknown_label_name(survey):
    table = pd.read_csv(survey / "params10.csv").replace("bogus", "satellite")
    table.to_csv(survey / "params10.csv", index=False)
    assert "params10.csv" in complaint(survey)
    assert "'satellite'" in complaint(survey)


def test_row_without_a_label(survey):
    table = pd.read_csv(survey / "params10.csv")
    table.loc[4, "object_type"] = None
    table.to_csv(survey / "params10.csv", index=False)
    assert "params10.csv: expected a label name in every row, found none in row 6" in complaint(
        survey
    )


def test_missing_label_column(survey):
    pd.read_csv(survey / "params1.csv").drop(columns="object_type").to_csv(
        survey / "params1.csv", index=False
    )
    assert "params1.csv: expected the columns object_type, missing ['object_type']" in complaint(
        survey
    )


@pytest.mark.parametrize("content", [b"", b"\x00\xff\xfe\x80", b'a,b\n1,2\n1,2,3,4\n"'])
def test_table_that_is_none(survey, content):
    (survey / "params1.csv").write_bytes(content)
    assert "params1.csv: expected a" in complaint(survey)


def test_stamps_of_another_shape_than_the_first_detectors(survey):
    np.save(survey / "images2.npy", np.zeros((12, 9, 9, 3)))
    assert "images2.npy: expected stamps of shape (7, 7, 3) as in images1.npy, found (9, 9, 3)" in (
        complaint(survey)
    )


@pytest.mark.parametrize("shape", [(12, 7, 7), (12,), (), (12, 7, 7, 3, 1)])
def test_array_of_another_number_of_axes(survey, shape):
    np.save(survey / "images1.npy", np.zeros(shape))
    assert "images1.npy: expected stamps of shape (N, H, W, C), found" in complaint(survey)


@pytest.mark.parametrize("shape", [(0, 7, 7, 3), (12, 0, 7, 3)])
def test_empty_detector(survey, shape):
    np.save(survey / "images1.npy", np.zeros(shape))
    assert "images1.npy: expected at least one stamp" in complaint(survey)


@pytest.mark.parametrize("kind", ["complex64", "U3", "bool", "M8[s]"])
def test_array_of_no_real_numbers(survey, kind):
    np.save(survey / "images1.npy", np.zeros((12, 7, 7, 3)).astype(kind))
    assert "images1.npy: expected an array of real numbers" in complaint(survey)


class Trap:
    sprung = False

    def __setstate__(self, state):
        Trap.sprung = True

    def __getstate__(self):
        return {"any": "state"}


def test_objects_are_refused_and_never_unpickled(survey):
    objects = np.full((12, 7, 7, 3), None, dtype=object)
    objects[0, 0, 0, 0] = Trap()
    np.save(survey / "images1.npy", objects)
    np.load(survey / "images1.npy", allow_pickle=True)
    assert Trap.sprung, "the trap works"
    Trap.sprung = False
    assert "images1.npy: expected a whole .npy file of numbers" in complaint(survey)
    assert not Trap.sprung


@pytest.mark.parametrize("keep", [0, 5, 60, 1000])
def test_truncated_array(survey, keep):
    content = (survey / "images1.npy").read_bytes()
    (survey / "images1.npy").write_bytes(content[:keep])
    assert "images1.npy: expected a whole .npy file" in complaint(survey)


def test_archive_under_the_name_of_an_array(survey):
    with (survey / "images1.npy").open("wb") as file:
        np.savez(file, np.zeros((12, 7, 7, 3)))
    assert "images1.npy: expected an array of real numbers, found NpzFile" in complaint(survey)


@pytest.mark.parametrize("name", ["a", "-3", "1.5", "", "1 (copy)", "٣", "9" * 19])
def test_id_that_is_no_integer(survey, name):
    np.save(survey / f"images{name}.npy", np.zeros((12, 7, 7, 3)))
    assert f"images{name}.npy: expected a name images<ID>.npy with ID an integer" in (
        complaint(survey)
    )


def test_id_that_occurs_twice(survey):
    (survey / "images01.npy").write_bytes((survey / "images1.npy").read_bytes())
    (survey / "params01.csv").write_bytes((survey / "params1.csv").read_bytes())
    assert "images1.npy: detector 1 also stands in images01.npy" in complaint(survey)


def test_directory_without_stamps(tmp_path):
    assert "expected images<ID>.npy files, found none" in complaint(tmp_path)


def test_missing_directory(tmp_path):
    assert "nowhere: expected a survey directory, found none" in complaint(tmp_path / "nowhere")


def test_nothing_advises_to_run_what_a_file_holds(tmp_path):
    for name, content in (("a.npy", b"source,score\n1,2\n"), ("b.npy", pickle.dumps([1]))):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match="it holds no array of numbers") as caught:
            open_stamps(tmp_path / name)
        assert "pickle" not in str(caught.value)
    np.save(tmp_path / "c.npy", np.array([{}, None]), allow_pickle=True)
    with pytest.raises(InputError, match="Python objects"):
        open_stamps(tmp_path / "c.npy")
