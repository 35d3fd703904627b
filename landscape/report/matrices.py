"""Cross-class curvature for the page: each class's Hessian along every class's sharpest direction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from landscape.report.packing import floats
from landscape.report.runs import Run
from landscape.report.subsets import Row, keys_of

CROSS = "cross"
"""The dataset of vᵢᵀ H_c vᵢ, (direction i, subset c)."""


def pack_matrices(runs: Sequence[Run], rows: Sequence[Row], view: str, kept: frozenset[int]) -> list[Any]:
    """The cross-class matrices of one view, classes only, head to tail.

    Args:
        runs: The page's runs.
        rows: The page's subsets.
        view: The measurement's name.
        kept: Rows the page has room for.

    Returns:
        One entry a run, None without a matrix: `rows` and the packed values `v`, a line a direction.
    """
    index = {(row.name, row.label): i for i, row in enumerate(rows)}
    packed: list[Any] = []
    for run in runs:
        measurement = run.of("hessian").get(view)
        matrix = None if measurement is None else measurement.data.get(CROSS)
        if measurement is None or matrix is None or matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
            packed.append(None)
            continue
        places = [(index[key], p) for p, key in enumerate(keys_of(measurement)) if rows[index[key]].kind == "class"]
        places = sorted(place for place in places if place[0] in kept)
        chosen = [p for _, p in places]
        packed.append({"rows": [row for row, _ in places], "v": floats(matrix[np.ix_(chosen, chosen)])})
    return packed
