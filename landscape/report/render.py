"""One self-contained page: a template, its style and scripts, plotly.js and the numbers, all in one file."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from importlib import resources
from typing import Any

import numpy as np
from jinja2 import Environment, StrictUndefined, select_autoescape
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from foundation.packages import package_version
from landscape.comparison.caveats.caveat import LEVELS, Caveat
from landscape.comparison.compare import Comparison
from landscape.comparison.densities import pack_densities
from landscape.comparison.measure import Column
from landscape.comparison.measures import View
from landscape.comparison.packing import floats
from landscape.comparison.runs import Run
from landscape.comparison.surfaces import pack_lines, pack_surfaces
from landscape.report.headline import headline_of
from landscape.report.palette import diverging, sequential
from landscape.report.payload.curves import pack_curves
from landscape.report.payload.matrices import pack_matrices
from landscape.report.payload.samples import pack_samples
from landscape.schema import VERDICTS

SCRIPTS = (
    "unpack.js", "model.js", "format.js", "scales.js", "state.js", "theme.js", "export.js", "plot_panel.js",
    "controls.js", "picker.js", "toolbar.js", "verdict_strip.js", "detail.js", "table.js", "correlation.js",
    "quantile_bands.js", "explorer.js", "density.js", "grid.js", "surface.js", "matrix.js", "line.js", "curves.js",
    "start.js",
)  # fmt: skip
"""In this order they share one scope; each holds one idea and says it in its first line."""


def render(compared: Comparison, caveats: Sequence[Caveat], kept: frozenset[int]) -> str:
    """The whole page as HTML.

    Args:
        compared: What the page compares.
        caveats: What to warn of.
        kept: Rows whose surfaces and densities go in.

    Returns:
        HTML that needs nothing from anywhere.
    """
    environment = Environment(
        autoescape=select_autoescape(default=True), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    template = environment.from_string(_asset("report.html"))
    plotly = get_plotlyjs()
    script = '"use strict";\n(() => {\n' + "\n".join(_asset(name) for name in SCRIPTS) + "\n})();"
    return template.render(
        policy=_policy(plotly, script),
        style=Markup(_asset("report.css")),
        plotly=Markup(plotly),
        script=Markup(script),
        data=Markup(escape_json(_data(compared, kept))),
        headline=headline_of(compared, caveats),
        runs=compared.runs,
        provenance=[_provenance(run) for run in compared.runs],
        caveats=caveats,
        levels=LEVELS,
        version=package_version(),
    )


def escape_json(value: Any) -> str:
    """JSON that is inert inside a script element: no `<`, `>`, `&` or line separator of JavaScript is left bare."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for bare, escaped in (
        ("&", "\\u0026"),
        ("<", "\\u003c"),
        (">", "\\u003e"),
        ("\u2028", "\\u2028"),
        ("\u2029", "\\u2029"),
    ):
        text = text.replace(bare, escaped)
    return text


def _asset(name: str) -> str:
    return (resources.files("landscape.report") / "page" / name).read_text(encoding="utf-8")


def _policy(*scripts: str) -> str:
    """A content security policy: nothing is fetched, and no script but these very ones runs."""
    hashes = " ".join(
        f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'" for script in scripts
    )
    return (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )


def _data(compared: Comparison, kept: frozenset[int]) -> dict[str, Any]:
    runs, rows, table = compared.runs, compared.rows, compared.table
    known = {run.landscape.checkpoint_sha256: run.name for run in runs}
    return {
        "runs": [run.name for run in runs],
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
        "sharpness": table.sharpness,
        "views": [_view(view, compared, kept) for view in table.views],
        "surfaces": [pack_surfaces(run, rows, kept, known) for run in runs],
        "lines": [pack_lines(run, rows, kept, known) for run in runs],
        "curves": pack_curves(runs, rows),
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
        "densities": pack_densities(runs, rows, view.name, kept),
        "matrices": pack_matrices(runs, rows, view.name, kept),
        "samples": pack_samples(runs, rows, view.name, kept),
    }


def _column(column: Column) -> dict[str, Any]:
    packed = {"v": floats(column.value)}
    if column.low is not None and column.high is not None and np.isfinite(column.low).any():
        packed |= {"lo": floats(column.low), "hi": floats(column.high)}
    return packed


def _provenance(run: Run) -> list[dict[str, Any]]:
    return [
        {
            "what": f"{m.analysis}/{m.name}",
            "complete": m.complete,
            "config": _pairs(m.config),
            "extent": _pairs(m.extent),
            "made": _pairs(m.provenance),
            "spent": _pairs(
                {k: v for k, v in m.attributes.items() if k not in ("analysis", "config_sha256", "identity")}
            ),
        }
        for m in run.landscape.measurements
    ]


def _pairs(values: Any) -> str:
    return " · ".join(f"{key} {_short(value)}" for key, value in values.items() if value not in (None, "", [], {}))


def _short(value: Any) -> str:
    text = (
        f"{value:.6g}"
        if isinstance(value, float)
        else json.dumps(value)
        if isinstance(value, dict | list)
        else str(value)
    )
    return text if len(text) <= 200 else text[:199] + "…"
