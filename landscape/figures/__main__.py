"""`python -m landscape.figures A.h5 B.h5 --out figures`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from foundation.command import Parser, named_values, run
from landscape.figures.write import SUBSETS, write_figures


def parser() -> Parser:
    """The command's arguments."""
    made = Parser(
        "landscape.figures",
        "Writes figures for a paper (bars, spectra, ridgelines, contours) and a LaTeX table from landscape files.",
        "runs/ce/landscape.h5 runs/bgp/landscape.h5 --out figures --formats pdf,png",
    )
    made.add_argument(
        "files", nargs="+", type=Path, metavar="FILE", help="landscape.h5 files or run folders, the reference first"
    )
    made.add_argument("--out", type=Path, default=Path("figures"), help="the folder to write to")
    made.add_argument("--split", default="train", help="name of the measurements to draw")
    made.add_argument(
        "--surface", help="name of the surfaces to draw, such as train-eigen (default: that of the split)"
    )
    made.add_argument(
        "--subsets",
        default=",".join(SUBSETS),
        help="subsets whose surfaces are drawn, by name or label: few,class:3,Shirt",
    )
    made.add_argument("--formats", default="pdf", help="some of pdf, png, svg")
    made.add_argument("--labels", default="", metavar="RUN=NAME,…", help="what to call runs, such as ce=CE,bgp=BGP")
    made.add_argument("--width", default="double", help="single or double: columns of a two-column paper")
    made.add_argument("--font", default="serif", help="serif or sans")
    return made


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Runs the command."""
    run(_command, parser(), argv)


def _command(arguments: argparse.Namespace) -> None:
    figures = write_figures(
        arguments.files, arguments.out, split=arguments.split, surface=arguments.surface,
        subsets=arguments.subsets.split(","), formats=arguments.formats.split(","),
        labels=named_values("--labels", arguments.labels, "run=name pairs, such as ce=CE,bgp=BGP"),
        width=arguments.width, font=arguments.font,
    )  # fmt: skip
    for path in figures.paths:
        print(path)
    for name in figures.missing:
        print(f"no {name}: the files hold no numbers for it")


if __name__ == "__main__":
    main()
