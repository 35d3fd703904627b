"""What a page (or a set of figures) compares: the runs, the union of their subsets and every measure of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from landscape.comparison.rows import Row, rows_of
from landscape.comparison.runs import Run, open_runs
from landscape.comparison.table import Table, tabulate


@dataclass(frozen=True)
class Comparison:
    """Landscape files side by side.

    Attributes:
        runs: The runs, the reference first.
        rows: Every subset that any run measured, groups first, then classes from head to tail.
        table: Their measures.
    """

    runs: tuple[Run, ...]
    rows: tuple[Row, ...]
    table: Table


def compare(paths: Sequence[Path]) -> Comparison:
    """Opens landscape files for comparison.

    Args:
        paths: Landscape files, the reference run first.

    Returns:
        What they hold.

    Raises:
        InputError: No file was given, one was given twice, or one cannot be read.
    """
    runs = open_runs(paths)
    rows = rows_of(runs)
    return Comparison(runs, rows, tabulate(runs, rows))
