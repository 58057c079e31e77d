import pandas as pd
import pytest

from rbkeras.data.labels import DEFAULT_LABELS, encode_labels, parse_labels
from rbkeras.errors import InputError


def test_default_names_mean_what_the_survey_means_by_them():
    names = ["artifact", "galx_artificial_real", "rand_artificial_real", "bogus", "real"]
    encoded = encode_labels(pd.Series([*names, "unlabelled"]), DEFAULT_LABELS, source="t.csv")
    assert encoded.tolist() == [0, 1, 1, 0, 1, -1]
    assert encoded.dtype == "int8"


def test_assignments_add_to_the_default_names_and_override_them():
    labels = parse_labels(["asteroid=1", "artifact=-1", "a=b=0"])
    assert parse_labels(["asteroid=real", "artifact=unlabelled", "a=b=bogus"]) == labels
    assert (labels["asteroid"], labels["artifact"], labels["a=b"]) == (1, -1, 0)
    assert labels["real"] == 1
    assert DEFAULT_LABELS["artifact"] == 0


@pytest.mark.parametrize(
    "assignment", ["real", "=1", "real=2", "real=", "real=yes", "real=1.0", ""]
)
def test_an_assignment_that_makes_no_sense_is_quoted(assignment):
    with pytest.raises(InputError, match="expected NAME=VALUE") as caught:
        parse_labels([assignment])
    assert repr(assignment) in str(caught.value)


def test_a_list_with_commas_is_shown_with_spaces():
    with pytest.raises(InputError, match=r"as in SN=1 AGN=0, got 'SN=1,AGN=0'"):
        parse_labels(["SN=1,AGN=0"])
    # A name may hold a comma.
    assert parse_labels(["star, variable=1"])["star, variable"] == 1


def test_unknown_names_are_listed_with_the_file_and_the_remedy():
    names = pd.Series(["real", "comet", "ghost", "comet"])
    with pytest.raises(InputError, match=r"params3\.csv.*'comet', 'ghost'.*--labels NAME=VALUE"):
        encode_labels(names, DEFAULT_LABELS, source="params3.csv")


def test_a_long_list_of_unknown_names_is_cut():
    with pytest.raises(InputError) as caught:
        encode_labels(pd.Series([f"n{i}" for i in range(50)]), DEFAULT_LABELS, source="t.csv")
    assert len(str(caught.value)) < 400
