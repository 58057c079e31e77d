"""Transfers that continue where they were cut, and files that are checked before they count."""

import os
import time
from collections.abc import Sequence
from pathlib import Path

import pooch
import requests
from tqdm import tqdm

from rbkeras.data.published import FILE_HEADERS, TIMEOUTS, RemoteFile, reason
from rbkeras.errors import InputError
from rbkeras.files import named_in_errors

# A published record does not change its mind about these: they are worth asking again.
_PASSING_STATUSES = (429, 500, 502, 503, 504)
_LONGEST_PAUSE = 60.0
_CHUNK = 1 << 16  # bytes; a chunk that the connection's end cuts is lost


def download(files: Sequence[RemoteFile], *, out: Path, retries: int = 5) -> None:
    """Fetch what is missing or different, and check it.

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
        make_folder(target.parent)
        label = f"{file.name} ({number}/{len(files)})"
        if target.is_dir():
            raise InputError(f"{target}: expected a file or nothing, found a folder")
        if target.exists() and pooch.file_hash(target, alg=file.algorithm) == file.digest:
            print(f"already there: {label}", flush=True)
        else:
            fetcher.fetch(file, target=target, label=label)
            print(f"fetched: {label}, {human_size(target.stat().st_size)}", flush=True)


class _DroppedError(Exception):
    """The transfer broke off and may be tried again, after `pause` seconds if that is given."""

    def __init__(self, what: str, *, pause: float | None = None) -> None:
        super().__init__(what)
        self.pause = pause


class Fetcher:
    """Fetches files through `.part` files, so that a broken transfer can be continued.

    pooch's own downloaders write to a temporary file that they delete on failure, and so have
    nothing to continue from.

    Parameters
    ----------
    retries
        How often in a row to try again when a connection brings nothing new.
    """

    def __init__(self, *, retries: int = 5) -> None:
        self._session = requests.Session()
        self._session.headers.update(FILE_HEADERS)
        self._retries = retries
        # A server that never answered is no dropped connection: most likely there is no network,
        # and the user should hear it at once.
        self._reached = False

    def fetch(self, file: RemoteFile, *, target: Path, label: str) -> None:
        """Fetch one file; it gets its name once its checksum is right.

        Parameters
        ----------
        file
            What to fetch.
        target
            Its final name; the folder exists.
        label
            What the progress bar calls it.
        """
        # The digest in the name keeps pieces of different versions of a file apart.
        part = target.with_name(f".{target.name}.{file.digest[:12]}.part")
        with tqdm(
            desc=label,
            total=file.size,
            unit="B",
            unit_scale=True,
            leave=False,
            disable=None,  # no bar where stderr is no terminal
        ) as bar:
            self._transfer(file.url, part=part, bar=bar)
        found = pooch.file_hash(part, alg=file.algorithm)
        if found != file.digest:
            part.unlink()
            raise InputError(
                f"{target}: expected {file.algorithm} {file.digest} from {file.url}, got {found}; "
                "the bad file was deleted"
            )
        os.replace(part, target)

    def _transfer(self, url: str, *, part: Path, bar: tqdm) -> None:
        failures, furthest = 0, _length(part)
        while True:
            try:
                return self._receive(url, part=part, bar=bar)
            except _DroppedError as error:
                # Only ground never covered before counts, or a server that ignores Range and
                # always stops half-way would keep us here for ever.
                have = _length(part)
                failures = 1 if have > furthest else failures + 1
                furthest = max(furthest, have)
                if not self._reached or failures > self._retries:
                    raise InputError(
                        f"{url}: expected the file, got {error} with {human_size(have)} "
                        "received; the same command continues from there"
                    ) from None
                pause = 2.0 ** (failures - 1) if error.pause is None else error.pause
                bar.set_postfix_str("waiting to try again")
                time.sleep(min(pause, _LONGEST_PAUSE))

    def _receive(self, url: str, *, part: Path, bar: tqdm) -> None:
        """Add to `part` what one connection brings."""
        have = _length(part)
        headers = {"Range": f"bytes={have}-"} if have else {}
        try:
            with self._session.get(url, headers=headers, stream=True, timeout=TIMEOUTS) as response:
                self._reached = True
                if have and response.status_code == 416:
                    return  # nothing after `have`: it was complete, and the checksum will tell
                start = _first_byte(response, url=url, have=have)
                _write(response, part=part, start=start, bar=bar)
        except (requests.ConnectionError, requests.Timeout) as error:
            raise _DroppedError(reason(error)) from None
        except requests.exceptions.ChunkedEncodingError as error:
            raise _DroppedError(f"a broken connection ({reason(error)})") from None
        except requests.RequestException as error:
            raise InputError(f"{url}: expected a file over HTTP, got {reason(error)}") from None


def _first_byte(response: requests.Response, *, url: str, have: int) -> int:
    """Say where the answer starts: after the first `have` bytes, or at 0 if Range is ignored."""
    status = f"HTTP {response.status_code} {response.reason}"
    if response.status_code in _PASSING_STATUSES:
        wish = response.headers.get("Retry-After", "")
        raise _DroppedError(status, pause=float(wish) if wish.isdecimal() else None)
    if response.status_code == 200:
        return 0
    if response.status_code != 206:
        raise InputError(f"{url}: expected the file, got {status}")
    found = response.headers.get("Content-Range", "")
    if not found.startswith(f"bytes {have}-"):
        raise InputError(f"{response.url}: expected bytes from {have} on, got {found!r}")
    return have


def _write(response: requests.Response, *, part: Path, start: int, bar: tqdm) -> None:
    announced = response.headers.get("Content-Length")
    if "Content-Encoding" in response.headers:
        announced = None  # the length of what is packed
    expected = None if announced is None else start + int(announced)
    bar.reset(expected)
    bar.update(start)
    with named_in_errors(part), part.open("ab" if start else "wb") as stream:
        for chunk in response.iter_content(_CHUNK):
            stream.write(chunk)
            stream.flush()
            bar.update(len(chunk))
    # Older versions of urllib3 take an early end for the end.
    if expected is not None and _length(part) < expected:
        raise _DroppedError("a connection that ended early")


def _length(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def make_folder(path: Path) -> None:
    """Make a folder and those above it; a file in the way is the user's to move."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise InputError(f"{path}: expected a folder, found a file in its place") from None


def human_size(size: float | None) -> str:
    """Write a number of bytes as people read it, an unknown one as a question mark."""
    if size is None:
        return "?"
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"
