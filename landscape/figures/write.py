"""Landscape files in, a folder of figures out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from foundation.errors import InputError, one_of
from foundation.files import replacing, require_writable_folder, write_text
from landscape.comparison.compare import compare
from landscape.comparison.loss_grids import planes_of
from landscape.figures.bars import bars
from landscape.figures.contours import contours
from landscape.figures.latex import latex_table
from landscape.figures.spectra import gather_spectra, ridgelines, spectra
from landscape.figures.style import style

FORMATS = ("pdf", "png", "svg")
SUBSETS = ("many", "medium", "few")
_UNDATED: dict[str, dict[str, Any]] = {"pdf": {"CreationDate": None}, "png": {}, "svg": {"Date": None}}
"""Without a date the same numbers make the same file."""


@dataclass(frozen=True)
class Figures:
    """What was written.

    Attributes:
        paths: Every file, the pictures first.
        missing: Figures that the files hold no numbers for.
    """

    paths: tuple[Path, ...]
    missing: tuple[str, ...]


def write_figures(
    paths: Sequence[Path],
    out: Path,
    *,
    split: str = "train",
    surface: str | None = None,
    subsets: Sequence[str] = SUBSETS,
    formats: Sequence[str] = ("pdf",),
) -> Figures:
    """Writes bars, per-class spectra, density ridgelines, contour grids and a LaTeX table.

    Args:
        paths: Landscape files, the reference run first.
        out: The folder to write to.
        split: The measurements' name.
        surface: The surfaces' name, where it is another.
        subsets: Names of the subsets whose surfaces are drawn.
        formats: Some of `pdf`, `png`, `svg`.

    Returns:
        What was written and what could not be.

    Raises:
        InputError: A file, the split, the surface, a subset or a format is unknown, or `out` cannot be written.
    """
    for form in formats:
        if form not in FORMATS:
            raise one_of("format", form, FORMATS)
    compared = compare(paths)
    view = next((view for view in compared.table.views if view.name == split), None)
    if view is None:
        raise one_of("split", split, [view.name for view in compared.table.views])
    for name in subsets:
        if name not in {row.name for row in compared.rows} | set(SUBSETS):
            raise InputError(
                f"no file has the subset {name!r}: name some of {', '.join(row.name for row in compared.rows[:8])}, …"
            )
    surfaces = {plane.name for run in compared.runs for plane in planes_of(run)}
    if surface is not None and surface not in surfaces:
        raise one_of("surface", surface, surfaces)
    require_writable_folder(out, "--out")
    densities = gather_spectra(compared, split)
    makers: dict[str, Callable[[], Figure | None]] = {
        "bars": lambda: bars(compared, view),
        "spectra": lambda: spectra(densities),
        "ridgelines": lambda: ridgelines(densities),
        "contours": lambda: contours(compared, surface or split, subsets),
    }
    written: list[Path] = []
    missing: list[str] = []
    with style():
        for name, make in makers.items():
            made = make()
            if made is None:
                missing.append(name)
                continue
            for form in formats:
                path = out / f"{name}.{form}"
                with replacing(path) as temporary:
                    made.savefig(temporary, format=form, metadata=_UNDATED[form])
                written.append(path)
    write_text(out / "table.tex", latex_table(compared, view))
    return Figures((*written, out / "table.tex"), tuple(missing))
