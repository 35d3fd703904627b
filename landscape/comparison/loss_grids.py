"""Loss surfaces and lines of a run: which there are, and how their cells came to be."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from landscape.comparison.runs import Run
from landscape.files.landscape_file import Measurement
from landscape.schema import FAILED, INTERPOLATED, NON_FINITE, TODO


@dataclass(frozen=True)
class CellCounts:
    """How the cells of one surface came to be.

    Attributes:
        total: Cells of the grid.
        todo: Not measured yet.
        non_finite: Measured, and not a finite number.
        failed: Could not be measured.
        interpolated: Filled in between measured ones.
        error: Largest stated error of an interpolated cell over all subsets; NaN when none is stated.
    """

    total: int
    todo: int
    non_finite: int
    failed: int
    interpolated: int
    error: float


def cells_of(measurement: Measurement) -> CellCounts:
    """Counts the cells of a surface by status."""
    status = measurement.data.get("status", np.empty(0))
    error = measurement.data.get("error")
    inside = error[..., status == INTERPOLATED] if error is not None and error.shape[-2:] == status.shape else None
    known = inside[np.isfinite(inside)] if inside is not None else np.empty(0)
    todo, bad, failed, filled = (
        int(np.count_nonzero(status == code)) for code in (TODO, NON_FINITE, FAILED, INTERPOLATED)
    )
    return CellCounts(int(status.size), todo, bad, failed, filled, float(known.max()) if known.size else float("nan"))


def hidden_share(measurement: Measurement) -> np.ndarray | None:
    """The share of the distance to each point of a trajectory that the plane does not show, or None."""
    for key, values in measurement.data.items():
        if key.startswith("trajectory/") and "share" in key:
            return np.asarray(values, dtype=float)
    return None


def planes_of(run: Run) -> list[Measurement]:
    """The run's two-dimensional surfaces, in name order with the split's own first."""
    planes = [m for m in run.of("surface").values() if "loss" in m.data and not _is_line(m)]
    return sorted(planes, key=lambda m: ({"train": 0, "test": 1}.get(m.name, 2), m.name))


def lines_of(run: Run) -> list[Measurement]:
    """The run's one-dimensional surfaces: lines, such as those between two checkpoints."""
    return [m for m in run.of("surface").values() if "loss" in m.data and _is_line(m)]


def _is_line(measurement: Measurement) -> bool:
    """Whether the surface has one row of cells: `loss` is (S, 1, A), or (S, A)."""
    loss = measurement.data["loss"]
    return loss.ndim == 2 or loss.shape[1] == 1
