"""The figure of a study: each statement's estimate and its interval over seeds, points and ratios apart."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from pathlib import Path

from analyses.engine.answers import Answer, is_ratio
from analyses.engine.study import Difference
from foundation.files import replacing

WIDTH, LINE = 7.5, 0.5
"""Inches: of the figure, and for each statement."""
LETTERS = 44
"""Of a line of a statement."""


def draw_answers(answers: Sequence[Answer], path: Path) -> None:
    """Draws the answers that have a number; the verdict stands beside each.

    Args:
        answers: The answers.
        path: The SVG file to write.
    """
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    from landscape.figures.style import style

    panels: dict[str, list[Answer]] = {}
    for answer in answers:
        if math.isfinite(answer.estimate):
            panels.setdefault(_axis(answer), []).append(answer)
    with style("sans"):
        heights = [len(told) for told in panels.values()] or [1]
        figure = Figure(figsize=(WIDTH, LINE * sum(heights) + 0.7 * len(heights)))
        FigureCanvasSVG(figure)
        grid = figure.subplots(len(heights), squeeze=False, gridspec_kw={"height_ratios": heights})
        for axes, (label, told) in zip(grid[:, 0], panels.items(), strict=False):
            ratio = is_ratio(told[0].question)
            for row, answer in enumerate(told):
                if math.isfinite(answer.low) and math.isfinite(answer.high):
                    axes.plot([answer.low, answer.high], [row, row], color="#555555")
                axes.plot([answer.estimate], [row], "o", color="#1f4e8c", markersize=4)
            axes.axvline(1 if ratio else 0, color="#999999", linewidth=0.6)
            axes.set_yticks(range(len(told)), [_label(answer) for answer in told])
            axes.set_ylim(len(told) - 0.5, -0.5)
            axes.set_xlabel(label)
            if ratio:
                axes.set_xscale("log")
                axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
                axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
                axes.xaxis.set_minor_locator(NullLocator())
        if not panels:
            grid[0, 0].set_axis_off()
            grid[0, 0].text(0.5, 0.5, "nothing was run", ha="center")
        with replacing(path) as temporary:
            figure.savefig(temporary, format="svg", metadata={"Date": None})


def _axis(answer: Answer) -> str:
    about = answer.question.about
    if is_ratio(answer.question):
        return "ratio and its 95 % interval over seeds (flatness: the first witness)"
    measure = about.measure if isinstance(about, Difference) else ""
    unit = "percent points" if measure.startswith("accuracy") else measure
    return f"difference in {unit}, and its 95 % interval over seeds"


def _label(answer: Answer) -> str:
    seeds = "1 seed" if answer.seeds == 1 else f"{answer.seeds} seeds"
    return f"{textwrap.fill(answer.question.text, LETTERS)}\n{answer.verdict}, {seeds}".replace("$", r"\$")
