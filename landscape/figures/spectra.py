"""Spectral densities: a panel a class with the runs overlaid, and ridgelines from head to tail."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from landscape.figures.style import PAGE, colour, figure, label_panel, plain
from landscape.report.runs import Run
from landscape.report.subsets import Row, keys_of

FLOOR = 1e-7
"""Densities below this share of the largest are left out: quadrature says nothing there."""
MOST_PANELS = 15
MOST_RIDGES = 20


def spectra(runs: Sequence[Run], rows: Sequence[Row], view: str) -> Figure | None:
    """A panel a class (a group, when there are many classes), runs overlaid on a logarithmic axis.

    Args:
        runs: The runs.
        rows: All subsets.
        view: The measurement's name.

    Returns:
        The figure; None without densities.
    """
    found = [_curves(run, rows, view) for run in runs]
    drawn = _drawn(rows, found, MOST_PANELS)
    if not drawn:
        return None
    columns = min(5, len(drawn))
    lines = -(-len(drawn) // columns)
    made = figure(PAGE, 1.35 * lines + 0.5)
    axes = np.atleast_1d(made.subplots(lines, columns, sharey=True)).ravel()
    for place, row in zip(axes, drawn, strict=False):
        for position, curves in enumerate(found):
            if row in curves:
                x, y = curves[row]
                place.plot(x, np.where(y > FLOOR * y.max(), y, np.nan), color=colour(position), linewidth=0.9)
        place.set_yscale("log")
        label_panel(place, plain(rows[row].title))
    for place in axes[len(drawn) :]:
        place.set_visible(False)
    made.supxlabel("eigenvalue", fontsize=8)
    made.supylabel("spectral density", fontsize=8)
    _legend(made, runs)
    return made


def ridgelines(runs: Sequence[Run], rows: Sequence[Row], view: str) -> Figure | None:
    """Densities of the classes stacked from head (top) to tail, a column a run, on one eigenvalue axis.

    Args:
        runs: The runs.
        rows: All subsets.
        view: The measurement's name.

    Returns:
        The figure; None without densities.
    """
    found = [_curves(run, rows, view) for run in runs]
    drawn = _drawn(rows, found, MOST_RIDGES)
    if not drawn:
        return None
    made = figure(PAGE, 0.27 * len(drawn) + 1.0)
    places: list[Axes] = list(np.atleast_1d(made.subplots(1, len(runs), sharex=True, sharey=True)).ravel())
    ends = [x[[0, -1]] for curves in found for row, (x, _) in curves.items() if row in drawn]
    for position, (place, curves) in enumerate(zip(places, found, strict=True)):
        for line, row in enumerate(drawn):
            base = float(len(drawn) - line)
            place.axhline(base, color="0.85", linewidth=0.4, zorder=line)
            if row not in curves:
                continue
            x, y = curves[row]
            height = np.maximum(np.log10(np.maximum(y, FLOOR * y.max()) / (FLOOR * y.max())), 0) / 7 * 1.5
            place.fill_between(x, base, base + height, color="white", linewidth=0, zorder=line + 0.4)
            place.fill_between(
                x, base, base + height, color=colour(position), alpha=0.3, linewidth=0, zorder=line + 0.5
            )
            place.plot(x, base + height, color=colour(position), linewidth=0.8, zorder=line + 0.6)
        place.set_xlim(min(e[0] for e in ends), max(e[1] for e in ends))
        place.set_yticks(range(len(drawn), 0, -1), [plain(rows[row].title) for row in drawn])
        place.tick_params(axis="y", length=0)
        place.spines["left"].set_visible(False)
        place.set_xlabel("eigenvalue")
        label_panel(place, plain(runs[position].name, 24))
    return made


def _curves(run: Run, rows: Sequence[Row], view: str) -> dict[int, tuple[np.ndarray, np.ndarray]]:
    """Grid and density of each row that has one."""
    measurement = run.of("hessian").get(view)
    if measurement is None or not {"density", "density_grid"} <= measurement.data.keys():
        return {}
    index = {(row.name, row.label): i for i, row in enumerate(rows)}
    found = {}
    for position, key in enumerate(keys_of(measurement)):
        x, y = measurement.data["density_grid"][position], measurement.data["density"][position]
        known = np.isfinite(x) & np.isfinite(y)
        if known.sum() > 1 and y[known].max() > 0:
            found[index[key]] = (x[known], y[known])
    return found


def _drawn(rows: Sequence[Row], found: Sequence[Mapping[int, object]], most: int) -> list[int]:
    known = sorted({row for curves in found for row in curves})
    classes = [row for row in known if rows[row].kind == "class"]
    return classes if 0 < len(classes) <= most else [row for row in known if rows[row].kind != "class"]


def _legend(made: Figure, runs: Sequence[Run]) -> None:
    if len(runs) > 1:
        handles = [Line2D([], [], color=colour(i), label=plain(run.name, 24)) for i, run in enumerate(runs)]
        made.legend(handles=handles, loc="outside upper right", ncols=len(runs))
