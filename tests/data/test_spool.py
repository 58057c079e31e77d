"""Stamps put aside: what is selected, and how many files that takes."""

import errno
import os
import resource

import numpy as np
import pytest

from rbkeras.data.spool import StampSpool


def test_selections_are_read_from_what_was_put_aside(tmp_path, random_stamps):
    stamps = random_stamps(12)
    with StampSpool(tmp_path / "records", stamps.shape[1:]) as spool:
        spool.append(stamps[:5])
        first = spool.rows(np.array([4, 0]))
        spool.append(stamps[5:])
        second = spool.rows(np.array([11, 2, 5]))
        np.testing.assert_array_equal(first[:], stamps[[4, 0]])
        np.testing.assert_array_equal(second[1:], stamps[[2, 5]])
        assert (len(first), second.shape) == (2, (3, *stamps.shape[1:]))
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_named(tmp_path, random_stamps):
    class Full:
        def write(self, _):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        def close(self):
            pass

    with StampSpool(tmp_path / "records", (7, 7, 3)) as spool:
        spool._file.close()
        spool._file = Full()
        with pytest.raises(OSError, match=f"{tmp_path}") as caught:
            spool.append(random_stamps())
    assert caught.value.errno == errno.ENOSPC


def test_a_thousand_detectors_take_no_thousand_files(tmp_path, random_stamps):
    stamps = random_stamps(3)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with StampSpool(tmp_path / "records", stamps.shape[1:]) as spool:
        spool.append(stamps)
        highest = max(int(name) for name in os.listdir("/dev/fd"))
        resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 8, hard))
        try:
            selections = [spool.rows(np.array([i % 3])) for i in range(1000)]
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        np.testing.assert_array_equal(selections[-1][:], stamps[[0]])
