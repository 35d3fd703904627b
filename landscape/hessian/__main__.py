"""`python -m landscape.hessian --ckpt …`: eigenvalues, trace, density and a verdict for every class and group."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from typing import NoReturn

from foundation.command import Parser, run
from foundation.errors import InputError
from landscape.execution.memory import parse_bytes
from landscape.files.arguments import add_arguments, open_arguments, result_path, tell_as_json
from landscape.files.target import Target
from landscape.hessian.checks import check_symmetry
from landscape.hessian.measure import check
from landscape.hessian.products.autotune import choose_plan
from landscape.hessian.record import announcement, record_hessian
from landscape.hessian.result import HessianResult, HessianSettings
from landscape.ranks.team import Team


def build_parser() -> Parser:
    """The command's arguments."""
    parser = Parser(
        "landscape.hessian",
        "Measures the Hessian of every class and group: top and bottom eigenvalues, trace, density and a verdict.",
        "--ckpt runs/bgp/checkpoint.pt --split test",
    )
    add_arguments(parser)
    default = HessianSettings()
    parser.add_argument(
        "--match-loss", type=result_path, metavar="FILE",
        help="landscape.h5 of another run, or its folder: lift each subset's loss to the other's by a temperature "
        "(needs --name)",
    )  # fmt: skip
    much = parser.add_argument_group("how much")
    much.add_argument("--top", type=int, default=default.top, help="largest eigenvalues of each subset")
    much.add_argument("--bottom", type=int, default=default.bottom, help="smallest eigenvalues of each subset")
    much.add_argument("--tol", type=float, default=default.tol, help="relative residual of a converged eigenvalue")
    much.add_argument(
        "--probes",
        type=int,
        default=default.probes,
        help="random probes of ‖H‖ and of traces that are not exact (at most --slq-vectors for ‖H‖ if they are)",
    )
    much.add_argument(
        "--trace-rtol", type=float, default=default.trace_rtol,
        help="work on until the 95 %% half-width of a trace that is not exact is below this share of it, such as 0.05 "
        "(default: the probes alone)",
    )  # fmt: skip
    much.add_argument(
        "--slq-vectors",
        type=int,
        default=default.slq_vectors,
        help="random vectors that the density and its error rest on",
    )
    much.add_argument(
        "--intervals", action=argparse.BooleanOptionalAction, default=default.intervals,
        help="eigenvalues on held-out samples, with standard errors",
    )  # fmt: skip
    much.add_argument(
        "--gauss-newton", action="store_true",
        help="also the Gauss-Newton part of large subsets; that of n·C ≤ 500 is measured whole in any case",
    )  # fmt: skip
    much.add_argument("--layers", action="store_true", help="also the largest eigenvalue of each layer's own block")
    much.add_argument(
        "--max-products", type=int, default=default.max_products, help="most products of one subset's Krylov run"
    )
    much.add_argument(
        "--cross-class", action="store_true", help="also keep eigenvectors and measure every class along every other's"
    )
    much.add_argument(
        "--warm-start", type=result_path, metavar="FILE",
        help="landscape.h5 of a neighboring checkpoint, measured with --cross-class: start from its eigenvectors",
    )  # fmt: skip
    much.add_argument(
        "--check",
        choices=["pyhessian"],
        help="also ask PyHessian for each largest eigenvalue, and say how far it differs",
    )
    much.add_argument("--dry-run", action="store_true", help="only say what it would cost")
    much.add_argument(
        "--memory", metavar="8G",
        help="for kept graphs and a basis of up to 200 vectors as long as the parameters, which is compressed where it "
        "would take more than half (default: half of the machine's, or of a GPU's free)",
    )  # fmt: skip
    much.add_argument("--seed", type=int, default=default.seed, help="of all random vectors")
    hidden = partial(much.add_argument, default=argparse.SUPPRESS, help=argparse.SUPPRESS)  # spellings of before
    hidden("--chains", dest="slq_vectors", type=int)
    hidden("--trace-width", dest="trace_rtol", type=float)
    hidden("--cross", dest="cross_class", action="store_true")
    hidden("--warm", dest="warm_start", type=result_path)
    return parser


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Runs the command."""
    run(_command, build_parser(), argv)


def _command(arguments: argparse.Namespace) -> None:
    tell_as_json(arguments, "hessian", _measure)


def _measure(arguments: argparse.Namespace, team: Team | None) -> Target | None:
    settings = HessianSettings(
        top=arguments.top, bottom=arguments.bottom, tol=arguments.tol, probes=arguments.probes,
        trace_rtol=arguments.trace_rtol, slq_vectors=arguments.slq_vectors, max_products=arguments.max_products,
        intervals=arguments.intervals, gauss_newton=arguments.gauss_newton, layers=arguments.layers,
        vectors=arguments.cross_class, seed=arguments.seed,
    )  # fmt: skip
    check(settings)
    if settings.vectors and arguments.match_loss:
        raise InputError("--cross-class compares classes at the trained weights: leave --match-loss out")
    if arguments.warm_start and arguments.match_loss:
        raise InputError("--warm-start and --match-loss do not go together: leave one out")
    if arguments.check and arguments.match_loss:
        raise InputError("--check compares at the trained weights: leave --match-loss out")
    subject, target = open_arguments(arguments)
    memory = None if arguments.memory is None else parse_bytes(arguments.memory)
    if arguments.dry_run:
        check_symmetry(subject)
        print(
            announcement(
                subject, settings, choose_plan(subject, memory=memory), 0, ranks=1 if team is None else team.size
            )
        )
        return None
    recorded = record_hessian(
        subject, target, settings,
        match_loss=arguments.match_loss, warm_start=arguments.warm_start, checked=arguments.check is not None,
        memory=memory,
        say=partial(print, flush=True), team=team,
    )  # fmt: skip
    if team is not None and not team.leads:
        return target
    if recorded is None:
        print(f"hessian/{target.name} is in {target.file} already: nothing to do")
        return target
    print(_table(recorded))
    print(f"written to {target.file} as hessian/{target.name}")
    return target


def _table(result: HessianResult) -> str:
    lines = [
        f"{'subset':<12}{'n':>6}{'loss':>10}{'‖∇L‖':>10}{'λ_top':>11}{'λ_bottom':>11}{'trace ± 95 %':>20}  verdict"
    ]
    for subset, c in zip(result.subsets, result.curvatures, strict=True):
        half = f" ± {c.trace.half_width:.2g}" if c.trace.half_width else " exactly"
        trace = f"{c.trace.value:.4g}{half}"
        lines.append(
            f"{subset.label[:11]:<12}{subset.measured_count:>6}{c.loss:>10.4f}{c.gradient_norm:>10.3g}"
            f"{c.top.outermost:>11.4g}{c.bottom.outermost:>11.4g}{trace:>20}  {c.negative_curvature.verdict}"
            f"{'' if c.converged else ' (not converged)'}"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
