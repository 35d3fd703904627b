"""Names and numbers as the page's own HTML sets them."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from landscape.comparison.runs import Run
from landscape.comparison.table import View


def run_mark(runs: Sequence[Run], position: int) -> Markup:
    """A run's name in the color of its configuration."""
    return Markup('<span class="run run-{}">{}</span>').format(runs[position].configuration % 8, runs[position].name)


def method_mark(runs: Sequence[Run], position: int) -> Markup:
    """The name of a run's method in its color."""
    run = runs[position]
    return Markup('<span class="run run-{}">{}</span>').format(run.configuration % 8, run.method)


def strong(text: str) -> Markup:
    """A text that stands out."""
    return Markup("<strong>{}</strong>").format(text)


def value_at(view: View, run: int, key: str, row: int) -> float:
    """A measure of a run at a row; NaN where it was not measured."""
    column = view.columns[run].get(key)
    return float(column.value[row]) if column is not None else float("nan")
