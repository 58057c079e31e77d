"""Grid search that goes on where it stopped, which KerasTuner's own does not.

KerasTuner 1.4's `GridSearchOracle` keeps its place in the grid out of its saved state, and ends at
once when it is loaded again.
"""

from collections.abc import Iterator
from typing import Any

import keras_tuner


def combinations(space: keras_tuner.HyperParameters) -> Iterator[dict[str, Any]]:
    """Give every combination of values once, the last hyper-parameter changing fastest.

    Hyper-parameters whose conditions a combination does not meet are left out of it.
    """
    space = space.copy()

    def extend(values: dict[str, Any], position: int) -> Iterator[dict[str, Any]]:
        if position == len(space.space):
            yield values
            return
        hp = space.space[position]
        # Conditions refer to what stands earlier.
        space.values = values
        if not space.is_active(hp):
            yield from extend(values, position + 1)
            return
        for value in hp.values:
            yield from extend({**values, hp.name: value}, position + 1)

    yield from extend({}, 0)


class GridOracle(keras_tuner.Oracle):
    """Proposes the first combination that has not been tried."""

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """Propose, or stop when everything has been tried."""
        for values in combinations(self.get_space()):
            if not self._duplicate(values) and self.accepts(values):
                return {"status": "RUNNING", "values": values}
        return {"status": "STOPPED", "values": None}

    def accepts(self, values: dict[str, Any]) -> bool:
        """Tell whether values are worth a trial; all are."""
        return True
