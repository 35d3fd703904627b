"""What is measured once every subset's eigenvectors and eigenvalues are known: across classes, and a peer's check."""

from __future__ import annotations

import numpy as np
import torch

from foundation.progress import Progress
from landscape.files.units import Recording
from landscape.hessian.estimators.cross_class import class_share, curvature_along, overlaps
from landscape.hessian.products.operators import HessianFactory, Plan
from landscape.hessian.pyhessian import largest_by_magnitude
from landscape.hessian.result import HessianSettings
from landscape.schema import PYHESSIAN_AGREES, SHARE
from landscape.subject.subject import Subject


def create_cross_class(record: Recording, subject: Subject, settings: HessianSettings) -> None:
    """Makes the datasets across classes of a new measurement with eigenvectors."""
    names = [s.name for s in subject.subsets]
    record.scale("direction", np.array(names, dtype=object))
    square = (len(names), len(names))
    record.create(
        "cross", dims=("direction", "subset"), shape=square,
        meaning="vᵀHv of each class along each class's top eigenvector",
    )  # fmt: skip
    record.create(
        "overlap", dims=("direction", "subset"), shape=square, unit=SHARE, meaning="‖V_i V_jᵀ‖² / k of top eigenspaces"
    )
    record.create(
        "share", dims=("rank", "subset"), shape=(settings.top, len(names)), unit=SHARE,
        meaning="each class's part of the top eigenvalues of all samples, sum 1",
    )  # fmt: skip


def record_across(record: Recording, subject: Subject, plan: Plan) -> None:
    """Every class's curvature along every class's top eigenvector, overlaps, and shares of the whole's eigenvalues.

    Class by class, a column each; columns that are there already are kept.

    Args:
        record: A measurement with `vectors/top`.
        subject: What it measured.
        plan: How products are computed.
    """
    classes = [row for row, subset in enumerate(subject.subsets) if subset.kind == "class"]
    vectors = torch.from_numpy(record.read("vectors/top")).to(subject.vector())
    record.write("overlap", slice(None), overlaps(vectors))
    whole = [row for row, subset in enumerate(subject.subsets) if subset.kind == "all"]
    hessians, done = HessianFactory(subject, plan), record.read("cross")
    with Progress("across classes", len(classes), "class") as progress:
        for column in classes:
            subset = subject.subsets[column]
            if np.isnan(done[classes, column]).all():
                directions = torch.cat([vectors[classes, 0], *(vectors[row] for row in whole)])
                along = curvature_along(hessians, subset, directions)
                every = np.full(len(done), np.nan)
                every[classes] = along[: len(classes)]
                for row in whole:
                    part = subset.measured_count / len(subject.labels)
                    share = class_share(along[len(classes) :], record.read("top")[row], part)
                    record.write("share", (slice(None), column), share)
                record.write("cross", (slice(None), column), every)
                record.flush()
            progress.advance(note=subset.name)


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
    found, top, bottom = (record.read(name) for name in ("check_top", "top", "bottom"))
    ours = np.where(np.abs(bottom[:, 0]) > np.abs(top[:, 0]), bottom[:, 0], top[:, 0])
    with Progress("check by PyHessian", len(names), "subset") as progress:
        for row, subset in enumerate(subject.subsets):
            if np.isnan(found[row]):
                found[row] = largest_by_magnitude(subject, subset, tol=settings.tol, seed=settings.seed)
                record.write("check_top", row, found[row])
                record.flush()
            progress.advance(note=subset.name)
    apart = np.abs(found / ours - 1)
    lines = [
        f"{name}: PyHessian's largest |λ| is {theirs:.4g}, ours {mine:.4g}"
        for name, theirs, mine, far in zip(names, found, ours, apart, strict=True)
        if not far <= PYHESSIAN_AGREES
    ]
    worst = int(np.nanargmax(apart)) if np.isfinite(apart).any() else 0
    agreed = (
        f"PyHessian agrees within {100 * PYHESSIAN_AGREES:g} % on {len(names) - len(lines)} of {len(names)} subsets"
    )
    return [f"{agreed}; the largest difference is {100 * apart[worst]:.2g} % ({names[worst]})", *lines]
