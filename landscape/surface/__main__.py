"""`python -m landscape.surface --ckpt …`: loss surfaces of every class and group at once."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NoReturn, TypeVar

from foundation.command import Parser, run
from foundation.errors import InputError
from landscape.files.arguments import add_arguments, checkpoint_path, open_arguments, other_weights, tell_as_json
from landscape.files.target import Target
from landscape.ranks.team import Team
from landscape.subject.subsets import subset_name
from landscape.surface.plane_kinds import PLANES, SEVERAL
from landscape.surface.record import named, record_surface
from landscape.surface.result import PRECISIONS, SurfaceSettings

Number = TypeVar("Number", int, float)


def build_parser() -> Parser:
    """The command's arguments."""
    parser = Parser(
        "landscape.surface",
        "Measures loss and accuracy of every class and group over a plane through the trained weights.",
        "--ckpt runs/bgp/checkpoint.pt --plane eigen --of few",
    )
    add_arguments(parser)
    default = SurfaceSettings()
    plane = parser.add_argument_group("the plane")
    plane.add_argument("--plane", default="random", choices=PLANES, help="what is cut through the weights")
    plane.add_argument(
        "--of",
        metavar="A[,B]",
        help="subset, by name or label, of an eigen plane (default: all) or two of a gradient plane (all,few)",
    )
    plane.add_argument(
        "--through",
        type=_paths,
        default=(),
        metavar="FILE[,FILE]",
        help="checkpoints of that plane, or their run folders",
    )
    plane.add_argument(
        "--span", type=_spans, metavar="S[,S]", help="axes run from -S to S, both or each (default: found by the loss)"
    )
    plane.add_argument("--seed", type=int, default=default.seed, help="of random directions and of the samples drawn")
    cells = parser.add_argument_group("its cells")
    cells.add_argument(
        "--points",
        type=_counts,
        default=default.points,
        metavar="A[xB]",
        help="cells along a and b: 51x31 (default: 51x51)",
    )
    cells.add_argument(
        "--tolerance", type=float, default=default.tolerance, help="error of an interpolated loss, as share of range"
    )
    cells.add_argument("--exact", action="store_true", help="measure every cell, interpolate none")
    cells.add_argument(
        "--samples-per-class", type=int, metavar="N", help="evaluate at most N samples of each class, with errors"
    )
    cells.add_argument(
        "--precision",
        default=default.precision,
        choices=PRECISIONS,
        help="bfloat16: multiply in bfloat16, with its error stated",
    )
    return parser


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Runs the command."""
    run(_command, build_parser(), argv)


def _command(arguments: argparse.Namespace) -> None:
    tell_as_json(arguments, "surface", _measure)


def _measure(arguments: argparse.Namespace, team: Team | None) -> Target:
    kind, of = arguments.plane, arguments.of.split(",") if arguments.of else []
    if bool(arguments.through) != (kind == "checkpoints"):
        raise InputError("--through names the other checkpoints of --plane checkpoints: give both or neither")
    settings = SurfaceSettings(
        points=arguments.points, span=arguments.span, tolerance=None if arguments.exact else arguments.tolerance,
        samples_per_class=arguments.samples_per_class, precision=arguments.precision, seed=arguments.seed,
    )  # fmt: skip
    if kind in SEVERAL:
        arguments.batch_norm = "recalibrated"  # one network's statistics would fabricate barriers between several
    subject, target = open_arguments(arguments)
    of = [subset_name(subject.subsets, name) for name in of]
    if arguments.name is None:
        target = replace(target, name=named(target.name, kind, of))
    paths = {str(path): path for path in arguments.through}
    if kind == "pca":
        if arguments.ckpt is None:
            raise InputError("--plane pca needs the snapshots of a trained run: give its --ckpt")
        paths = {path.stem: path for path in sorted(arguments.ckpt.parent.glob("snapshots/*.pt"))}
    others = {name: other_weights(path, arguments, subject) for name, path in paths.items()}
    surface = record_surface(
        subject, target, settings, plane=kind, of=of, others=others, say=partial(print, flush=True), team=team
    )
    if team is not None and not team.leads:
        return target
    where = f"{target.file}: surface/{target.name}"
    print(f"{where} is there already" if surface is None else f"{where}: {surface.describe()}")
    return target


def _paths(text: str) -> tuple[Path, ...]:
    return tuple(checkpoint_path(part.strip()) for part in text.split(","))


def _spans(text: str) -> float | list[float]:
    parts = _numbers(text, ",", float, "S or S,S")
    return parts[0] if len(parts) == 1 else parts


def _counts(text: str) -> tuple[int, int]:
    parts = _numbers(text.lower(), "x", int, "A or AxB")
    return parts[0], parts[-1]


def _numbers(text: str, separator: str, kind: Callable[[str], Number], form: str) -> list[Number]:
    try:
        parts = [kind(part) for part in text.split(separator)]
    except ValueError:
        parts = []
    if len(parts) not in (1, 2):
        raise argparse.ArgumentTypeError(f"{text!r} is not {form}")
    return parts


if __name__ == "__main__":
    main()
