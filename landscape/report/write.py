"""Landscape files in, one page out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from foundation.errors import InputError
from foundation.files import require_writable_folder, write_text
from landscape.comparison.caveats.collect import caveats_of
from landscape.comparison.compare import compare
from landscape.report.headline import headline_of
from landscape.report.payload.budget import choose_rows
from landscape.report.render import render


@dataclass(frozen=True)
class Report:
    """A written page.

    Attributes:
        path: The HTML file.
        size: Its bytes.
        claim: Its headline as plain text.
        runs: What the page calls the runs, the reference first.
        caveats: Its warnings, the serious first.
        left_out: Subsets whose surfaces and densities did not fit.
    """

    path: Path
    size: int
    claim: str
    runs: tuple[str, ...]
    caveats: tuple[str, ...]
    left_out: int


def write_report(paths: Sequence[Path], out: Path, *, groups: Mapping[str, str] | None = None) -> Report:
    """Writes one self-contained page that compares landscape files.

    Args:
        paths: Landscape files; the first is the reference the others are compared with.
        out: The HTML file; replaced in one step when it exists.
        groups: Runs that are seeds of one method, by the method's name: a pattern of run names, such as `bgp-*`. The
            others are grouped by the training configuration beside them.

    Returns:
        What was written.

    Raises:
        InputError: A file is missing, damaged, empty or given twice, `groups` fit none, or `out` cannot be written.
    """
    out = Path(out)
    if out.is_dir():
        raise InputError(f"--out {str(out)!r} is a folder: name a file such as report.html")
    compared = compare(paths, groups)
    runs, rows, table = compared.runs, compared.rows, compared.table
    for run in runs:
        if not run.landscape.measurements:
            raise InputError(f"{str(run.landscape.path)!r} holds no measurement: run python -m landscape.hessian first")
    require_writable_folder(out.parent, "--out")
    if not rows:
        raise InputError(f"{str(runs[0].landscape.path)!r} holds no subset: measure at least one class")
    sharpness = np.full(len(rows), np.nan)
    if table.views and "top" in table.views[0].columns[0]:
        sharpness = table.views[0].columns[0]["top"].value
    kept = choose_rows(runs, rows, sharpness)
    left_out = len(rows) - len(kept)
    caveats = caveats_of(compared, left_out)
    html = render(compared, caveats, kept)
    write_text(out, html)
    return Report(
        out,
        len(html.encode()),
        headline_of(compared, caveats).title.striptags(),
        tuple(run.name for run in runs),
        tuple(caveat.text for caveat in caveats),
        left_out,
    )
