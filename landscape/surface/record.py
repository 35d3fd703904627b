"""How a surface gets into a `landscape.h5` and lies there: `/surface/<name>`, some cells at a time."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from foundation.progress import Progress
from landscape.evaluation.record import record_evaluation
from landscape.execution.checks import check_finite
from landscape.files.target import Target
from landscape.files.units import Recording, assisting, recording
from landscape.hessian.record import load_eigenpairs
from landscape.ranks.team import Team, shared
from landscape.schema import MEASURED, NON_FINITE, WEIGHT_NORM, quantities
from landscape.subject.subject import Subject
from landscape.subject.subsets import describe, subset_name
from landscape.surface.axes import automatic_span, axes
from landscape.surface.measure import Places, evaluator_of, measure_some, measure_surface, require_fresh_statistics
from landscape.surface.plane import Plane
from landscape.surface.plane_kinds import make_plane
from landscape.surface.result import VALUES, Cell, Surface, SurfaceSettings

FLUSH_EVERY = 8  # cells: at most a second of work on a CPU is lost to a kill


@shared
def record_surface(
    subject: Subject,
    target: Target,
    settings: SurfaceSettings | None = None,
    *,
    plane: str | Plane = "random",
    of: Sequence[str] = (),
    others: Mapping[str, Tensor] | None = None,
    say: Callable[[str], None] | None = None,
    team: Team | None = None,
) -> Surface | None:
    """Measures a surface into a result file, cell by cell, continuing what is there.

    Args:
        subject: What is measured.
        target: Where it goes.
        settings: How much to measure, and how exactly.
        plane: Its name, or one that was made before.
        of: Of a plane by name: see `make_plane`.
        others: Likewise.
        say: Told what it will cost; without it there is no progress either.
        team: The ranks that share the work; all of them call this.

    Returns:
        The surface; None where the file holds it already, and on all ranks but the first.

    Raises:
        InputError: A number is out of range, the plane cannot be made, the name is taken, or the file is another
            checkpoint's.
    """
    settings, of = settings or SurfaceSettings(), [subset_name(subject.subsets, name) for name in of]
    check_finite(subject)
    what = identity(settings, plane, of, others)
    if team is not None and not team.leads:
        record_evaluation(subject, target, team=team)
        if (blocks := team.offered()) is not None:
            with assisting(target, "surface", subsets=subject.subsets, **what) as begun:
                _assist(begun, subject, plane, settings, blocks)
        return None
    if isinstance(plane, str):
        known = (
            load_eigenpairs(target.file, of[0] if of else "all", subject, target.config) if plane == "eigen" else None
        )
        plane = make_plane(subject, plane, of=of, others=others, known=known, seed=settings.seed)
    require_fresh_statistics(subject, plane)
    axes(plane, points=settings.points, span=settings.span or 1.0)  # refuses bad numbers before anything is written
    record_evaluation(subject, target, team=team)
    with recording(target, "surface", subsets=subject.subsets, **what) as record:
        if record is None:
            return None
        if say is not None:
            say(f"surface/{target.name}: {_cost(subject, plane, settings)}")
        plane = keep_directions(record, plane)
        settings = _keep_span(record, subject, plane, settings)
        a, b = axes(plane, points=settings.points, span=settings.span)
        create_datasets(record, subject, plane, a, b)
        done = _finished(record, a, b)
        total = None if settings.tolerance else a.size * b.size - len(done)
        with Progress("surface", total, "point", quiet=say is None) as progress:
            cells = _Cells(record)

            def keep(cell: Cell) -> None:
                cells.write(cell)
                progress.advance()

            def share(wanted: Places, evaluate: Callable[[int, int], Cell]) -> list[Cell]:
                assert team is not None
                record.flush()
                blocks = _blocks(wanted, team.size)
                for block in team.dealt(blocks, [len(block) for block in blocks], progress.advance):
                    for row, column in block:
                        cells.write(evaluate(row, column))
                    cells.flush()
                record.refresh()
                return _finished(record, a, b)

            surface = measure_surface(
                subject, plane=plane, settings=settings, done=done, on_done=keep, share=None if team is None else share
            )
        write(record, surface)
        record.finish()
    return surface


def _assist(
    record: Recording, subject: Subject, plane: str | Plane, settings: SurfaceSettings, blocks: Iterable[Places]
) -> None:
    """Evaluates cells of the plane as rank 0 has recorded it."""
    if isinstance(plane, str):
        plane = Plane(plane, subject.vector(), (), ())
    cells, kept = _Cells(record), keep_directions(record, plane)

    def flushed() -> Iterator[Places]:
        for block in blocks:
            yield block
            cells.flush()

    a, b = (record.read(name) for name in ("a", "b"))
    measure_some(subject, flushed(), plane=kept, settings=settings, a=a, b=b, on_done=cells.write)


def _blocks(wanted: Places, ranks: int) -> list[Places]:
    """Cells to deal: several blocks a rank, so that none waits long for the last."""
    size = max(1, min(FLUSH_EVERY, len(wanted) // (4 * ranks)))
    return [wanted[begin : begin + size] for begin in range(0, len(wanted), size)]


def named(name: str, plane: str, of: Sequence[str] = ()) -> str:
    """What a surface is called in the file: the measurement's name, for all but random planes with the plane's.

    Args:
        name: Of the measurement, such as its split.
        plane: The plane's name.
        of: The subsets it is of.
    """
    return name if plane == "random" else "-".join([name, plane, *re.findall("[a-z0-9]+", ",".join(of))])


def identity(
    settings: SurfaceSettings, plane: str | Plane, of: Sequence[str] = (), others: Mapping[str, Tensor] | None = None
) -> dict[str, dict[str, Any]]:
    """What makes another measurement (`config`), and what more of the same (`extent`); see `record_surface`."""
    points, span = settings.points, settings.span
    config: dict[str, Any] = {
        "plane": plane if isinstance(plane, str) else plane.kind,
        "of": ",".join(of) or None,
        "through": [_sha256(weights) for weights in (others or {}).values()],
        "span": list(span) if isinstance(span, Sequence) else span,
        "samples_per_class": settings.samples_per_class,
        "seed": settings.seed,
        "precision": settings.precision,
    }
    if isinstance(plane, Plane):
        config["directions"] = _sha256(plane.origin, *plane.directions)
    counts = [points, points] if isinstance(points, int) else list(points)
    return {"config": config, "extent": {"points": counts, "tolerance": settings.tolerance}}


def create_datasets(record: Recording, subject: Subject, plane: Plane, a: np.ndarray, b: np.ndarray) -> None:
    """Makes the datasets of a new measurement."""
    unit = "filter lengths" if plane.kind == "random" else "distance in weight space"
    record.note(WEIGHT_NORM, subject.weight_norm())
    record.scale("a", a, unit=unit)
    record.scale("b", b, unit=unit)
    sizes = {"subset": len(subject.subsets), "a": len(a), "b": len(b)}
    for q in quantities(Surface):
        if set(q.dims) > {"a", "b"} or q.name == "status":
            shape = [sizes[dim] for dim in q.dims]
            record.create(q.name, dims=q.dims, shape=shape, dtype=q.dtype, unit=q.unit, meaning=q.meaning)


def write(record: Recording, surface: Surface) -> None:
    """Writes a whole result."""
    for q in quantities(Surface):
        values = q.of(surface)
        if values.size:  # some belong to some surfaces only
            record.create(q.name, dims=q.dims, shape=values.shape, dtype=q.dtype, unit=q.unit, meaning=q.meaning)
            record.write(q.name, slice(None), values)
    record.note("evaluations", surface.evaluations)
    record.note("forward", surface.forward)
    points, left_out = surface.plane.points, surface.plane.left_out
    if points:
        record.scale("trajectory/point", np.array(list(points), dtype=object))
        for key, values, dims, meaning in (
            ("coordinates", np.array(list(points.values())), ["point", "axis"], "a and b of the nearest point in the "
             "plane"),
            ("hidden_share", np.array(list(left_out.values())), ["point"], "share of the distance from the origin that "
             "the plane does not show"),
        ):  # fmt: skip
            record.create(f"trajectory/{key}", dims=dims, shape=values.shape, meaning=meaning)
            record.write(f"trajectory/{key}", slice(None), values)


class _Cells:
    """Writes cells and makes every few of them durable."""

    def __init__(self, record: Recording) -> None:
        self._record, self._pending = record, 0

    def write(self, cell: Cell) -> None:
        at = (slice(None), cell.row, cell.column)
        for key in VALUES:
            self._record.write(key, at, getattr(cell, key))
        self._record.write("status", at[1:], cell.status)
        self._pending += 1
        if self._pending == FLUSH_EVERY:
            self.flush()

    def flush(self) -> None:
        self._record.flush()
        self._pending = 0


def keep_directions(record: Recording, plane: Plane) -> Plane:
    """Writes the directions; a resumed surface takes those it began with, whatever a solver finds today."""
    dtype = "f8" if plane.origin.dtype == torch.float64 else "f4"
    names = record.noted("axes") if record.resumed else None
    keys = [f"directions/{number}" for number in range(1, len(names or plane.axes) + 1)]
    if names:
        kept = tuple(torch.as_tensor(record.read(key)).to(plane.origin) for key in keys)
        return replace(plane, directions=kept, axes=tuple(names))
    for key, direction, meaning in zip(keys, plane.directions, plane.axes, strict=True):
        record.create(key, dims=["parameter"], shape=direction.shape, dtype=dtype, meaning=meaning)
        record.write(key, slice(None), direction.cpu().numpy())
    record.note("axes", list(plane.axes))
    record.flush()
    return plane


def _keep_span(record: Recording, subject: Subject, plane: Plane, settings: SurfaceSettings) -> SurfaceSettings:
    """The settings with the span that was found, now or before the interruption."""
    span = record.noted("spans") or settings.span
    if span is None and not plane.ranges:
        span = list(automatic_span(evaluator_of(subject, settings, precision="full"), plane))
        record.note("spans", span)
    return replace(settings, span=span)


def _finished(record: Recording, a: np.ndarray, b: np.ndarray) -> list[Cell]:
    """The evaluated cells of an interrupted surface, or of one with other points, that lie on these coordinates."""
    cells = _cells(a, b, record.previous.data) if record.previous else {}
    if record.resumed:
        cells |= _cells(a, b, {key: record.read(key) for key in ("a", "b", *VALUES, "status")})
    return list(cells.values())


def _cells(a: np.ndarray, b: np.ndarray, data: Mapping[str, np.ndarray]) -> dict[tuple[int, int], Cell]:
    rows, columns = (
        {
            old: int(new)
            for old, value in enumerate(data[key])
            for new in np.flatnonzero(abs(axis - value) < 1e-9 * axis[-1])
        }
        for key, axis in (("b", b), ("a", a))
    )
    found = {}
    for i, j in zip(*np.nonzero(np.isin(data["status"], (MEASURED, NON_FINITE))), strict=True):
        if i in rows and j in columns:
            at = (rows[i], columns[j])
            loss, accuracy, loss_se = (data[name][:, i, j] for name in VALUES)
            found[at] = Cell(*at, loss, accuracy, loss_se, int(data["status"][i, j]))
    return found


def _cost(subject: Subject, plane: Plane, settings: SurfaceSettings) -> str:
    counts = settings.points if isinstance(settings.points, Sequence) else (settings.points,) * 2
    most = math.prod(counts[: len(plane.directions)])
    samples = sum(min(n, settings.samples_per_class or n) for n in torch.bincount(subject.labels).tolist())
    return (
        f"{describe(subject.subsets)}, {samples:,} samples measured at {'up to ' if settings.tolerance else ''}{most} "
        "points, one forward pass each"
    )


def _sha256(*tensors: Tensor) -> str:
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
