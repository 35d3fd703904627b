"""Loss and accuracy of every subset over a plane, cell by cell: `measure_surface`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from foundation.errors import InputError, one_of
from landscape.execution.evaluate import Evaluator, check_draw
from landscape.schema import FAILED, INTERPOLATED, MEASURED, NON_FINITE, TODO
from landscape.subject.samples import Samples
from landscape.subject.subject import Subject
from landscape.surface.axes import automatic_span, axes
from landscape.surface.plane import Plane, random_plane
from landscape.surface.refinement import Refinement

VALUES = ("loss", "accuracy", "loss_se")
"""What is known of a cell, (S,) each."""


@dataclass(frozen=True)
class Cell:
    """One evaluated point of a surface.

    Attributes:
        row: Index into `b`.
        column: Index into `a`.
        loss: Of every subset, (S,); NaN and infinities stay.
        accuracy: Of every subset, (S,).
        loss_se: Standard error of each loss, (S,).
        status: `MEASURED`, `NON_FINITE` or `FAILED`.
    """

    row: int
    column: int
    loss: np.ndarray
    accuracy: np.ndarray
    loss_se: np.ndarray
    status: int


@dataclass(frozen=True)
class Surface:
    """Loss and accuracy of every subset over a plane, or along a line where B is 1.

    Attributes:
        plane: What was cut through; its directions and named points.
        subset: Names of the S subsets.
        a: Coordinates along the first direction, (A,).
        b: Coordinates along the second, (B,).
        loss: Mean loss, (S, B, A).
        accuracy: Share classified rightly, (S, B, A).
        loss_se: Standard error of each loss where only some samples of a class were evaluated, (S, B, A); else 0.
        status: What each cell is, (B, A): values of `landscape.files.landscape_file`.
        error: Estimated error of an interpolated loss, (S, B, A); 0 where measured.
        evaluations: Points evaluated for this result, those of an interrupted run included.
        forward: How the network was evaluated, in words: see `Evaluator.form`.
    """

    plane: Plane
    subset: tuple[str, ...]
    a: np.ndarray
    b: np.ndarray
    loss: np.ndarray
    accuracy: np.ndarray
    loss_se: np.ndarray
    status: np.ndarray
    error: np.ndarray
    evaluations: int
    forward: str


def measure_surface(
    subject: Subject,
    *,
    plane: str | Plane = "random",
    points: int | tuple[int, int] = 51,
    span: float | Sequence[float] | None = None,
    tolerance: float | None = 0.01,
    seed: int = 0,
    calibration: Samples | None = None,
    samples_per_class: int | None = None,
    bf16: bool = False,
    done: Iterable[Cell] = (),
    on_done: Callable[[Cell], None] | None = None,
) -> Surface:
    """Measures loss and accuracy of every subset over a plane through weight space.

    Each point costs one forward pass over the data, whatever the number of subsets.

    Args:
        subject: What is measured; its weights and buffers are as before afterwards, also after an exception.
        plane: `"random"` (filter-normalized), or one made by `landscape.surface.plane` or `landscape.surface.planes`.
        points: Cells along both axes, or (A, B).
        span: The axes run from -span to span, one number or one an axis; found automatically by default.
        tolerance: Largest estimated error of an interpolated loss, as a share of a subset's range; None measures
            every cell.
        seed: Of the random plane and of the samples drawn.
        calibration: Training samples over which BatchNorm statistics are measured afresh at every point; the
            network's own by default.
        samples_per_class: Evaluate at most so many samples of each class, the same at every point.
        bf16: Multiply in bfloat16.
        done: Cells of an interrupted run, which are not evaluated again.
        on_done: Called with each cell as soon as it is evaluated.

    Returns:
        The surface.

    Raises:
        InputError: A number is out of range or the plane is unknown.
    """
    check(tolerance, samples_per_class)
    plane = _plane(subject, plane, seed)
    evaluator = Evaluator(subject, calibration=calibration, samples_per_class=samples_per_class, seed=seed, bf16=bf16)
    if span is None and not plane.ranges:
        span = automatic_span(evaluator, plane)
    a, b = axes(plane, points=points, span=span)
    cells = {(cell.row, cell.column): cell for cell in done if cell.status != FAILED}
    evaluator.at(plane.origin)  # what fails here is an error, not a cell
    values = {name: np.full((len(subject.subsets), len(b), len(a)), np.nan) for name in VALUES}
    status = np.full((len(b), len(a)), TODO, dtype=np.int8)
    refinement = Refinement(status.shape, tolerance)
    wanted = refinement.start()
    while wanted:
        for row, column in wanted:
            cell = cells.get((row, column))
            if cell is None:
                cell = _evaluate(evaluator, plane, row, column, float(a[column]), float(b[row]))
                if on_done is not None:
                    on_done(cell)
            for name, array in values.items():
                array[:, row, column] = getattr(cell, name)
            status[row, column] = cell.status
        wanted = refinement.more(values["loss"], status)
    between = status == TODO
    error = np.zeros_like(values["loss"])
    if between.any():
        values, error = refinement.between(values, status)
        status[between] = INTERPOLATED
    return Surface(
        plane,
        evaluator.subsets,
        a,
        b,
        **values,
        status=status,
        error=error,
        evaluations=int((~between).sum()),
        forward=evaluator.form,
    )


def _evaluate(evaluator: Evaluator, plane: Plane, row: int, column: int, a: float, b: float) -> Cell:
    try:
        found = evaluator.at(plane.at(a, b))
    except RuntimeError:  # out of memory at this one point, say; the origin was evaluated without this net
        nothing = np.full(len(evaluator.subsets), np.nan)
        return Cell(row, column, nothing, nothing, nothing, FAILED)
    status = MEASURED if np.isfinite(found.loss).all() else NON_FINITE
    return Cell(row, column, found.loss, found.accuracy, found.loss_se, status)


def check(tolerance: float | None, samples_per_class: int | None) -> None:
    """Refuses settings that make no surface.

    Args:
        tolerance: A share between 0 and 1, or None.
        samples_per_class: At least 2, or None.

    Raises:
        InputError: One of them is out of range.
    """
    if tolerance is not None and not 0.0 < tolerance < 1.0:
        raise InputError(f"--tolerance {tolerance:g} is no share of a range: give a number between 0 and 1")
    check_draw(samples_per_class)


def barriers(surface: Surface) -> np.ndarray:
    """How high each subset's loss rises along a line between two networks, (S,).

    The largest L(t) - [(1 - t) L(0) + t L(1)] (Entezari et al., "The Role of Permutation Invariance in Linear Mode
    Connectivity of Neural Networks", ICLR 2022; Frankle et al., ICML 2020, take the mean of the two ends instead of
    the straight line between them); at least 0, which the ends attain. NaN where the loss is.

    Args:
        surface: Along a line.
    """
    loss = surface.loss[:, 0]
    straight = loss[:, :1] + (loss[:, -1:] - loss[:, :1]) * np.linspace(0, 1, loss.shape[1])
    return np.asarray((loss - straight).max(axis=1))


def _plane(subject: Subject, plane: str | Plane, seed: int) -> Plane:
    if isinstance(plane, Plane):
        return plane
    if plane == "random":
        return random_plane(subject, seed=seed)
    raise one_of("plane", plane, ("random",))


def describe(surface: Surface) -> str:
    """What became of a surface's cells, in one line."""
    count = {status: int((surface.status == status).sum()) for status in (MEASURED, INTERPOLATED, NON_FINITE, FAILED)}
    parts = [f"{count[MEASURED]} cells measured"]
    if count[INTERPOLATED]:
        parts.append(f"{count[INTERPOLATED]} interpolated")
    if count[NON_FINITE]:
        parts.append(f"{count[NON_FINITE]} not finite")
    if count[FAILED]:
        parts.append(f"{count[FAILED]} failed (the same command tries them again)")
    return ", ".join(parts)
