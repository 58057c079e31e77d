"""Remembering which pieces of work are finished, and with which settings."""

import hashlib
import re
import shutil
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rbkeras.errors import InputError
from rbkeras.files import plain, read_json, write_json

#: Settings that follow from others and from the data.
_FOLLOWS = re.compile("(other )?(epochs|fold|folds|labels|mixture|records|targets|rbkeras)\\b")
_DIGEST = re.compile("[0-9a-f]{16}|[0-9a-f]{64}")


class OtherSettingsError(InputError):
    """Work is there that was done, or begun, with other settings."""


def claim(
    marker: str | Path,
    settings: dict[str, Any],
    *,
    products: Sequence[Path],
    derived: Sequence[Path] = (),
    overwrite: bool,
) -> bool:
    """Say whether a piece of work is finished, and claim it for these settings if it is not.

    Parameters
    ----------
    marker
        JSON file that holds the settings of the work and whether it is finished.
    settings
        All that the result depends on; plain values in nested dicts.
    products
        Files and folders that the work makes; removed where they are of other settings.
    derived
        What others may have made of them: removed with them, and not missed.
    overwrite
        Begin anew where the marker has other settings.

    Returns
    -------
    bool
        True when the work is finished with these settings and its products have content; False when
        it has to be done, or gone on with.

    Raises
    ------
    OtherSettingsError
        When the marker has other settings and `overwrite` is false; it names what differs.
    """
    marker = Path(marker)
    if marker.exists():
        earlier = _read(marker)
        # Compared as JSON returns them: a tuple comes back as a list.
        differences = list(_differences(earlier.get("settings", {}), plain(settings)))
        if not differences:
            if earlier.get("finished") and all(has_content(p) for p in products if p.suffix):
                return True
        elif not overwrite:
            _refuse(marker, differences)
        else:
            _remove([*products, *derived])
    write_json(marker, {"finished": False, "settings": settings})
    return False


def refuse_other_settings(
    marker: str | Path, settings: dict[str, Any], *, unknown: Collection[str], overwrite: bool
) -> None:
    """Raise `OtherSettingsError` where `claim` would, while some settings are yet unknown.

    `unknown` are their names; whatever they are in the marker is not looked at.
    """
    marker = Path(marker)
    if marker.exists() and not overwrite:
        earlier = _read(marker).get("settings", {})
        known = {name: value for name, value in earlier.items() if name not in unknown}
        _refuse(marker, list(_differences(known, plain(settings))))


def _refuse(marker: Path, differences: Sequence[str]) -> None:
    if differences:
        # First what a person has said, then what comes of it.
        ordered = sorted(differences, key=lambda text: _FOLLOWS.match(text) is not None)
        shown = "; ".join(ordered[:8]) + ("; ..." if len(ordered) > 8 else "")
        raise OtherSettingsError(
            f"{marker}: expected the settings of this run, found others ({shown}); choose "
            "another --out, or pass --overwrite to begin anew"
        )


def is_finished(marker: str | Path, settings: dict[str, Any]) -> bool:
    """Say whether a piece of work is finished with these settings, without claiming it."""
    marker = Path(marker)
    if not marker.exists():
        return False
    earlier = _read(marker)
    different = any(_differences(earlier.get("settings", {}), plain(settings)))
    return bool(earlier.get("finished")) and not different


def has_content(path: Path) -> bool:
    """Say whether a file is there; a loss of power may have left its name and nothing in it."""
    return path.is_dir() or (path.exists() and path.stat().st_size > 0)


def _read(marker: Path) -> dict[str, Any]:
    content = read_json(marker)
    if not isinstance(content, dict):
        raise InputError(f"{marker}: expected settings of earlier work, found {content!r:.80}")
    return content


def _remove(products: Sequence[Path]) -> None:
    for product in products:
        if product.is_dir():
            shutil.rmtree(product)
        else:
            product.unlink(missing_ok=True)


def mark_finished(marker: str | Path, settings: dict[str, Any], **remarks: Any) -> None:
    """Say that the work is done; `remarks` are kept beside the settings."""
    write_json(marker, {"finished": True, "settings": settings, **remarks})


def _differences(earlier: Any, now: Any, path: str = "") -> Iterator[str]:
    if isinstance(earlier, dict) and isinstance(now, dict):
        for key in sorted(earlier.keys() | now.keys()):
            below = f"{path}.{key}" if path else str(key)
            yield from _differences(earlier.get(key), now.get(key), below)
    elif earlier != now and _is_digest(earlier) and _is_digest(now):
        yield f"other {path}"
    elif earlier != now:
        yield f"{path} was {_shown(earlier)}, is {_shown(now)}"


def _shown(value: Any) -> Any:
    return "given" if isinstance(value, dict) or _is_digest(value) else value


def _is_digest(value: Any) -> bool:
    """Say whether this is a checksum, which tells a person nothing."""
    return isinstance(value, str) and _DIGEST.fullmatch(value) is not None


def digest(*arrays: np.ndarray) -> str:
    """Give a fingerprint of arrays."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:16]
