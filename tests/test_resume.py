import numpy as np
import pytest

from rbkeras.errors import InputError
from rbkeras.file_states import checksum
from rbkeras.files import read_json
from rbkeras.resume import (
    OtherSettingsError,
    claim,
    digest,
    is_finished,
    mark_finished,
    refuse_other_settings,
)

SETTINGS = {"epochs": 3, "loss": {"margin": 0.25, "beta": None}, "shape": (29, 29, 3)}


@pytest.fixture
def work(tmp_path):
    """Claim one piece of work that makes a model, a table and a folder of logs."""
    (tmp_path / "logs").mkdir()
    products = [tmp_path / "model.keras", tmp_path / "log.csv", tmp_path / "logs"]
    for path in products[:2]:
        path.write_text("content")

    def run(settings=SETTINGS, *, overwrite=False):
        return claim(tmp_path / "work.json", settings, products=products, overwrite=overwrite)

    run.marker, run.products = tmp_path / "work.json", products
    return run


def test_new_work_is_claimed_but_not_finished(work):
    assert work() is False
    assert read_json(work.marker)["finished"] is False


def test_interrupted_work_goes_on_with_what_it_has(work):
    work()
    assert work() is False
    assert all(path.exists() for path in work.products)


def test_finished_work_is_not_done_again(work):
    work()
    mark_finished(work.marker, SETTINGS, seconds=5)
    assert work() is True
    assert read_json(work.marker)["seconds"] == 5


def test_finished_work_whose_product_is_gone_is_done_again(work):
    work()
    mark_finished(work.marker, SETTINGS)
    work.products[0].unlink()
    assert work() is False
    work.products[0].write_text("made anew, but the work after it was interrupted")
    assert work() is False


def test_finished_work_of_which_a_loss_of_power_left_a_name_is_done_again(work):
    work()
    mark_finished(work.marker, SETTINGS)
    work.products[1].write_bytes(b"")
    assert work() is False


def test_finished_work_does_not_miss_a_folder(work):
    work()
    mark_finished(work.marker, SETTINGS)
    work.products[2].rmdir()
    assert work() is True


@pytest.mark.parametrize("finished", [False, True])
def test_changed_settings_are_refused_by_name_and_nothing_is_removed(work, finished):
    work()
    if finished:
        mark_finished(work.marker, SETTINGS)
    changed = {**SETTINGS, "epochs": 9, "loss": {"margin": 0.5, "beta": None}}
    with pytest.raises(InputError) as caught:
        work(changed)
    text = str(caught.value)
    assert "work.json" in text
    assert "epochs was 3, is 9" in text
    assert "loss.margin was 0.25, is 0.5" in text
    assert "beta" not in text
    assert "--overwrite" in text
    assert all(path.exists() for path in work.products)
    assert read_json(work.marker)["settings"]["epochs"] == 3


@pytest.mark.parametrize("content", ["[]", "null", '"finished"'])
def test_what_is_no_marker_is_named(tmp_path, content):
    marker = tmp_path / "stage2.json"
    marker.write_text(content)
    for look in (claim, is_finished):
        more = {"products": [], "overwrite": True} if look is claim else {}
        with pytest.raises(InputError, match=r"stage2\.json: expected settings of earlier work"):
            look(marker, {"a": 1}, **more)


def test_a_setting_that_comes_or_goes_is_a_change(work):
    work()
    with pytest.raises(OtherSettingsError, match="seed was None, is 1"):
        work({**SETTINGS, "seed": 1})
    work({**SETTINGS, "seed": 1}, overwrite=True)
    with pytest.raises(OtherSettingsError, match="seed was 1, is None"):
        work()


@pytest.mark.parametrize(
    ("before", "now"),
    [(SETTINGS["loss"], None), (None, SETTINGS["loss"])],
    ids=["goes", "comes"],
)
def test_a_group_of_settings_that_comes_or_goes_is_a_change(work, before, now):
    work({**SETTINGS, "loss": before})
    with pytest.raises(OtherSettingsError, match="loss was"):
        work({**SETTINGS, "loss": now})


def test_checksums_are_not_shown(work, tmp_path):
    files = [tmp_path / "one", tmp_path / "two"]
    for file in files:
        file.write_text(file.name)
    one, two = ({**SETTINGS, "records": checksum(file)} for file in files)
    work(one)
    with pytest.raises(InputError, match=r"found others \(other records\)"):
        work(two)


def test_words_are_shown_and_checksums_that_agree_are_no_change(work):
    same = {**SETTINGS, "records": "0" * 16}
    work({**same, "network": "simple"})
    with pytest.raises(OtherSettingsError, match=r"found others \(network was simple, is deep\)"):
        work({**same, "network": "deep"})


def test_many_changes_are_cut_short(work):
    work({f"a{i}": 0 for i in range(50)})
    with pytest.raises(InputError) as caught:
        work({f"a{i}": 1 for i in range(50)})
    assert len(str(caught.value)) < 400


def test_overwriting_removes_the_products_of_other_settings(work):
    work()
    mark_finished(work.marker, SETTINGS)
    assert work({**SETTINGS, "epochs": 9}, overwrite=True) is False
    assert not any(path.exists() for path in work.products)
    assert read_json(work.marker) == {
        "finished": False,
        "settings": {**SETTINGS, "epochs": 9, "shape": [29, 29, 3]},
    }


def test_overwriting_does_not_miss_products_that_are_not_there(work):
    work()
    work.products[0].unlink()
    work.products[2].rmdir()
    assert work({**SETTINGS, "epochs": 9}, overwrite=True) is False


def test_overwriting_with_the_same_settings_keeps_what_is_finished(work):
    work()
    mark_finished(work.marker, SETTINGS)
    assert work(overwrite=True) is True
    assert all(path.exists() for path in work.products)


def test_what_was_made_of_replaced_work_goes_with_it(work, tmp_path):
    report = tmp_path / "report.html"
    report.write_text("about the model")

    def run(settings, *, overwrite):
        return claim(work.marker, settings, products=[], derived=[report], overwrite=overwrite)

    run(SETTINGS, overwrite=False)
    mark_finished(work.marker, SETTINGS)
    assert run(SETTINGS, overwrite=True) is True
    assert report.exists()
    assert run(SETTINGS | {"epochs": 4}, overwrite=True) is False
    assert not report.exists()
    # Not missed: work is finished without it.
    mark_finished(work.marker, SETTINGS)
    assert run(SETTINGS, overwrite=False) is True


def test_work_is_finished_with_its_own_settings_alone(work):
    assert not is_finished(work.marker, SETTINGS)
    work()
    assert not is_finished(work.marker, SETTINGS)
    mark_finished(work.marker, SETTINGS)
    assert is_finished(work.marker, SETTINGS)
    assert not is_finished(work.marker, SETTINGS | {"epochs": 4})


@pytest.fixture
def refuse(work):
    """Refuse other settings than these, while it is not known which records there will be."""
    work({"epochs": 3, "records": "first"})

    def run(settings, *, marker=work.marker, overwrite=False):
        refuse_other_settings(marker, settings, unknown={"records"}, overwrite=overwrite)

    return run


def test_other_settings_are_refused_while_some_are_unknown(refuse):
    with pytest.raises(OtherSettingsError, match=r"found others \(epochs was 3, is 4\)"):
        refuse({"epochs": 4})


def test_settings_yet_unknown_are_no_change(refuse):
    refuse({"epochs": 3})


def test_settings_that_are_to_be_overwritten_are_not_refused(refuse):
    refuse({"epochs": 4}, overwrite=True)


def test_work_that_has_not_begun_refuses_no_settings(refuse, tmp_path):
    refuse({"epochs": 4}, marker=tmp_path / "none.json")


def test_digests_tell_arrays_apart_by_what_they_hold():
    assert digest(np.arange(3)) == digest(np.arange(6)[:3])
    assert digest(np.arange(3)) != digest(np.arange(4))
    assert len(digest(np.arange(3))) == 16
