"""Landscape files in, a folder of figures out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from foundation.errors import one_of
from foundation.files import replacing, require_writable_folder, write_text
from landscape.comparison.compare import Comparison, compare
from landscape.comparison.loss_grids import planes_of
from landscape.comparison.rows import find_row
from landscape.figures.bars import bars
from landscape.figures.captions import captions
from landscape.figures.contours import contours
from landscape.figures.latex import latex_table
from landscape.figures.spectra import gather_spectra, ridgelines, spectra
from landscape.figures.style import FONTS, WIDTHS, style

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
    labels: Mapping[str, str] | None = None,
    width: str = "double",
    font: str = "serif",
) -> Figures:
    """Writes bars, per-class spectra, ridgelines, contour grids, a LaTeX table and captions.

    Args:
        paths: Landscape files, the reference run first.
        out: The folder to write to.
        split: The measurements' name.
        surface: The surfaces' name, where it is another.
        subsets: Names of the subsets whose surfaces are drawn.
        formats: Some of `pdf`, `png`, `svg`.
        labels: What to call runs instead of the names they go by.
        width: `single` or `double`: columns of a two-column paper.
        font: `serif` or `sans`.

    Returns:
        What was written and what could not be.

    Raises:
        InputError: A file, the split, the surface, a subset, a run, the width, the font or a format is unknown, or
            `out` cannot be written.
    """
    for form in formats:
        if form not in FORMATS:
            raise one_of("format", form, FORMATS)
    for kind, value, known in (("width", width, WIDTHS), ("font", font, FONTS)):
        if value not in known:
            raise one_of(kind, value, known)
    across = WIDTHS[width]
    compared = _labeled(compare(paths), labels or {})
    view = next((view for view in compared.table.views if view.name == split), None)
    if view is None:
        raise one_of("split", split, [view.name for view in compared.table.views])
    missing_groups = set(SUBSETS) - {row.name for row in compared.rows}
    drawn = [find_row(compared.rows, name).name for name in subsets if name not in missing_groups]
    surfaces = {plane.name for run in compared.runs for plane in planes_of(run)}
    if surface is not None and surface not in surfaces:
        raise one_of("surface", surface, surfaces)
    require_writable_folder(out, "--out")
    gathered = gather_spectra(compared, split)
    makers: dict[str, Callable[[], Figure | None]] = {
        "bars": lambda: bars(compared, view, across),
        "spectra": lambda: spectra(gathered, across),
        "ridgelines": lambda: ridgelines(gathered, across),
        "contours": lambda: contours(compared, surface or split, drawn, across),
    }
    written: list[Path] = []
    missing: list[str] = []
    with style(font):
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
    write_text(out / "captions.txt", captions(compared, view, makers.keys() - set(missing)))
    return Figures((*written, out / "table.tex", out / "captions.txt"), tuple(missing))


def _labeled(compared: Comparison, labels: Mapping[str, str]) -> Comparison:
    names = [run.name for run in compared.runs]
    for name in labels:
        if name not in names:
            raise one_of("run", name, names)
    return replace(compared, runs=tuple(replace(run, name=labels.get(run.name, run.name)) for run in compared.runs))
