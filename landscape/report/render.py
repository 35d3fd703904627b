"""One self-contained page: a template, its style and scripts, plotly.js and the numbers, all in one file."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from importlib import resources
from typing import Any

from jinja2 import Environment, StrictUndefined, select_autoescape
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from foundation.packages import package_version
from landscape.comparison.caveats.caveat import LEVELS, Caveat
from landscape.comparison.compare import Comparison
from landscape.comparison.flatness import RULE, WITNESSES
from landscape.comparison.seeds import FEWEST_PAIRS
from landscape.report.flatness_table import seed_table, witness_lines
from landscape.report.headline import headline_of
from landscape.report.palette import run_colors
from landscape.report.payload.page_data import page_data
from landscape.report.payload.provenance import provenance_of

SCRIPTS = (
    "page_data", "unpack", "format", "element", "scales", "correlation", "subsets", "state", "lookup", "theme",
    "export", "chart_keys", "plot_panel", "controls", "picker", "toolbar", "verdict_strip", "detail", "table",
    "quantile_bands", "explorer", "spectrum", "grid", "surface_traces", "surface", "matrix", "line", "curves", "track",
    "start",
)  # fmt: skip
"""In this order: each is one closure that names what it takes from earlier ones and what it gives to later ones."""


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
    script = '"use strict";\nconst landscape = {};\n' + "\n".join(_asset(f"{name}.js") for name in SCRIPTS)
    return template.render(
        policy=_policy(plotly, script),
        style=Markup(run_colors() + _asset("report.css")),
        plotly=Markup(plotly),
        script=Markup(script),
        data=Markup(escape_json(page_data(compared, kept))),
        headline=headline_of(compared, caveats),
        runs=compared.runs,
        provenance=[provenance_of(run) for run in compared.runs],
        caveats=caveats,
        rule=RULE,
        witnesses=WITNESSES,
        fewest_pairs=FEWEST_PAIRS,
        over_seeds=[seed_table(compared, seeds) for seeds in compared.seeds],
        flatness=[witness_lines(compared, other) for other in range(1, len(compared.runs))],
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
