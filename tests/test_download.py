import functools
import hashlib
import http.server
import importlib.util
import threading
import zipfile
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[1] / "data" / "download.py"
CONTENT = bytes(range(256)) * 4000


@pytest.fixture
def script():
    spec = importlib.util.spec_from_file_location("download", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@pytest.fixture
def mirror(tmp_path, monkeypatch):
    """Serve files; gives the options that name the server and the list of its files."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    folder = tmp_path / "mirror"
    handler = functools.partial(QuietHandler, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()

        def options(files):
            lines = []
            for name, content in files.items():
                path = folder / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
                lines.append(f"'{name}' sha256:{hashlib.sha256(content).hexdigest()}")
            registry = tmp_path / "registry.txt"
            registry.write_text("\n".join(lines))
            url = f"http://127.0.0.1:{server.server_address[1]}"
            return ["--base-url", url, "--registry", str(registry)]

        yield options
        server.shutdown()
        thread.join()


def test_files_arrive_and_are_not_fetched_twice(script, mirror, tmp_path, capsys):
    out = tmp_path / "out"
    options = mirror({"images0.npy": CONTENT, "sub/params 0.csv": b"object_type\n"})
    for word in ("fetched", "already there"):
        assert script.main(["--out", str(out), *options]) == 0
        assert (out / "images0.npy").read_bytes() == CONTENT
        assert (out / "sub" / "params 0.csv").read_bytes() == b"object_type\n"
        printed = capsys.readouterr().out
        assert printed.count(f"{word}: ") == 2
        assert f"next: python -m rbkeras.convert {out} " in printed


def test_archive_is_unpacked_and_its_folder_named(script, mirror, tmp_path, capsys):
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        archive.writestr("some/folder/images0.npy", CONTENT)
    out = tmp_path / "out"
    options = mirror({"set.zip": (tmp_path / "set.zip").read_bytes()})
    assert script.main(["--out", str(out), *options]) == 0
    assert (out / "images0.npy").read_bytes() == CONTENT
    assert f"next: python -m rbkeras.convert {out} " in capsys.readouterr().out


def test_default_folders_are_named_as_the_readme_does(
    script, mirror, monkeypatch, tmp_path, capsys
):
    monkeypatch.setattr(script, "OUT", tmp_path / "data" / "raw" / "real_bogus1")
    monkeypatch.chdir(tmp_path)
    assert script.main(mirror({"images0.npy": CONTENT})) == 0
    command = "python -m rbkeras.convert data/raw/real_bogus1 data/processed/real_bogus1"
    assert f"next: {command}\n" in capsys.readouterr().out
    assert command in SCRIPT.with_name("README.md").read_text()


def test_list_of_a_mirror(script, mirror, tmp_path, capsys):
    options = mirror({"a.npy": CONTENT, "b.csv": b"12"})
    assert script.main(["--out", str(tmp_path / "out"), "--list", *options]) == 0
    assert capsys.readouterr().out.split("\n") == [
        "    1.0 MB  a.npy",
        "       2 B  b.csv",
        "    1.0 MB  in 2 files",
        "",
    ]
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("option", [[], ["--list"]])
def test_no_network(script, monkeypatch, tmp_path, fails_with, option):
    # A proxy that is not there cuts this process off, whatever the machine can reach.
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    message = fails_with(script.main, ["--out", tmp_path / "out", *option])
    assert script.DOI in message
    assert "network" in message
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (["--base-url", "http://127.0.0.1:1"], "--registry"),
        (["--base-url", "ftp://x", "--registry", "f"], "ftp://x"),
        (["--base-url", "http://127.0.0.1:1", "--registry", "missing.txt"], "missing.txt"),
        (["--retries", "-5"], "--retries: expected a number of at least 0, got -5"),
        (["--doi", "zenodo"], "'zenodo'"),
    ],
)
def test_usage_errors(script, fails_with, options, word):
    assert word in fails_with(script.main, options)


def test_help_has_examples(script, capsys):
    with pytest.raises(SystemExit, match="0"):
        script.main(["--help"])
    assert "python data/download.py --list" in capsys.readouterr().out
