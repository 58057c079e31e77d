import numpy as np
import pandas as pd
import pytest

from rbkeras.data.alert_labels import names_by_score, own_names, read_label_table
from rbkeras.errors import InputError

SCORES = np.array([0.69999993, 0.7, 0.70000005, np.nan], np.float32)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_score_at_the_threshold_reaches_it(dtype):
    # Packets hold float32, which come as float64.
    identity = pd.DataFrame({"survey_score": SCORES.astype(dtype)})
    names = names_by_score(0.7)(identity)
    assert names.tolist() == ["bogus", "real", "real", "unlabelled"]


def test_scores_of_more_digits_are_compared_with_all_of_them():
    identity = pd.DataFrame({"survey_score": [float(np.float32(0.7)), 0.7, 0.3]})
    assert names_by_score(0.7)(identity).tolist() == ["bogus", "real", "bogus"]


def test_names_of_blanks_are_none(tmp_path):
    given = pd.DataFrame({"object_type": [" real ", "  ", "", None]})
    assert own_names(given).tolist() == ["real", "unlabelled", "unlabelled", "unlabelled"]
    path = tmp_path / "names.csv"
    path.write_text("alert_id,object_type\n1,real\n2,  \n 3 ,bogus\n")
    alerts = pd.DataFrame({"alert_id": pd.array(["1", "2", "3"], "string")})
    assert read_label_table(path).name(alerts).tolist() == ["real", "unlabelled", "bogus"]


def test_trust_is_read_like_that_of_a_survey(tmp_path):
    path = tmp_path / "names.csv"
    path.write_text(
        "alert_id,object_type,trusted\n1,real,1\n1,real,true\n2,bogus,\n3,bogus,0\n4,,1\n"
    )
    alerts = pd.DataFrame({"alert_id": pd.array(["3", "1", "4", "2", "5"], "string")})
    table = read_label_table(path)
    np.testing.assert_array_equal(table.trust(alerts), [0, 1, np.nan, 0, np.nan])
    assert table.name(alerts).tolist() == ["bogus", "real", "unlabelled", "bogus", "unlabelled"]
    path.write_text("alert_id,object_type,trusted\n1,real,yes\n")
    with pytest.raises(InputError, match=r"names\.csv: expected 0, 1 or nothing in the column"):
        read_label_table(path)
    path.write_text("alert_id,object_type\n1,real\n")
    assert read_label_table(path).trusted is None
