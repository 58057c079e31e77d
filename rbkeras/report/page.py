"""Filling the template."""

from datetime import UTC, datetime
from pathlib import Path

from rbkeras import __version__
from rbkeras.files import whole_file
from rbkeras.pages import page_template
from rbkeras.report import (
    sections_calibration,
    sections_samples,
    sections_scores,
    sections_training,
)
from rbkeras.report.blocks import Section
from rbkeras.report.gather import Findings

_SECTIONS = (
    sections_scores.headline,
    sections_scores.curves,
    sections_scores.thresholds,
    sections_calibration.calibration,
    sections_samples.detectors,
    sections_samples.brightness,
    sections_samples.families,
    sections_samples.mistakes,
    sections_samples.suspects,
    sections_training.training,
    sections_training.settings,
)


def write_report(path: str | Path, findings: Findings) -> None:
    """Write the page, whole or not at all."""
    sections = [section(findings) for section in _SECTIONS]
    page = render(findings.title, sections, where=str(findings.folder or ""))
    with whole_file(path) as temporary:
        temporary.write_text(page, encoding="utf-8")


def render(title: str, sections: list[Section], *, where: str = "") -> str:
    """Render sections as one HTML document that loads nothing; `where` stands below the title."""
    return page_template("rbkeras.report", "report.html", folder="template").render(
        title=title,
        where=where,
        sections=sections,
        version=__version__,
        written=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
    )
