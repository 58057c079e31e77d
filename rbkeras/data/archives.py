"""Unpacking that writes nothing outside its folder, over other files, or from broken archives."""

import filecmp
import lzma
import os
import shutil
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

from rbkeras.data.published import RemoteFile, check_name
from rbkeras.data.transfer import make_folder
from rbkeras.errors import InputError
from rbkeras.files import read_json, write_json

_ENDINGS = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
_STAGING = ".unpack."
# RuntimeError is zipfile's word for passwords and unknown compression.
_FAULTS = (
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    RuntimeError,
)


def unpack_archives(files: Sequence[RemoteFile], *, out: Path) -> None:
    """Unpack those of the files that are archives, unless all that they held is there already.

    A single archive loses the folders that all its files share; several keep theirs.

    Parameters
    ----------
    files
        What was fetched into `out`.
    out
        Where the archives are and their files go.
    """
    archives = [file for file in files if file.name.lower().endswith(_ENDINGS)]
    for file in archives:
        archive = out / file.name
        note = archive.with_name(f".{archive.name}.unpacked.json")
        if note.exists():
            done = read_json(note)
            done = done if isinstance(done, dict) else {}
            names = done.get("files")
            there = isinstance(names, list) and all((out / str(name)).exists() for name in names)
            if there and done.get("digest") == file.digest:
                continue
        names = unpack(archive, out=out, strip=len(archives) == 1)
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
    for abandoned in out.glob(f"{_STAGING}*"):
        shutil.rmtree(abandoned)  # what a killed one could not tidy up
    with tempfile.TemporaryDirectory(dir=out, prefix=_STAGING) as folder:
        staging = Path(folder)
        _extract(archive, staging)
        files = _files_in(staging, archive=archive)
        top = Path(os.path.commonpath([path.parent for path in files])) if strip else staging
        names = [path.relative_to(top).as_posix() for path in files]
        for path, name in zip(files, names, strict=True):
            target = out / name
            if target.exists() and not filecmp.cmp(path, target, shallow=False):
                raise InputError(
                    f"{target}: expected no file or the one in {archive}, found a different one"
                )
        for path, name in zip(files, names, strict=True):
            make_folder((out / name).parent)
            os.replace(path, out / name)
    return names


def _extract(archive: Path, folder: Path) -> None:
    try:
        if archive.name.lower().endswith(".zip"):
            with zipfile.ZipFile(archive) as content:
                for name in content.namelist():
                    check_name(name, source=str(archive))
                content.extractall(folder)
        else:
            with tarfile.open(archive) as content:
                # The filter alone has let chains of links out of the folder (CVE-2025-4517).
                for member in content:
                    check_name(member.name, source=str(archive))
                    if not (member.isreg() or member.isdir()):
                        raise _not_a_file(archive, member.name)
                content.extractall(folder, filter="data")
    except _FAULTS as error:
        found = " ".join(str(error).split())
        raise InputError(f"{archive}: expected a sound archive, got {found}") from None
    except OSError as error:
        if error.errno is None:  # gzip's way to say that a checksum is wrong
            raise InputError(f"{archive}: expected a sound archive, got {error}") from None
        raise OSError(error.errno, error.strerror, str(archive.parent)) from None


def _not_a_file(archive: Path, name: object) -> InputError:
    return InputError(f"{archive}: expected files and folders only, got the link {name}")


def _files_in(staging: Path, *, archive: Path) -> list[Path]:
    """List what was unpacked, without what desktop systems slip into archives."""
    files = []
    for path in sorted(staging.rglob("*")):
        inside = path.relative_to(staging)
        if path.is_symlink():
            # Moved elsewhere, a link that was harmless may point out of the folder.
            raise _not_a_file(archive, inside)
        clutter = any(part.startswith(".") or part == "__MACOSX" for part in inside.parts)
        if path.is_file() and not clutter:
            files.append(path)
    if not files:
        raise InputError(f"{archive}: expected files in it, found none")
    return files
