"""What is wrong with alert packets or FITS stamps: every problem, one sentence each."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from rbkeras.data.alert_labels import own_names
from rbkeras.data.alert_source import AlertSource
from rbkeras.data.checking import Report
from rbkeras.data.fits_source import FitsSource
from rbkeras.data.labels import BOGUS, DEFAULT_LABELS, LABEL_NAMES, REAL, UNLABELLED, encode_labels
from rbkeras.data.samples import Sample
from rbkeras.errors import InputError
from rbkeras.tables import spreadsheet_row

_SIZES_SHOWN = 5


def check_alerts(path: str | Path) -> Report:
    """Read all of an Avro file, or of a folder of them.

    Problems are packets and files at fault, and alerts that come twice. Cutouts of several sizes
    are none: conversion and scoring cut and pad.
    """
    problems: list[str] = []
    seen: dict[str, str] = {}
    counts = _Counts()
    for sample in AlertSource(path, on_bad=problems.append).samples():
        counts.add(sample)
        alert_id = sample.identity["alert_id"]
        named = not alert_id.startswith(f"{sample.identity['file']}:")
        if named and alert_id in seen:
            problems.append(
                f"{sample.where}: expected every alert once, but {alert_id} also stands in "
                f"{seen[alert_id]}"
            )
        seen.setdefault(alert_id, sample.where)
        counts.detectors[sample.identity["detector_id"]] += 1
        counts.with_score += sample.identity["survey_score"] is not None
    return Report(problems, counts.summary() | {"with a survey score": counts.with_score})


def check_fits(path: str | Path, *, labels: Mapping[str, int] = DEFAULT_LABELS) -> Report:
    """Read all FITS stamps that a table names.

    Problems are stamps at fault or there twice, and label names that nobody has mapped.
    """
    problems: list[str] = []
    counts = _Counts()
    source = FitsSource(path, on_bad=problems.append)
    for sample in source.samples():
        counts.add(sample)
    counts.detectors.update(source.table["detector_id"])
    if len(counts.channels) > 1:
        found = ", ".join(map(str, sorted(counts.channels)))
        problems.append(f"{path}: expected stamps of as many planes each, found {found}")
    problems += [
        f"{path}: expected every stamp once, but that of row {spreadsheet_row(row)} has been there "
        "before"
        for row in np.flatnonzero(source.repeated(source.table)).tolist()
    ]
    summary = counts.summary()
    try:
        values = encode_labels(own_names(source.table), labels, source=str(source.path))
        summary |= {
            LABEL_NAMES[label]: int((values == label).sum()) for label in (REAL, BOGUS, UNLABELLED)
        }
    except InputError as error:
        problems.append(str(error))
    return Report(problems, summary)


class _Counts:
    """What there is to say about the sound samples."""

    def __init__(self) -> None:
        self.detectors: Counter[int] = Counter()
        self.sizes: Counter[tuple[int, ...]] = Counter()
        self.channels: Counter[int] = Counter()
        self.stamps = self.with_missing = self.with_score = 0

    def add(self, sample: Sample) -> None:
        self.stamps += 1
        self.with_missing += not all(np.isfinite(image).all() for image in sample.images)
        self.sizes[sample.images[0].shape] += 1
        self.channels[len(sample.images)] += 1

    def summary(self) -> dict[str, Any]:
        shown = [
            f"{size[0]} x {size[1]} ({count})"
            for size, count in self.sizes.most_common(_SIZES_SHOWN)
        ]
        return {
            "detectors": len(self.detectors),
            "stamps": self.stamps,
            "stamps with missing pixels": self.with_missing,
            "sizes": ", ".join(shown) + (", ..." if len(self.sizes) > _SIZES_SHOWN else ""),
        }
