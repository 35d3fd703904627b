"""Loss contours: a line a subset, a column a run, on one logarithmic color scale."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from landscape.comparison.compare import Comparison
from landscape.comparison.loss_grids import planes_of
from landscape.comparison.rows import Row, keys_of
from landscape.comparison.runs import Run
from landscape.figures.style import PAGE, figure, label_panel, plain
from landscape.files.landscape_file import Measurement
from landscape.schema import INTERPOLATED

LEVELS = 18
FLOOR = 0.01
"""Loss at which colors begin: what interpolation says below is noise."""


def contours(compared: Comparison, view: str, subsets: Sequence[str], width: float = PAGE) -> Figure | None:
    """Loss surfaces side by side.

    Args:
        compared: The runs and their subsets.
        view: The surface's name; a run without it shows its first.
        subsets: Names of the subsets to draw, a line each.
        width: Most inches across.

    Returns:
        The figure; None when no run has a surface of them.
    """
    runs, rows = compared.runs, compared.rows
    planes = [_plane(run, view) for run in runs]
    drawn = [i for i, row in enumerate(rows) if row.name in subsets and any(_grid(p, row) is not None for p in planes)]
    columns = [(run, plane) for run, plane in zip(runs, planes, strict=True) if plane is not None]
    grids = [grid for i in drawn for _, plane in columns if (grid := _grid(plane, rows[i])) is not None]
    positive = np.concatenate([grid[np.isfinite(grid) & (grid > 0)] for grid in grids]) if grids else np.empty(0)
    if not positive.size:
        return None
    highest = float(positive.max())
    norm = LogNorm(min(max(float(positive.min()), FLOOR), highest), highest)
    levels = np.geomspace(float(norm.vmin or 0), highest, LEVELS)
    side = min(1.9, (width - 1.3) / len(columns))
    made = figure(side * len(columns) + 1.3, side * len(drawn) + 0.4)
    axes = np.atleast_2d(made.subplots(len(drawn), len(columns), sharex=True, sharey=True, squeeze=False))
    for line, i in enumerate(drawn):
        for place, (run, plane) in zip(axes[line], columns, strict=True):
            grid = _grid(plane, rows[i])
            if grid is None:
                place.set_axis_off()
                continue
            a, b = plane.data["a"], plane.data["b"]
            seen = np.maximum(grid, float(norm.vmin or 0))  # NaN stays
            place.pcolormesh(a, b, seen, norm=norm, cmap="viridis", shading="gouraud", rasterized=True)
            place.contour(a, b, seen, levels=levels, colors="white", linewidths=0.35, alpha=0.7)
            _mark_interpolated(place, plane)
            place.plot(0, 0, marker="+", color="white", markersize=5, markeredgewidth=0.9)
            place.set_aspect("equal" if np.isclose(np.ptp(a), np.ptp(b)) else "auto")  # an eigen plane is long one way
            if line == 0:
                label_panel(place, plain(run.name, 24))
        axes[line][0].set_ylabel(plain(rows[i].title))
    for place, (_, plane) in zip(axes[-1], columns, strict=True):
        words = plane.attributes.get("axes")
        place.set_xlabel(plain(str(words[0]), 24) if isinstance(words, list) and words else "a")
    mappable = axes[0][0].collections[0] if axes[0][0].collections else None
    if mappable is not None:
        made.colorbar(mappable, ax=axes, label="loss", aspect=45, shrink=0.8, pad=0.02)
    return made


def _mark_interpolated(place: Axes, plane: Measurement) -> None:
    """Dots the measured cells, where only some are."""
    status = plane.data.get("status")
    if status is None or not (status == INTERPOLATED).any():
        return
    b, a = np.nonzero(status != INTERPOLATED)
    place.plot(plane.data["a"][a], plane.data["b"][b], ",", color="white", alpha=0.5)


def _plane(run: Run, view: str) -> Measurement | None:
    planes = planes_of(run)
    return next((plane for plane in planes if plane.name == view), planes[0] if planes else None)


def _grid(plane: Measurement | None, row: Row) -> np.ndarray | None:
    keys = keys_of(plane) if plane is not None else []
    if plane is None or (row.name, row.label) not in keys:
        return None
    return np.asarray(plane.data["loss"][keys.index((row.name, row.label))], dtype=float)
