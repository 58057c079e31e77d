"""A simulated transient survey whose true labels are known."""

from rbkeras.data.simulation.stamps import simulate_stamps
from rbkeras.data.simulation.survey import simulate_survey

__all__ = ["simulate_stamps", "simulate_survey"]
