"""Which subsets' curves, surfaces and matrices the page has room for."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from landscape.comparison.loss_grids import lines_of, planes_of
from landscape.comparison.rows import Row
from landscape.comparison.runs import Run
from landscape.report.payload.loss_grids import STORED
from landscape.report.payload.matrices import ALONG

BUDGET = 12_000_000
"""Bytes of base64 all surfaces, spectra and matrices may take: with plotly.js (4.8 MB) a page stays below 20 MB."""
EXTREMES = 20
"""How many of the sharpest and of the flattest classes stay when not all fit."""


def choose_rows(runs: Sequence[Run], rows: Sequence[Row], sharpness: np.ndarray) -> frozenset[int]:
    """Which rows get curves and surfaces: all when they fit, else the groups and the extremes.

    Args:
        runs: The page's runs.
        rows: The page's subsets.
        sharpness: What the extremes are extremes of, one a row; NaN where unknown.

    Returns:
        Indices of rows.
    """
    everything = frozenset(range(len(rows)))
    cells = sum(
        m.data[key].size for run in runs for m in (*planes_of(run), *lines_of(run)) for key in STORED if key in m.data
    )
    hessians = [m for run in runs for m in run.of("hessian").values()]
    # Matrices and spectra are floats, twice the bytes a number; a spectrum has a weight for each of its nodes.
    nodes = (m.data.get("nodes", m.data.get("density", np.empty(0))) for m in hessians)
    spectra = sum(4 * values.size for values in nodes)
    matrices = sum(2 * m.data[key].size for m in hessians for key in ALONG if key in m.data)
    if (cells + spectra + matrices) * 8 // 3 <= BUDGET:
        return everything
    classes = [i for i, row in enumerate(rows) if row.kind == "class"]
    order = sorted(classes, key=lambda i: (np.isnan(sharpness[i]), -sharpness[i], i))
    known = [i for i in order if np.isfinite(sharpness[i])] or order
    return everything - set(classes) | set(known[:EXTREMES]) | set(known[-EXTREMES:])
