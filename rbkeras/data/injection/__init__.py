"""Reals made of a survey's own stamps: its own point source, put into its own scenes."""

from rbkeras.data.injection.measured import SUSPECT_COLUMNS
from rbkeras.data.injection.stamps import Channels
from rbkeras.data.injection.survey import inject_survey

__all__ = ["SUSPECT_COLUMNS", "Channels", "inject_survey"]
