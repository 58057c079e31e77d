import json

import pytest
import requests
from pooch import downloaders

from rbkeras.data.published import RemoteFile, files_of_doi, files_of_mirror, size_by_asking
from rbkeras.errors import InputError

DOI = "10.5281/zenodo.6691804"
MD5, SHA256 = "0123456789abcdef" * 2, "0123456789abcdef" * 4


@pytest.fixture
def mirror(tmp_path):
    """List the files of a registry with this content."""

    def run(content):
        (tmp_path / "registry.txt").write_text(content)
        return files_of_mirror("http://mirror.example/rb", tmp_path / "registry.txt")

    return run


def test_mirror(mirror):
    lines = ["# a comment", f"a.npy md5:{MD5.upper()}", f"'sub/b 0.csv' {SHA256}"]
    url = "http://mirror.example/rb"
    assert mirror("\n".join(lines)) == [
        RemoteFile(name="a.npy", url=f"{url}/a.npy", algorithm="md5", digest=MD5),
        RemoteFile(
            name="sub/b 0.csv", url=f"{url}/sub/b%200.csv", algorithm="sha256", digest=SHA256
        ),
    ]


@pytest.mark.parametrize(
    "name", ["../a.npy", "/tmp/a.npy", "sub/../../a.npy", "'..\\a.npy'", "C:/a.npy", "."]
)
def test_names_outside_the_folder_are_refused(mirror, name):
    with pytest.raises(InputError, match="below the output folder"):
        mirror(f"good.npy {SHA256}\n{name} {SHA256}")


@pytest.mark.parametrize(
    "content",
    ["a.npy", "a.npy 12", "a.npy sha257:00", "a.npy shake_128:", "a.npy '", "", "# only"],
)
def test_broken_registries(mirror, content):
    with pytest.raises(InputError, match=r"registry\.txt") as caught:
        mirror(content)
    assert "\n" not in str(caught.value)


@pytest.fixture
def record(monkeypatch):
    """Publish a record behind the DOI: call it with the API's answer, get the addresses asked."""
    address = "https://zenodo.org/records/6691804"
    monkeypatch.setattr(downloaders, "doi_to_url", lambda doi, **kwargs: address)

    def publish(answer):
        asked = []

        def get(url, **kwargs):
            asked.append(url)
            response = requests.Response()
            response.status_code, response._content = 200, json.dumps(answer).encode()
            return response

        monkeypatch.setattr(requests, "get", get)
        return asked

    return publish


# What Zenodo answered before and after its move to new software.
ENTRIES = {
    "legacy": {"key": "images3.npy", "size": 9, "checksum": f"md5:{MD5}"},
    "new": {"filename": "images3.npy", "filesize": 9, "checksum": MD5},
}


@pytest.mark.parametrize("form", ENTRIES)
@pytest.mark.parametrize("before", ["", "doi:", "https://doi.org/"])
def test_doi(record, form, before):
    url = "https://files.example/images3.npy"
    asked = record({"id": 6691804, "files": [{**ENTRIES[form], "links": {"self": url}}]})
    (file,) = files_of_doi(before + DOI)
    assert (file.name, file.algorithm, file.digest, file.size) == ("images3.npy", "md5", MD5, 9)
    addresses = {
        "legacy": url,
        "new": "https://zenodo.org/records/6691804/files/images3.npy?download=1",
    }
    assert file.url == addresses[form]
    # The size was published, and the record is asked for once.
    assert size_by_asking(file) == 9
    assert len(asked) == 1


@pytest.mark.parametrize(
    "answer", [{"status": 404, "message": "gone"}, {"files": []}, {"files": [{"key": "a"}]}, []]
)
def test_doi_without_files(record, answer):
    record(answer)
    with pytest.raises(InputError, match=f"doi:{DOI}") as caught:
        files_of_doi(DOI)
    assert "\n" not in str(caught.value)


def test_what_is_no_doi():
    with pytest.raises(InputError, match="'zenodo'"):
        files_of_doi("zenodo")
