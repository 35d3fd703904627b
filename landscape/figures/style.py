"""How every figure looks: sizes of a two-column paper, embedded fonts, the report's color-blind-safe colors."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from landscape.comparison.run_colors import LIGHT

COLUMN = 3.35
"""Inches across one column of a two-column paper."""
PAGE = 6.9
"""Inches across both."""

FONTS: dict[str, dict[Any, Any]] = {
    "serif": {"font.family": "serif", "mathtext.fontset": "dejavuserif"},
    "sans": {"font.family": "sans-serif", "mathtext.fontset": "dejavusans"},
}
WIDTHS = {"single": COLUMN, "double": PAGE}
_STYLE: dict[Any, Any] = {
    "font.size": 8, "axes.titlesize": 8, "axes.labelsize": 8, "legend.fontsize": 7.5,
    "xtick.labelsize": 7, "ytick.labelsize": 7, "axes.linewidth": 0.6, "xtick.major.width": 0.6,
    "ytick.major.width": 0.6, "xtick.minor.width": 0.4, "ytick.minor.width": 0.4, "lines.linewidth": 1.1,
    "axes.spines.top": False, "axes.spines.right": False, "legend.frameon": False,
    "figure.constrained_layout.use": True, "savefig.dpi": 300,
    # Type 42 keeps text as text in PDF (journals refuse Type 3); SVG too keeps its text.
    "pdf.fonttype": 42, "ps.fonttype": 42, "svg.fonttype": "none", "svg.hashsalt": "longtail-landscape",
}  # fmt: skip


@contextmanager
def style(font: str = "serif") -> Iterator[None]:
    """Matplotlib settings for papers, for the block alone.

    Args:
        font: `serif` or `sans`.

    Yields:
        Nothing.
    """
    with mpl.rc_context(_STYLE | FONTS[font]), warnings.catch_warnings():
        # A name in a script that no installed font has is drawn as boxes; one warning a glyph and draw helps nobody.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        yield


def plain(name: str, most: int = 16) -> str:
    """A name that matplotlib shows as it is: cut when long, never read as mathematics."""
    shown = name if len(name) <= most else name[: most - 1] + "…"
    return "".join(letter if letter.isprintable() else " " for letter in shown).replace("$", r"\$")


def color(position: int) -> str:
    """The color of a configuration."""
    return LIGHT[position % len(LIGHT)]


def figure(width: float, height: float) -> Figure:
    """An empty figure in inches that belongs to no window."""
    return Figure(figsize=(width, height))


def label_panel(axes: Axes, text: str) -> None:
    """A small title above a panel's left edge."""
    axes.set_title(text, loc="left")
