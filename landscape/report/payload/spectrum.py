"""Spectral densities on even grids, as the page unpacks them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from landscape.comparison.packing import codes, floats
from landscape.comparison.rows import Row
from landscape.comparison.runs import Run
from landscape.comparison.spectrum import DensityCurve, densities_of

POINTS = 512
"""Points a density is drawn with; finer grids are averaged down to it."""


def pack_densities(runs: Sequence[Run], rows: Sequence[Row], view: str, kept: frozenset[int]) -> list[Any]:
    """The densities of one view.

    Args:
        runs: The page's runs.
        rows: The page's subsets.
        view: The measurement's name.
        kept: Rows whose curves the page has room for.

    Returns:
        One entry a run, None without densities: `rows`, ends of each grid (`lo`, `hi`), packed `y`, and packed `se`,
        None where none was stored.
    """
    return [_packed({i: d for i, d in densities_of(run, rows, view).items() if i in kept}) for run in runs]


def _packed(curves: dict[int, DensityCurve]) -> dict[str, Any] | None:
    if not curves:
        return None
    y, se = [], []
    for curve in curves.values():
        even = np.linspace(curve.x[0], curve.x[-1], min(POINTS, len(curve.x)))
        y.append(codes(np.interp(even, curve.x, curve.y)))
        se.append(None if curve.error is None else codes(np.interp(even, curve.x, curve.error)))
    ends = np.array([curve.x[[0, -1]] for curve in curves.values()])
    return {"rows": list(curves), "lo": floats(ends[:, 0]), "hi": floats(ends[:, 1]), "y": y, "se": se}
