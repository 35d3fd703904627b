"""`python -m landscape.report A.h5 B.h5 --out report.html`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import NoReturn

from foundation.command import Parser, named_values, run
from landscape.comparison.formatting import count
from landscape.report.write import write_report


def parser() -> Parser:
    """The command's arguments."""
    made = Parser(
        "landscape.report",
        "Writes one self-contained page, readable offline, that compares landscape files class by class.",
        "runs/ce/landscape.h5 runs/bgp/landscape.h5 --out report.html",
    )
    made.add_argument(
        "files", nargs="+", type=Path, metavar="FILE", help="landscape.h5 files or run folders, the reference first"
    )
    made.add_argument("--out", type=Path, default=Path("report.html"), help="the page to write")
    made.add_argument(
        "--group",
        default="",
        metavar="NAME=RUNS,…",
        help="runs that are seeds of one method, such as 'ce=ce-*,bgp=bgp-*' (default: those of one config.json)",
    )
    made.add_argument("--json", action="store_true", help="print what was written as JSON, for scripts")
    return made


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Runs the command."""
    run(_command, parser(), argv)


def _command(arguments: argparse.Namespace) -> None:
    groups = named_values("--group", arguments.group, "name=pattern pairs, such as 'ce=ce-*,bgp=bgp-*'")
    report = write_report(arguments.files, arguments.out, groups=groups)
    if arguments.json:
        print(json.dumps(asdict(report), default=str, ensure_ascii=False))
        return
    runs, caveats = count(len(report.runs), "run"), count(len(report.caveats), "caveat")
    print(f"{report.path}: {runs}, {caveats}, {report.size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
