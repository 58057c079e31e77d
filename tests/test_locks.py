"""One process at a time in a folder."""

import errno
import threading

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


def test_file_systems_without_locks_do_without(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(locks.fcntl, "flock", refuse)
    with alone(tmp_path / "work"):
        pass
