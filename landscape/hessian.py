"""`python -m landscape.hessian --ckpt …`: eigenvalues, trace, density and a verdict for every class and group."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import h5py
import numpy as np
import torch

from foundation.command import Parser, run
from foundation.errors import InputError
from foundation.progress import Progress
from foundation.provenance import provenance
from landscape.checkpoints import Opened, add_arguments, open_arguments
from landscape.curvature.cross import curvature_along, overlaps
from landscape.curvature.density import POINTS
from landscape.curvature.krylov import Goal
from landscape.curvature.operators import Hessians, Plan
from landscape.curvature.plan import choose_plan
from landscape.curvature.spectrum import Settings, SubsetCurvature
from landscape.curvature.subsets import HessianResult, check, measure_hessian
from landscape.evaluation import record_evaluation
from landscape.matched import measure_matched, other_losses, temperatures
from landscape.store import MEASURED, NON_FINITE, Measurement, Recording, recording
from landscape.subject import Subject

_COLUMNS: tuple[tuple[str, str, tuple[str, ...], str, str], ...] = (
    # dataset, attribute, further dimensions, unit, meaning
    ("loss", "loss", (), "nat", "mean evaluation loss"),
    ("gradient_norm", "gradient_norm", (), "", "norm of the gradient of the subset's loss"),
    ("top", "top", ("rank",), "", "largest eigenvalues, descending"),
    ("top_residual", "top_residual", ("rank",), "", "‖Hv − λv‖"),
    ("bottom", "bottom", ("rank_bottom",), "", "smallest eigenvalues, ascending"),
    ("bottom_residual", "bottom_residual", ("rank_bottom",), "", "‖Hv − λv‖"),
    ("top_scaled", "top_scaled", (), "", "largest eigenvalue of diag|w| H diag|w|"),
    ("top_scaled_residual", "top_scaled_residual", (), "", "its residual"),
    ("trace", "trace", (), "", "trace of the Hessian"),
    ("trace_se", "trace_se", (), "", "standard error of the trace"),
    ("trace_low", "trace_low", (), "", "lower end of the trace's 95 % t-interval"),
    ("trace_high", "trace_high", (), "", "upper end of the trace's 95 % t-interval"),
    ("nodes", "nodes", ("node",), "", "quadrature nodes of the spectral measure, NaN beyond the last"),
    ("weights", "weights", ("node",), "", "quadrature weights, sum 1"),
    ("density_grid", "density_grid", ("point",), "", "eigenvalues at which the density is given"),
    ("density", "density", ("point",), "", "smoothed spectral density"),
    ("noise_floor", "noise_floor", (), "", "|vᵀ(H − H in float64)v| at the bottom vector"),
    ("threshold", "threshold", (), "", "curvature within ± this counts as none"),
)


def _lay_out(record: Recording, subject: Subject, settings: Settings) -> None:
    sizes = {
        "rank": settings.top,
        "rank_bottom": settings.bottom,
        "node": min(Goal(1, 1).capacity, settings.max_products),
        "point": POINTS,
    }
    rows = len(subject.subsets)
    for name, _, dims, unit, meaning in _COLUMNS:
        shape = (rows, *(sizes[dim] for dim in dims))
        record.create(name, dims=("subset", *dims), shape=shape, unit=unit, meaning=meaning)
    record.create(
        "verdict", dims=("subset",), shape=(rows,), dtype=h5py.string_dtype(), fill="",  # type: ignore[arg-type]
        meaning="negative, none-found or undecided",
    )  # fmt: skip
    record.create("converged", dims=("subset",), shape=(rows,), dtype="i1", meaning="1: every residual met tol")
    record.create("products", dims=("subset",), shape=(rows,), dtype="i8", meaning="Hessian-vector products spent")
    if settings.vectors:
        names = [s.name for s in subject.subsets]
        record.scale("direction", np.array(names, dtype=object))
        record.create(
            "vectors/top", dims=("subset", "rank", "parameter"), shape=(rows, settings.top, subject.size), dtype="f4",
            meaning="unit eigenvectors of top",
        )  # fmt: skip
        record.create(
            "cross", dims=("direction", "subset"), shape=(rows, rows),
            meaning="vᵀHv of each class along each class's top eigenvector",
        )  # fmt: skip
        record.create(
            "overlap", dims=("direction", "subset"), shape=(rows, rows), meaning="‖V_i V_jᵀ‖² / k of top eigenspaces"
        )
    record.create("status", dims=("subset",), shape=(rows,), dtype="i1", meaning="0 to do, 1 measured, 2 non-finite")


def _write(record: Recording, row: int, found: SubsetCurvature) -> None:
    for name, attribute, _, _, _ in _COLUMNS:
        value = getattr(found, attribute)
        record.write(name, (row, slice(0, len(value))) if isinstance(value, np.ndarray) else row, value)
    if found.top_vectors is not None:
        record.write("vectors/top", row, found.top_vectors.float().cpu().numpy())
    record.write("verdict", row, found.verdict)
    record.write("converged", row, int(found.converged))
    record.write("products", row, found.products)
    record.write("status", row, MEASURED if found.finite else NON_FINITE)  # last: the row is whole
    record.flush()


def _read(data: Mapping[str, np.ndarray], row: int, subset: str, settings: Settings) -> SubsetCurvature:
    def column(name: str) -> Any:
        values = data[name][row]
        if np.ndim(values) == 0:
            return float(values)
        count = {"top": settings.top, "bottom": settings.bottom}.get(name.split("_")[0], len(values))
        return np.array(values[:count])

    known = {attribute: column(name) for name, attribute, _, _, _ in _COLUMNS}
    steps = int(np.isfinite(known["nodes"]).sum())
    verdict = data["verdict"][row]
    return SubsetCurvature(
        **{**known, "nodes": known["nodes"][:steps], "weights": known["weights"][:steps]},
        subset=subset,
        finite=int(data["status"][row]) == MEASURED,
        verdict=verdict.decode() if isinstance(verdict, bytes) else str(verdict),
        converged=bool(data["converged"][row]),
        products=int(data["products"][row]),
        top_vectors=torch.from_numpy(data["vectors/top"][row]) if settings.vectors else None,
    )


def _known(record: Recording, subject: Subject, settings: Settings) -> dict[str, SubsetCurvature]:
    """What an interrupted or smaller measurement of the same thing already holds."""
    names = [s.name for s in subject.subsets]
    if record.resumed:
        wanted = [name for name, *_ in _COLUMNS] + ["verdict", "converged", "products", "status"]
        wanted += ["vectors/top"] * settings.vectors
        data = {name: record.read(name) for name in wanted}
        return {n: _read(data, i, n, settings) for i, n in enumerate(names) if data["status"][i]}
    before = record.previous
    if before is None or settings.vectors or not _covers(before, settings):  # vectors are not read into memory
        return {}
    rows = {name: i for i, name in enumerate(before.subset) if before.data["status"][i]}
    return {name: _read(before.data, rows[name], name, settings) for name in names if name in rows}


def _covers(before: Measurement, settings: Settings) -> bool:
    asked, had = _extent(settings), dict(before.extent)
    enough = had.get("top", 0) >= settings.top and had.get("bottom", 0) >= settings.bottom
    return enough and all(had.get(key) == asked[key] for key in asked if key not in ("top", "bottom"))


def _extent(settings: Settings) -> dict[str, Any]:
    return {key: value for key, value in asdict(settings).items() if key != "seed"}


def record_hessian(
    opened: Opened, out: Path, name: str, settings: Settings, *, match: Path | None = None, overwrite: bool = False
) -> None:
    """Measures a checkpoint's curvature into a result file, continuing what is there.

    Args:
        opened: The checkpoint.
        out: The `landscape.h5`.
        name: The measurement's name.
        settings: How much to measure.
        match: The `landscape.h5` of a run whose losses this one is to be measured at.
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
    made = provenance(subject.device, seed=settings.seed)
    shared: dict[str, Any] = {"checkpoint_sha256": opened.sha256, "provenance": made, "overwrite": overwrite}
    if match is None:
        record_evaluation(out, name, subject, config=opened.config, **shared)
    with recording(
        out, "hessian", name, subsets=subject.subsets, config=config,
        extent=_extent(settings), **shared,
    ) as record:  # fmt: skip
        if record is None:
            print(f"hessian/{name} is in {out} already: nothing to do")
            return
        _lay_out(record, subject, settings)
        if at is not None:
            record.create("temperature", dims=("subset",), shape=(len(at),), meaning="of the logits, to match the loss")
            record.write("temperature", slice(None), list(at.values()))
        plan = _plan(record) or choose_plan(subject)
        record.note("plan", asdict(plan))
        done = _known(record, subject, settings)
        rows = {s.name: i for i, s in enumerate(subject.subsets)}
        for known in done.values():
            _write(record, rows[known.subset], known)
        print(_announcement(subject, settings, plan, len(done)), flush=True)
        with Progress(f"hessian {name}", len(rows) - len(done), "subset") as progress:

            def keep(found: SubsetCurvature) -> None:
                _write(record, rows[found.subset], found)
                progress.advance(note=f"{found.subset} λ_top {found.top[0]:.4g}")

            result = measure(subject, settings=settings, plan=plan, done=done, on_done=keep)
        if settings.vectors:
            _cross(record, subject, plan)
        record.finish()
    print(_table(subject, result))
    print(f"written to {out} as hessian/{name}")


def _cross(record: Recording, subject: Subject, plan: Plan) -> None:
    """Every class's curvature along every class's top eigenvector, column by column, and the spaces' overlaps."""
    classes = [row for row, subset in enumerate(subject.subsets) if subset.kind == "class"]
    vectors = torch.from_numpy(record.read("vectors/top")).to(subject.vector())
    record.write("overlap", slice(None), overlaps(vectors))
    hessians, columns = Hessians(subject, plan), record.read("cross")
    with Progress("across classes", len(classes), "class") as progress:
        for column in classes:
            if np.isnan(columns[classes, column]).all():
                along = np.full(len(columns), np.nan)
                along[classes] = curvature_along(hessians, subject.subsets[column], vectors[classes, 0])
                record.write("cross", (slice(None), column), along)
                record.flush()
            progress.advance(note=subject.subsets[column].name)


def _plan(record: Recording) -> Plan | None:
    noted = record.noted("plan")
    if noted is None and record.previous is not None:
        noted = record.previous.attributes.get("plan")
    return None if noted is None else Plan(**noted)


def _announcement(subject: Subject, settings: Settings, plan: Plan, done: int) -> str:
    samples = sum(s.measured_count for s in subject.subsets if subject.twin(s) is None)
    products = min(25 + 2 * settings.top + 5 * settings.bottom, subject.size) + settings.probes // 4
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
        trace = f"{c.trace:.4g} ± {(c.trace_high - c.trace_low) / 2:.2g}"
        lines.append(
            f"{subset.label[:11]:<12}{subset.measured_count:>6}{c.loss:>10.4f}{c.gradient_norm:>10.3g}{c.top[0]:>11.4g}"
            f"{c.bottom[0]:>11.4g}{trace:>20}  {c.verdict}{'' if c.converged else ' (not converged)'}"
        )
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Runs the command."""
    run(_command, build_parser(), argv)


def _command(arguments: argparse.Namespace) -> None:
    settings = Settings(
        top=arguments.top, bottom=arguments.bottom, tol=arguments.tol, probes=arguments.probes,
        trace_width=arguments.trace_width, max_products=arguments.max_products,
        vectors=arguments.cross, seed=arguments.seed,
    )  # fmt: skip
    check(settings)
    if settings.vectors and arguments.match_loss:
        raise InputError("--cross compares classes at the trained weights: leave --match-loss out")
    opened, out, name = open_arguments(arguments)
    record_hessian(opened, out, name, settings, match=arguments.match_loss, overwrite=arguments.overwrite)


def build_parser() -> Parser:
    """The command's arguments."""
    parser = Parser(
        "landscape.hessian",
        "Measures the Hessian of every class and group: top and bottom eigenvalues, trace, density and a verdict.",
        "--ckpt runs/bgp/checkpoint.pt --split test",
    )
    add_arguments(parser)
    default = Settings()
    parser.add_argument(
        "--match-loss", type=Path, metavar="FILE",
        help="landscape.h5 of another run: lift each subset's loss to the other's by a temperature (needs --name)",
    )  # fmt: skip
    much = parser.add_argument_group("how much")
    much.add_argument("--top", type=int, default=default.top, help="largest eigenvalues of each subset")
    much.add_argument("--bottom", type=int, default=default.bottom, help="smallest eigenvalues of each subset")
    much.add_argument("--tol", type=float, default=default.tol, help="relative residual of a converged eigenvalue")
    much.add_argument("--probes", type=int, default=default.probes, help="random probes of the trace")
    much.add_argument(
        "--trace-width", type=float, default=default.trace_width,
        help="probe on until the trace's 95 %% half-width is below this share of it, such as 0.05 (0: --probes only)",
    )  # fmt: skip
    much.add_argument(
        "--max-products", type=int, default=default.max_products, help="most products of one subset's Krylov run"
    )
    much.add_argument(
        "--cross", action="store_true", help="also keep eigenvectors and measure every class along every other's"
    )
    much.add_argument("--seed", type=int, default=default.seed, help="of all random vectors")
    return parser


if __name__ == "__main__":
    main()
