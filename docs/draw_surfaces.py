"""Draws the surfaces of docs/surfaces.md: `python docs/draw_surfaces.py NAME FILE.png SUBSETS landscape.h5 …`.

A line a subset, a column a network, as `python -m landscape.figures --surface NAME` draws them, in a small file.
"""

from __future__ import annotations

import sys
from pathlib import Path

from PIL import Image

from landscape.comparison.compare import compare
from landscape.figures.contours import contours
from landscape.figures.style import style


def main() -> None:
    """Draws the surface named first of the files named last."""
    name, path, subsets, *files = sys.argv[1:]
    compared = compare([Path(file) for file in files])
    with style():
        figure = contours(compared, name, subsets.split(","))
        assert figure is not None
        figure.savefig(path, dpi=110)
    Image.open(path).convert("RGB").quantize(256, method=Image.Quantize.MAXCOVERAGE).save(path, optimize=True)


if __name__ == "__main__":
    main()
