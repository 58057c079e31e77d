"""The manifest of a records directory: what `rbkeras.convert` says of what it wrote."""

from pathlib import Path
from typing import Any

from rbkeras.data.labels import LABEL_NAMES
from rbkeras.errors import InputError
from rbkeras.files import read_json

FORMAT_VERSION = 1
MANIFEST = "manifest.json"
_MANIFEST_KEYS = {"stamp_shape", "compression", "detectors", "labels"}
_COUNTS = {"real", "bogus", "unlabelled", "stamps_with_missing_pixels"}
_DETECTOR_KEYS = _COUNTS | {
    "detector_id",
    "file",
    "bytes",
    "size",
    "start_index",
    "images_sha256",
    "params_sha256",
}


def read_manifest(directory: Path) -> dict:
    """Read and check the manifest's version and keys."""
    path = directory / MANIFEST
    manifest = read_json(path)
    version = manifest.get("format_version") if isinstance(manifest, dict) else None
    if version != FORMAT_VERSION:
        raise InputError(f"{path}: expected format_version {FORMAT_VERSION}, found {version}")
    _need_keys(path, manifest, _MANIFEST_KEYS)
    shape, detectors = manifest["stamp_shape"], manifest["detectors"]
    if not (isinstance(shape, list) and len(shape) == 3 and all(map(_is_count, shape))):
        raise InputError(f"{path}: expected stamp_shape [H, W, C], found {shape}")
    if manifest["compression"] not in ("", "GZIP"):
        found = manifest["compression"]
        raise InputError(f"{path}: expected compression '' or 'GZIP', found {found!r}")
    labels = manifest["labels"]
    values = labels.values() if isinstance(labels, dict) else [labels]
    if not all(isinstance(value, int) and value in LABEL_NAMES for value in values):
        raise InputError(f"{path}: expected labels {{name: 0, 1 or -1}}, found {labels!r:.80}")
    # A conversion that has only begun has none yet.
    if not isinstance(detectors, list) or (manifest.get("complete") and not detectors):
        raise InputError(f"{path}: expected a list of detectors, found {detectors!r}")
    for entry in detectors:
        _need_keys(path, entry, _DETECTOR_KEYS)
        file, start = entry["file"], entry["start_index"]
        named = isinstance(file, str) and Path(file).name == file != ""
        counted = _is_count(entry["size"]) and (start == 0 or _is_count(start))
        numbered = entry["detector_id"] == 0 or _is_count(entry["detector_id"], below=10**18)
        summed = all(isinstance(entry[name], str) for name in ("images_sha256", "params_sha256"))
        if not (named and counted and numbered and summed):
            raise InputError(
                f"{path}: expected file, size, start_index, detector_id and checksums of each "
                f"detector, found {entry!r:.300}"
            )
    numbers = [entry["detector_id"] for entry in detectors]
    if len(set(numbers)) < len(numbers):
        raise InputError(f"{path}: expected each detector once, found {numbers!r:.80}")
    return manifest


def _is_count(value: Any, *, below: int = 2**53) -> bool:
    return isinstance(value, int) and 0 < value < below


def _need_keys(path: Path, found: Any, keys: set[str]) -> None:
    missing = keys - (found.keys() if isinstance(found, dict) else set())
    if missing:
        raise InputError(f"{path}: expected the keys {', '.join(sorted(missing))}, found none")
