"""What is noticed about files without reading them."""

import os

from rbkeras.file_states import state_of


def test_the_state_of_a_folder_knows_its_files_by_name(tmp_path):
    for name in "ab":
        (tmp_path / name).write_text(name)
        os.utime(tmp_path / name, ns=(10, 10))
    before = state_of(tmp_path)
    assert (before["files"], before["bytes"]) == (2, 2)
    assert state_of(tmp_path) == before
    (tmp_path / "a").rename(tmp_path / "z")
    assert state_of(tmp_path) != before
    (tmp_path / "z").rename(tmp_path / "a")
    assert state_of(tmp_path) == before
    # Replaced by an older file of the same size, as a copy that keeps times does.
    os.utime(tmp_path / "a", ns=(5, 5))
    assert state_of(tmp_path) != before
    assert state_of(tmp_path, besides=[tmp_path / "a"])["files"] == 1
    elsewhere = tmp_path.with_name("elsewhere")
    elsewhere.write_text("x")
    with_it = state_of(tmp_path, also=[elsewhere])
    assert with_it["files"] == state_of(tmp_path)["files"] + 1
    elsewhere.write_text("longer")
    assert state_of(tmp_path, also=[elsewhere])["listing"] != with_it["listing"]


def test_what_is_left_out_may_be_named_by_way_of_a_link(tmp_path):
    folder, link = tmp_path / "folder", tmp_path / "link"
    (folder / "out.parts").mkdir(parents=True)
    (folder / "alert.avro").write_text("x")
    link.symlink_to(folder)
    before = state_of(link, besides=[folder / "out.parts"])
    (folder / "out.parts" / "0").write_text("y")
    assert state_of(link, besides=[folder / "out.parts"]) == before
    assert state_of(folder, besides=[link / "out.parts"])["files"] == 1
    # An output that is itself a link to somewhere else.
    (folder / "out").symlink_to(tmp_path / "elsewhere")
    assert state_of(folder, besides=[link / "out.parts", link / "out"])["files"] == 1
