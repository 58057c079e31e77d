"""Reals made of a survey's own stamps: its own point source, put into its own scenes."""

from rbkeras.data.injection.survey import SUSPECT_COLUMNS, Channels, inject_survey

__all__ = ["SUSPECT_COLUMNS", "Channels", "inject_survey"]
