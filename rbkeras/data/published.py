"""What files a DOI or a copy on a plain HTTP server holds."""

import dataclasses
import hashlib
import re
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote

import pooch
import requests
from pooch.downloaders import REQUESTS_HEADERS, doi_to_repository

from rbkeras.errors import InputError

TIMEOUTS = (10.0, 60.0)  # seconds to connect, seconds of silence while receiving
# Compression under way would make lengths and ranges mean something else.
FILE_HEADERS = {**REQUESTS_HEADERS, "Accept-Encoding": "identity"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class RemoteFile:
    """One file to fetch.

    Parameters
    ----------
    name
        Its path below the output folder, with forward slashes.
    url
        Where it is.
    algorithm, digest
        Its checksum: a name that `hashlib` knows, and lower-case hexadecimal.
    size
        Bytes; None where the source does not say.
    """

    name: str
    url: str
    algorithm: str
    digest: str
    size: int | None = None


def files_of_doi(doi: str) -> list[RemoteFile]:
    """Ask the repository behind a DOI for its files, their checksums and their sizes.

    Parameters
    ----------
    doi
        `10.xxxx/...`, with or without `doi:` or a resolver's address before it.
    """
    found = re.search(r"10\.\d{4,9}/\S+$", doi)
    if not found:
        raise InputError(f"--doi: expected 10.NNNN/NAME, got {doi!r}")
    source = f"doi:{found[0]}"
    listing = pooch.create(path=".", base_url=f"{source}/")
    try:
        # Pooch.load_registry_from_doi does the same, but forgets the repository, and the DOI
        # would have to be resolved again for every file.
        repository = doi_to_repository(found[0], headers=REQUESTS_HEADERS, timeout=TIMEOUTS)
        repository.populate_registry(listing)
        urls = {name: repository.download_url(name) for name in listing.registry}
        sizes = _published_sizes(repository.api_response)
    except requests.HTTPError as error:
        response = error.response
        what = "no answer" if response is None else f"HTTP {response.status_code} {response.reason}"
        raise InputError(f"{source}: expected the DOI to lead to a record, got {what}") from None
    except requests.RequestException as error:
        raise InputError(
            f"{source}: expected an answer over the network, got {reason(error)}"
        ) from None
    except (ValueError, LookupError, TypeError) as error:
        raise InputError(
            f"{source}: expected a record that lists files and checksums, got an answer without "
            f"them ({type(error).__name__}: {error})"
        ) from None
    return _remote_files(listing.registry, urls=urls, sizes=sizes, source=source)


def files_of_mirror(base_url: str, registry: Path) -> list[RemoteFile]:
    """Read a pooch registry file: a line per file with its name, its checksum, perhaps its URL.

    Parameters
    ----------
    base_url
        The folder on the server that the names are relative to.
    registry
        The file.
    """
    if not base_url.startswith(("http://", "https://")):
        raise InputError(f"--base-url: expected http:// or https://, got {base_url!r}")
    base_url = base_url.rstrip("/") + "/"
    listing = pooch.create(path=".", base_url=base_url)
    try:
        listing.load_registry(registry)
    except (OSError, ValueError) as error:
        found = getattr(error, "strerror", None) or error
        raise InputError(f"{registry}: expected lines 'NAME sha256:HEX', got {found}") from None
    urls = {name: listing.urls.get(name, base_url + quote(name)) for name in listing.registry}
    return _remote_files(listing.registry, urls=urls, sizes={}, source=str(registry))


def size_by_asking(file: RemoteFile) -> int | None:
    """Say how many bytes a file has, as far as its source or its server tells."""
    if file.size is not None:
        return file.size
    try:
        response = requests.head(
            file.url, headers=FILE_HEADERS, timeout=TIMEOUTS, allow_redirects=True
        )
    except requests.RequestException as error:
        raise InputError(f"{file.url}: expected an answer, got {reason(error)}") from None
    if not response.ok:
        raise InputError(
            f"{file.url}: expected the file, got HTTP {response.status_code} {response.reason}"
        )
    return int(response.headers["Content-Length"]) if "Content-Length" in response.headers else None


def check_name(name: str, *, source: str) -> None:
    """Refuse names that would be written outside the output folder."""
    path = PurePosixPath(name)
    if (
        not path.parts
        or path.is_absolute()
        or ".." in path.parts
        or re.search(r"\\|\0|^[A-Za-z]:", name)
    ):
        raise InputError(f"{source}: expected names below the output folder, got {name!r}")


def reason(error: BaseException) -> str:
    """Dig out what the operating system said from under the layers that wrapped it."""
    while inner := error.__cause__ or error.__context__:
        error = inner
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def _published_sizes(answer: Any) -> dict[str, int]:
    """Sizes by name, which pooch leaves aside; both forms of Zenodo's answer are known."""
    if not isinstance(answer, dict):
        return {}
    sizes = {
        entry.get("key", entry.get("filename")): entry.get("size", entry.get("filesize"))
        for entry in answer["files"]
    }
    return {name: int(size) for name, size in sizes.items() if size is not None}


def _remote_files(
    registry: dict[str, str], *, urls: dict[str, str], sizes: dict[str, int], source: str
) -> list[RemoteFile]:
    if not registry:
        raise InputError(f"{source}: expected at least one file, found none")
    files = []
    for name, checksum in registry.items():
        check_name(name, source=source)
        algorithm, digest = _split_checksum(checksum, source=f"{source}: {name}")
        file = RemoteFile(
            name=name, url=urls[name], algorithm=algorithm, digest=digest, size=sizes.get(name)
        )
        files.append(file)
    return files


def _split_checksum(text: str, *, source: str) -> tuple[str, str]:
    algorithm, colon, digest = text.lower().rpartition(":")
    algorithm = algorithm if colon else "sha256"
    known = algorithm in hashlib.algorithms_available
    # Digests without a fixed length (shake) are of no use here and have size 0.
    length = 2 * hashlib.new(algorithm, usedforsecurity=False).digest_size if known else 0
    if not length or not re.fullmatch(rf"[0-9a-f]{{{length}}}", digest):
        raise InputError(f"{source}: expected a checksum 'sha256:HEX' or 'md5:HEX', got {text!r}")
    return algorithm, digest
