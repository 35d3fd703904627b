"""Spectral densities of the subsets, as they were measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from landscape.comparison.rows import Row, keys_of, places_of
from landscape.comparison.runs import Run


@dataclass(frozen=True)
class DensityCurve:
    """A spectral density where it is finite.

    Attributes:
        x: Eigenvalues, ascending, (G,).
        y: The density at them, never negative, (G,).
        error: Its standard error over the probes, NaN where unknown, (G,); None when none is stored.
    """

    x: np.ndarray
    y: np.ndarray
    error: np.ndarray | None


def densities_of(run: Run, rows: Sequence[Row], view: str) -> dict[int, DensityCurve]:
    """The densities a run has in one view.

    Args:
        run: The run.
        rows: The page's subsets.
        view: The measurement's name.

    Returns:
        By index of the row; a row with fewer than two finite points is left out.
    """
    measurement = run.of("hessian").get(view)
    if measurement is None or not {"density", "density_grid"} <= measurement.data.keys():
        return {}
    grids, densities = measurement.data["density_grid"], measurement.data["density"]
    errors, index = measurement.data.get("density_se"), places_of(rows)
    curves: dict[int, DensityCurve] = {}
    for position, key in enumerate(keys_of(measurement)):
        x, y = grids[position] if grids.ndim == 2 else grids, densities[position]
        known = np.isfinite(x) & np.isfinite(y)
        if known.sum() > 1:
            error = None if errors is None or not np.isfinite(errors[position]).any() else errors[position][known]
            curves[index[key]] = DensityCurve(x[known], np.maximum(y[known], 0.0), error)
    return curves
