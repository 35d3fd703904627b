"""Spectra: the share of eigenvalues beyond λ, a panel a class with the runs overlaid, and ridgelines head to tail."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, NullLocator

from landscape.comparison.compare import Comparison
from landscape.comparison.formatting import figure as figures
from landscape.comparison.rows import Row
from landscape.comparison.runs import Run
from landscape.comparison.spectrum import SpectralMeasure, spectra_of
from landscape.figures.style import PAGE, color, figure, label_panel, plain

DECADES = 4
"""Eigenvalues so far below the largest of a panel lie in the linear middle of its axis."""
RIDGE = 1.5
"""Lines that the tallest ridge rises over."""
MOST_PANELS = 15
MOST_RIDGES = 20


@dataclass(frozen=True)
class Spectra:
    """The spectra of one view of all runs.

    Attributes:
        runs: The runs.
        rows: All subsets.
        measures: By run, then by index of the row.
    """

    runs: Sequence[Run]
    rows: Sequence[Row]
    measures: tuple[dict[int, SpectralMeasure], ...]

    def drawn(self, most: int) -> list[int]:
        """The classes that have a spectrum, head to tail; when there are more than `most` (or none), the groups."""
        known = sorted({row for measures in self.measures for row in measures})
        classes = [row for row in known if self.rows[row].kind == "class"]
        return classes if 0 < len(classes) <= most else [row for row in known if self.rows[row].kind != "class"]

    def title(self, row: int) -> str:
        """A row's name as matplotlib shows it."""
        return plain(self.rows[row].title)

    def scale(self, drawn: Sequence[int]) -> tuple[float, float]:
        """The largest |λ| of these rows, and the share of eigenvalues at which their axis begins."""
        shown = [measures[row] for measures in self.measures for row in drawn if row in measures]
        largest = max(float(np.abs(measure.nodes).max()) for measure in shown) or 1.0
        return largest, min(float(measure.beyond()[1].min(initial=1.0)) for measure in shown) / 2


def gather_spectra(compared: Comparison, view: str) -> Spectra:
    """Reads the spectra of one view.

    Args:
        compared: The runs and their subsets.
        view: The measurement's name.

    Returns:
        What `spectra` and `ridgelines` draw.
    """
    return Spectra(compared.runs, compared.rows, tuple(spectra_of(run, compared.rows, view) for run in compared.runs))


def spectra(gathered: Spectra, width: float = PAGE) -> Figure | None:
    """A panel a class (a group, when there are many classes): the share of eigenvalues beyond λ, runs overlaid.

    Args:
        gathered: The spectra.
        width: Of the figure, in inches.

    Returns:
        The figure, with a circle at every eigenvalue that was found one by one; None without spectra.
    """
    drawn = gathered.drawn(MOST_PANELS)
    if not drawn:
        return None
    columns = min(max(1, int(width / 1.35)), len(drawn))
    lines = -(-len(drawn) // columns)
    made = figure(width, 1.35 * lines + 0.5)
    axes = np.atleast_1d(made.subplots(lines, columns, sharex=True, sharey=True)).ravel()
    largest, floor = gathered.scale(drawn)
    for place, row in zip(axes, drawn, strict=False):
        for position, measures in enumerate(gathered.measures):
            if row in measures:
                x, share = _steps(measures[row], floor)
                place.plot(x, share, color=color(gathered.runs[position].configuration), linewidth=0.9)
                _mark(place, measures[row], color(gathered.runs[position].configuration))
        place.set_yscale("log")
        place.set_ylim(floor, 1.5)
        _eigenvalue_axis(place, largest)
        label_panel(place, gathered.title(row))
    for place in axes[len(drawn) :]:
        place.set_visible(False)
    made.supxlabel("eigenvalue λ", fontsize=8)
    made.supylabel("share of eigenvalues beyond", fontsize=8)
    _legend(made, gathered.runs)
    return made


def ridgelines(gathered: Spectra, width: float = PAGE) -> Figure | None:
    """The same shares of the classes stacked from head (top) to tail, a column a run, on one eigenvalue axis.

    Args:
        gathered: The spectra.
        width: Of the figure, in inches.

    Returns:
        The figure; None without spectra.
    """
    drawn = gathered.drawn(MOST_RIDGES)
    if not drawn:
        return None
    made = figure(width, 0.27 * len(drawn) + 1.0)
    places: list[Axes] = list(np.atleast_1d(made.subplots(1, len(gathered.runs), sharex=True, sharey=True)).ravel())
    largest, floor = gathered.scale(drawn)
    for position, (place, measures) in enumerate(zip(places, gathered.measures, strict=True)):
        for line, row in enumerate(drawn):
            base = float(len(drawn) - line)
            place.axhline(base, color="0.85", linewidth=0.4, zorder=line)
            if row in measures:
                x, share = _steps(measures[row], floor)
                top = base + RIDGE * np.log(share / floor) / -np.log(floor)
                place.fill_between(x, base, top, color="white", linewidth=0, zorder=line + 0.4)
                place.fill_between(
                    x,
                    base,
                    top,
                    color=color(gathered.runs[position].configuration),
                    alpha=0.3,
                    linewidth=0,
                    zorder=line + 0.5,
                )
                place.plot(x, top, color=color(gathered.runs[position].configuration), linewidth=0.8, zorder=line + 0.6)
        _eigenvalue_axis(place, largest)
        place.set_yticks(range(len(drawn), 0, -1), [gathered.title(row) for row in drawn])
        place.tick_params(axis="y", length=0)
        place.spines["left"].set_visible(False)
        place.set_xlabel("eigenvalue λ")
        label_panel(place, plain(gathered.runs[position].name, 24))
    return made


def _steps(measure: SpectralMeasure, floor: float) -> tuple[np.ndarray, np.ndarray]:
    """The corners of the share beyond λ: left of 0 it changes upwards at a node, right of 0 downwards."""
    nodes, share = measure.beyond()
    negative = nodes < 0
    left, right = share[negative], share[~negative]
    outer = np.concatenate([np.r_[floor, left[:-1]] if left.size else left, np.r_[right[1:], floor][: right.size]])
    pairs = np.where(negative[:, None], np.stack([outer, share], 1), np.stack([share, outer], 1))
    x, y, middle = np.repeat(nodes, 2), pairs.ravel(), 2 * left.size
    if left.size and right.size:
        x, y = np.insert(x, middle, [0.0, 0.0]), np.insert(y, middle, [left[-1], right[0]])
    return x, np.maximum(y, floor)


def _mark(place: Axes, measure: SpectralMeasure, shade: str) -> None:
    nodes, share = measure.beyond()
    found = measure.converged[measure.converged != 0]
    if found.size and nodes.size:
        nearest = np.abs(found[:, None] - nodes).argmin(1)
        place.plot(
            found, share[nearest], "o", color=shade, markersize=2.4, markerfacecolor="white", markeredgewidth=0.7
        )


def _eigenvalue_axis(place: Axes, largest: float) -> None:
    """Linear around 0, logarithmic beyond."""
    knee = 10.0 ** np.floor(np.log10(largest) - DECADES)
    place.set_xscale("symlog", linthresh=knee, linscale=0.5)
    ticks = knee * 100.0 ** np.arange(1, DECADES // 2 + 1)
    low, high = place.get_xlim()
    place.set_xticks([tick for tick in (*-ticks, 0.0, *ticks) if low < tick < high])
    place.xaxis.set_minor_locator(NullLocator())
    place.xaxis.set_major_formatter(FuncFormatter(lambda value, _: figures(value)))


def _legend(made: Figure, runs: Sequence[Run]) -> None:
    if len(runs) > 1:
        handles = [Line2D([], [], color=color(run.configuration), label=plain(run.name, 24)) for run in runs]
        made.legend(handles=handles, loc="outside upper right", ncols=len(runs))
