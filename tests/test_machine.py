"""What a process may use of its machine."""

import os

import pytest

from rbkeras.machine import processors


@pytest.mark.parametrize(("share", "expected"), [("3", 3), ("", 2), ("0", 2), ("4,2", 2)])
def test_processors_are_those_of_this_process(monkeypatch, share, expected):
    """A batch system gives a job some of a machine's, and a local cluster each worker its share."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {5, 9}, raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setenv("OMP_NUM_THREADS", share)
    assert processors() == expected
    monkeypatch.delattr(os, "sched_getaffinity")
    assert processors() == (3 if share == "3" else 64)
