"""Fetch the survey's published training set, or a copy of it on a plain HTTP server."""

import argparse
import dataclasses
import filecmp
import hashlib
import inspect
import os
import re
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote

from rbkeras.cli import run_command
from rbkeras.errors import InputError

DOI = "10.5281/zenodo.6691804"
OUT = Path(__file__).resolve().parent / "raw" / "real_bogus1"

# A published record does not change its mind about these: they are worth asking again.
_PASSING_STATUSES = (429, 500, 502, 503, 504)
_TIMEOUTS = (10.0, 60.0)  # seconds to connect, seconds of silence while receiving
_LONGEST_PAUSE = 60.0
_CHUNK = 1 << 16  # bytes; a chunk that the connection's end cuts is lost
_TAR_ENDINGS = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")

_EXAMPLES = """\
examples:
  python data/download.py                  the published set, into data/raw/real_bogus1
  python data/download.py --list           only show what there is and how large it is
  python data/download.py --out /disk/rb   somewhere else
  python data/download.py --base-url http://mirror.example/rb/ --registry files.txt
                                           a copy; files.txt has lines 'NAME sha256:HEX'
                                           or 'NAME md5:HEX'

The same command, run again, fetches only what is missing and continues a file from where it
stopped.
"""


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


def build_parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(
        prog="python data/download.py",
        description=__doc__,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--out", type=Path, default=OUT, help=f"folder to fill (default: {_shown(OUT)})"
    )
    parser.add_argument("--doi", default=DOI, help="DOI of the record (default: %(default)s)")
    parser.add_argument("--list", action="store_true", help="only show names and sizes")
    parser.add_argument("--base-url", metavar="URL", help="fetch from here instead of the DOI")
    parser.add_argument(
        "--registry", type=Path, metavar="FILE", help="names and checksums of what --base-url holds"
    )
    parser.add_argument(
        "--retries",
        type=int,
        default=5,
        metavar="N",
        help="how often to try again when a connection brings nothing new (default: %(default)s)",
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    args = build_parser().parse_args(argv)
    return run_command(lambda: _run(args))


def _run(args: argparse.Namespace) -> None:
    if (args.base_url is None) != (args.registry is None):
        raise InputError("--base-url and --registry: expected both or neither, got one of them")
    if args.base_url is None:
        files = files_of_doi(args.doi)
    else:
        files = files_of_mirror(args.base_url, args.registry)
    if args.list:
        _show(files)
    else:
        download(files, out=args.out, retries=args.retries)


# What there is to fetch.


def files_of_doi(doi: str) -> list[RemoteFile]:
    """Ask the repository behind a DOI for its files, their checksums and their sizes.

    Parameters
    ----------
    doi
        `10.xxxx/...`, with or without `doi:` or a resolver's address before it.
    """
    import pooch
    import requests
    from pooch.downloaders import REQUESTS_HEADERS, doi_to_repository

    found = re.search(r"10\.\d{4,9}/\S+$", doi)
    if not found:
        raise InputError(f"--doi: expected 10.NNNN/NAME, got {doi!r}")
    source = f"doi:{found[0]}"
    # Before pooch 1.9 this function set its own timeout and took nothing else.
    takes_options = "kwargs" in inspect.signature(doi_to_repository).parameters
    options = {"headers": REQUESTS_HEADERS, "timeout": _TIMEOUTS} if takes_options else {}
    listing = pooch.create(path=".", base_url=f"{source}/")
    try:
        # Pooch.load_registry_from_doi does the same, but forgets the repository, and the DOI
        # would have to be resolved again for every file.
        repository = doi_to_repository(found[0], **options)
        repository.populate_registry(listing)
        urls = {name: repository.download_url(name) for name in listing.registry}
        sizes = _published_sizes(repository)
    except requests.HTTPError as error:
        raise InputError(
            f"{source}: expected the DOI to lead to a record, got HTTP "
            f"{error.response.status_code} {error.response.reason}"
        ) from None
    except requests.RequestException as error:
        raise InputError(
            f"{source}: expected an answer over the network, got {_reason(error)}"
        ) from None
    except (ValueError, LookupError, TypeError) as error:
        raise InputError(
            f"{source}: expected a record that lists files and checksums, got an answer without "
            f"them ({type(error).__name__}: {error})"
        ) from None
    return _remote_files(listing.registry, urls=urls, sizes=sizes, source=source)


def files_of_mirror(base_url: str, registry: Path) -> list[RemoteFile]:
    """Read a pooch registry file: a line per file with its name, its checksum, perhaps its URL."""
    import pooch

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


def _published_sizes(repository: Any) -> dict[str, int]:
    """Sizes by name, which pooch leaves aside; both forms of the repository's answer are known."""
    answer = repository.api_response
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
        _check_name(name, source=source)
        algorithm, digest = _checksum(checksum, source=f"{source}: {name}")
        files.append(
            RemoteFile(
                name=name,
                url=urls[name],
                algorithm=algorithm,
                digest=digest,
                size=sizes.get(name),
            )
        )
    return files


def _check_name(name: str, *, source: str) -> None:
    """Refuse names that would be written outside the output folder."""
    path = PurePosixPath(name)
    if (
        not path.parts
        or path.is_absolute()
        or ".." in path.parts
        or re.search(r"\\|\0|^[A-Za-z]:", name)
    ):
        raise InputError(f"{source}: expected names below the output folder, got {name!r}")


def _checksum(text: str, *, source: str) -> tuple[str, str]:
    algorithm, colon, digest = text.lower().rpartition(":")
    algorithm = algorithm if colon else "sha256"
    known = algorithm in hashlib.algorithms_available
    # Digests without a fixed length (shake) are of no use here and have size 0.
    length = 2 * hashlib.new(algorithm, usedforsecurity=False).digest_size if known else 0
    if not length or not re.fullmatch(rf"[0-9a-f]{{{length}}}", digest):
        raise InputError(f"{source}: expected a checksum 'sha256:HEX' or 'md5:HEX', got {text!r}")
    return algorithm, digest


def _show(files: Sequence[RemoteFile]) -> None:
    sizes = [_size_by_asking(file) if file.size is None else file.size for file in files]
    for file, size in zip(files, sizes, strict=True):
        print(f"{_human(size):>10}  {file.name}")
    print(f"{_human(None if None in sizes else sum(sizes)):>10}  in {len(files)} files")


def _size_by_asking(file: RemoteFile) -> int | None:
    import requests

    try:
        response = requests.head(
            file.url, headers=_headers(), timeout=_TIMEOUTS, allow_redirects=True
        )
    except requests.RequestException as error:
        raise InputError(f"{file.url}: expected an answer, got {_reason(error)}") from None
    if not response.ok:
        raise InputError(
            f"{file.url}: expected the file, got HTTP {response.status_code} {response.reason}"
        )
    return int(response.headers["Content-Length"]) if "Content-Length" in response.headers else None


# Fetching.


def download(files: Sequence[RemoteFile], *, out: Path, retries: int = 5) -> None:
    """Fetch what is missing, check it, unpack archives, and say what to do next.

    Parameters
    ----------
    files
        From `files_of_doi` or `files_of_mirror`.
    out
        The folder to fill; made if need be.
    retries
        How often in a row to try again when a connection brings nothing new.
    """
    fetcher = Fetcher(retries=retries)
    for number, file in enumerate(files, start=1):
        target = out / file.name
        _make_folder(target.parent)
        label = f"{file.name} ({number}/{len(files)})"
        if target.is_dir():
            raise InputError(f"{target}: expected a file or nothing, found a folder")
        if target.exists() and _digest(target, file.algorithm) == file.digest:
            print(f"already there: {label}", flush=True)
        else:
            fetcher.fetch(file, target=target, label=label)
            print(f"fetched: {label}, {_human(target.stat().st_size)}", flush=True)
    archives = [file for file in files if _is_archive(file.name)]
    for file in archives:
        _unpack_once(file, out=out, strip=len(archives) == 1)
    _say_what_next(out)


class _DroppedError(Exception):
    """The transfer broke off and may be tried again, after `pause` seconds if that is given."""

    def __init__(self, reason: str, *, pause: float | None = None) -> None:
        super().__init__(reason)
        self.pause = pause


class Fetcher:
    """Fetches files through `.part` files, so that a broken transfer can be continued.

    pooch's own downloaders write to a temporary file that they delete on failure, and so have
    nothing to continue from.

    Parameters
    ----------
    retries
        How often in a row to try again when a connection brings nothing new.
    sleep
        Called with the seconds to wait between attempts.
    """

    def __init__(self, *, retries: int = 5, sleep: Callable[[float], None] | None = None) -> None:
        import requests

        self._session = requests.Session()
        self._session.headers.update(_headers())
        self._retries = retries
        self._sleep = sleep or time.sleep
        # A server that never answered is no dropped connection: most likely there is no network,
        # and the user should hear it at once.
        self._reached = False

    def fetch(self, file: RemoteFile, *, target: Path, label: str) -> None:
        """Fetch one file; it gets its name once its checksum is right."""
        # The digest in the name keeps pieces of different versions of a file apart.
        part = target.with_name(f".{target.name}.{file.digest[:12]}.part")
        with _progress_bar(label, total=file.size) as bar:
            self._transfer(file.url, part=part, bar=bar)
        found = _digest(part, file.algorithm)
        if found != file.digest:
            part.unlink()
            raise InputError(
                f"{target}: expected {file.algorithm} {file.digest} from {file.url}, got {found}; "
                "the bad file was deleted"
            )
        os.replace(part, target)

    def _transfer(self, url: str, *, part: Path, bar: Any) -> None:
        failures, furthest = 0, _length(part)
        while True:
            try:
                return self._receive(url, part=part, bar=bar)
            except _DroppedError as error:
                # Only ground never covered before counts, or a server that ignores Range and
                # always stops half-way would keep us here for ever.
                failures = 1 if _length(part) > furthest else failures + 1
                furthest = max(furthest, _length(part))
                if not self._reached or failures > self._retries:
                    raise InputError(
                        f"{url}: expected the file, got {error} with {_human(_length(part))} "
                        "received; the same command continues from there"
                    ) from None
                pause = 2.0 ** (failures - 1) if error.pause is None else error.pause
                bar.set_postfix_str("waiting to try again")
                self._sleep(min(pause, _LONGEST_PAUSE))

    def _receive(self, url: str, *, part: Path, bar: Any) -> None:
        """Add to `part` what one connection brings."""
        import requests

        have = _length(part)
        headers = {"Range": f"bytes={have}-"} if have else {}
        try:
            with self._session.get(
                url, headers=headers, stream=True, timeout=_TIMEOUTS
            ) as response:
                self._reached = True
                if have and response.status_code == 416:
                    return  # nothing after `have`: it was complete, and the checksum will tell
                _check_status(response, url=url)
                if not _continues(response, have=have):
                    have = 0
                _write(response, part=part, have=have, bar=bar)
        except (requests.ConnectionError, requests.Timeout) as error:
            raise _DroppedError(_reason(error)) from None
        except requests.exceptions.ChunkedEncodingError as error:
            raise _DroppedError(f"a broken connection ({_reason(error)})") from None
        except requests.RequestException as error:
            raise InputError(f"{url}: expected a file over HTTP, got {_reason(error)}") from None


def _check_status(response: Any, *, url: str) -> None:
    status = f"HTTP {response.status_code} {response.reason}"
    if response.status_code in _PASSING_STATUSES:
        wish = response.headers.get("Retry-After", "")
        raise _DroppedError(status, pause=float(wish) if wish.isdecimal() else None)
    if response.status_code not in (200, 206):
        raise InputError(f"{url}: expected the file, got {status}")


def _continues(response: Any, *, have: int) -> bool:
    """Say whether the answer starts after the first `have` bytes; servers may ignore Range."""
    if response.status_code == 200:
        return False
    found = response.headers.get("Content-Range", "")
    if not found.startswith(f"bytes {have}-"):
        raise InputError(f"{response.url}: expected bytes from {have} on, got {found!r}")
    return True


def _write(response: Any, *, part: Path, have: int, bar: Any) -> None:
    announced = response.headers.get("Content-Length")
    plain = announced is not None and "Content-Encoding" not in response.headers
    expected = have + int(announced) if plain else None
    bar.reset(expected)
    bar.update(have)
    with part.open("ab" if have else "wb") as stream:
        for chunk in response.iter_content(_CHUNK):
            try:
                stream.write(chunk)
                stream.flush()
            except OSError as error:
                # A full disk comes without a file name, and the message needs one.
                raise OSError(error.errno, error.strerror, str(part)) from None
            bar.update(len(chunk))
    # Older versions of urllib3 take an early end for the end.
    if expected is not None and _length(part) < expected:
        raise _DroppedError("a connection that ended early")


def _headers() -> dict[str, str]:
    from pooch.downloaders import REQUESTS_HEADERS

    # Compression under way would make lengths and ranges mean something else.
    return {**REQUESTS_HEADERS, "Accept-Encoding": "identity"}


def _progress_bar(label: str, *, total: int | None) -> Any:
    from tqdm import tqdm

    return tqdm(
        desc=label,
        total=total,
        unit="B",
        unit_scale=True,
        leave=False,
        disable=None,  # no bar where stderr is no terminal
    )


# Unpacking.


def _is_archive(name: str) -> bool:
    return name.lower().endswith((".zip", *_TAR_ENDINGS))


def _unpack_once(file: RemoteFile, *, out: Path, strip: bool) -> None:
    """Unpack an archive unless all that it held is there already."""
    from rbkeras.files import read_json, write_json

    archive = out / file.name
    note = archive.with_name(f".{archive.name}.unpacked.json")
    if note.exists():
        done = read_json(note)
        if done["digest"] == file.digest and all((out / name).exists() for name in done["files"]):
            return
    names = unpack(archive, out=out, strip=strip)
    write_json(note, {"digest": file.digest, "files": names})
    print(f"unpacked: {file.name}, {len(names)} files", flush=True)


def unpack(archive: Path, *, out: Path, strip: bool) -> list[str]:
    """Unpack a zip or tar file; its files appear in `out` when the whole archive proved sound.

    Parameters
    ----------
    archive
        The file.
    out
        Where its files go.
    strip
        Leave out the folders that all files of the archive share.

    Returns
    -------
    list of str
        The files' paths below `out`.
    """
    with tempfile.TemporaryDirectory(dir=out, prefix=".unpack.") as folder:
        staging = Path(folder)
        _extract(archive, staging)
        links = [path for path in staging.rglob("*") if path.is_symlink()]
        if links:
            # Moved elsewhere, a link that was harmless may point out of the folder.
            found = links[0].relative_to(staging)
            raise InputError(f"{archive}: expected files and folders only, got the link {found}")
        files = [path for path in sorted(staging.rglob("*")) if path.is_file()]
        files = [path for path in files if not _is_clutter(path.relative_to(staging))]
        if not files:
            raise InputError(f"{archive}: expected files in it, found none")
        top = Path(os.path.commonpath([path.parent for path in files])) if strip else staging
        names = [path.relative_to(top).as_posix() for path in files]
        for path, name in zip(files, names, strict=True):
            target = out / name
            if target.exists() and not filecmp.cmp(path, target, shallow=False):
                raise InputError(
                    f"{target}: expected no file or the one in {archive}, found a different one"
                )
        for path, name in zip(files, names, strict=True):
            _make_folder((out / name).parent)
            os.replace(path, out / name)
    return names


def _extract(archive: Path, folder: Path) -> None:
    import lzma
    import tarfile
    import zipfile
    import zlib

    # RuntimeError is zipfile's word for passwords and unknown compression.
    faults = (tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError)
    try:
        if archive.name.lower().endswith(".zip"):
            with zipfile.ZipFile(archive) as content:
                for name in content.namelist():
                    _check_name(name, source=str(archive))
                content.extractall(folder)
        else:
            with tarfile.open(archive) as content:
                content.extractall(folder, filter="data")
    except (*faults, RuntimeError) as error:
        found = " ".join(str(error).split())
        raise InputError(f"{archive}: expected a sound archive, got {found}") from None
    except OSError as error:
        if error.errno is None:  # gzip's way to say that a checksum is wrong
            raise InputError(f"{archive}: expected a sound archive, got {error}") from None
        raise OSError(error.errno, error.strerror, str(archive.parent)) from None


def _is_clutter(path: Path) -> bool:
    """Recognise what desktop systems slip into archives."""
    return any(part.startswith(".") or part == "__MACOSX" for part in path.parts)


# Small things.


def _say_what_next(out: Path) -> None:
    """Name the folders that `rbkeras.convert` takes, wherever the record put them."""
    for folder in sorted({path.parent for path in out.rglob("images*.npy")}):
        images, params = (len(list(folder.glob(p))) for p in ("images*.npy", "params*.csv"))
        print(f"{_shown(folder)}: {images} images*.npy, {params} params*.csv")
        in_place = folder.resolve().is_relative_to(OUT.parent)
        records = _shown(OUT.parents[1] / "processed" / folder.name) if in_place else "RECORDS"
        print(f"next: python -m rbkeras.convert {_shown(folder)} {records}")


def _shown(path: Path) -> str:
    """Shorten paths below the current folder."""
    path = path.resolve()
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def _make_folder(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise InputError(f"{path}: expected a folder, found a file in its place") from None


def _length(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _digest(path: Path, algorithm: str) -> str:
    import pooch

    return pooch.file_hash(str(path), alg=algorithm)


def _human(size: float | None) -> str:
    if size is None:
        return "?"
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def _reason(error: BaseException) -> str:
    """Dig out what the operating system said from under the layers that wrapped it."""
    while inner := error.__cause__ or error.__context__:
        error = inner
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


if __name__ == "__main__":
    sys.exit(main())
