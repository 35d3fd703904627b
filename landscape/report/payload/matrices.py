"""What the page shows of classes against something else: classes, eigenvalues of the whole, layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from landscape.comparison.packing import floats
from landscape.comparison.rows import Row, keys_of, places_of
from landscape.comparison.runs import Run
from landscape.files.landscape_file import Measurement

ALONG = ("cross", "overlap")
"""vᵢᵀ H_c vᵢ, and the overlap of top eigenspaces: (direction i, subset c), classes against classes."""
SHARE = "share"
"""Each class's share of the whole Hessian's top eigenvalues, (rank, subset)."""
LAYERS = "layer_top"
"""The top eigenvalue of each layer's own block, (subset, layer)."""


def pack_matrices(runs: Sequence[Run], rows: Sequence[Row], view: str, kept: frozenset[int]) -> list[Any]:
    """The matrices of one view, a column a class from head to tail.

    Args:
        runs: The page's runs.
        rows: The page's subsets.
        view: The measurement's name.
        kept: Rows the page has room for.

    Returns:
        One entry a run: by the matrix's name its columns' `rows`, its lines' `names` (None where the lines are the
        same rows), and the packed values `v`, line by line.
    """
    return [_of_run(run.of("hessian").get(view), rows, kept) for run in runs]


def _of_run(measurement: Measurement | None, rows: Sequence[Row], kept: frozenset[int]) -> dict[str, Any]:
    if measurement is None:
        return {}
    index, data = places_of(rows), measurement.data
    places = [(index[key], p) for p, key in enumerate(keys_of(measurement)) if rows[index[key]].kind == "class"]
    places = sorted(place for place in places if place[0] in kept)
    columns, chosen = [row for row, _ in places], [p for _, p in places]
    packed: dict[str, Any] = {}

    def keep(key: str, matrix: np.ndarray, names: list[str] | None) -> None:
        if columns and np.isfinite(matrix).any():
            packed[key] = {"rows": columns, "names": names, "v": floats(matrix)}

    subsets = len(measurement.subset)
    for key in ALONG:
        if key in data and data[key].shape == (subsets, subsets):
            keep(key, data[key][np.ix_(chosen, chosen)], None)
    if SHARE in data and data[SHARE].ndim == 2 and data[SHARE].shape[1] == subsets:
        keep(SHARE, data[SHARE][:, chosen], [f"λ{_subscript(rank)}" for rank in range(1, len(data[SHARE]) + 1)])
    if LAYERS in data and data[LAYERS].ndim == 2 and data[LAYERS].shape[0] == subsets:
        names = data.get("layer", np.arange(data[LAYERS].shape[1]))
        keep(LAYERS, data[LAYERS][chosen].T, [str(name) for name in names])
    return packed


def _subscript(number: int) -> str:
    return str(number).translate(str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉"))
