"""What an earlier conversion has left in a records directory, and what may become of it."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from rbkeras.data.detectors import Detector
from rbkeras.data.manifest import MANIFEST, read_manifest
from rbkeras.errors import InputError


def finished_detectors(out: Path, manifest: dict, *, overwrite: bool) -> dict[int, dict]:
    """Return the entries of whole files that an earlier run left in `out`."""
    if out.exists() and not out.is_dir():
        raise InputError(f"{out}: expected a directory to write records to, found a file")
    if overwrite or not out.exists() or not any(out.iterdir()):
        # What is to be replaced may be damaged where its size does not tell.
        return {}
    names = [path for path in out.iterdir() if path.name.startswith("data")]
    if not (out / MANIFEST).exists():
        if not names:
            return {}
        raise InputError(
            f"{out}: expected an empty directory or one that rbkeras.convert wrote, found "
            f"{names[0].name} without {MANIFEST}; choose another or pass --overwrite"
        )
    earlier = read_manifest(out)
    same = all(
        earlier.get(key) == manifest[key]
        for key in ("format_version", "stamp_shape", "compression", "labels")
    )
    if not same:
        raise InputError(
            f"{out}: expected records of these stamps and labels, found {MANIFEST} of other "
            "ones; choose another directory or pass --overwrite"
        )
    return {
        entry["detector_id"]: entry
        for entry in earlier["detectors"]
        if (out / entry["file"]).exists() and (out / entry["file"]).stat().st_size == entry["bytes"]
    }


def require_in_common(
    source: str | Path, checksums: Sequence[dict[str, str]], out: Path, done: Mapping[int, dict]
) -> None:
    """Refuse to replace records that have nothing in common with what lies elsewhere."""
    if not any(new.items() <= old.items() for new in checksums for old in done.values()):
        raise InputError(
            f"{out}: expected records of {source}, found those of another survey; choose another "
            "directory or pass --overwrite"
        )


def require_no_loss(detectors: Sequence[Detector], out: Path, done: Mapping[int, dict]) -> None:
    """Refuse to drop stamps that the records have, as where a folder holds next month's alone."""
    sizes = {detector.detector_id: len(detector.stamps) for detector in detectors}
    for number, entry in done.items():
        if sizes.get(number, 0) < entry["size"]:
            raise InputError(
                f"{out}: expected at least the {entry['size']} stamps of detector {number} that "
                f"the records have, found {sizes.get(number, 0)}; records hold all that one call "
                "of convert is given: name earlier data too, or pass --overwrite to drop them"
            )
