"""Draws the surfaces of docs/surfaces.md: `python docs/draw_surfaces.py NAME FILE.png SUBSETS landscape.h5 …`.

A line a subset, a column a network, on one colour scale; each axis fills its panel, since an eigen plane is much longer
along one than along the other.
"""

from __future__ import annotations

import sys
from pathlib import Path

from PIL import Image

from landscape.figures.contours import contours
from landscape.figures.style import style
from landscape.report.comparison import compare


def main() -> None:
    """Draws the surface named first of the files named last."""
    name, path, subsets, *files = sys.argv[1:]
    with style():
        figure = contours(compare([Path(file) for file in files]), name, subsets.split(","))
        assert figure is not None
        for panel in figure.axes:
            panel.set_aspect("auto")
        figure.savefig(path, dpi=110)
    Image.open(path).convert("RGB").quantize(256, method=Image.Quantize.MAXCOVERAGE).save(path, optimize=True)


if __name__ == "__main__":
    main()
