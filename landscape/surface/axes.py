"""How far a surface looks along each axis, and where its cells lie."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from foundation.errors import InputError
from landscape.execution.evaluate import Evaluator
from landscape.surface.plane import Plane

RUNGS = 18  # of the ladder below: six powers of ten up and down from where the search for a span starts
LADDER = (1, 2, 5)
"""Automatic spans are 1, 2 or 5 times a power of ten, so that comparable networks share their axes."""


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
    among C classes: far beyond it lies nothing that training knows of, and well inside it a basin looks flat. The loss
    is that of the subset which the plane is made for or of the first one measured, whichever rises more: along a
    tail class's bottom eigenvector its own loss stayed low for 50 times as far as all others took to reach 10⁸.

    Args:
        evaluator: Of the subject.
        plane: What is cut through.

    Returns:
        A span an axis; in a random plane, whose axes are alike, the same for both.
    """
    target = math.log(max(evaluator.classes, 2)) / 2
    watched = [0, plane.subset]
    start = evaluator.at(plane.origin).loss[watched]
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
                rise = float((evaluator.at(plane.at(*where)).loss[watched] - start).max())
                ends.append(rise if math.isfinite(rise) else math.inf)
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
