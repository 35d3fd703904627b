"""What a page (or a set of figures) compares: the runs, the union of their subsets and every measure of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from landscape.comparison.flatness import Flatness, compare_flatness
from landscape.comparison.rows import Row, rows_of
from landscape.comparison.runs import Run, open_runs
from landscape.comparison.seeds import SeedComparison, compare_seeds
from landscape.comparison.table import Table, tabulate


@dataclass(frozen=True)
class Comparison:
    """Landscape files side by side.

    Attributes:
        runs: The runs, the reference first.
        rows: Every subset that any run measured, groups first, then classes from head to tail.
        table: Their measures.
        flatness: By run, how each row compares with the first run's; empty for the first itself.
        seeds: How methods compare over seeds, where any has several; the first method before.
    """

    runs: tuple[Run, ...]
    rows: tuple[Row, ...]
    table: Table
    flatness: tuple[tuple[Flatness, ...], ...]
    seeds: tuple[SeedComparison, ...] = ()


def compare(paths: Sequence[Path], groups: Mapping[str, str] | None = None) -> Comparison:
    """Opens landscape files for comparison.

    Args:
        paths: Landscape files, the reference run first.
        groups: Patterns of the names of runs that are seeds of one method, by the method's name.

    Returns:
        What they hold.

    Raises:
        InputError: No file was given, one was given twice, one cannot be read, or `groups` fit no run or one twice.
    """
    runs = open_runs(paths, groups)
    rows = rows_of(runs)
    table = tabulate(runs, rows)
    split = next((view.name for view in table.views if view.name in ("train", "test")), "train")
    flatness = tuple(compare_flatness(runs[0], other, rows, split) for other in runs[1:])
    return Comparison(runs, rows, table, ((), *flatness), compare_seeds(runs, rows, split))
