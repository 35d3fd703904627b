"""Draws the surfaces of docs/surfaces.md: `python docs/draw_surfaces.py NAME FILE.png SUBSETS landscape.h5 …`.

A line a subset, a column a network, on one colour scale that begins at a loss of 0.01: what interpolation says below is
noise. Each axis fills its panel, since an eigen plane is much longer along one than along the other.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image

from landscape.figures.contours import contours
from landscape.figures.style import style
from landscape.report.comparison import compare
from landscape.report.surfaces import planes_of

FLOOR = 0.01


def main() -> None:
    """Draws the surface named first of the files named last."""
    name, path, subsets, *files = sys.argv[1:]
    compared = compare([Path(file) for file in files])
    for run in compared.runs:
        for plane in planes_of(run):
            np.maximum(plane.data["loss"], FLOOR, out=plane.data["loss"])
    with style():
        figure = contours(compared, name, subsets.split(","))
        assert figure is not None
        for panel in figure.axes:
            panel.set_aspect("auto")
        figure.savefig(path, dpi=110)
    Image.open(path).convert("RGB").quantize(256, method=Image.Quantize.MAXCOVERAGE).save(path, optimize=True)


if __name__ == "__main__":
    main()
