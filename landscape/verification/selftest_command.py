"""`landscape selftest`: whether this machine computes and keeps what a measurement relies on."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import NoReturn

from foundation.command import Parser, run
from foundation.devices import choose_device
from landscape.verification.selftest import selftest
from landscape.verification.verify_command import tell


def build_parser() -> Parser:
    """The command's arguments."""
    parser = Parser(
        "landscape selftest",
        "Holds this machine's products, eigenvalues and files against a network whose Hessian is known exactly.",
        "--device cuda",
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:1")
    parser.add_argument("--json", action="store_true", help="say it as one JSON object")
    return parser


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Runs the command; exit code 1 where something is not as it should be."""
    run(_command, build_parser(), argv)


def _command(arguments: argparse.Namespace) -> None:
    report = selftest(choose_device(arguments.device, float64=True))
    tell(report, as_json=arguments.json, failed="this machine is not to be trusted: the lines with NO say why")
