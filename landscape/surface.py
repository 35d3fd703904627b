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
from landscape.store import FAILED, INTERPOLATED, MEASURED, NON_FINITE, TODO, Recording, recording
from landscape.subject import Samples, Subject

RUNGS = 18  # of the ladder below: six powers of ten up and down from where the search for a span starts
LADDER = (1, 2, 5)
"""Automatic spans are 1, 2 or 5 times a power of ten, so that comparable networks share their axes."""

FLUSH_EVERY = 8  # cells: at most a second of work on a CPU is lost to a kill


@dataclass(frozen=True)
class Cell:
    """One evaluated point of a surface.

    Attributes:
        row: Index into `b`.
        column: Index into `a`.
        loss: Of every subset, (S,); NaN and infinities stay.
        accuracy: Of every subset, (S,).
        status: `MEASURED`, `NON_FINITE` or `FAILED`.
    """

    row: int
    column: int
    loss: np.ndarray
    accuracy: np.ndarray
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
        seed: Of the random plane.
        calibration: Training samples over which BatchNorm statistics are measured afresh at every point; the
            network's own by default.
        done: Cells of an interrupted run, which are not evaluated again.
        on_done: Called with each cell as soon as it is evaluated.

    Returns:
        The surface.

    Raises:
        InputError: A number is out of range or the plane is unknown.
    """
    plane = _plane(subject, plane, seed)
    evaluator = Evaluator(subject, calibration=calibration)
    if span is None and not plane.ranges:
        span = automatic_span(evaluator, plane)
    a, b = axes(plane, points=points, span=span)
    if tolerance is not None and not 0.0 < tolerance < 1.0:
        raise InputError(f"--tolerance {tolerance:g} is no share of a range: give a number between 0 and 1")
    cells = {(cell.row, cell.column): cell for cell in done if cell.status != FAILED}
    count = len(subject.subsets)
    loss = np.full((count, len(b), len(a)), np.nan)
    accuracy, error = np.full_like(loss, np.nan), np.zeros_like(loss)
    status = np.full((len(b), len(a)), TODO, dtype=np.int8)
    evaluator.at(plane.origin)  # what fails here is an error, not a cell
    refinement = Refinement((len(b), len(a)), tolerance)
    wanted = refinement.start()
    while wanted:
        for row, column in wanted:
            cell = cells.get((row, column))
            if cell is None:
                cell = _evaluate(evaluator, plane, row, column, float(a[column]), float(b[row]))
                if on_done is not None:
                    on_done(cell)
            loss[:, row, column], accuracy[:, row, column], status[row, column] = cell.loss, cell.accuracy, cell.status
        wanted = refinement.more(loss, status)
    evaluated = int((status != TODO).sum())
    interpolated = status == TODO
    if interpolated.any():
        loss, accuracy, error = refinement.between(loss, accuracy, status)
        status[interpolated] = INTERPOLATED
    names = tuple(subset.name for subset in subject.subsets)
    return Surface(plane, names, a, b, loss, accuracy, status, error, evaluated)


def axes(
    plane: Plane, *, points: int | tuple[int, int], span: float | Sequence[float] | None
) -> tuple[np.ndarray, np.ndarray]:
    """The coordinates of a surface's cells; (0, 0) is among them where the counts are odd.

    Args:
        plane: What is cut through.
        points: Cells along both axes, or (A, B).
        span: The axes run from -span to span, one number or one an axis; None where the plane has its own ranges.

    Returns:
        a (A,) and b (B,); b is the single 0 along a line.

    Raises:
        InputError: Fewer than 3 points or a span that is not above 0.
    """
    counts = (points, points) if isinstance(points, int) else points
    used = len(plane.directions)
    if min(counts[:used]) < 3:
        raise InputError(f"--points {min(counts[:used])} is too few for a surface: give 3 or more")
    ranges = list(plane.ranges)
    if span is not None:
        spans = tuple(float(s) for s in span) if isinstance(span, Sequence) else (float(span),) * 2
        if not all(0.0 < s < math.inf for s in spans):
            raise InputError(f"--span {min(spans):g} is not above 0: leave it out to have it found")
        ranges = [(-s, s) for s in spans]
    a, *rest = (_axis(*ranges[k], counts[k]) for k in range(used))
    return a, rest[0] if rest else np.zeros(1)


def automatic_span(evaluator: Evaluator, plane: Plane) -> tuple[float, ...]:
    """How far to look along each axis: to where the network knows no more than a guess.

    The smallest of …, 0.1, 0.2, 0.5, 1, 2, … at whose ends the loss has risen by log(C)/2, half the loss of a guess
    among C classes: far beyond it lies nothing that training knows of, and well inside it a basin looks flat.

    Args:
        evaluator: Of the subject.
        plane: What is cut through.

    Returns:
        A span an axis; in a random plane, whose axes are alike, the same for both.
    """
    rise = math.log(max(evaluator.classes, 2)) / 2
    target = float(evaluator.at(plane.origin)[0][plane.subset]) + rise
    groups = (
        [tuple(range(len(plane.directions)))]
        if plane.kind == "random"
        else [(k,) for k in range(len(plane.directions))]
    )

    def reached(axes_: tuple[int, ...], step: int) -> bool:
        ends = []
        for axis in axes_:
            for sign in (-1.0, 1.0):
                where = [0.0, 0.0]
                where[axis] = sign * _rung(step)
                loss = float(evaluator.at(plane.at(*where))[0][plane.subset])
                ends.append(loss if math.isfinite(loss) else math.inf)
        return float(np.median(ends)) >= target

    spans: dict[int, float] = {}
    for group in groups:
        length = 1.0 if plane.kind == "random" else 0.1 * float(plane.origin.norm())
        step = round(3 * math.log10(length)) if length > 0 else 0
        lowest, highest = step - RUNGS, step + RUNGS
        if reached(group, step):
            while step > lowest and reached(group, step - 1):
                step -= 1
        else:
            while step < highest and not reached(group, step):
                step += 1
        spans.update(dict.fromkeys(group, _rung(step)))
    return tuple(spans[k] for k in sorted(spans))


def _rung(step: int) -> float:
    return float(f"{LADDER[step % 3]}e{step // 3}")


def _axis(low: float, high: float, count: int) -> np.ndarray:
    """Evenly spaced, and exactly symmetric where the range is: the middle of an odd count is exactly 0."""
    steps = np.arange(count) * 2 - (count - 1)
    return np.asarray((low + high) / 2 + steps * ((high - low) / 2 / (count - 1)))


def _evaluate(evaluator: Evaluator, plane: Plane, row: int, column: int, a: float, b: float) -> Cell:
    try:
        loss, accuracy = (values.numpy() for values in evaluator.at(plane.at(a, b)))
    except RuntimeError:  # out of memory at this one point, say; the origin was evaluated without this net
        nothing = np.full(evaluator.subsets, np.nan)
        return Cell(row, column, nothing, nothing, FAILED)
    return Cell(row, column, loss, accuracy, MEASURED if np.isfinite(loss).all() else NON_FINITE)


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
    add("--seed", type=int, default=0, help="of the random directions")
    return parser


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Runs the command."""
    run(_command, build_parser(), argv)


def _command(arguments: argparse.Namespace) -> None:
    opened, out, name = open_arguments(arguments)
    subject, counts = opened.subject, arguments.points
    tolerance = None if arguments.exact else arguments.tolerance
    config = {**opened.config, "plane": arguments.plane, "span": arguments.span, "seed": arguments.seed}
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
        cells |= _cells(a, b, {key: record.read(key) for key in ("a", "b", "loss", "accuracy", "status")})
    pending = 0

    def keep(cell: Cell) -> None:
        nonlocal pending
        at = (slice(None), cell.row, cell.column)
        record.write("loss", at, cell.loss)
        record.write("accuracy", at, cell.accuracy)
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
    for key in ("loss", "accuracy", "error", "status"):
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
            loss, accuracy = data["loss"][:, i, j], data["accuracy"][:, i, j]
            found[at] = Cell(*at, loss, accuracy, int(data["status"][i, j]))
    return found


def _counts(text: str) -> tuple[int, int]:
    parts = [int(part) for part in text.lower().split("x")]
    if len(parts) > 2:
        raise argparse.ArgumentTypeError(f"{text!r} is not A or AxB")
    return parts[0], parts[-1]


if __name__ == "__main__":
    main()
