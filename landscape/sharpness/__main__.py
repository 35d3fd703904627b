"""`python -m landscape.sharpness --ckpt …`: how much the loss of every class and group can increase nearby."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from typing import NoReturn

from foundation.command import Parser, run
from landscape.files.arguments import add_arguments, open_arguments, result_path, tell_as_json
from landscape.files.target import Target
from landscape.ranks.team import Team
from landscape.sharpness.record import record_sharpness
from landscape.sharpness.record_matched import record_matched_sharpness
from landscape.sharpness.result import SharpnessSettings


def build_parser() -> Parser:
    """The command's arguments."""
    parser = Parser(
        "landscape.sharpness",
        "Measures how much the loss of every class and group can increase near the trained weights.",
        "--ckpt runs/bgp/checkpoint.pt --radii 0.05,0.1,0.2",
    )
    add_arguments(parser)
    default = SharpnessSettings()
    sharpness = parser.add_argument_group("the sharpness")
    add = sharpness.add_argument
    add("--radii", type=_numbers, default=default.radii, metavar="R,R", help="lengths of the perturbation")
    add("--steps", type=int, default=default.steps, help="steps of projected ascent at each radius")
    add("--draws", type=int, default=default.draws, help="pairs of random perturbations for the average case")
    add("--seed", type=int, default=default.seed, help="of the random perturbations and of the samples drawn")
    add(
        "--match-loss", type=result_path, metavar="FILE",
        help="landscape.h5 of another run, or its folder: lift each subset's loss to the other's by a temperature "
        "(needs --name)",
    )  # fmt: skip
    add("--samples-per-class", type=int, metavar="N", help="measure at most N samples of each class, with errors")
    return parser


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Runs the command."""
    run(_command, build_parser(), argv)


def _command(arguments: argparse.Namespace) -> None:
    tell_as_json(arguments, "sharpness", _measure)


def _measure(arguments: argparse.Namespace, team: Team | None) -> Target:
    settings = SharpnessSettings(
        radii=tuple(sorted(set(arguments.radii))), steps=arguments.steps, draws=arguments.draws, seed=arguments.seed,
        samples_per_class=arguments.samples_per_class,
    )  # fmt: skip
    subject, target = open_arguments(arguments)
    say = partial(print, flush=True)
    if arguments.match_loss:
        result = record_matched_sharpness(subject, target, settings, arguments.match_loss, say=say, team=team)
    else:
        result = record_sharpness(subject, target, settings, say=say, team=team)
    if team is not None and not team.leads:
        return target
    where = f"{target.file}: sharpness/{target.name}"
    print(f"{where} is there already" if result is None else f"{where}: {result.describe()}")
    return target


def _numbers(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not R,R") from None


if __name__ == "__main__":
    main()
