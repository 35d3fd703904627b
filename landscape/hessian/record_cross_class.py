"""What is measured once every subset's eigenvectors and eigenvalues are known: across classes, and a peer's check."""

from __future__ import annotations

import numpy as np

from foundation.progress import Progress
from landscape.files.units import Recording
from landscape.hessian.measure_cross_class import CrossClass, measure_cross_class
from landscape.hessian.pyhessian import largest_by_magnitude
from landscape.hessian.result import HessianResult, HessianSettings
from landscape.schema import PYHESSIAN_AGREES, assemble, quantities
from landscape.subject.subject import Subject


def record_cross_class(record: Recording, subject: Subject, result: HessianResult) -> None:
    """Curvature across classes, class by class, a column each; columns that are there already are kept.

    Args:
        record: A measurement with eigenvectors.
        subject: What it measured.
        result: What it found.
    """
    names = [s.name for s in subject.subsets]
    sizes = {"direction": len(names), "subset": len(names), "rank": result.settings.top}
    record.scale("direction", np.array(names, dtype=object))
    for q in quantities(CrossClass):
        record.create(q.name, dims=q.dims, shape=[sizes[dim] for dim in q.dims], unit=q.unit, meaning=q.meaning)
    classes = sum(s.kind == "class" for s in subject.subsets)
    with Progress("across classes", classes, "class") as progress:

        def record_column(column: int, known: CrossClass) -> None:
            record.write("cross", (slice(None), column), known.cross[:, column])
            record.write("share", (slice(None), column), known.share[:, column])
            record.flush()
            progress.advance(note=names[column])

        done = assemble(CrossClass, {q.name: record.read(q.name) for q in quantities(CrossClass)}, subset=tuple(names))
        record.write(
            "overlap", slice(None), measure_cross_class(subject, result, done=done, on_class=record_column).overlap
        )


def record_check(record: Recording, subject: Subject, settings: HessianSettings) -> list[str]:
    """PyHessian's eigenvalue of largest magnitude beside ours, as `check_top`.

    Args:
        record: A finished measurement of every subset.
        subject: What it measured.
        settings: Of the measurement; tolerance and seed are PyHessian's too.

    Returns:
        Lines that say how far the two differ.
    """
    names = [s.name for s in subject.subsets]
    record.create(
        "check_top", dims=("subset",), shape=(len(names),), meaning="PyHessian's eigenvalue of largest magnitude"
    )
    theirs, top, bottom = (record.read(name) for name in ("check_top", "top", "bottom"))
    ours = np.where(np.abs(bottom[:, 0]) > np.abs(top[:, 0]), bottom[:, 0], top[:, 0])
    with Progress("check by PyHessian", len(names), "subset") as progress:
        for row, subset in enumerate(subject.subsets):
            if np.isnan(theirs[row]):
                theirs[row] = largest_by_magnitude(subject, subset, tol=settings.tol, seed=settings.seed)
                record.write("check_top", row, theirs[row])
                record.flush()
            progress.advance(note=subset.name)
    apart = np.abs(theirs / ours - 1)
    lines = [
        f"{name}: PyHessian's largest |λ| is {their:.4g}, ours {our:.4g}"
        for name, their, our, far in zip(names, theirs, ours, apart, strict=True)
        if not far <= PYHESSIAN_AGREES
    ]
    worst = int(np.nanargmax(apart)) if np.isfinite(apart).any() else 0
    agreed = (
        f"PyHessian agrees within {100 * PYHESSIAN_AGREES:g} % on {len(names) - len(lines)} of {len(names)} subsets"
    )
    return [f"{agreed}; the largest difference is {100 * apart[worst]:.2g} % ({names[worst]})", *lines]
