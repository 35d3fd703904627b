"""Accuracy, loss, curvature and sharpness by class or group: bars from zero, points where the axis is logarithmic."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from landscape.comparison.columns import Measure
from landscape.comparison.compare import Comparison
from landscape.comparison.rows import Row
from landscape.comparison.runs import Run
from landscape.comparison.table import View
from landscape.figures.style import COLUMN, PAGE, color, figure, label_panel, plain

MOST_CLASSES = 30
"""Sets with more classes are drawn by group."""


def bars(compared: Comparison, view: View, width: float = PAGE) -> Figure | None:
    """Bar charts of the main measures, a panel a measure.

    Args:
        compared: The runs and their subsets.
        view: The split to draw.
        width: Of the figure, in inches.

    Returns:
        The figure; None when the view has none of the measures.
    """
    runs, rows = compared.runs, compared.rows
    shown = shown_measures(compared, view)
    drawn = [i for i, row in enumerate(rows) if row.kind == "class"]
    if len(drawn) > MOST_CLASSES or not drawn:
        drawn = [i for i, row in enumerate(rows) if row.kind != "class"]
    if not shown or not drawn:
        return None
    columns = 2 if len(shown) > 1 and width > COLUMN else 1
    lines = -(-len(shown) // columns)
    made = figure(width, 1.55 * lines + 0.5)
    axes = np.atleast_1d(made.subplots(lines, columns, sharex=True)).ravel()
    for place, measure in zip(axes, shown, strict=False):
        _panel(place, runs, rows, view, measure, drawn)
    for empty in axes[len(shown) :]:
        empty.set_visible(False)
    if len(runs) > 1:
        handles, labels = axes[0].get_legend_handles_labels()
        made.legend(handles, labels, loc="outside upper right", ncols=len(runs))
    return made


def shown_measures(compared: Comparison, view: View) -> list[Measure]:
    """The measures that have a panel: those of the summary that compare by their size."""
    wanted = [key for key in compared.table.summary if key not in ("bottom", "negative_share")]
    measures = {m.key: m for m in compared.table.measures}
    return [measures[key] for key in wanted if any(key in columns for columns in view.columns)]


def _panel(
    axes: Axes, runs: Sequence[Run], rows: Sequence[Row], view: View, measure: Measure, drawn: list[int]
) -> None:
    scale = 100.0 if measure.percent else 1.0
    width = 0.8 / len(runs)
    places = np.arange(len(drawn))
    values = np.concatenate([c[measure.key].value[drawn] for c in view.columns if measure.key in c])
    logs = measure.scale != "linear" and bool(np.all(values[np.isfinite(values)] > 0))
    for position, run in enumerate(runs):
        column = view.columns[position].get(measure.key)
        if column is None:
            continue
        value = scale * column.value[drawn]
        errors = None
        if column.low is not None and column.high is not None:
            low, high = value - scale * column.low[drawn], scale * column.high[drawn] - value
            errors = np.nan_to_num(np.maximum([low, high], 0))
            errors[0] = np.minimum(errors[0], 0.999 * np.abs(value)) if logs else errors[0]
        at = places + (position - (len(runs) - 1) / 2) * width
        name, shade = plain(run.name, 24), color(run.configuration)
        if logs:  # a logarithmic axis has no zero for a bar to stand on
            axes.errorbar(
                at, value, errors, fmt="o", label=name, color=shade, markersize=3, elinewidth=0.6, capsize=1.2,
                capthick=0.6,
            )  # fmt: skip
        else:
            axes.bar(
                at, value, width, yerr=errors, label=name, color=shade, linewidth=0,
                error_kw={"elinewidth": 0.6, "capsize": 1.2, "capthick": 0.6},
            )  # fmt: skip
    if logs and np.isfinite(values).any():
        axes.set_yscale("log")
    label_panel(axes, f"{measure.title} (%)" if measure.percent else measure.title)
    axes.set_xticks(places, [plain(rows[i].title) for i in drawn], rotation=40, ha="right", rotation_mode="anchor")
    axes.tick_params(axis="x", length=0)
