"""What stands under an example of the gallery: a picture of what it measured, and its page where it wrote one."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

import landscape
from foundation.errors import LandscapeError
from landscape.comparison.compare import compare
from landscape.figures.bars import bars
from landscape.figures.spectra import gather_spectra, ridgelines
from landscape.figures.style import figure, style

HERE = Path(__file__).resolve().parent
PAGES = HERE / "generated" / "extra" / "pages"  # `html_extra_path` copies them beside the site's own
SOURCES = {path.name for path in (HERE.parent / "examples").glob("*.py")} | {"README.txt"}
WIDTH = 4.6  # inches: the text column at 150 dots each
ROUGH = landscape.HessianSettings(top=1, tol=1e-2, probes=2, slq_vectors=2, max_products=60, intervals=False)
WRAPPED = ".. raw:: html\n\n    <style>.sphx-glr-script-out pre { white-space: pre-wrap }</style>\n\n"


def scrape(block: Any, block_vars: dict[str, Any], gallery_conf: dict[str, Any]) -> str:
    """Draws each landscape file that the example left, or else its `subject`; then clears what it left.

    Called by sphinx-gallery in the example's folder; what it returns, reStructuredText, stands before the output.
    """
    example = Path(block_vars["src_file"])
    shown = ""
    for file in sorted(example.parent.glob("*.h5")) or _measured(block_vars["example_globals"], example):
        with style("sans"):
            about, drawn = picture(file)
            place = next(block_vars["image_path_iterator"])
            drawn.savefig(place, dpi=150)
        at = "/" + Path(place).relative_to(gallery_conf["src_dir"]).as_posix()
        shown += (
            f".. image-sg:: {at}\n    :alt: {about}\n    :srcset: {at}\n    :class: sphx-glr-single-img\n\n{about}.\n\n"
        )
    for page in sorted(example.parent.glob("*.html")):
        at = f"../../pages/{shutil.copy(page, PAGES / f'{example.stem}.html').name}"
        shown += (
            f".. raw:: html\n\n    <p><a href='{at}'>The page that it wrote</a>, to be tried here:</p>\n"
            f"    <iframe src='{at}' title='{page.name}' loading='lazy' style='width:100%;height:42rem;border:0'>"
            "</iframe>\n\n"
        )
    for path in example.parent.iterdir():
        if path.name not in SOURCES:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    return shown or WRAPPED


def picture(file: Path) -> tuple[str, Figure]:
    """What a landscape file is best seen by: a track over steps, spectra, or else bars; with what it shows."""
    if tracked := landscape.read_track(file):
        track, made = tracked[0], figure(WIDTH, 2.6)
        axes = made.subplots()
        axes.plot(track.step, track.top, marker="o", markersize=3, label=track.subset)
        axes.set(xlabel="step", ylabel="top eigenvalue", xticks=track.step)
        axes.legend()
        return "The top eigenvalue of each subset along training", made
    compared = compare([file])
    view = compared.table.views[0]
    if made := ridgelines(gather_spectra(compared, view.name), WIDTH):
        return "The share of the Hessian's eigenvalues beyond λ, by class or subset", made
    made = bars(compared, view, WIDTH)
    assert made is not None, f"{file.name} holds nothing to draw"
    return "What was measured, by class or subset", made


def _measured(variables: dict[str, Any], example: Path) -> list[Path]:
    """The spectra of an example that wrote no file, measured roughly into one; none of a network that is refused."""
    file = example.with_suffix(".h5")
    with contextlib.suppress(LandscapeError):
        landscape.measure(variables["subject"], file, hessian=ROUGH)
        return [file]
    return []
