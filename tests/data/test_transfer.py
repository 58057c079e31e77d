import errno
import hashlib
import http.server
import io
import re
import threading
from functools import partial
from pathlib import Path

import pytest
from tqdm import tqdm

from rbkeras.data import transfer
from rbkeras.data.published import RemoteFile
from rbkeras.data.transfer import download
from rbkeras.errors import InputError

CONTENT = bytes(range(256)) * 4000
DIGEST = hashlib.sha256(CONTENT).hexdigest()
CUT = 4 << 16  # whole chunks, so that nothing of what was sent is lost


class Server(http.server.ThreadingHTTPServer):
    """Serves `a.npy`; the lists `cuts` and `statuses` are used up request by request."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.cuts, self.statuses, self.ranges = [], [], True
        self.log = []  # the Range of each request
        self.url = f"http://127.0.0.1:{self.server_address[1]}"


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        server, asked = self.server, self.headers.get("Range")
        server.log.append(asked)
        if server.statuses:
            return self.send_error(server.statuses.pop(0))
        if self.path != "/a.npy":
            return self.send_error(404)
        start = 0
        if asked and server.ranges:
            start = int(re.fullmatch(r"bytes=(\d+)-", asked)[1])
            if start >= len(CONTENT):
                return self.send_error(416)
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}")
        else:
            self.send_response(200)
        piece = CONTENT[start:]
        self.send_header("Content-Length", str(len(piece)))
        self.end_headers()
        self.wfile.write(piece[: server.cuts.pop(0) if server.cuts else len(piece)])
        return None

    def log_message(self, *args):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def waits(monkeypatch):
    """Seconds that would have been waited."""
    waits = []
    monkeypatch.setattr("time.sleep", waits.append)
    return waits


@pytest.fixture
def out(tmp_path):
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


@pytest.fixture
def fetch(server, out, waits):
    """Fetch a file of the server, `a.npy` unless told."""

    def run(name="a.npy", *, digest=DIGEST, url=server.url, **options):
        file = RemoteFile(name=name, url=f"{url}/{name}", algorithm="sha256", digest=digest)
        download([file], out=out, **options)

    return run


def everything_in(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_file_arrives_and_is_not_fetched_twice(fetch, server, out, capsys):
    fetch()
    assert everything_in(out) == {"a.npy": CONTENT}
    assert "fetched: a.npy (1/1), 1.0 MB" in capsys.readouterr().out
    fetch()
    assert server.log == [None]
    assert "already there: a.npy" in capsys.readouterr().out


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize("stream", [Terminal, io.StringIO])
def test_a_person_at_a_terminal_sees_how_far_it_is(fetch, monkeypatch, stream):
    monkeypatch.setattr("sys.stderr", shown := stream())
    # Drawn anew with every chunk, however soon it comes.
    monkeypatch.setattr(transfer, "tqdm", partial(tqdm, mininterval=0))
    fetch()
    percent = [int(number) for number in re.findall(r"a\.npy \(1/1\): +(\d+)%", shown.getvalue())]
    if stream is Terminal:
        assert percent == sorted(percent)
        assert percent[0] == 0
        assert percent[-1] > 90
        assert "/1.02M [" in shown.getvalue()
    else:
        # Nothing fills a log.
        assert shown.getvalue() == ""


def test_changed_file_is_fetched_again(fetch, out):
    (out / "a.npy").write_bytes(b"something older")
    fetch()
    assert everything_in(out) == {"a.npy": CONTENT}


def test_second_run_continues_where_the_first_was_cut(fetch, server, out):
    server.cuts = [CUT]
    with pytest.raises(InputError, match="continues from there"):
        fetch(retries=0)
    ((name, content),) = everything_in(out).items()
    assert name.endswith(".part")
    assert content == CONTENT[:CUT]

    fetch(retries=0)
    assert server.log == [None, f"bytes={CUT}-"]
    assert everything_in(out) == {"a.npy": CONTENT}


def test_cut_within_a_chunk(fetch, server, out):
    server.cuts = [CUT + 1000]
    with pytest.raises(InputError):
        fetch(retries=0)
    (part,) = everything_in(out).values()
    assert CUT <= len(part) <= CUT + 1000
    fetch(retries=0)
    assert server.log[1] == f"bytes={len(part)}-"
    assert everything_in(out) == {"a.npy": CONTENT}


def test_dropped_connections_are_tried_again(fetch, server, out, waits):
    server.cuts = [CUT, 0, 0, CUT]
    fetch(retries=3)
    assert server.log == [None, *[f"bytes={CUT}-"] * 3, f"bytes={2 * CUT}-"]
    # New bytes start the count afresh.
    assert waits == [1, 2, 4, 1]
    assert everything_in(out) == {"a.npy": CONTENT}


@pytest.mark.parametrize("ranges", [True, False])
def test_trying_again_has_an_end(fetch, server, waits, ranges):
    server.ranges = ranges
    server.cuts = [CUT] + ([0] if ranges else [CUT]) * 50
    with pytest.raises(InputError):
        fetch(retries=3)
    assert len(server.log) == 4
    assert len(waits) == 3


def test_server_without_range_is_read_from_the_start(fetch, server, out):
    server.cuts, server.ranges = [CUT], False
    fetch()
    assert server.log == [None, f"bytes={CUT}-"]
    assert everything_in(out) == {"a.npy": CONTENT}


def test_complete_part_file_only_gets_its_name(fetch, out):
    (out / f".a.npy.{DIGEST[:12]}.part").write_bytes(CONTENT)
    fetch()
    assert everything_in(out) == {"a.npy": CONTENT}


def test_wrong_checksum_leaves_nothing(fetch, out):
    with pytest.raises(InputError, match=rf"a\.npy: expected sha256 {'0' * 64} .* got {DIGEST}"):
        fetch(digest="0" * 64)
    assert everything_in(out) == {}


def test_passing_failures_are_tried_again(fetch, server, out):
    server.statuses = [503, 429]
    fetch()
    assert len(server.log) == 3

    server.statuses = [503] * 9
    (out / "a.npy").unlink()
    with pytest.raises(InputError, match="HTTP 503"):
        fetch(retries=2)
    assert len(server.log) == 6


def test_missing_file_is_asked_for_once(fetch, server):
    with pytest.raises(InputError, match=r"b\.npy: .* HTTP 404"):
        fetch("b.npy")
    assert len(server.log) == 1


def test_full_disk(fetch, out):
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    part = out / f".a.npy.{DIGEST[:12]}.part"
    part.symlink_to("/dev/full")
    with pytest.raises(OSError, match=re.escape(str(part))) as caught:
        fetch()
    assert caught.value.errno == errno.ENOSPC
    assert not (out / "a.npy").exists()


def test_server_that_is_not_there(fetch, waits):
    with pytest.raises(InputError, match=r"http://127\.0\.0\.1:1/a\.npy"):
        fetch(url="http://127.0.0.1:1")
    assert waits == []


def test_something_else_in_the_way(fetch, server, out):
    (out / "a.npy").mkdir()
    with pytest.raises(InputError, match="found a folder"):
        fetch()
    (out / "b").write_text("a file")
    with pytest.raises(InputError, match="found a file"):
        fetch("b/a.npy")
    assert server.log == []
