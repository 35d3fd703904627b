"""Spectral densities: a panel a class with the runs overlaid, and ridgelines from head to tail."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from landscape.comparison.compare import Comparison
from landscape.comparison.rows import Row
from landscape.comparison.runs import Run
from landscape.comparison.spectrum import DensityCurve, densities_of
from landscape.figures.style import PAGE, color, figure, label_panel, plain

FLOOR = 1e-7
"""Densities below this share of the largest are left out: quadrature says nothing there."""
MOST_PANELS = 15
MOST_RIDGES = 20


@dataclass(frozen=True)
class Spectra:
    """The densities of one view of all runs.

    Attributes:
        runs: The runs.
        rows: All subsets.
        curves: By run, then by index of the row.
    """

    runs: Sequence[Run]
    rows: Sequence[Row]
    curves: tuple[dict[int, DensityCurve], ...]

    def drawn(self, most: int) -> list[int]:
        """The classes that have a density, head to tail; when there are more than `most` (or none), the groups."""
        known = sorted({row for curves in self.curves for row in curves})
        classes = [row for row in known if self.rows[row].kind == "class"]
        return classes if 0 < len(classes) <= most else [row for row in known if self.rows[row].kind != "class"]

    def title(self, row: int) -> str:
        """A row's name as matplotlib shows it."""
        return plain(self.rows[row].title)


def gather_spectra(compared: Comparison, view: str) -> Spectra:
    """Reads the densities of one view, but those that are 0 throughout.

    Args:
        compared: The runs and their subsets.
        view: The measurement's name.

    Returns:
        What `spectra` and `ridgelines` draw.
    """
    found = (densities_of(run, compared.rows, view) for run in compared.runs)
    return Spectra(
        compared.runs, compared.rows, tuple({i: d for i, d in curves.items() if d.y.max() > 0} for curves in found)
    )


def spectra(gathered: Spectra) -> Figure | None:
    """A panel a class (a group, when there are many classes), runs overlaid on a logarithmic axis.

    Args:
        gathered: The densities; bands are one standard error.

    Returns:
        The figure; None without densities.
    """
    drawn = gathered.drawn(MOST_PANELS)
    if not drawn:
        return None
    columns = min(5, len(drawn))
    lines = -(-len(drawn) // columns)
    made = figure(PAGE, 1.35 * lines + 0.5)
    axes = np.atleast_1d(made.subplots(lines, columns, sharey=True)).ravel()
    for place, row in zip(axes, drawn, strict=False):
        for position, curves in enumerate(gathered.curves):
            if row in curves:
                density, least = curves[row], FLOOR * curves[row].y.max()
                above = np.where(density.y > least, density.y, np.nan)
                place.plot(density.x, above, color=color(position), linewidth=0.9)
                if density.error is not None:
                    low, high = (np.maximum(end, least) for end in _band(density.y, density.error))
                    place.fill_between(density.x, low, high, color=color(position), alpha=0.25, linewidth=0)
        place.set_yscale("log")
        label_panel(place, gathered.title(row))
    for place in axes[len(drawn) :]:
        place.set_visible(False)
    made.supxlabel("eigenvalue", fontsize=8)
    made.supylabel("spectral density", fontsize=8)
    _legend(made, gathered.runs)
    return made


def ridgelines(gathered: Spectra) -> Figure | None:
    """Densities of the classes stacked from head (top) to tail, a column a run, on one eigenvalue axis.

    Args:
        gathered: The densities; bands are one standard error.

    Returns:
        The figure; None without densities.
    """
    drawn = gathered.drawn(MOST_RIDGES)
    if not drawn:
        return None
    made = figure(PAGE, 0.27 * len(drawn) + 1.0)
    places: list[Axes] = list(np.atleast_1d(made.subplots(1, len(gathered.runs), sharex=True, sharey=True)).ravel())
    ends = [density.x[[0, -1]] for curves in gathered.curves for row, density in curves.items() if row in drawn]
    for position, (place, curves) in enumerate(zip(places, gathered.curves, strict=True)):
        for line, row in enumerate(drawn):
            base = float(len(drawn) - line)
            place.axhline(base, color="0.85", linewidth=0.4, zorder=line)
            if row in curves:
                _ridge(place, curves[row], base, color(position), line)
        place.set_xlim(min(e[0] for e in ends), max(e[1] for e in ends))
        place.set_yticks(range(len(drawn), 0, -1), [gathered.title(row) for row in drawn])
        place.tick_params(axis="y", length=0)
        place.spines["left"].set_visible(False)
        place.set_xlabel("eigenvalue")
        label_panel(place, plain(gathered.runs[position].name, 24))
    return made


def _ridge(place: Axes, density: DensityCurve, base: float, shade: str, order: int) -> None:
    """One density on its own base line, its logarithm above the floor as height; the nearer ones lie above."""
    x, least = density.x, FLOOR * density.y.max()

    def height(y: np.ndarray) -> np.ndarray:
        return np.asarray(base + np.log10(np.maximum(y, least) / least) / 7 * 1.5)

    top = height(density.y)
    place.fill_between(x, base, top, color="white", linewidth=0, zorder=order + 0.4)
    place.fill_between(x, base, top, color=shade, alpha=0.3, linewidth=0, zorder=order + 0.5)
    if density.error is not None:
        low, high = (height(end) for end in _band(density.y, density.error))
        place.fill_between(x, low, high, color=shade, alpha=0.35, linewidth=0, zorder=order + 0.55)
    place.plot(x, top, color=shade, linewidth=0.8, zorder=order + 0.6)


def _band(y: np.ndarray, error: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """One standard error to either side; no wider than the line where none is known."""
    return y - np.nan_to_num(error), y + np.nan_to_num(error)


def _legend(made: Figure, runs: Sequence[Run]) -> None:
    if len(runs) > 1:
        handles = [Line2D([], [], color=color(i), label=plain(run.name, 24)) for i, run in enumerate(runs)]
        made.legend(handles=handles, loc="outside upper right", ncols=len(runs))
