"""Spectral densities of the subsets: as they were measured, and packed for the page on even grids."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from landscape.comparison.packing import codes, floats
from landscape.comparison.rows import Row, keys_of, places_of
from landscape.comparison.runs import Run

POINTS = 512
"""Points a density is drawn with; finer grids are averaged down to it."""


@dataclass(frozen=True)
class Density:
    """A spectral density where it is finite.

    Attributes:
        x: Eigenvalues, ascending, (G,).
        y: The density at them, never negative, (G,).
        error: Its standard error over the probes, NaN where unknown, (G,); None when none is stored.
    """

    x: np.ndarray
    y: np.ndarray
    error: np.ndarray | None


def densities_of(run: Run, rows: Sequence[Row], view: str) -> dict[int, Density]:
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
    found: dict[int, Density] = {}
    for position, key in enumerate(keys_of(measurement)):
        x, y = grids[position] if grids.ndim == 2 else grids, densities[position]
        known = np.isfinite(x) & np.isfinite(y)
        if known.sum() > 1:
            error = None if errors is None or not np.isfinite(errors[position]).any() else errors[position][known]
            found[index[key]] = Density(x[known], np.maximum(y[known], 0.0), error)
    return found


def pack_densities(runs: Sequence[Run], rows: Sequence[Row], view: str, kept: frozenset[int]) -> list[Any]:
    """The densities of one view.

    Args:
        runs: The page's runs.
        rows: The page's subsets.
        view: The measurement's name.
        kept: Rows whose curves the page has room for.

    Returns:
        One entry a run, None without densities: `rows`, ends of each grid (`lo`, `hi`), packed `y`, and packed `se`,
        None where none was stored.
    """
    return [_packed({i: d for i, d in densities_of(run, rows, view).items() if i in kept}) for run in runs]


def _packed(densities: dict[int, Density]) -> dict[str, Any] | None:
    if not densities:
        return None
    y, se = [], []
    for density in densities.values():
        even = np.linspace(density.x[0], density.x[-1], min(POINTS, len(density.x)))
        y.append(codes(np.interp(even, density.x, density.y)))
        se.append(None if density.error is None else codes(np.interp(even, density.x, density.error)))
    ends = np.array([density.x[[0, -1]] for density in densities.values()])
    return {"rows": list(densities), "lo": floats(ends[:, 0]), "hi": floats(ends[:, 1]), "y": y, "se": se}
