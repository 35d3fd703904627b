"""What a reader must know before believing the page: every weakness of the measurements, in plain words."""

from __future__ import annotations

from collections.abc import Sequence

from landscape.report.caveat import LEVELS, Caveat
from landscape.report.comparability import comparability
from landscape.report.measures import Table
from landscape.report.quality import quality
from landscape.report.runs import Run
from landscape.report.standing import standing
from landscape.report.subsets import Row

__all__ = ["LEVELS", "Caveat", "caveats_of"]


def caveats_of(runs: Sequence[Run], rows: Sequence[Row], table: Table, left_out: int) -> tuple[Caveat, ...]:
    """Everything the page warns of, the serious first.

    Args:
        runs: The page's runs.
        rows: The page's subsets.
        table: Their measures.
        left_out: How many subsets' surfaces and densities the page had no room for.

    Returns:
        The caveats; at least the notes that hold for every page of this kind.
    """
    found = [*comparability(runs, rows, table), *quality(runs, rows, table), *standing(runs, rows, table, left_out)]
    return tuple(sorted(found, key=lambda caveat: LEVELS.index(caveat.level)))
