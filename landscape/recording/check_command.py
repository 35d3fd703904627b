"""`landscape check --network … --data …`: what can be measured of a network, how, and at what cost."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import NoReturn

from foundation.command import Parser, run
from foundation.devices import choose_device
from foundation.errors import LandscapeError
from landscape.files.arguments import add_network_arguments, open_own_network
from landscape.files.checkpoint import DTYPES
from landscape.recording.check import check


def build_parser() -> Parser:
    """The command's arguments."""
    parser = Parser(
        "landscape check",
        "Tries in seconds whatever a measurement takes, and says what works, how, and what it will cost.",
        "--network mine.py:build --weights best.pth --data mine.py:test_set",
    )
    add_network_arguments(parser)
    parser.add_argument("--dtype", default="float32", choices=tuple(DTYPES), help="precision of the network")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:1")
    return parser


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Runs the command; exit code 1 where a Hessian cannot be measured."""
    run(_command, build_parser(), argv)


def _command(arguments: argparse.Namespace) -> None:
    network, data, known = open_own_network(arguments)
    device = choose_device(arguments.device, float64=True)
    report = check(network, data, **known, dtype=DTYPES[arguments.dtype], device=device)
    print(report, flush=True)
    if not report.works:
        raise LandscapeError("not everything can be measured: the lines with NO say why")
