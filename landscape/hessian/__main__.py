"""`python -m landscape.hessian --ckpt …`: eigenvalues, trace, density and a verdict for every class and group."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from foundation.command import Parser, run
from foundation.errors import InputError
from foundation.progress import Progress
from foundation.provenance import provenance
from landscape.files.checkpoint import Opened, add_arguments, open_arguments
from landscape.files.evaluation_record import record_evaluation
from landscape.files.landscape_file import Recording, recording
from landscape.hessian.estimators.exact_trace import backward_passes
from landscape.hessian.estimators.layerwise import layers
from landscape.hessian.matched_loss import measure_matched, other_losses, temperatures
from landscape.hessian.measure import ENGINES, HessianResult, check, measure_hessian
from landscape.hessian.products.autotune import choose_plan
from landscape.hessian.products.operators import Plan
from landscape.hessian.record import create_datasets, extent, load_finished, load_warm_start, write
from landscape.hessian.record_cross_class import record_across, record_check
from landscape.hessian.result import CHAIN, HessianSettings, SubsetCurvature
from landscape.subject.subject import Subject


def record_hessian(
    opened: Opened,
    out: Path,
    name: str,
    settings: HessianSettings,
    *,
    match: Path | None = None,
    warm: Path | None = None,
    checked: bool = False,
    overwrite: bool = False,
) -> None:
    """Measures a checkpoint's curvature into a result file, continuing what is there.

    Args:
        opened: The checkpoint.
        out: The `landscape.h5`.
        name: The measurement's name.
        settings: How much to measure.
        match: The `landscape.h5` of a run whose losses this one is to be measured at.
        warm: The `landscape.h5` of a neighboring checkpoint, measured with `--cross`: its eigenvectors save products.
        checked: Ask PyHessian for the eigenvalue of largest magnitude of every subset too.
        overwrite: Replace a measurement of that name and another configuration.

    Raises:
        InputError: The name is taken, or a file is another checkpoint's or has no losses to match.
    """
    subject = opened.subject
    config, measure, at = {**opened.config, "seed": settings.seed}, measure_hessian, None
    if match is not None:
        other, losses = other_losses(match, opened.config["split"])
        config["match_loss"] = other.checkpoint_sha256
        at = temperatures(subject, losses)
        measure = partial(measure_matched, at=at)
    elif warm is not None:
        measure = partial(measure_hessian, warm=load_warm_start(warm, name, subject))
    made = provenance(subject.device, seed=settings.seed)
    shared: dict[str, Any] = {"checkpoint_sha256": opened.sha256, "provenance": made, "overwrite": overwrite}
    if match is None:
        record_evaluation(out, name, subject, config=opened.config, **shared)
    with recording(
        out, "hessian", name, subsets=subject.subsets, config=config,
        extent=extent(settings) | {"checked": checked}, **shared,
    ) as record:  # fmt: skip
        if record is None:
            print(f"hessian/{name} is in {out} already: nothing to do")
            return
        create_datasets(record, subject, settings)
        if at is not None:
            record.create("temperature", dims=("subset",), shape=(len(at),), meaning="of the logits, to match the loss")
            record.write("temperature", slice(None), list(at.values()))
        plan = _plan(record) or choose_plan(subject)
        record.note("plan", asdict(plan))
        done = load_finished(record, subject, settings)
        rows = {s.name: i for i, s in enumerate(subject.subsets)}
        for before in done.values():
            write(record, rows[before.subset], before, settings)
        print(_announcement(subject, settings, plan, len(done)), flush=True)
        with Progress(f"hessian {name}", len(rows) - len(done), "subset") as progress:

            def keep(found: SubsetCurvature) -> None:
                write(record, rows[found.subset], found, settings)
                progress.advance(note=f"{found.subset} λ_top {found.top[0]:.4g}")

            result = measure(subject, settings=settings, plan=plan, done=done, on_done=keep)
        if settings.vectors:
            record_across(record, subject, plan)
        lines = record_check(record, subject, settings) if checked else []
        record.finish()
    print("\n".join([_table(subject, result), *lines]))
    print(f"written to {out} as hessian/{name}")


def _plan(record: Recording) -> Plan | None:
    noted = record.noted("plan")
    if noted is None and record.previous is not None:
        noted = record.previous.attributes.get("plan")
    return None if noted is None else Plan(**noted)


def _announcement(subject: Subject, settings: HessianSettings, plan: Plan, done: int) -> str:
    """What it will cost: a few more products than there are eigenvalues, by what trained networks took."""
    samples = sum(s.measured_count for s in subject.subsets if subject.twin(s) is None)
    products = min(25 + 2 * settings.top + 5 * settings.bottom, subject.size) + settings.probes // 4
    products += (settings.chains - 1) * (CHAIN - 1)
    products += backward_passes(subject) // 2
    products += settings.intervals * 3 * (settings.top + settings.bottom)
    products += settings.gauss_newton * (25 + 2 * settings.top + settings.probes)  # of G, and of H − G
    products += settings.layers * 6 * len(layers(subject))
    seconds = samples * products * plan.sample_seconds
    held = max(min(plan.keep, s.measured_count) for s in subject.subsets) * plan.sample_bytes
    return (
        f"Hessian of {len(subject.subsets) - done} subsets ({len(subject.labels):,} samples, {subject.size:,} "
        f"parameters): about {products} products each, {held / 2**20:,.0f} MiB of graphs, "
        f"{max(seconds / 60, 0.1):.1f} min"
    )


def _table(subject: Subject, result: HessianResult) -> str:
    lines = [
        f"{'subset':<12}{'n':>6}{'loss':>10}{'‖∇L‖':>10}{'λ_top':>11}{'λ_bottom':>11}{'trace ± 95 %':>20}  verdict"
    ]
    for subset, c in zip(subject.subsets, result.curvatures, strict=True):
        half = (c.trace_high - c.trace_low) / 2
        trace = f"{c.trace:.4g} ± {half:.2g}" if half else f"{c.trace:.4g} exactly"
        lines.append(
            f"{subset.label[:11]:<12}{subset.measured_count:>6}{c.loss:>10.4f}{c.gradient_norm:>10.3g}{c.top[0]:>11.4g}"
            f"{c.bottom[0]:>11.4g}{trace:>20}  {c.verdict}{'' if c.converged else ' (not converged)'}"
        )
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Runs the command."""
    run(_command, build_parser(), argv)


def _command(arguments: argparse.Namespace) -> None:
    settings = HessianSettings(
        top=arguments.top, bottom=arguments.bottom, tol=arguments.tol, probes=arguments.probes,
        trace_width=arguments.trace_width, chains=arguments.chains, max_products=arguments.max_products,
        intervals=arguments.intervals, gauss_newton=arguments.gauss_newton, layers=arguments.layers,
        vectors=arguments.cross, engine=arguments.engine, seed=arguments.seed,
    )  # fmt: skip
    check(settings)
    if settings.vectors and arguments.match_loss:
        raise InputError("--cross compares classes at the trained weights: leave --match-loss out")
    if arguments.warm and arguments.match_loss:
        raise InputError("--warm and --match-loss do not go together: leave one out")
    if arguments.check and arguments.match_loss:
        raise InputError("--check compares at the trained weights: leave --match-loss out")
    opened, out, name = open_arguments(arguments)
    if arguments.dry_run:
        print(_announcement(opened.subject, settings, choose_plan(opened.subject), 0))
        return
    record_hessian(
        opened, out, name, settings,
        match=arguments.match_loss, warm=arguments.warm, checked=arguments.check is not None,
        overwrite=arguments.overwrite,
    )  # fmt: skip


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
        "--match-loss", type=Path, metavar="FILE",
        help="landscape.h5 of another run: lift each subset's loss to the other's by a temperature (needs --name)",
    )  # fmt: skip
    much = parser.add_argument_group("how much")
    much.add_argument("--top", type=int, default=default.top, help="largest eigenvalues of each subset")
    much.add_argument("--bottom", type=int, default=default.bottom, help="smallest eigenvalues of each subset")
    much.add_argument("--tol", type=float, default=default.tol, help="relative residual of a converged eigenvalue")
    much.add_argument(
        "--probes",
        type=int,
        default=default.probes,
        help="random probes of ‖H‖ and of a trace that is not exact; at most --chains if it is",
    )
    much.add_argument(
        "--trace-width", type=float, default=default.trace_width,
        help="work on until the 95 %% half-width of a trace that is not exact is below this share of it, such as 0.05",
    )  # fmt: skip
    much.add_argument(
        "--chains", type=int, default=default.chains, help="random vectors that the density and its error rest on"
    )
    much.add_argument(
        "--intervals", action=argparse.BooleanOptionalAction, default=default.intervals,
        help="eigenvalues on held-out samples, with standard errors",
    )  # fmt: skip
    much.add_argument(
        "--gauss-newton", action="store_true",
        help="also the Gauss-Newton part of large subsets; that of n·C ≤ 500 is always measured, whole",
    )  # fmt: skip
    much.add_argument("--layers", action="store_true", help="also the largest eigenvalue of each layer's own block")
    much.add_argument(
        "--max-products", type=int, default=default.max_products, help="most products of one subset's Krylov run"
    )
    much.add_argument(
        "--cross", action="store_true", help="also keep eigenvectors and measure every class along every other's"
    )
    much.add_argument(
        "--warm", type=Path, metavar="FILE",
        help="landscape.h5 of a neighboring checkpoint, measured with --cross: start from its eigenvectors",
    )  # fmt: skip
    much.add_argument("--engine", choices=sorted(ENGINES), default=default.engine, help="who measures")
    much.add_argument(
        "--check",
        choices=["pyhessian"],
        help="also ask PyHessian for each largest eigenvalue, and say how far it differs",
    )
    much.add_argument("--dry-run", action="store_true", help="only say what it would cost")
    much.add_argument("--seed", type=int, default=default.seed, help="of all random vectors")
    return parser


if __name__ == "__main__":
    main()
