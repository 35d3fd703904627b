"""The length of a network's weights, as its file states it."""

from __future__ import annotations

from landscape.comparison.runs import Run
from landscape.schema import WEIGHT_NORM


def weight_norm(run: Run) -> float:
    """‖w‖ of a run; NaN where no measurement of all parameters states it.

    Args:
        run: The run.
    """
    for measurement in run.landscape.measurements:
        stated = measurement.attributes.get(WEIGHT_NORM)
        if isinstance(stated, int | float) and measurement.config.get("params", ["*"]) == ["*"]:
            return float(stated)
    return float("nan")
