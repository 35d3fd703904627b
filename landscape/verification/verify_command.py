"""`landscape verify FILE… [--ckpt …]`: whether result files can be believed."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import NoReturn

from foundation.command import Parser, run
from foundation.devices import choose_device
from foundation.errors import LandscapeError
from landscape.files.arguments import checkpoint_path, result_path
from landscape.recording.check import CheckReport
from landscape.verification.verify import verify


def build_parser() -> Parser:
    """The command's arguments."""
    parser = Parser(
        "landscape verify",
        "Checks result files: structure, checksums, what their numbers say of each other, and some of them again.",
        "runs/bgp/landscape.h5 --ckpt runs/bgp/checkpoint.pt",
    )
    parser.add_argument("files", nargs="+", type=result_path, metavar="FILE", help="a landscape.h5, or its run folder")
    parser.add_argument(
        "--ckpt", type=checkpoint_path, metavar="FILE", help="compute a random sample again from this checkpoint"
    )
    parser.add_argument("--rows", type=int, default=2, help="subsets of each measurement that are computed again")
    parser.add_argument("--seed", type=int, default=0, help="of that sample")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:1")
    parser.add_argument("--data-dir", type=Path, metavar="DIR", help="where a data set that is not embedded lies")
    parser.add_argument("--json", action="store_true", help="say it as one JSON object")
    return parser


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Runs the command; exit code 1 where something is not as it should be."""
    run(_command, build_parser(), argv)


def tell(report: CheckReport, *, as_json: bool, failed: str) -> None:
    """Prints findings, a line each or as one JSON object.

    Args:
        report: What was found.
        as_json: As an object with `works`, `findings` and `notes`.
        failed: The sentence of a report with a finding that does not work.

    Raises:
        LandscapeError: There is one.
    """
    told = {"works": report.works, **asdict(report)}
    print(json.dumps(told, ensure_ascii=False) if as_json else report, flush=True)
    if not report.works:
        raise LandscapeError(failed)


def _command(arguments: argparse.Namespace) -> None:
    report = verify(
        *arguments.files, checkpoint=arguments.ckpt, rows=arguments.rows, seed=arguments.seed,
        device=choose_device(arguments.device, float64=True), data_dir=arguments.data_dir,
    )  # fmt: skip
    tell(report, as_json=arguments.json, failed="not everything can be believed: the findings that say so name it")
