"""Spectral densities for the page, on even grids, with the spread of the independent runs where there are several."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from landscape.report.packing import codes, floats
from landscape.report.runs import Run
from landscape.report.subsets import Row, keys_of
from landscape.store import Measurement

POINTS = 512
"""Points a density is drawn with; finer grids are averaged down to it."""


def pack_densities(runs: Sequence[Run], rows: Sequence[Row], view: str, kept: frozenset[int]) -> list[Any]:
    """The densities of one view.

    Args:
        runs: The page's runs.
        rows: The page's subsets.
        view: The measurement's name.
        kept: Rows whose curves the page has room for.

    Returns:
        One entry a run, None without densities: `rows`, ends of each grid (`lo`, `hi`), packed `y`, and packed `se`
        where it was stored.
    """
    index = {(row.name, row.label): i for i, row in enumerate(rows)}
    return [_of_run(run.of("hessian").get(view), index, kept) for run in runs]


def _of_run(measurement: Measurement | None, index: dict[tuple[str, str], int], kept: frozenset[int]) -> Any:
    if measurement is None or not {"density", "density_grid"} <= measurement.data.keys():
        return None
    grids, densities = measurement.data["density_grid"], measurement.data["density"]
    errors = measurement.data.get("density_se")
    found: dict[str, list[Any]] = {"rows": [], "lo": [], "hi": [], "y": [], "se": []}
    for position, key in enumerate(keys_of(measurement)):
        grid = grids[position] if grids.ndim == 2 else grids
        usable = np.isfinite(grid) & np.isfinite(densities[position])
        if index[key] not in kept or usable.sum() < 2:
            continue
        even = np.linspace(grid[usable][0], grid[usable][-1], min(POINTS, int(usable.sum())))
        found["rows"].append(index[key])
        found["lo"].append(float(even[0]))
        found["hi"].append(float(even[-1]))
        found["y"].append(codes(np.maximum(np.interp(even, grid[usable], densities[position][usable]), 0.0)))
        if errors is not None:
            found["se"].append(codes(np.maximum(np.interp(even, grid[usable], errors[position][usable]), 0.0)))
    if not found["rows"]:
        return None
    found["lo"], found["hi"] = floats(found["lo"]), floats(found["hi"])  # type: ignore[assignment]
    return found
