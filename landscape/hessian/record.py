"""How curvature gets into a `landscape.h5` and lies there: `/hessian/<name>`, written and read back row by row."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, fields
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch

from foundation.errors import InputError
from foundation.progress import Progress
from landscape.evaluation.record import record_evaluation
from landscape.files.landscape_file import Measurement, read_array, read_landscape
from landscape.files.target import Target
from landscape.files.units import Recording, recording
from landscape.hessian.estimators.density import POINTS
from landscape.hessian.estimators.exact_trace import backward_passes
from landscape.hessian.estimators.fresh_samples import FEWEST, FreshSamples
from landscape.hessian.estimators.gauss_newton import LARGEST_ROWS
from landscape.hessian.estimators.layerwise import layers
from landscape.hessian.matched_loss import measure_matched, other_losses, temperatures
from landscape.hessian.measure import HessianResult, measure_hessian
from landscape.hessian.products.autotune import choose_plan
from landscape.hessian.products.operators import Plan
from landscape.hessian.record_cross_class import record_across, record_check
from landscape.hessian.result import CHAIN, HessianSettings, SubsetCurvature
from landscape.schema import MEASURED, NON_FINITE
from landscape.subject.subject import Subject
from landscape.surface.planes import Extremes

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
    ("trace_se", "trace_se", (), "", "standard error of the trace; 0 where it is exact"),
    ("trace_low", "trace_low", (), "", "lower end of the trace's 95 % t-interval"),
    ("trace_high", "trace_high", (), "", "upper end of the trace's 95 % t-interval"),
    ("frobenius", "frobenius", (), "", "Frobenius norm of the Hessian"),
    ("frobenius_se", "frobenius_se", (), "", "its standard error"),
    ("effective_rank", "effective_rank", (), "", "(Σ|λ|)² / Σλ²"),
    ("effective_rank_se", "effective_rank_se", (), "", "its standard error"),
    ("negative_share", "negative_share", (), "", "Σ|λ| of the negative eigenvalues as a share of Σ|λ|"),
    ("negative_share_se", "negative_share_se", (), "", "its standard error"),
    ("nodes", "nodes", ("node",), "", "nodes of the spectral measure, NaN beyond the last"),
    ("weights", "weights", ("node",), "", "their weights, sum 1"),
    ("density_grid", "density_grid", ("point",), "", "eigenvalues at which the density is given"),
    ("density", "density", ("point",), "", "smoothed spectral density"),
    ("density_se", "density_se", ("point",), "", "its error: over chains, and of one node less in each"),
    (
        "gauss_newton_top",
        "gauss_newton_top",
        ("mode",),
        "",
        "Gauss–Newton eigenvalues, descending; of a small subset all",
    ),
    ("gauss_newton_trace", "gauss_newton_trace", (), "", "trace of the Gauss–Newton part"),
    ("gauss_newton_rest", "gauss_newton_rest", (), "", "‖H − G‖, what Gauss–Newton leaves out"),
    ("top_samples", "held_out.top_samples", ("sample",), "", "vᵀH_i v of every sample of a few, along the top vector"),
    ("bottom_samples", "held_out.bottom_samples", ("sample",), "", "the same along the bottom vector"),
    ("noise_floor", "noise_floor", (), "", "|vᵀ(H − H in float64)v| at the bottom vector"),
    ("threshold", "threshold", (), "", "curvature within ± this counts as none"),
)
_INTERVALS = (
    ("top_held_out", "held_out.top", ("rank",), "", "curvature of held-out samples along the other half's directions"),
    ("top_held_out_se", "held_out.top_se", ("rank",), "", "its standard error over samples"),
    ("bottom_held_out", "held_out.bottom", ("rank_bottom",), "", "the same at the bottom"),
    ("bottom_held_out_se", "held_out.bottom_se", ("rank_bottom",), "", "its standard error over samples"),
)
_LAYERS = (("layer_top", "layer_top", ("layer",), "", "largest eigenvalue of each layer's own block"),)


def record_hessian(
    subject: Subject,
    target: Target,
    settings: HessianSettings,
    *,
    match: Path | None = None,
    warm: Path | None = None,
    checked: bool = False,
    say: Callable[[str], None] | None = None,
) -> HessianResult | None:
    """Measures curvature into a result file, subset by subset, continuing what is there.

    Args:
        subject: What is measured.
        target: Where it goes.
        settings: How much to measure.
        match: The `landscape.h5` of a run whose losses this one is to be measured at.
        warm: The `landscape.h5` of a neighboring checkpoint, measured with `--cross`: its eigenvectors save products.
        checked: Ask PyHessian for the eigenvalue of largest magnitude of every subset too.
        say: Told what it will cost and how PyHessian agrees; without it there is no progress either.

    Returns:
        The curvatures; None where the file holds them already.

    Raises:
        InputError: The name is taken, or a file is another checkpoint's or has no losses to match.
    """
    say, quiet = say or (lambda _: None), say is None
    config: dict[str, Any] = {"seed": settings.seed}
    measure, at = measure_hessian, None
    if match is not None:
        other, losses = other_losses(match, target.config["split"])
        config["match_loss"] = other.checkpoint_sha256
        at = temperatures(subject, losses)
        measure = partial(measure_matched, at=at)
    elif warm is not None:
        measure = partial(measure_hessian, warm=load_warm_start(warm, target.name, subject))
    if match is None:
        record_evaluation(subject, target)
    asked = extent(settings) | {"checked": checked}
    with recording(target, "hessian", subsets=subject.subsets, config=config, extent=asked) as record:
        if record is None:
            return None
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
        say(announcement(subject, settings, plan, len(done)))
        with Progress(f"hessian {target.name}", len(rows) - len(done), "subset", quiet=quiet) as progress:

            def keep(found: SubsetCurvature) -> None:
                write(record, rows[found.subset], found, settings)
                progress.advance(note=f"{found.subset} λ_top {found.top[0]:.4g}")

            result = measure(subject, settings=settings, plan=plan, done=done, on_done=keep)
        if settings.vectors:
            record_across(record, subject, plan)
        if checked:
            say("\n".join(record_check(record, subject, settings)))
        record.finish()
    return result


def announcement(subject: Subject, settings: HessianSettings, plan: Plan, done: int) -> str:
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


def _plan(record: Recording) -> Plan | None:
    noted = record.noted("plan")
    if noted is None and record.previous is not None:
        noted = record.previous.attributes.get("plan")
    return None if noted is None else Plan(**noted)


def columns(settings: HessianSettings) -> tuple[tuple[str, str, tuple[str, ...], str, str], ...]:
    """Dataset, attribute, further dimensions, unit and meaning of every column that settings ask for."""
    return _COLUMNS + _INTERVALS * settings.intervals + _LAYERS * settings.layers


def create_datasets(record: Recording, subject: Subject, settings: HessianSettings) -> None:
    """Makes the datasets of a new measurement."""
    sizes = {
        "rank": settings.top,
        "rank_bottom": settings.bottom,
        "node": settings.nodes,
        "point": POINTS,
        "mode": LARGEST_ROWS,
        "sample": FEWEST - 1,
        "layer": len(layers(subject)),
    }
    rows = len(subject.subsets)
    if settings.layers:
        record.scale("layer", np.array(list(layers(subject)), dtype=object))
    for name, _, dims, unit, meaning in columns(settings):
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
            "vectors/bottom", dims=("subset", "rank_bottom", "parameter"),
            shape=(rows, settings.bottom, subject.size), dtype="f4", meaning="unit eigenvectors of bottom",
        )  # fmt: skip
        record.create(
            "cross", dims=("direction", "subset"), shape=(rows, rows),
            meaning="vᵀHv of each class along each class's top eigenvector",
        )  # fmt: skip
        record.create(
            "overlap", dims=("direction", "subset"), shape=(rows, rows), meaning="‖V_i V_jᵀ‖² / k of top eigenspaces"
        )
        record.create(
            "share", dims=("rank", "subset"), shape=(settings.top, rows),
            meaning="each class's part of the top eigenvalues of all samples, sum 1",
        )  # fmt: skip
    record.create("status", dims=("subset",), shape=(rows,), dtype="i1", meaning="0 to do, 1 measured, 2 non-finite")


def write(record: Recording, row: int, found: SubsetCurvature, settings: HessianSettings) -> None:
    """Writes what was found of one subset; its status last."""
    for name, attribute, _, _, _ in columns(settings):
        value = attrgetter(attribute)(found)
        record.write(name, (row, slice(0, len(value))) if isinstance(value, np.ndarray) else row, value)
    if found.top_vectors is not None:
        record.write("vectors/top", row, found.top_vectors.float().cpu().numpy())
    if found.bottom_vectors is not None:
        record.write("vectors/bottom", row, found.bottom_vectors.float().cpu().numpy())
    record.write("verdict", row, found.verdict)
    record.write("converged", row, int(found.converged))
    record.write("products", row, found.products)
    record.write("status", row, MEASURED if found.finite else NON_FINITE)  # last: the row is whole
    record.flush()


def load_finished(record: Recording, subject: Subject, settings: HessianSettings) -> dict[str, SubsetCurvature]:
    """What an interrupted or smaller measurement of the same thing already holds, by subset."""
    names = [s.name for s in subject.subsets]
    if record.resumed:
        wanted = [name for name, *_ in columns(settings)] + ["verdict", "converged", "products", "status"]
        wanted += ["vectors/top", "vectors/bottom"] * settings.vectors
        data = {name: record.read(name) for name in wanted}
        return {n: _read(data, i, n, subject, settings) for i, n in enumerate(names) if data["status"][i]}
    before = record.previous
    if before is None or settings.vectors or not _covers(before, settings):  # vectors are not read into memory
        return {}
    rows = {name: i for i, name in enumerate(before.subset) if before.data["status"][i]}
    return {name: _read(before.data, rows[name], name, subject, settings) for name in names if name in rows}


def load_warm_start(path: Path, name: str, subject: Subject) -> dict[str, torch.Tensor]:
    """Top eigenvectors of another checkpoint of the same network, (k, P) by subset.

    Args:
        path: Its `landscape.h5`.
        name: The measurement's name.
        subject: What they are for.

    Returns:
        The vectors of every subset that was measured.

    Raises:
        InputError: The file cannot be read, or holds no such vectors of as many parameters.
    """
    other = read_landscape(path).get("hessian", name)
    if other is None or not other.extent.get("vectors"):
        raise InputError(f"--warm {str(path)!r} has no eigenvectors in hessian/{name}: measure it with --cross first")
    vectors = read_array(path, f"hessian/{name}/vectors/top")
    if vectors.shape[-1] != subject.size:
        raise InputError(f"--warm {str(path)!r} has {vectors.shape[-1]:,} parameters, this network {subject.size:,}")
    return {subset: torch.from_numpy(rows) for subset, rows in zip(other.subset, vectors, strict=True)}


def extremes(path: Path, subset: str, subject: Subject, config: Mapping[str, Any]) -> Extremes | None:
    """The outermost eigenpairs of a subset as a file holds them.

    Args:
        path: A `landscape.h5`, which need not exist.
        subset: The subset's name.
        subject: The network they are for.
        config: Split, loss, parameters and so on that they must have been measured with.

    Returns:
        The pairs; None where no such measurement kept its eigenvectors.
    """
    for found in read_landscape(path).measurements if path.exists() else ():
        same = all(found.config.get(key) == value for key, value in config.items())
        if found.analysis == "hessian" and "match_loss" not in found.config and same and subset in found.subset:
            row = found.subset.index(subset)
            if found.extent.get("vectors") and found.data["status"][row] == MEASURED:
                highest, lowest = (float(found.data[end][row, 0]) for end in ("top", "bottom"))
                top, bottom = (read_array(path, f"hessian/{found.name}/vectors/{end}") for end in ("top", "bottom"))
                if top.shape[-1] == subject.size and np.isfinite(lowest):  # PyHessian has no smallest one
                    return Extremes(highest, lowest, torch.from_numpy(top[row, 0]), torch.from_numpy(bottom[row, 0]))
    return None


def extent(settings: HessianSettings) -> dict[str, Any]:
    """How much was asked, as a measurement records it."""
    return {key: value for key, value in asdict(settings).items() if key != "seed"}


def _read(
    data: Mapping[str, np.ndarray], row: int, subset: str, subject: Subject, settings: HessianSettings
) -> SubsetCurvature:
    def column(name: str) -> Any:
        values = data[name][row]
        if np.ndim(values) == 0:
            return float(values)
        if name in ("nodes", "weights", "gauss_newton_top"):
            return np.array(values[np.isfinite(values)])
        count = {"top": settings.top, "bottom": settings.bottom}.get(name.split("_")[0], len(values))
        return np.array(values if name.endswith("_samples") else values[:count])

    found = {attribute: column(name) for name, attribute, _, _, _ in columns(settings)}
    for attribute, count in (("top", settings.top), ("bottom", settings.bottom)):
        for end in (attribute, f"{attribute}_se"):
            found.setdefault(f"held_out.{end}", np.full(count, np.nan))
    halves = FreshSamples(**{f.name: found.pop(f"held_out.{f.name}") for f in fields(FreshSamples)})
    found.setdefault("layer_top", np.full(len(layers(subject)), np.nan))
    verdict = data["verdict"][row]
    return SubsetCurvature(
        **found,
        held_out=halves,
        subset=subset,
        finite=int(data["status"][row]) == MEASURED,
        verdict=verdict.decode() if isinstance(verdict, bytes) else str(verdict),
        converged=bool(data["converged"][row]),
        products=int(data["products"][row]),
        top_vectors=torch.from_numpy(data["vectors/top"][row]) if settings.vectors else None,
        bottom_vectors=torch.from_numpy(data["vectors/bottom"][row]) if settings.vectors else None,
    )


def _covers(before: Measurement, settings: HessianSettings) -> bool:
    asked, had = extent(settings), dict(before.extent)
    enough = had.get("top", 0) >= settings.top and had.get("bottom", 0) >= settings.bottom
    return enough and all(had.get(key) == asked[key] for key in asked if key not in ("top", "bottom"))
