"""Planes and lines that mean something: gradients, eigenvectors, other checkpoints, the path of training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from foundation.errors import InputError, one_of
from landscape.execution.gradient import loss_and_gradient
from landscape.hessian.checks import check_symmetry
from landscape.hessian.estimators.lanczos import ExtremalEigenpairs, LanczosOptions, extremal_eigenpairs
from landscape.hessian.estimators.random_vectors import random_signs
from landscape.hessian.products.autotune import choose_plan
from landscape.hessian.products.operators import HessianFactory
from landscape.subject.subject import Subject
from landscape.subject.subsets import Subset, subset_name
from landscape.surface.plane import Plane, orthonormal_plane, random_plane

PLANES = ("random", "gradient", "eigen", "checkpoints", "pca")
SEVERAL = ("checkpoints", "pca")
"""Planes through several networks."""

GRAPH = 64  # samples in one graph: the activations of more leave a CPU's cache
MARGIN = 0.2
"""What is shown beyond the named points, as a share of their extent."""

EXACT = 1e-3  # residual of the eigenvectors, relative to their eigenvalue


def make_plane(
    subject: Subject,
    kind: str,
    *,
    of: Sequence[str] = (),
    others: Mapping[str, Tensor] | None = None,
    known: ExtremalEigenpairs | None = None,
    seed: int = 0,
) -> Plane:
    """A plane by its name.

    Args:
        subject: What is measured.
        kind: `random`, `gradient`, `eigen`, `checkpoints` or `pca`.
        of: The subset of an eigen plane, `all` by default, or the two of a gradient plane, `all` and `few`.
        others: Weights (P,) by name: one or two other networks of a checkpoints plane, the way of training of a pca
            plane.
        known: Outermost eigenpairs of the eigen plane's subset, where they have been measured.
        seed: Of random directions.

    Returns:
        The plane.

    Raises:
        InputError: The name is unknown, or the plane cannot be made of what is given.
    """
    if kind not in PLANES:
        raise one_of("plane", kind, PLANES)
    if of and kind not in ("eigen", "gradient"):
        raise InputError(f"--of {','.join(of)} says nothing of a {kind} plane: leave it out")
    if len(of) > (2 if kind == "gradient" else 1):
        raise InputError(
            f"--of {','.join(of)} names {len(of)} subsets: give one of an eigen plane, two of a gradient plane"
        )
    if kind == "gradient":
        first, second = (*of, *("all", "few")[len(of) :])[:2]
        return gradient_plane(subject, of=(first, second))
    if kind == "eigen":
        return eigen_plane(subject, of=of[0] if of else "all", known=known, seed=seed)
    if kind == "checkpoints":
        return checkpoints_plane(subject.vector(), others or {})
    if kind == "pca":
        return pca_plane(subject.vector(), others or {})
    return random_plane(subject, seed=seed)


def gradient_plane(subject: Subject, *, of: tuple[str, str] = ("all", "few")) -> Plane:
    """The plane of two subsets' gradients: along the first axis one learns, off it the other pulls away.

    Args:
        subject: What is measured.
        of: The two subsets.

    Returns:
        The plane; coordinates are distances, and a and b grow uphill.
    """
    origin = subject.vector()
    samples = (subject.batches(_subset(subject, name), GRAPH) for name in of)
    one, two = (loss_and_gradient(subject, batches, origin)[1] for batches in samples)
    axes = (f"gradient of {of[0]}", f"gradient of {of[1]}")
    return replace(orthonormal_plane("gradient", origin, one, two, axes), subset=_index(subject, of[0]))


def eigen_plane(subject: Subject, *, of: str = "all", known: ExtremalEigenpairs | None = None, seed: int = 0) -> Plane:
    """The plane of the Hessian's top and bottom eigenvectors: where a subset's loss bends most up and most down.

    Args:
        subject: What is measured.
        of: The subset whose Hessian.
        known: Its outermost eigenpairs, where they have been measured.
        seed: Of the random start vector of a measurement.

    Returns:
        The plane; coordinates are distances.

    Raises:
        InputError: A product is not finite.
    """
    pairs = known or _extremal_eigenpairs(subject, of, seed)
    origin = subject.vector()
    axes = (
        f"top eigenvector of {of} (λ = {pairs.top.outermost:.4g})",
        f"bottom eigenvector of {of} (λ = {pairs.bottom.outermost:.4g})",
    )
    top, bottom = (_signed(end.vectors[0].to(origin)) for end in (pairs.top, pairs.bottom))
    plane = orthonormal_plane("eigen", origin, top, bottom, axes)
    return replace(plane, subset=_index(subject, of))


def _extremal_eigenpairs(subject: Subject, of: str, seed: int) -> ExtremalEigenpairs:
    check_symmetry(subject)
    plan = choose_plan(subject)
    hessian = HessianFactory(subject, plan).of(_subset(subject, of))
    generator = torch.Generator().manual_seed(seed)
    start = random_signs(subject.size, generator).to(subject.vector())
    try:
        options = LanczosOptions(top=1, bottom=1, tol=EXACT / 20, capacity=plan.basis)
        return extremal_eigenpairs(hessian, start, options, generator)
    except FloatingPointError:
        raise InputError(f"the Hessian of {of} is not finite: choose another subset with --of") from None


def checkpoints_plane(origin: Tensor, others: Mapping[str, Tensor], *, name: str = "this checkpoint") -> Plane:
    """The line through two checkpoints or the plane through three (Garipov et al., NeurIPS 2018, section 3).

    Args:
        origin: Weights of the first, (P,).
        others: One or two more by name, (P,) each.
        name: Of the first.

    Returns:
        A line from the first to the second, or a plane with a margin around all three; coordinates are distances.

    Raises:
        InputError: Not one or two others, or they coincide or lie on one line.
    """
    if len(others) not in (1, 2):
        raise InputError(f"--through names {len(others)} checkpoints: name one for a line or two for a plane")
    offsets = {other: weights.double() - origin.double() for other, weights in others.items()}
    first, second = [*offsets.values(), None][:2]
    assert first is not None
    axes = tuple(f"toward {other}" for other in others)
    plane = _with_points(orthonormal_plane("checkpoints", origin, first, second, axes), {name: first * 0, **offsets})
    if second is None:
        return replace(plane, ranges=((0.0, float(first.norm())),))
    return plane


def pca_plane(origin: Tensor, snapshots: Mapping[str, Tensor]) -> Plane:
    """The plane in which training moved most: the first two principal components of the way to the last weights.

    Principal components of w_i - w_last (Li et al., NeurIPS 2018, section 7.2), which the plane shows with the share
    of each snapshot's distance that it leaves out: two components can hold most of the variance of a random walk.

    Args:
        origin: The last weights, (P,).
        snapshots: Earlier ones by name, (P,) each, in the order of training.

    Returns:
        The plane; coordinates are distances.

    Raises:
        InputError: Fewer than two snapshots away from the last weights, or they lie on one line.
    """
    offsets = {name: weights.double() - origin.double() for name, weights in snapshots.items()}
    moved = [offset for offset in offsets.values() if float(offset.norm()) > 0]
    if len(moved) < 2:
        raise InputError(f"there are {len(moved)} snapshots of the way to this checkpoint: a pca plane needs 2 or more")
    path = torch.stack(moved)
    values, vectors = torch.linalg.eigh(path @ path.T)  # (snapshots, snapshots): never a matrix of all parameters
    shares = values / values.sum()
    first, second = (_signed(vectors[:, -k] @ path) for k in (1, 2))
    axes = tuple(f"principal component {k} ({100 * float(shares[-k]):.1f} % of the variance)" for k in (1, 2))
    return _with_points(orthonormal_plane("pca", origin, first, second, axes), offsets)


def _with_points(plane: Plane, offsets: Mapping[str, Tensor]) -> Plane:
    """The plane with named points, by their offsets from its origin, and ranges that show them all."""
    points, left_out = {}, {}
    directions = [direction.double() for direction in plane.directions]
    for name, offset in offsets.items():
        coordinates = [float(offset @ direction) for direction in directions]
        rest = offset - sum(c * d for c, d in zip(coordinates, directions, strict=True))
        length = float(offset.norm())
        points[name] = (coordinates[0], coordinates[1] if len(coordinates) > 1 else 0.0)
        left_out[name] = float(rest.norm()) / length if length > 0 else 0.0
    ranges = []
    for k in range(len(directions)):
        low, high = min(0.0, *(p[k] for p in points.values())), max(0.0, *(p[k] for p in points.values()))
        ranges.append((low - MARGIN * (high - low), high + MARGIN * (high - low)))
    return replace(plane, points=points, left_out=left_out, ranges=tuple(ranges))


def _signed(vector: Tensor) -> Tensor:
    """One of ±v, the same whatever sign a solver chose: the entry of the largest size is positive."""
    return vector if float(vector[vector.abs().argmax()]) > 0 else -vector


def _subset(subject: Subject, name: str) -> Subset:
    return subject.subsets[_index(subject, name)]


def _index(subject: Subject, name: str) -> int:
    return [subset.name for subset in subject.subsets].index(subset_name(subject.subsets, name))
