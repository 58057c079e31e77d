import hashlib
import io
import tarfile
import zipfile

import pytest

from rbkeras.data.archives import unpack_archives
from rbkeras.data.published import RemoteFile
from rbkeras.errors import InputError


def make_zip(members):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return stream.getvalue()


def make_tar(members):
    """Make a tar file; members whose content is a string are links there."""
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


SURVEY = {"images0.npy": bytes(range(256)) * 4000, "params0.csv": b"object_type\n"}
KINDS = {"set.zip": make_zip, "set.tar.gz": make_tar}


@pytest.fixture
def out(tmp_path):
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


@pytest.fixture
def unpack(out):
    """Unpack archives as if they had just been fetched."""

    def run(archives):
        files = []
        for name, content in archives.items():
            (out / name).write_bytes(content)
            digest = hashlib.sha256(content).hexdigest()
            files.append(RemoteFile(name=name, url="", algorithm="sha256", digest=digest))
        unpack_archives(files, out=out)

    return run


def everything_in(folder):
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


@pytest.mark.parametrize("kind", KINDS)
def test_archives_are_unpacked_once(unpack, out, capsys, kind):
    members = {f"some/folder/{name}": content for name, content in SURVEY.items()}
    members["__MACOSX/._images0.npy"] = b"clutter"
    archives = {kind: KINDS[kind](members)}
    unpack(archives)
    found = everything_in(out)
    assert found.pop(f".{kind}.unpacked.json")
    assert found == archives | SURVEY
    assert capsys.readouterr().out == f"unpacked: {kind}, 2 files\n"

    (out / "params0.csv").write_bytes(b"mine\n")
    unpack(archives)
    assert (out / "params0.csv").read_bytes() == b"mine\n"
    (out / "images0.npy").unlink()
    (out / "params0.csv").unlink()
    unpack(archives)
    assert everything_in(out).items() >= SURVEY.items()


def test_what_a_killed_unpacking_has_left_goes(unpack, out):
    abandoned = out / ".unpack.x1y2"
    (abandoned / "rb").mkdir(parents=True)
    (abandoned / "rb" / "images0.npy").write_bytes(b"half")
    unpack({"set.zip": make_zip(SURVEY)})
    assert not abandoned.exists()
    assert (out / "images0.npy").read_bytes() == SURVEY["images0.npy"]


def test_new_archive_is_unpacked(unpack, out):
    unpack({"set.zip": make_zip({"images0.npy": b"x"})})
    unpack({"set.zip": make_zip({"images0.npy": b"x", "images1.npy": b"y"})})
    assert (out / "images1.npy").read_bytes() == b"y"


def test_several_archives_keep_their_folders(unpack, out):
    unpack(
        {
            "a.zip": make_zip({f"train/{name}": content for name, content in SURVEY.items()}),
            "b.zip": make_zip({"test/images0.npy": b"other"}),
            "c.npy": b"no archive",
        }
    )
    assert everything_in(out / "train") == SURVEY
    assert everything_in(out / "test") == {"images0.npy": b"other"}


@pytest.mark.parametrize(
    ("name", "content"),
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
    ids=[
        "zip-outside",
        "zip-empty",
        "zip-cut",
        "tar-outside",
        "tar-link-outside",
        "tar-link-inside",
        "tar-cut",
        "tar-none",
    ],
)
def test_unsound_archives(unpack, tmp_path, name, content):
    with pytest.raises(InputError, match=name) as caught:
        unpack({name: content})
    assert "\n" not in str(caught.value)
    assert everything_in(tmp_path) == {f"out/{name}": content}


def test_unpacking_overwrites_nothing_else(unpack, out):
    (out / "images0.npy").write_bytes(b"mine")
    with pytest.raises(InputError, match=r"images0\.npy: expected no file"):
        unpack({"set.zip": make_zip(SURVEY)})
    assert (out / "images0.npy").read_bytes() == b"mine"
    assert not (out / "params0.csv").exists()


def test_links_are_refused_before_anything_is_unpacked(unpack, monkeypatch):
    monkeypatch.setattr(tarfile.TarFile, "extractall", lambda *_, **__: pytest.fail("unpacked"))
    with pytest.raises(InputError, match="got the link b"):
        unpack({"set.tar.gz": make_tar({"images0.npy": b"x", "b": "images0.npy"})})
