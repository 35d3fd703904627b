"""Numbers of a measurement computed again from its checkpoint, a random sample of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch

from foundation.errors import InputError
from landscape.execution.evaluate import evaluate
from landscape.files.checkpoint import Opened
from landscape.files.landscape_file import Landscape, Measurement, read_array
from landscape.hessian.measure import measure_hessian
from landscape.hessian.result import HessianSettings
from landscape.schema import MEASURED
from landscape.sharpness.measure import measure_sharpness
from landscape.sharpness.result import SharpnessSettings
from landscape.subject.subject import Subject
from landscape.surface.measure import evaluator_of
from landscape.surface.plane import Plane
from landscape.surface.result import SurfaceSettings

CLOSE = 1e-3
"""Share by which losses may differ that another device or another number of threads has summed up in float32."""
SMALLEST = 1e-5
"""Nat below which a loss, or what it increases by, is rounding of float32."""
FEW_DRAWS = 2
LOOSE = 1e-2
"""Relative residual of an eigenvalue that is computed again: it is compared within its residual."""


def computed_again(
    opened: Opened, landscape: Landscape, measurement: Measurement, rows: int, generator: np.random.Generator
) -> tuple[int, list[str]]:
    """Computes a random sample of a measurement's numbers again.

    Args:
        opened: The checkpoint, on the split, parameters and loss of the measurement.
        landscape: The file.
        measurement: Finished, of the same checkpoint.
        rows: How many of its subsets, and of a surface how many cells.
        generator: Draws them.

    Returns:
        How many numbers were compared, and a sentence for each that came out otherwise. None are compared where a
        checkpoint alone does not say how: at another run's losses, at several precisions.
    """
    again = _AGAIN.get(measurement.analysis)
    if again is None or measurement.config.get("match_loss"):
        return 0, []
    count, wrong = 0, []
    for what, stored, found, allowed in again(opened.subject, landscape, measurement, rows, generator):
        count += 1
        if not (abs(stored - found) <= allowed or np.isnan([stored, found]).all()):
            wrong.append(f"{what} is {stored:.6g} in the file and {found:.6g} when computed again")
    return count, wrong


Compared = Iterator[tuple[str, float, float, float]]
"""What, the number in the file, the one found again, the largest difference that is none."""


def _evaluation(
    subject: Subject, _: Landscape, known: Measurement, rows: int, generator: np.random.Generator
) -> Compared:
    subject = subject.with_subsets(list(known.subset))
    found = evaluate(subject)
    for row, name in enumerate(known.subset):
        stored = float(known.data["loss"][row])
        yield f"loss of {name}", stored, float(found.loss[row]), CLOSE * abs(stored) + SMALLEST
        one = 1.5 / max(int(known.measured_count[row]), 1)  # a tie between two classes may be broken either way
        yield f"accuracy of {name}", float(known.data["accuracy"][row]), float(found.accuracy[row]), one


def _sharpness(
    subject: Subject, _: Landscape, known: Measurement, rows: int, generator: np.random.Generator
) -> Compared:
    chosen, draws = _drawn(known, rows, generator), known.data["draws"].shape[-1]
    settings = SharpnessSettings(
        radii=tuple(known.data["radius"].tolist() if "radius" in known.data else known.extent["radii"]),
        steps=1, draws=min(FEW_DRAWS, draws), seed=int(known.config["seed"]),
        samples_per_class=known.config.get("samples_per_class"),
    )  # fmt: skip
    found = measure_sharpness(subject.with_subsets([known.subset[row] for row in chosen]), settings=settings)
    for at, row in enumerate(chosen):
        name = known.subset[row]
        stored = float(known.data["gradient_norm"][row])
        yield f"gradient norm of {name}", stored, float(found.gradient_norm[at]), CLOSE * abs(stored) + SMALLEST
        for key in ("sam", "adaptive"):
            pairs = zip(known.data[key][row].tolist(), getattr(found, key)[at].tolist(), strict=True)
            for radius, (before, now) in zip(settings.radii, pairs, strict=True):
                yield f"{key} of {name} at radius {radius:g}", before, now, 10 * CLOSE * abs(before) + SMALLEST
        for r, radius in enumerate(settings.radii):
            for k in range(settings.draws):
                before, now = float(known.data["draws"][row, r, k]), float(found.draws[at, r, k])
                yield f"draw {k} of {name} at radius {radius:g}", before, now, 10 * CLOSE * abs(before) + SMALLEST


def _surface(
    subject: Subject, landscape: Landscape, known: Measurement, rows: int, generator: np.random.Generator
) -> Compared:
    settings = SurfaceSettings(
        samples_per_class=known.config.get("samples_per_class"), precision=known.config.get("precision", "full"),
        seed=int(known.config["seed"]),
    )  # fmt: skip
    if settings.precision != "full":
        return
    axes = [str(axis) for axis in known.attributes["axes"]]
    keys = [f"surface/{known.name}/directions/{number}" for number in range(1, len(axes) + 1)]
    origin = subject.vector()
    directions = tuple(torch.as_tensor(read_array(landscape.path, key)).to(origin) for key in keys)
    if any(direction.shape != origin.shape for direction in directions):
        raise InputError(f"the directions of surface/{known.name} are of another network than the checkpoint's")
    plane = Plane(str(known.config["plane"]), origin, directions, tuple(axes))
    evaluator = evaluator_of(subject.with_subsets(list(known.subset)), settings)
    cells = np.argwhere(known.data["status"] == MEASURED)
    for row, column in generator.permutation(cells)[: 4 * rows].tolist():
        a, b = (float(known.data[axis][at]) for axis, at in (("a", column), ("b", row)))
        found = evaluator.at(plane.at(a, b) if len(directions) > 1 else plane.at(a)).loss
        for s, name in enumerate(known.subset):
            stored = float(known.data["loss"][s, row, column])
            yield f"loss of {name} at ({a:.4g}, {b:.4g})", stored, float(found[s]), 10 * CLOSE * abs(stored) + SMALLEST


def _hessian(subject: Subject, _: Landscape, known: Measurement, rows: int, generator: np.random.Generator) -> Compared:
    # What costs most is left out: the outermost eigenvalues say which network, data and loss they are of.
    tolerance = float(known.extent.get("tol", LOOSE))
    settings = HessianSettings(
        top=1, bottom=1, tol=max(tolerance, LOOSE), probes=2, slq_vectors=2, intervals=False,
        seed=int(known.config["seed"]),
    )  # fmt: skip
    chosen = _drawn(known, rows, generator)
    result = measure_hessian(subject.with_subsets([known.subset[row] for row in chosen]), settings=settings)
    for row in chosen:
        name, data = known.subset[row], known.data
        found = result.of(name)
        for key, now in (("loss", found.loss), ("gradient_norm", found.gradient_norm)):
            stored = float(data[key][row])
            yield f"{key} of {name}", stored, now, CLOSE * abs(stored) + SMALLEST
        largest = max(abs(found.top.outermost), abs(found.bottom.outermost))
        for end, pairs in (("top", found.top), ("bottom", found.bottom)):
            for rank, (now, residual) in enumerate(zip(pairs.values.tolist(), pairs.residuals.tolist(), strict=True)):
                before, theirs = float(data[end][row, rank]), float(data[f"{end}_residual"][row, rank])
                yield f"{end}[{rank}] of {name}", before, now, residual + theirs + CLOSE * largest
        for key, trace in (("trace", found.trace), ("trace_scaled", found.trace_scaled)):
            before = float(data[key][row])  # two probes know little of their own error: their interval counts
            error = 6 * float(data[f"{key}_se"][row]) + trace.half_width
            yield f"{key} of {name}", before, trace.value, error + 10 * CLOSE * (abs(before) + largest)


def _drawn(known: Measurement, rows: int, generator: np.random.Generator) -> list[int]:
    measured = np.flatnonzero(known.data["status"] == MEASURED)
    return sorted(generator.permutation(measured)[:rows].tolist())


_AGAIN: dict[str, Callable[..., Compared]] = {
    "evaluation": _evaluation, "hessian": _hessian, "sharpness": _sharpness, "surface": _surface,
}  # fmt: skip
