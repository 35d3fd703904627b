"""The command over all studies: what there is, and what committed results say of the paper's claims."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NoReturn

from analyses.engine.findings import findings_table
from analyses.engine.study import Study
from foundation.command import Parser, run

RESULTS = Path(__file__).parent.parent / "results"


def _tell(studies: Sequence[Study], arguments: argparse.Namespace) -> None:
    if arguments.findings:
        print(findings_table(studies, arguments.results))
        return
    for study in studies:
        runs = len(study.variants) * study.seeds
        print(f"python -m analyses.{study.name:<17} {study.asks} ({runs} runs, {len(study.questions)} statements)")


def main(studies: Sequence[Study], argv: Sequence[str] | None = None) -> NoReturn:
    """Runs the command.

    Args:
        studies: All studies.
        argv: Arguments instead of the process's own.
    """
    parser = Parser("analyses", "Lists the studies, or what their results say of the paper's claims.", "--list")
    parser.add_argument("--list", action="store_true", help="list the studies, which is done in any case")
    parser.add_argument("--findings", action="store_true", help="print the verdict on each statement instead")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of results, one of each study")
    run(partial(_tell, studies), parser, argv)
