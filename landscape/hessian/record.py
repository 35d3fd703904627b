"""How curvature gets into a `landscape.h5` and lies there: `/hessian/<name>`, written and read back row by row."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch

from foundation.errors import InputError
from foundation.progress import Progress
from landscape.evaluation.record import record_evaluation
from landscape.evaluation.record_matched import match_losses
from landscape.execution.checks import check_finite
from landscape.files.landscape_file import Measurement, read_array, read_landscape
from landscape.files.target import Target
from landscape.files.units import Recording, assisting, recording
from landscape.hessian.checks import check_symmetry
from landscape.hessian.estimators.density import POINTS
from landscape.hessian.estimators.exact_trace import backward_passes
from landscape.hessian.estimators.fresh_samples import FEWEST
from landscape.hessian.estimators.gauss_newton import LARGEST_ROWS
from landscape.hessian.estimators.lanczos import Eigenpairs, ExtremalEigenpairs
from landscape.hessian.estimators.layerwise import layers
from landscape.hessian.matched_loss import measure_matched, measure_some_matched
from landscape.hessian.measure import distinct, measure_hessian, measure_some
from landscape.hessian.products.autotune import choose_plan
from landscape.hessian.products.operators import Plan
from landscape.hessian.record_cross_class import record_check, record_cross_class
from landscape.hessian.result import CHAIN, HessianResult, HessianSettings, SubsetCurvature
from landscape.ranks.team import Team, shared
from landscape.schema import MEASURED, WEIGHT_NORM, Quantity, assemble, quantities
from landscape.subject.subject import Subject
from landscape.subject.subsets import describe

_RENAMED = {"chains": "slq_vectors", "trace_width": "trace_rtol"}
"""Settings that had another name in files of schema version 1."""


@shared
def record_hessian(
    subject: Subject,
    target: Target,
    settings: HessianSettings,
    *,
    match_loss: Path | None = None,
    warm_start: Path | None = None,
    checked: bool = False,
    memory: int | None = None,
    say: Callable[[str], None] | None = None,
    team: Team | None = None,
) -> HessianResult | None:
    """Measures curvature into a result file, subset by subset, continuing what is there.

    Args:
        subject: What is measured.
        target: Where it goes.
        settings: How much to measure.
        match_loss: The `landscape.h5` of a run whose losses this one is to be measured at.
        warm_start: The `landscape.h5` of a neighboring checkpoint, measured with `--cross-class`: its eigenvectors save
            products.
        checked: Ask PyHessian for the eigenvalue of largest magnitude of every subset too.
        memory: Bytes that graphs and vectors may take; a share of the machine's by default.
        say: Told what it will cost and how PyHessian agrees; without it there is no progress either.
        team: The ranks that share the work; all of them call this.

    Returns:
        The curvatures; None where the file holds them already, and on all ranks but the first.

    Raises:
        InputError: The name is taken, or a file is another checkpoint's or has no losses to match.
    """
    check_finite(subject)
    check_symmetry(subject)
    say, quiet = say or (lambda _: None), say is None
    config: dict[str, Any] = {"seed": settings.seed}
    measure: Callable[..., HessianResult] = measure_hessian
    some: Callable[..., None] = measure_some
    match = None
    if match_loss is not None:
        match = match_losses(subject, match_loss, target)
        config |= match.config
        subject = match.subject
        measure = partial(measure_matched, at=match.temperatures)
        some = partial(measure_some_matched, at=match.temperatures)
        if match.unmatched:
            say(match.describe())
    elif warm_start is not None:
        vectors = load_warm_start(warm_start, target.name, subject)
        measure, some = partial(measure, initial_vectors=vectors), partial(some, initial_vectors=vectors)
    if match is None:
        record_evaluation(subject, target, team=team)
    what: dict[str, Any] = {"subsets": subject.subsets, "config": config}
    what["extent"] = extent(settings) | {"checked": checked}
    rows = {s.name: i for i, s in enumerate(subject.subsets)}
    if team is not None and not team.leads:
        if (names := team.offered()) is not None:
            with assisting(target, "hessian", **what) as begun:
                plan, keep = _plan(begun, subject, memory), partial(_write_subset, begun, rows, settings)
                some(subject, names, settings=settings, plan=plan, on_done=keep)
        return None
    with recording(target, "hessian", **what) as record:
        if record is None:
            return None
        create_datasets(record, subject, settings)
        if match is not None:
            match.write(record)
        plan = _plan(record, subject, memory)
        record.note("plan", asdict(plan))
        done = load_finished(record, subject, settings)
        for before in done.values():
            write(record, rows[before.subset], before, settings)
        say(announcement(subject, settings, plan, len(done), ranks=1 if team is None else team.size))
        work = {s.name: 0 if subject.twin(s) else s.measured_count for s in subject.subsets}
        left = sum(work.values()) - sum(work[name] for name in done)
        with Progress(f"hessian {target.name}", left, "sample", quiet=quiet) as progress:

            def record_subset(measured: SubsetCurvature) -> None:
                write(record, rows[measured.subset], measured, settings)
                progress.advance(work[measured.subset], f"{measured.subset} λ_top {measured.top.outermost:.4g}")

            if team is not None:
                record.flush()
                units, keep = distinct(subject, done), partial(_write_subset, record, rows, settings)
                sizes = [subset.measured_count for subset in units]
                names = team.dealt([subset.name for subset in units], sizes, progress.advance)
                some(subject, names, settings=settings, plan=plan, on_done=keep)
                record.refresh()
                done = load_finished(record, subject, settings)
            result = measure(subject, settings=settings, plan=plan, done=done, on_done=record_subset)
        if settings.vectors:
            record_cross_class(record, subject, result)
        if checked:
            say("\n".join(record_check(record, subject, settings)))
        record.finish()
    return result


def announcement(subject: Subject, settings: HessianSettings, plan: Plan, done: int, *, ranks: int = 1) -> str:
    """What it will cost: by what trained networks took, for both starts and for the scale-free eigenvalue."""
    samples = sum(s.measured_count for s in subject.subsets if subject.twin(s) is None)
    products = min(40 + 2 * settings.top + 5 * settings.bottom, 2 * subject.size)
    products += settings.slq_vectors + (settings.slq_vectors - 1) * (CHAIN - 1)
    products += backward_passes(subject) // 2 or 2 * settings.probes
    products += settings.intervals * 3 * (settings.top + settings.bottom)
    products += settings.gauss_newton * (25 + 2 * settings.top + settings.probes)  # of G, and of H − G
    products += settings.layers * 6 * len(layers(subject))
    seconds = samples * products * plan.sample_seconds / ranks
    held = max(min(plan.keep, s.measured_count) for s in subject.subsets) * plan.sample_bytes
    left = f"{len(subject.subsets) - done} of " if done else ""
    shared = f" on {ranks} ranks" if ranks > 1 else ""
    return (
        f"Hessian of {left}{describe(subject.subsets)}, {subject.size:,} parameters: "
        f"about {products} products each, {held / 2**20:,.0f} MiB of graphs, "
        f"{max(seconds / 60, 0.1):.1f} min{shared}"
    )


def _plan(record: Recording, subject: Subject, memory: int | None) -> Plan:
    """The plan that the measurement was begun with, or a new one."""
    noted = record.noted("plan")
    if noted is None and record.previous is not None:
        noted = record.previous.attributes.get("plan")
    return choose_plan(subject, memory=memory) if noted is None else Plan(**noted)


def columns(settings: HessianSettings) -> tuple[Quantity, ...]:
    """What a measurement with these settings records of every subset, a data set each."""
    return tuple(q for q in quantities(SubsetCurvature) if q.asked(settings))


def create_datasets(record: Recording, subject: Subject, settings: HessianSettings) -> None:
    """Makes the datasets of a new measurement."""
    sizes, rows = _sizes(subject, settings), len(subject.subsets)
    record.note(WEIGHT_NORM, subject.weight_norm())
    if settings.layers:
        record.scale("layer", np.array(list(layers(subject)), dtype=object))
    for q in columns(settings):
        shape, text = (rows, *(sizes[dim] for dim in q.dims)), q.dtype == "str"
        dtype: Any = h5py.string_dtype() if text else q.dtype
        fill: Any = "" if text else np.nan
        record.create(
            q.name, dims=("subset", *q.dims), shape=shape, dtype=dtype, fill=fill, unit=q.unit, meaning=q.meaning
        )


def write(record: Recording, row: int, curvature: SubsetCurvature, settings: HessianSettings) -> None:
    """Writes what is known of one subset; its status last, when the row is whole."""
    for q in columns(settings):
        value = q.of(curvature)
        if not q.dims:
            record.write(q.name, row, int(value) if isinstance(value, bool) else value)
        elif len(value):
            array = value.float().cpu().numpy() if isinstance(value, torch.Tensor) else value
            record.write(q.name, (row, slice(0, len(array))), array)
    record.flush()


def _write_subset(
    record: Recording, rows: Mapping[str, int], settings: HessianSettings, measured: SubsetCurvature
) -> None:
    write(record, rows[measured.subset], measured, settings)


def load_finished(record: Recording, subject: Subject, settings: HessianSettings) -> dict[str, SubsetCurvature]:
    """What an interrupted or smaller measurement of the same thing already holds, by subset."""
    names = [s.name for s in subject.subsets]
    if record.resumed:
        data = {q.name: record.read(q.name) for q in columns(settings)}
        return {n: read(data, i, n, subject, settings) for i, n in enumerate(names) if data["status"][i]}
    before = record.previous
    if before is None or settings.vectors or not _covers(before, settings):  # vectors are not read into memory
        return {}
    rows = {name: i for i, name in enumerate(before.subset) if before.data["status"][i]}
    return {name: read(before.data, rows[name], name, subject, settings) for name in names if name in rows}


def read(
    data: Mapping[str, np.ndarray], row: int, subset: str, subject: Subject, settings: HessianSettings
) -> SubsetCurvature:
    """One row as the object that was written, without the NaN behind the ends of its arrays.

    Args:
        data: By data set, more rows and more eigenvalues than asked for included.
        row: Which.
        subset: Its name.
        subject: What was measured.
        settings: How much is asked for; what is not is left out.

    Returns:
        The curvature.
    """
    sizes = _sizes(subject, settings)
    values = {q.name: _value(q, data[q.name][row], sizes) for q in columns(settings) if q.name in data}
    known = {name: value for name, value in values.items() if np.ndim(value) == 0 or len(value)}
    return assemble(SubsetCurvature, known, subset=subset)


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
        raise InputError(
            f"--warm-start {str(path)!r} has no eigenvectors in hessian/{name}: measure it with --cross-class first"
        )
    vectors = read_array(path, f"hessian/{name}/vectors/top")
    if vectors.shape[-1] != subject.size:
        raise InputError(
            f"--warm-start {str(path)!r} has {vectors.shape[-1]:,} parameters, this network {subject.size:,}"
        )
    return {subset: torch.from_numpy(rows) for subset, rows in zip(other.subset, vectors, strict=True)}


def load_eigenpairs(path: Path, subset: str, subject: Subject, config: Mapping[str, Any]) -> ExtremalEigenpairs | None:
    """The outermost eigenpairs of a subset as a file holds them.

    Args:
        path: A `landscape.h5`, which need not exist.
        subset: The subset's name.
        subject: The network they are for.
        config: Split, loss, parameters and so on that they must have been measured with.

    Returns:
        One pair at each end; None where no such measurement kept its eigenvectors.
    """
    for known in read_landscape(path).measurements if path.exists() else ():
        same = all(known.config.get(key) == value for key, value in config.items())
        if known.analysis == "hessian" and "match_loss" not in known.config and same and subset in known.subset:
            row = known.subset.index(subset)
            if known.extent.get("vectors") and known.data["status"][row] == MEASURED:
                top, bottom = (_first_pair(path, known, end, row) for end in ("top", "bottom"))
                if top.vectors.shape[1] == subject.size and np.isfinite(bottom.outermost):
                    return ExtremalEigenpairs(top, bottom)
    return None


def _first_pair(path: Path, known: Measurement, end: str, row: int) -> Eigenpairs:
    vectors = torch.from_numpy(read_array(path, f"hessian/{known.name}/vectors/{end}")[row, :1])
    return Eigenpairs(known.data[end][row, :1], known.data[f"{end}_residual"][row, :1], vectors)


def extent(settings: HessianSettings) -> dict[str, Any]:
    """How much was asked, as a measurement records it."""
    return {key: value for key, value in asdict(settings).items() if key != "seed"}


def _sizes(subject: Subject, settings: HessianSettings) -> dict[str, int]:
    return {
        "rank": settings.top,
        "rank_bottom": settings.bottom,
        "node": settings.nodes,
        "point": POINTS,
        "mode": LARGEST_ROWS,
        "sample": FEWEST - 1,
        "layer": len(layers(subject)),
        "parameter": subject.size,
    }


def _value(q: Quantity, stored: Any, sizes: Mapping[str, int]) -> Any:
    if not q.dims:
        return stored.decode() if isinstance(stored, bytes) else stored
    asked = np.array(stored[: sizes[q.dims[0]]])
    some = np.flatnonzero(~np.isnan(asked.reshape(len(asked), -1)).all(1))
    known = asked[: some[-1] + 1 if len(some) else 0]
    return torch.from_numpy(known) if q.dims[-1] == "parameter" else known


def _covers(before: Measurement, settings: HessianSettings) -> bool:
    """Whether an earlier measurement was asked for as much, under today's names of the settings or those before."""
    asked = extent(settings)
    had = {_RENAMED.get(key, key): value for key, value in before.extent.items()}
    enough = had.get("top", 0) >= settings.top and had.get("bottom", 0) >= settings.bottom
    ours = had.get("engine", "krylov") == "krylov"  # another could be chosen once
    return enough and ours and all(had.get(key) == asked[key] for key in asked if key not in ("top", "bottom"))
