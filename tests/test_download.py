import hashlib
import http.server
import importlib.util
import io
import json
import re
import sys
import tarfile
import threading
import zipfile
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[1] / "data" / "download.py"
CONTENT = bytes(range(256)) * 4000
CUT = 4 << 16  # whole chunks, so that nothing of what was sent is lost


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("download", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    # dataclasses look their module up.
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


class Server(http.server.ThreadingHTTPServer):
    """Serves `files`; the lists in `cuts` and `statuses` are used up request by request."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.cuts, self.statuses, self.log = {}, {}, {}, []
        self.ranges = True
        self.url = f"http://127.0.0.1:{self.server_address[1]}"

    def gets(self):
        return [entry for entry in self.log if entry[0] == "GET"]


class Handler(http.server.BaseHTTPRequestHandler):
    def do_HEAD(self):
        self.answer(body=False)

    def do_GET(self):
        self.answer(body=True)

    def answer(self, *, body):
        name, server = self.path.lstrip("/"), self.server
        asked = self.headers.get("Range")
        server.log.append((self.command, name, asked))
        if server.statuses.get(name):
            return self.send_error(server.statuses[name].pop(0))
        if name not in server.files:
            return self.send_error(404)
        content, start = server.files[name], 0
        if asked and server.ranges:
            start = int(re.fullmatch(r"bytes=(\d+)-", asked)[1])
            if start >= len(content):
                return self.send_error(416)
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        else:
            self.send_response(200)
        piece = content[start:]
        self.send_header("Content-Length", str(len(piece)))
        self.end_headers()
        if body:
            cut = server.cuts[name].pop(0) if server.cuts.get(name) else len(piece)
            self.wfile.write(piece[:cut])
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
    """Seconds that the script would have waited."""
    waits = []
    monkeypatch.setattr("time.sleep", waits.append)
    return waits


@pytest.fixture
def fetch(script, server, tmp_path, waits):
    """Run the command against the server, whose files the registry lists."""

    def run(*options, registry=None, url=server.url):
        if registry is None:
            lines = [f"{n} sha256:{hashlib.sha256(c).hexdigest()}" for n, c in server.files.items()]
            registry = "\n".join(["# a comment", *lines])
        path = tmp_path / "registry.txt"
        path.write_text(registry)
        out = tmp_path / "out"
        arguments = ["--out", str(out), "--base-url", url, "--registry", str(path), *options]
        return script.main(arguments)

    return run


def everything_in(folder):
    if not folder.exists():
        return {}
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def only_error_line(capsys):
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    return error


def test_whole_files_arrive_and_are_not_fetched_twice(fetch, server, tmp_path, capsys):
    server.files = {"images0.npy": CONTENT, "sub/params%200.csv": b"object_type\n"}
    lines = [
        f"images0.npy md5:{hashlib.md5(CONTENT).hexdigest().upper()}",
        f"'sub/params 0.csv' {hashlib.sha256(server.files['sub/params%200.csv']).hexdigest()}",
    ]
    assert fetch(registry="\n".join(lines)) == 0
    assert everything_in(tmp_path / "out") == {
        "images0.npy": CONTENT,
        "sub/params 0.csv": b"object_type\n",
    }
    assert "python -m rbkeras.convert" in capsys.readouterr().out
    assert len(server.log) == 2

    assert fetch(registry="\n".join(lines)) == 0
    assert len(server.log) == 2
    assert capsys.readouterr().out.count("already there") == 2


def test_default_folders_are_named_as_the_readme_does(
    script, server, monkeypatch, tmp_path, capsys
):
    monkeypatch.setattr(script, "OUT", tmp_path / "data" / "raw" / "real_bogus1")
    monkeypatch.chdir(tmp_path)
    server.files = {"images0.npy": CONTENT}
    (tmp_path / "files.txt").write_text(f"images0.npy {hashlib.sha256(CONTENT).hexdigest()}")
    assert script.main(["--base-url", server.url, "--registry", "files.txt"]) == 0
    command = "python -m rbkeras.convert data/raw/real_bogus1 data/processed/real_bogus1"
    assert f"next: {command}\n" in capsys.readouterr().out
    assert command in SCRIPT.with_name("README.md").read_text()


def test_changed_file_is_fetched_again(fetch, server, tmp_path):
    server.files = {"a.npy": CONTENT}
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a.npy").write_bytes(b"something older")
    assert fetch() == 0
    assert everything_in(tmp_path / "out") == {"a.npy": CONTENT}


def test_second_run_continues_where_the_first_was_cut(fetch, server, tmp_path, capsys):
    server.files, server.cuts = {"a.npy": CONTENT}, {"a.npy": [CUT]}
    assert fetch("--retries", "0") == 2
    assert "continues from there" in only_error_line(capsys)
    (part,) = everything_in(tmp_path / "out").items()
    assert part[0].endswith(".part")
    assert part[1] == CONTENT[:CUT]

    assert fetch("--retries", "0") == 0
    assert server.log == [("GET", "a.npy", None), ("GET", "a.npy", f"bytes={CUT}-")]
    assert everything_in(tmp_path / "out") == {"a.npy": CONTENT}


def test_cut_within_a_chunk(fetch, server, tmp_path):
    server.files, server.cuts = {"a.npy": CONTENT}, {"a.npy": [CUT + 1000]}
    assert fetch("--retries", "0") == 2
    (part,) = everything_in(tmp_path / "out").values()
    assert CUT <= len(part) <= CUT + 1000
    assert fetch("--retries", "0") == 0
    assert server.log[1][2] == f"bytes={len(part)}-"
    assert everything_in(tmp_path / "out") == {"a.npy": CONTENT}


def test_dropped_connections_are_tried_again(fetch, server, tmp_path, waits):
    server.files, server.cuts = {"a.npy": CONTENT}, {"a.npy": [CUT, 0, 0, CUT]}
    assert fetch("--retries", "3") == 0
    starts = [None, *[f"bytes={CUT}-"] * 3, f"bytes={2 * CUT}-"]
    assert [entry[2] for entry in server.log] == starts
    # New bytes start the count afresh.
    assert waits == [1, 2, 4, 1]
    assert everything_in(tmp_path / "out") == {"a.npy": CONTENT}


@pytest.mark.parametrize("ranges", [True, False])
def test_trying_again_has_an_end(fetch, server, waits, ranges):
    server.files, server.ranges = {"a.npy": CONTENT}, ranges
    server.cuts = {"a.npy": [CUT] + ([0] if ranges else [CUT]) * 50}
    assert fetch("--retries", "3") == 2
    assert len(server.log) == 4
    assert len(waits) == 3


def test_server_without_range_is_read_from_the_start(fetch, server, tmp_path):
    server.files, server.cuts, server.ranges = {"a.npy": CONTENT}, {"a.npy": [CUT]}, False
    assert fetch() == 0
    assert [entry[2] for entry in server.log] == [None, f"bytes={CUT}-"]
    assert everything_in(tmp_path / "out") == {"a.npy": CONTENT}


def test_complete_part_file_only_gets_its_name(fetch, server, tmp_path):
    server.files = {"a.npy": CONTENT}
    (tmp_path / "out").mkdir()
    digest = hashlib.sha256(CONTENT).hexdigest()
    (tmp_path / "out" / f".a.npy.{digest[:12]}.part").write_bytes(CONTENT)
    assert fetch() == 0
    assert everything_in(tmp_path / "out") == {"a.npy": CONTENT}


def test_wrong_checksum_leaves_nothing(fetch, server, tmp_path, capsys):
    server.files = {"a.npy": CONTENT}
    expected = "0" * 64
    assert fetch(registry=f"a.npy sha256:{expected}") == 2
    message = only_error_line(capsys)
    assert "a.npy" in message
    assert expected in message
    assert hashlib.sha256(CONTENT).hexdigest() in message
    assert everything_in(tmp_path / "out") == {}


def test_passing_failures_are_tried_again_and_others_not(fetch, server, tmp_path, capsys):
    server.files, server.statuses = {"a.npy": CONTENT}, {"a.npy": [503, 429]}
    assert fetch() == 0
    assert len(server.log) == 3

    server.statuses = {"a.npy": [503] * 9}
    (tmp_path / "out" / "a.npy").unlink()
    assert fetch("--retries", "2") == 2
    assert "HTTP 503" in only_error_line(capsys)
    assert len(server.log) == 6

    assert fetch(registry=f"b.npy {'0' * 64}") == 2
    message = only_error_line(capsys)
    assert "b.npy" in message
    assert "HTTP 404" in message
    assert len(server.log) == 7


def test_full_disk(fetch, server, tmp_path, capsys):
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    server.files = {"a.npy": CONTENT}
    (tmp_path / "out").mkdir()
    part = tmp_path / "out" / f".a.npy.{hashlib.sha256(CONTENT).hexdigest()[:12]}.part"
    part.symlink_to("/dev/full")
    assert fetch() == 1
    assert str(part) in only_error_line(capsys)
    assert not (tmp_path / "out" / "a.npy").exists()


def test_mirror_that_is_not_there(fetch, waits, capsys):
    assert fetch(registry=f"a.npy {'0' * 64}", url="http://127.0.0.1:1") == 2
    assert "http://127.0.0.1:1/a.npy" in only_error_line(capsys)
    assert waits == []


@pytest.mark.parametrize("option", [[], ["--list"]])
def test_no_network(script, monkeypatch, tmp_path, capsys, option):
    # A proxy that is not there cuts this process off, whatever the machine can reach.
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert script.main(["--out", str(tmp_path / "out"), *option]) == 2
    message = only_error_line(capsys)
    assert script.DOI in message
    assert "network" in message
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "name", ["../a.npy", "/tmp/a.npy", "sub/../../a.npy", "'..\\a.npy'", "C:/a.npy", "."]
)
def test_names_outside_the_folder_are_refused(fetch, server, tmp_path, capsys, name):
    before = everything_in(tmp_path)
    assert fetch(registry=f"good.npy {'0' * 64}\n{name} {'0' * 64}") == 2
    assert "below the output folder" in only_error_line(capsys)
    assert server.log == []
    assert everything_in(tmp_path).keys() - before.keys() == {"registry.txt"}


@pytest.mark.parametrize(
    "registry",
    ["a.npy", "a.npy 12", "a.npy sha257:00", "a.npy shake_128:", "a.npy '", "", "# only"],
)
def test_broken_registries(fetch, capsys, registry):
    assert fetch(registry=registry) == 2
    assert "registry.txt" in only_error_line(capsys)


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (["--base-url", "http://127.0.0.1:1"], "--registry"),
        (["--base-url", "ftp://x", "--registry", "f"], "ftp://x"),
        (["--base-url", "http://127.0.0.1:1", "--registry", "missing.txt"], "missing.txt"),
        (["--doi", "zenodo"], "'zenodo'"),
    ],
)
def test_usage_errors(script, capsys, options, word):
    assert script.main(options) == 2
    assert word in only_error_line(capsys)


def test_list_of_a_mirror(fetch, server, tmp_path, capsys):
    server.files = {"a.npy": CONTENT, "b.csv": b"12"}
    assert fetch("--list") == 0
    assert capsys.readouterr().out.split("\n") == [
        "    1.0 MB  a.npy",
        "       2 B  b.csv",
        "    1.0 MB  in 2 files",
        "",
    ]
    assert server.gets() == []
    assert not (tmp_path / "out").exists()


def test_help_has_examples(script, capsys):
    with pytest.raises(SystemExit, match="0"):
        script.main(["--help"])
    assert "python data/download.py --list" in capsys.readouterr().out


# The way from the DOI to the files: the pieces of pooch that know addresses are pointed at the
# local server, everything else is as it is.


@pytest.fixture
def record(server, monkeypatch):
    """Publish the server's files as the record behind the DOI; call it with the API's answer."""
    from pooch import downloaders

    address = "https://zenodo.org/records/6691804"
    monkeypatch.setattr(downloaders, "doi_to_url", lambda doi, **kwargs: address)
    api = f"{server.url}/api/records"
    monkeypatch.setattr(downloaders.ZenodoRepository, "base_api_url", api)

    def publish(answer):
        server.files["api/records/6691804"] = json.dumps(answer).encode()

    return publish


def entries(server, *, form):
    names = {"legacy": ("key", "size", "md5:"), "new": ("filename", "filesize", "")}[form]
    return [
        {
            names[0]: name,
            names[1]: len(content),
            "checksum": names[2] + hashlib.md5(content).hexdigest(),
            "links": {"self": f"{server.url}/{name}"},
        }
        for name, content in server.files.items()
    ]


def test_doi_to_files(script, server, record, tmp_path, waits):
    server.files = {"images3.npy": CONTENT, "params3.csv": b"x\n"}
    server.cuts = {"images3.npy": [CUT]}
    record({"id": 6691804, "files": entries(server, form="legacy")})
    assert script.main(["--out", str(tmp_path / "out")]) == 0
    assert everything_in(tmp_path / "out") == {"images3.npy": CONTENT, "params3.csv": b"x\n"}
    # The record is asked for once, not once per file.
    assert [entry[1:] for entry in server.log] == [
        ("api/records/6691804", None),
        ("images3.npy", None),
        ("images3.npy", f"bytes={CUT}-"),
        ("params3.csv", None),
    ]


def test_doi_with_a_wrong_checksum(script, server, record, tmp_path, capsys):
    server.files = {"images3.npy": CONTENT}
    record({"id": 6691804, "files": entries(server, form="legacy")})
    server.files["images3.npy"] = CONTENT[::-1]
    assert script.main(["--out", str(tmp_path / "out")]) == 2
    assert "expected md5" in only_error_line(capsys)
    assert everything_in(tmp_path / "out") == {}


@pytest.mark.parametrize("form", ["legacy", "new"])
@pytest.mark.parametrize("before", ["", "doi:", "https://doi.org/"])
def test_doi_list(script, server, record, capsys, form, before):
    server.files = {"images3.npy": CONTENT, "params3.csv": b"x\n"}
    record({"id": 6691804, "files": entries(server, form=form)})
    assert script.main(["--list", "--doi", before + script.DOI]) == 0
    assert "    1.0 MB  images3.npy\n       2 B  params3.csv\n" in capsys.readouterr().out
    assert len(server.log) == 1


@pytest.mark.parametrize(
    "answer", [{"status": 404, "message": "gone"}, {"files": []}, {"files": [{"key": "a"}]}, []]
)
def test_doi_without_files(script, record, tmp_path, capsys, answer):
    record(answer)
    assert script.main(["--out", str(tmp_path / "out")]) == 2
    assert f"doi:{script.DOI}" in only_error_line(capsys)


# Archives.


def make_zip(members):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return stream.getvalue()


def make_tar(members):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            if isinstance(content, str):
                member.type, member.linkname = tarfile.SYMTYPE, content
                archive.addfile(member)
            else:
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    return stream.getvalue()


SURVEY = {"images0.npy": CONTENT, "params0.csv": b"object_type\n"}
KINDS = {"set.zip": make_zip, "set.tar.gz": make_tar}


@pytest.mark.parametrize("kind", KINDS)
def test_archives_are_unpacked_once(fetch, server, tmp_path, capsys, kind):
    members = {f"some/folder/{name}": content for name, content in SURVEY.items()}
    members["__MACOSX/._images0.npy"] = b"clutter"
    server.files = {kind: KINDS[kind](members)}
    out = tmp_path / "out"
    assert fetch() == 0
    found = everything_in(out)
    assert found.pop(f".{kind}.unpacked.json")
    assert found == {kind: server.files[kind], **SURVEY}
    assert f"next: python -m rbkeras.convert {out} " in capsys.readouterr().out

    (out / "params0.csv").write_bytes(b"mine\n")
    assert fetch() == 0
    assert (out / "params0.csv").read_bytes() == b"mine\n"
    (out / "images0.npy").unlink()
    (out / "params0.csv").unlink()
    assert fetch() == 0
    assert everything_in(out).items() >= SURVEY.items()
    assert len(server.log) == 1


def test_several_archives_keep_their_folders(fetch, server, tmp_path, capsys):
    server.files = {
        "a.zip": make_zip({f"train/{name}": content for name, content in SURVEY.items()}),
        "b.zip": make_zip({"test/images0.npy": b"other"}),
    }
    assert fetch() == 0
    assert (tmp_path / "out/train/images0.npy").read_bytes() == CONTENT
    assert (tmp_path / "out/test/images0.npy").read_bytes() == b"other"
    assert str(tmp_path / "out/train") in capsys.readouterr().out


@pytest.mark.parametrize(
    "archive",
    [
        ("set.zip", make_zip({"../images0.npy": b"x"})),
        ("set.zip", make_zip({})),
        ("set.zip", make_zip(SURVEY)[:-50]),
        ("set.tar.gz", make_tar({"../images0.npy": b"x"})),
        ("set.tar.gz", make_tar({"images0.npy": b"x", "link": "/etc/passwd"})),
        ("set.tar.gz", make_tar({"a/images0.npy": b"x", "a/link": "../b"})),
        ("set.tar.gz", make_tar(SURVEY)[:-50]),
        ("set.tar", b"no archive"),
    ],
    ids=lambda archive: archive[0],
)
def test_unsound_archives(fetch, server, tmp_path, capsys, archive):
    name, content = archive
    server.files = {name: content}
    assert fetch() == 2
    assert name in only_error_line(capsys)
    assert everything_in(tmp_path).keys() == {f"out/{name}", "registry.txt"}


def test_unpacking_overwrites_nothing_else(fetch, server, tmp_path, capsys):
    server.files = {"set.zip": make_zip(SURVEY)}
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "images0.npy").write_bytes(b"mine")
    assert fetch() == 2
    assert "images0.npy" in only_error_line(capsys)
    assert (tmp_path / "out" / "images0.npy").read_bytes() == b"mine"
