"""One process at a time in a folder."""

import errno
import threading

import pytest

from rbkeras import locks
from rbkeras.locks import alone


def test_a_folder_is_held_by_one_at_a_time(tmp_path, capsys):
    order = []

    def second():
        with alone(tmp_path / "work"):
            order.append("second")

    thread = threading.Thread(target=second)
    with alone(tmp_path / "other"), alone(tmp_path / "work"):
        thread.start()
        thread.join(0.5)
        assert thread.is_alive()
        order.append("first")
    thread.join(10)
    assert order == ["first", "second"]
    assert f"{tmp_path / 'work'}: waiting for another process" in capsys.readouterr().out
    # The folder itself is left to its user, who may want to make or replace it.
    assert not (tmp_path / "work").exists()


def test_a_folder_with_two_names_has_one_lock(tmp_path):
    (tmp_path / "work").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "work")
    held = []

    def second():
        with alone(tmp_path / "link"):
            held.append("second")

    thread = threading.Thread(target=second)
    with alone(tmp_path / "work"):
        thread.start()
        thread.join(0.5)
        assert not held
    thread.join(10)
    assert held


@pytest.mark.parametrize("reason", [errno.EACCES, errno.EROFS])
@pytest.mark.parametrize("there", [True, False])
def test_where_nothing_can_be_written_beside_a_folder_the_lock_lies_in_it(
    tmp_path, monkeypatch, there, reason
):
    def denied(path, mode):
        if path.parent == tmp_path:
            raise OSError(reason, "refused", str(path))
        return open(path, mode)

    monkeypatch.setattr(locks, "open", denied, raising=False)
    if there:
        (tmp_path / "work").mkdir()
        with alone(tmp_path / "work"):
            assert [path.name for path in (tmp_path / "work").iterdir()] == [".lock"]
    else:
        with pytest.raises(OSError, match="refused"), alone(tmp_path / "work"):
            pass


def test_the_lock_of_another_user_holds_too(tmp_path, monkeypatch):
    (tmp_path / "work").mkdir()
    held = []

    def denied(path, mode="r"):
        if mode == "a":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return open(path, mode)

    def second():
        with alone(tmp_path / "work"):
            held.append("second")

    thread = threading.Thread(target=second)
    with alone(tmp_path / "work"):
        monkeypatch.setattr(locks, "open", denied, raising=False)
        thread.start()
        thread.join(0.5)
        assert not held
    thread.join(10)
    assert held


def test_file_systems_without_locks_do_without(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(locks.fcntl, "flock", refuse)
    with alone(tmp_path / "work"):
        pass
