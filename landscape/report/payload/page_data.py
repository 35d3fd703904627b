"""The page's data: what every panel reads, in one JSON object."""

from __future__ import annotations

from typing import Any

import numpy as np

from landscape.comparison.columns import Column
from landscape.comparison.compare import Comparison
from landscape.comparison.flatness import UNKNOWN
from landscape.comparison.packing import floats
from landscape.comparison.run_colors import LIGHT
from landscape.comparison.table import View
from landscape.report.change import witnessed
from landscape.report.palette import diverging, sequential
from landscape.report.payload.constants import constants
from landscape.report.payload.curves import pack_curves
from landscape.report.payload.loss_grids import pack_lines, pack_surfaces
from landscape.report.payload.matrices import pack_matrices
from landscape.report.payload.samples import pack_samples
from landscape.report.payload.spectrum import pack_spectra
from landscape.report.payload.track import pack_tracks
from landscape.schema import VERDICTS


def page_data(compared: Comparison, kept: frozenset[int]) -> dict[str, Any]:
    """All that the page's scripts read.

    Args:
        compared: What the page compares.
        kept: Rows whose surfaces and densities go in.

    Returns:
        A JSON object.
    """
    runs, rows, table = compared.runs, compared.rows, compared.table
    known = {run.landscape.checkpoint_sha256: run.name for run in runs}
    return {
        "constants": constants(),
        "runs": [run.name for run in runs],
        "colors": [run.configuration % len(LIGHT) for run in runs],
        "rows": {
            "name": [row.name for row in rows],
            "title": [row.title for row in rows],
            "kind": [row.kind for row in rows],
            "group": [row.group for row in rows],
            "count": floats([row.train_count for row in rows]),
        },
        "measures": [
            {"key": m.key, "title": m.title, "short": m.short, "scale": m.scale, "family": m.family, "words": m.words,
             "error": m.error, "percent": m.percent}
            for m in table.measures
        ],
        "summary": list(table.summary),
        "atEqualLoss": [
            {i: f"{found.verdict} ({witnessed(found)})" for i, found in enumerate(flatness) if found.verdict != UNKNOWN}
            for flatness in compared.flatness
        ],
        "views": [_view(view, compared, kept) for view in table.views],
        "surfaces": [pack_surfaces(run, rows, kept, known) for run in runs],
        "lines": [pack_lines(run, rows, kept, known) for run in runs],
        "curves": pack_curves(runs, rows),
        "tracks": pack_tracks(runs, rows),
        "palette": {"sequential": sequential(), "light": diverging(dark=False), "dark": diverging(dark=True)},
    }  # fmt: skip


def _view(view: View, compared: Comparison, kept: frozenset[int]) -> dict[str, Any]:
    runs, rows = compared.runs, compared.rows
    return {
        "name": view.name,
        "columns": [
            {key: _column(column) for key, column in columns.items() if key in compared.table.keys}
            for columns in view.columns
        ],
        "verdicts": [[VERDICTS.index(v) if v else -1 for v in verdicts] for verdicts in view.verdicts],
        "spectra": pack_spectra(runs, rows, view.name, kept),
        "matrices": pack_matrices(runs, rows, view.name, kept),
        "samples": pack_samples(runs, rows, view.name, kept),
    }


def _column(column: Column) -> dict[str, Any]:
    packed = {"v": floats(column.value)}
    if column.low is not None and column.high is not None and np.isfinite(column.low).any():
        packed |= {"lo": floats(column.low), "hi": floats(column.high)}
    return packed
