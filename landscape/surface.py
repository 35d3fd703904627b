"""Loss surfaces of every subset at once: `measure_surface` and `python -m landscape.surface`."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np

from foundation.command import Parser, run
from foundation.errors import InputError, one_of
from foundation.progress import Progress
from foundation.provenance import provenance
from landscape.adaptive import Refinement
from landscape.checkpoints import add_arguments, open_arguments
from landscape.directions import Plane, random_plane
from landscape.evaluation import Evaluator, record_evaluation
from landscape.span import automatic_span, axes
from landscape.store import FAILED, INTERPOLATED, MEASURED, NON_FINITE, TODO, Recording, recording
from landscape.subject import Samples, Subject

VALUES = ("loss", "accuracy", "loss_se")
FLUSH_EVERY = 8  # cells: at most a second of work on a CPU is lost to a kill


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
        status: What each cell is, (B, A): values of `landscape.store`.
        error: Estimated error of an interpolated loss, (S, B, A); 0 where measured.
        evaluations: Points evaluated for this result, those of an interrupted run included.
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
    done: Iterable[Cell] = (),
    on_done: Callable[[Cell], None] | None = None,
) -> Surface:
    """Measures loss and accuracy of every subset over a plane through weight space.

    Each point costs one forward pass over the data, whatever the number of subsets.

    Args:
        subject: What is measured; its weights and buffers are as before afterwards, also after an exception.
        plane: `"random"` (filter-normalised), or a plane made by `landscape.directions` or `landscape.planes`.
        points: Cells along both axes, or (A, B).
        span: The axes run from -span to span, one number or one an axis; found automatically by default.
        tolerance: Largest estimated error of an interpolated loss, as a share of a subset's range; None measures
            every cell.
        seed: Of the random plane and of the samples drawn.
        calibration: Training samples over which BatchNorm statistics are measured afresh at every point; the
            network's own by default.
        samples_per_class: Evaluate at most so many samples of each class, the same at every point.
        done: Cells of an interrupted run, which are not evaluated again.
        on_done: Called with each cell as soon as it is evaluated.

    Returns:
        The surface.

    Raises:
        InputError: A number is out of range or the plane is unknown.
    """
    plane = _plane(subject, plane, seed)
    evaluator = Evaluator(subject, calibration=calibration, samples_per_class=samples_per_class, seed=seed)
    if span is None and not plane.ranges:
        span = automatic_span(evaluator, plane)
    a, b = axes(plane, points=points, span=span)
    if tolerance is not None and not 0.0 < tolerance < 1.0:
        raise InputError(f"--tolerance {tolerance:g} is no share of a range: give a number between 0 and 1")
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
        plane, evaluator.subsets, a, b, **values, status=status, error=error, evaluations=int((~between).sum())
    )


def _evaluate(evaluator: Evaluator, plane: Plane, row: int, column: int, a: float, b: float) -> Cell:
    try:
        found = evaluator.at(plane.at(a, b))
    except RuntimeError:  # out of memory at this one point, say; the origin was evaluated without this net
        nothing = np.full(len(evaluator.subsets), np.nan)
        return Cell(row, column, nothing, nothing, nothing, FAILED)
    status = MEASURED if np.isfinite(found.loss).all() else NON_FINITE
    return Cell(row, column, found.loss, found.accuracy, found.loss_se, status)


def _plane(subject: Subject, plane: str | Plane, seed: int) -> Plane:
    if isinstance(plane, Plane):
        return plane
    if plane == "random":
        return random_plane(subject, seed=seed)
    raise one_of("plane", plane, ("random",))


def build_parser() -> Parser:
    """The command's arguments."""
    parser = Parser(
        "landscape.surface",
        "Measures loss and accuracy of every class and group over a plane through the trained weights.",
        "--ckpt runs/bgp/checkpoint.pt --points 51 --tolerance 0.01",
    )
    add_arguments(parser)
    surface = parser.add_argument_group("the surface")
    add = surface.add_argument
    add("--plane", default="random", choices=("random",), help="what is cut through")
    add("--points", type=_counts, default=(51, 51), metavar="A[xB]", help="cells along both axes, such as 51 or 51x31")
    add("--span", type=float, metavar="S", help="axes run from -S to S (default: found by the rise of the loss)")
    add("--tolerance", type=float, default=0.01, help="error of an interpolated loss, as a share of a subset's range")
    add("--exact", action="store_true", help="measure every cell, interpolate none")
    add("--samples-per-class", type=int, metavar="N", help="evaluate at most N samples of each class, with errors")
    add("--seed", type=int, default=0, help="of the random directions and of the samples drawn")
    return parser


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Runs the command."""
    run(_command, build_parser(), argv)


def _command(arguments: argparse.Namespace) -> None:
    opened, out, name = open_arguments(arguments)
    subject, counts = opened.subject, arguments.points
    tolerance = None if arguments.exact else arguments.tolerance
    config = {**opened.config, "plane": arguments.plane, "span": arguments.span, "seed": arguments.seed}
    config["samples_per_class"] = arguments.samples_per_class
    saved: dict[str, Any] = {
        "checkpoint_sha256": opened.sha256,
        "provenance": provenance(subject.device, seed=arguments.seed),
        "overwrite": arguments.overwrite,
    }
    plane = _plane(subject, arguments.plane, arguments.seed)
    axes(plane, points=counts, span=arguments.span or 1.0)  # refuses bad numbers before anything is written
    record_evaluation(out, name, subject, config=opened.config, **saved)
    extent = {"points": list(counts), "tolerance": tolerance}
    with recording(out, "surface", name, subsets=subject.subsets, config=config, extent=extent, **saved) as record:
        if record is None:
            print(f"{out}: surface/{name} is there already")
            return
        print(
            f"surface/{name}: {len(subject.subsets)} subsets of {len(subject.labels)} samples at "
            f"{'' if tolerance is None else 'up to '}{math.prod(counts)} points, one forward pass each",
            flush=True,
        )
        surface = _record(record, subject, plane, counts, arguments.span, tolerance)
    print(f"{out}: surface/{name}: {describe(surface)}")


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


def _record(
    record: Recording,
    subject: Subject,
    plane: Plane,
    counts: tuple[int, int],
    span: float | None,
    tolerance: float | None,
) -> Surface:
    """Measures into an open recording, cell by cell, and finishes it."""
    spans = record.noted("spans") or span
    if spans is None and not plane.ranges:
        spans = list(automatic_span(Evaluator(subject), plane))
        record.note("spans", spans)
    a, b = axes(plane, points=counts, span=spans)
    shape = (len(b), len(a))
    every = (len(subject.subsets), *shape)
    record.scale("a", a, unit="multiples of the first direction")
    record.scale("b", b, unit="multiples of the second direction")
    dims = ("subset", "b", "a")
    record.create("loss", dims=dims, shape=every, unit="nats", meaning="mean loss")
    record.create("accuracy", dims=dims, shape=every, unit="1", meaning="share classified rightly")
    record.create("loss_se", dims=dims, shape=every, unit="nats", meaning="standard error of the loss, 0 where every "
                  "sample was evaluated")  # fmt: skip
    record.create("error", dims=dims, shape=every, unit="nats", meaning="estimated error of an interpolated loss")
    record.create("status", dims=dims[1:], shape=shape, dtype="i1", meaning="0 to do, 1 measured, 2 not finite, "
                  "3 failed, 4 interpolated")  # fmt: skip
    for number, direction in enumerate(plane.directions, 1):
        key = f"directions/{number}"
        record.create(key, dims=["parameter"], shape=direction.shape, dtype="f4", meaning=plane.axes[number - 1])
        record.write(key, slice(None), direction.cpu().numpy())
    record.note("axes", list(plane.axes))
    cells = _cells(a, b, record.previous.data) if record.previous else {}
    if record.resumed:
        cells |= _cells(a, b, {key: record.read(key) for key in ("a", "b", *VALUES, "status")})
    pending = 0

    def keep(cell: Cell) -> None:
        nonlocal pending
        at = (slice(None), cell.row, cell.column)
        for key in VALUES:
            record.write(key, at, getattr(cell, key))
        record.write("status", at[1:], cell.status)
        pending += 1
        if pending == FLUSH_EVERY:
            record.flush()
            pending = 0
        progress.advance()

    total = None if tolerance is not None else math.prod(shape) - len(cells)
    with Progress("surface", total, "point") as progress:
        surface = measure_surface(
            subject, plane=plane, points=counts, span=spans, tolerance=tolerance, done=cells.values(), on_done=keep
        )
    for key in (*VALUES, "error", "status"):
        record.write(key, slice(None), getattr(surface, key))
    record.note("evaluations", surface.evaluations)
    record.finish()
    return surface


def _cells(a: np.ndarray, b: np.ndarray, data: Mapping[str, np.ndarray]) -> dict[tuple[int, int], Cell]:
    """The evaluated cells of an earlier surface that lie on these coordinates, by row and column."""
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


def _counts(text: str) -> tuple[int, int]:
    parts = [int(part) for part in text.lower().split("x")]
    if len(parts) > 2:
        raise argparse.ArgumentTypeError(f"{text!r} is not A or AxB")
    return parts[0], parts[-1]


if __name__ == "__main__":
    main()
