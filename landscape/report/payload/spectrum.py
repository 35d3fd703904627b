"""Spectra as the page unpacks them: nodes, weights and single eigenvalues."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from landscape.comparison.packing import floats
from landscape.comparison.rows import Row
from landscape.comparison.runs import Run
from landscape.comparison.spectrum import spectra_of


def pack_spectra(runs: Sequence[Run], rows: Sequence[Row], view: str, kept: frozenset[int]) -> list[Any]:
    """The spectra of one view.

    Args:
        runs: The page's runs.
        rows: The page's subsets.
        view: The measurement's name.
        kept: Rows whose spectra the page has room for.

    Returns:
        One entry a run, by index of the row: packed `nodes`, `weights` and `converged` eigenvalues.
    """
    return [
        {
            row: {"nodes": floats(s.nodes), "weights": floats(s.weights), "converged": floats(s.converged)}
            for row, s in spectra_of(run, rows, view).items()
            if row in kept
        }
        for run in runs
    ]
