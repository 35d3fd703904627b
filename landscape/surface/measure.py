"""Loss and accuracy of every subset over a plane, cell by cell: `measure_surface`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
from torch.nn.modules.batchnorm import _BatchNorm

from foundation.errors import InputError
from landscape.execution.checks import guarded
from landscape.execution.evaluate import Evaluator
from landscape.schema import FAILED, INTERPOLATED, MEASURED, NON_FINITE, TODO
from landscape.subject.subject import Subject
from landscape.surface.axes import automatic_span, axes
from landscape.surface.drawn_curvature import DrawnCurvature, drawn_curvature_at_center
from landscape.surface.plane import Plane
from landscape.surface.plane_kinds import SEVERAL, make_plane
from landscape.surface.refinement import Refinement
from landscape.surface.result import VALUES, Cell, Surface, SurfaceSettings, barriers

Places = Sequence[tuple[int, int]]
"""Cells by row and column."""


@guarded
def measure_surface(
    subject: Subject,
    *,
    plane: str | Plane = "random",
    settings: SurfaceSettings | None = None,
    done: Iterable[Cell] = (),
    on_done: Callable[[Cell], None] | None = None,
    share: Callable[[Places, Callable[[int, int], Cell]], Iterable[Cell]] | None = None,
) -> Surface:
    """Measures loss and accuracy of every subset over a plane through weight space.

    Each point costs one forward pass over the data, whatever the number of subsets. Of a subject whose BatchNorm is
    `recalibrated` the statistics are measured afresh at every point.

    Args:
        subject: What is measured; its weights and buffers are as before afterwards, also after an exception.
        plane: `"random"` (filter-normalized), `"gradient"` or `"eigen"`, or one made by `landscape.surface.plane` or
            `landscape.surface.plane_kinds`.
        settings: How much to measure, and how exactly.
        done: Cells of an interrupted run, which are not evaluated again.
        on_done: Called with each cell as soon as it is evaluated.
        share: Has cells evaluated by several processes: given the places (row, column) that are wanted next and what
            evaluates one, it returns those that are known then.

    Returns:
        The surface.

    Raises:
        InputError: A number is out of range, the plane is unknown, or it joins several networks whose BatchNorm
            statistics are not measured afresh.
    """
    settings = settings or SurfaceSettings()
    if isinstance(plane, str):
        plane = make_plane(subject, plane, seed=settings.seed)
    require_fresh_statistics(subject, plane)
    evaluator = evaluator_of(subject, settings)
    span = settings.span
    if span is None and not plane.ranges:
        span = automatic_span(evaluator, plane)
    a, b = axes(plane, points=settings.points, span=span)
    cells = {(cell.row, cell.column): cell for cell in done if cell.status != FAILED}
    here = evaluator.at(plane.origin).loss  # what fails here is an error, not a cell
    values = {name: np.full((len(subject.subsets), len(b), len(a)), np.nan) for name in VALUES}
    status = np.full((len(b), len(a)), TODO, dtype=np.int8)
    refinement = Refinement(status.shape, settings.tolerance)
    wanted = refinement.start()

    def evaluate(row: int, column: int) -> Cell:
        return _evaluate(evaluator, plane, row, column, float(a[column]), float(b[row]))

    while wanted:
        unknown = [place for place in wanted if place not in cells]
        if share is not None and unknown:
            cells |= {(cell.row, cell.column): cell for cell in share(unknown, evaluate)}
        for row, column in wanted:
            cell = cells.get((row, column))
            if cell is None:
                cell = evaluate(row, column)
                if on_done is not None:
                    on_done(cell)
            for name, array in values.items():
                array[:, row, column] = getattr(cell, name)
            status[row, column] = cell.status
        wanted = refinement.more(values["loss"], status)
    between = status == TODO
    used, nothing = [a, b][: len(plane.directions)], np.empty(0)
    error, kept_tolerance = np.zeros_like(values["loss"]), nothing
    if between.any():
        found = refinement.between(values, status)
        values, error, kept_tolerance = found.values, found.error, found.kept_tolerance
        status[between] = INTERPOLATED
    exactly = None if settings.precision == "full" else evaluator_of(subject, settings, precision="full")
    return Surface(
        plane,
        settings,
        evaluator.subsets,
        a,
        b,
        **values,
        error=error,
        status=status,
        evaluations=int((~between).sum()),
        forward=evaluator.form,
        kept_tolerance=kept_tolerance,
        curvature=_curvature(subject, plane, [float(axis[1] - axis[0]) for axis in used], settings.seed),
        barrier=barriers(values["loss"][:, 0]) if plane.points and len(b) == 1 else nothing,
        precision_error=nothing if exactly is None else here - exactly.at(plane.origin).loss,
    )


@guarded
def measure_some(
    subject: Subject,
    blocks: Iterable[Places],
    *,
    plane: Plane,
    settings: SurfaceSettings,
    a: np.ndarray,
    b: np.ndarray,
    on_done: Callable[[Cell], None],
) -> None:
    """Evaluates some cells, each to the last bit as `measure_surface` does.

    Args:
        subject: What is measured.
        blocks: Places (row, column), some at a time, named while they are evaluated.
        plane: What is cut through.
        settings: How exactly to measure.
        a: Coordinates of the columns, (A,).
        b: Of the rows, (B,).
        on_done: Called with each cell as soon as it is evaluated.
    """
    evaluator = evaluator_of(subject, settings)
    for block in blocks:
        for row, column in block:
            on_done(_evaluate(evaluator, plane, row, column, float(a[column]), float(b[row])))


def evaluator_of(subject: Subject, settings: SurfaceSettings, *, precision: str | None = None) -> Evaluator:
    """What evaluates a surface's points, in the settings' precision unless another is named."""
    return Evaluator(
        subject,
        calibration=subject.calibration if subject.batch_norm == "recalibrated" else None,
        samples_per_class=settings.samples_per_class,
        seed=settings.seed,
        bf16=(precision or settings.precision) == "bfloat16",
    )


def require_fresh_statistics(subject: Subject, plane: Plane) -> None:
    """Refuses a plane through several networks at the BatchNorm statistics of one, which would fabricate barriers.

    Args:
        subject: What is measured.
        plane: What is cut through.

    Raises:
        InputError: The subject has running statistics and uses them as they are.
    """
    several = plane.kind in SEVERAL and subject.batch_norm == "eval"
    if several and any(isinstance(m, _BatchNorm) and m.track_running_stats for m in subject.network.modules()):
        raise InputError(
            f"a {plane.kind} plane through several networks at the BatchNorm statistics of one would show barriers "
            'that are not there: give the subject batch_norm="recalibrated" and its training samples as calibration'
        )


def _evaluate(evaluator: Evaluator, plane: Plane, row: int, column: int, a: float, b: float) -> Cell:
    try:
        found = evaluator.at(plane.at(a, b))
    except RuntimeError:  # out of memory at this one point, say; the origin was evaluated without this net
        nothing = np.full(len(evaluator.subsets), np.nan)
        return Cell(row, column, nothing, nothing, nothing, FAILED)
    status = MEASURED if np.isfinite(found.loss).all() else NON_FINITE
    return Cell(row, column, found.loss, found.accuracy, found.loss_se, status)


def _curvature(subject: Subject, plane: Plane, steps: Sequence[float], seed: int) -> DrawnCurvature:
    if subject.batch_norm == "recalibrated":
        return DrawnCurvature()
    return drawn_curvature_at_center(subject, plane, steps, seed=seed)
