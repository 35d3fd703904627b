"""Eigenvalues at both ends of a symmetric matrix that is known only by its products with vectors.

One Krylov space (Lanczos 1950; `krylov_space`) grows until the pairs asked for have converged. One start finds one
copy of a multiple eigenvalue, and may be blind to a direction, so that a second random start looks for more in the
complement of the space, as long as an eigenvalue there could still be hidden from it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from landscape.conversion import unknown
from landscape.execution.memory import LARGEST_BASIS
from landscape.hessian.estimators.krylov_space import Array, KrylovSpace, Matvec, Ritz
from landscape.hessian.estimators.random_vectors import random_normal
from landscape.schema import quantity

BOTTOM_SLACK, LOOSEST_BOTTOM = 10, 1e-2
"""A smallest eigenvalue decides a verdict and is read to two or three digits, and an error is of the residual's square:
its relative residual may be this many times larger, as long as that is below one per cent."""
BOTTOM_ZERO = 30
"""Beside this many thresholds it counts as zero: at tol 1e-3 a residual of 0.3 of the threshold is enough."""
ROOM = 4
"""Vectors that a basis holds beside twice the pairs asked for, at least, so that it can grow after a restart."""
SEARCHING = 50
"""Vectors of room that a second start is given, where there is as much."""
HIDDEN = 30
"""A second start may hold this many times less of a hidden eigenvector than 1/√P; the chance of that is 3 %."""


@dataclass(frozen=True)
class Eigenpairs:
    """Eigenvalues of one end of a spectrum, the outermost first; fewer than asked for where the matrix is smaller.

    Attributes:
        values: (k,) eigenvalues.
        residuals: (k,) ‖Hv − λv‖ of each; some eigenvalue lies within that of λ.
        vectors: (k, P) unit eigenvectors; none where they were not kept.
    """

    values: Array = field(default_factory=unknown, metadata=quantity("{meaning}", "rank", name="{name}"))
    residuals: Array = field(default_factory=unknown, metadata=quantity("‖Hv − λv‖", "rank", name="{name}_residual"))
    vectors: Tensor = field(
        default_factory=partial(torch.empty, 0, 0),
        metadata=quantity(
            "unit eigenvectors of {name}", "rank", "parameter", name="vectors/{name}", dtype="f4", when="vectors"
        ),
    )

    @property
    def outermost(self) -> float:
        """The first eigenvalue; NaN where none is known."""
        return float(self.values[0]) if len(self.values) else float("nan")


@dataclass(frozen=True)
class ExtremalEigenpairs:
    """Both ends of a spectrum.

    Attributes:
        top: The largest algebraic eigenvalues, descending.
        bottom: The smallest, ascending.
    """

    top: Eigenpairs
    bottom: Eigenpairs


@dataclass(frozen=True)
class LanczosRun(ExtremalEigenpairs):
    """Both ends of a spectrum as Lanczos found them.

    Attributes:
        converged: Every residual asked for met its tolerance within the budget of products.
        space: The basis itself; it deflates trace probes.
    """

    converged: bool
    space: KrylovSpace


@dataclass(frozen=True)
class LanczosOptions:
    """What is asked of a spectrum, and when it counts as found.

    One of the largest has converged when ‖Hv − λv‖ ≤ tol · max(|λ|, threshold · max|θ|): the second term keeps the
    iteration from chasing digits of an eigenvalue that is zero beside the largest. One of the smallest may have ten
    times that, and 0.3 · threshold · max|θ| where it is about zero.

    Attributes:
        top: How many of the largest eigenvalues.
        bottom: How many of the smallest.
        tol: Relative residual of a converged pair.
        threshold: Share of the largest |θ| below which an eigenvalue counts as zero.
        max_products: Most products in all.
        capacity: Most basis vectors held, or what the pairs need where that is more; beyond it only outer Ritz vectors
            are kept.
        second_start: Let a second random start look for copies and for what the first was blind to; after a breakdown
            this happens by itself.
        semidefinite: The matrix is known to have no negative eigenvalue, so that a smallest Ritz value θ is within θ
            of an eigenvalue whatever its residual.
    """

    top: int
    bottom: int
    tol: float = 1e-3
    threshold: float = 1e-4
    max_products: int = 300
    capacity: int = LARGEST_BASIS
    second_start: bool = True
    semidefinite: bool = False

    def limits(self, top: Array, bottom: Array, zero: float) -> tuple[Array, Array]:
        """Residuals at which pairs have converged.

        Args:
            top: (k,) largest eigenvalues.
            bottom: (k',) smallest eigenvalues.
            zero: What counts as zero beside the largest |eigenvalue|.

        Returns:
            (k,) and (k',).
        """
        loose = max(self.tol, min(BOTTOM_SLACK * self.tol, LOOSEST_BOTTOM))
        return self.tol * np.maximum(np.abs(top), zero), loose * np.maximum(np.abs(bottom), BOTTOM_ZERO * zero)

    def limits_of(self, ritz: Ritz) -> tuple[Array, Array]:
        """(k,) and (k',) the same for the outermost Ritz pairs."""
        zero = self.threshold * float(np.abs(ritz.values).max())
        return self.limits(ritz.values[::-1][: self.top], ritz.values[: self.bottom], zero)

    def met(self, ritz: Ritz, size: int) -> bool:
        """Whether as many outermost pairs as asked for have converged, of a matrix with `size` rows."""
        if len(ritz.values) < min(self.top + self.bottom, size):  # one value must not stand for both ends
            return False
        top, bottom = self.limits_of(ritz)
        lowest = self.bounds(ritz.values[: self.bottom], ritz.coupling[: self.bottom])
        return bool((ritz.coupling[::-1][: self.top] <= top).all() and (lowest <= bottom).all())

    def bounds(self, bottom: Array, residuals: Array) -> Array:
        """(k',) how far the smallest Ritz values (k',) may be from eigenvalues: their residuals, or less."""
        return np.minimum(residuals, np.abs(bottom)) if self.semidefinite else residuals


def extremal_eigenpairs(matvec: Matvec, start: Tensor, goal: LanczosOptions, generator: torch.Generator) -> LanczosRun:
    """The largest and smallest eigenvalues, from one Krylov space.

    Args:
        matvec: The product v ↦ Hv, (P,) → (P,).
        start: (P,) first vector, random at least in part, so that no eigenvector is missed for certain.
        goal: How many eigenvalues, how exact, at what cost. Fewer come back when the matrix has fewer rows.
        generator: Source of further random vectors.

    Returns:
        Values, residuals, vectors and the basis.

    Raises:
        FloatingPointError: A product is not finite.
        ValueError: The matrix has no rows.
    """
    size = start.numel()
    goal = replace(goal, top=min(goal.top, size), bottom=min(goal.bottom, size))
    goal = replace(goal, capacity=max(goal.capacity, smallest_basis(goal.top, goal.bottom)))
    space = KrylovSpace(matvec, start, generator, goal.capacity)
    if not (space.add(start) or space.add_random()):
        raise ValueError("a matrix without rows has no eigenvalues")
    alive = _grow(space, goal)
    certain, space.first_chain = alive and not goal.second_start, space.applied
    while not certain and space.products < goal.max_products:
        crowded = max(goal.capacity // 2, min(3 * goal.capacity // 4, goal.capacity - SEARCHING))
        if space.total > crowded and space.size > goal.capacity:
            _compress(space, space.ritz(), goal, goal.capacity // 4)
        beyond = _search(space, space.ritz(), goal)
        full = space.total == space.size
        if beyond is None and not full:
            break
        certain = beyond is False and goal.met(space.ritz(), space.size)  # what was added may share a place
        if not certain:
            _grow(space, goal, whole=full)
            certain = full and not space.pending
    ritz = space.ritz()
    return _collect(space, ritz, goal, certain and goal.met(ritz, space.size))


def smallest_basis(top: int, bottom: int) -> int:
    """Vectors without which so many pairs of the two ends are not found."""
    return 2 * (top + bottom) + ROOM


def _grow(space: KrylovSpace, goal: LanczosOptions, *, whole: bool = False) -> bool:
    """Applies what is pending until the pairs asked for have converged; all of it where it completes the `whole` space.

    Returns:
        Whether something is pending still, as it is unless the space became invariant.
    """
    while space.pending and space.products < goal.max_products:
        _make_room(space, goal)
        space.step()
        if not whole and goal.met(space.ritz(), space.size):
            break
    return space.pending > 0


def _search(space: KrylovSpace, ritz: Ritz, goal: LanczosOptions) -> bool | None:
    """Whether a random vector's chain in the complement of the basis reaches beyond the outermost pairs found.

    Returns:
        None where the complement is a single vector, or products ran out before the answer.
    """
    first, waiting, limits = space.applied, space.pending, goal.limits_of(ritz)
    if not space.add_random() or space.total == space.size:
        return None
    if len(ritz.values) < goal.top + goal.bottom:
        return True
    known = [(1, ritz.values[::-1], limits[0]), (-1, -ritz.values, limits[1])]
    if goal.semidefinite and bool((np.abs(ritz.values[: goal.bottom]) <= limits[1]).all()):
        del known[1]  # nothing lies below
    ends = [(sign, values[len(limit) - 1], limit[-1]) for sign, values, limit in known if len(limit)]
    steps, whole_chain = 0, True
    while space.products < goal.max_products:
        if space.total >= goal.capacity and space.size > goal.capacity:
            _compress_chain(space, first, waiting)
            whole_chain = False
        alive, steps = space.step(latest=True), steps + 1
        chain = space.ritz(first, waiting)
        states = [_beyond(chain, steps if whole_chain else None, *end, space.size) for end in ends]
        if any(states):
            return True
        if not alive or None not in states:
            break
    else:
        return None
    for _ in range(waiting):  # what was pending took no part, and may itself be what is sought
        _make_room(space, goal)
        space.step()
    whole = space.ritz()
    return any(sign * whole.values[::-sign][len(limit) - 1] > values[len(limit) - 1] + limit[-1]
               for sign, values, limit in known if len(limit))  # fmt: skip


def _beyond(chain: Ritz, steps: int | None, sign: int, value: float, limit: float, size: int) -> bool | None:
    """Whether the largest of ±H in a complement lies above a value; None while that is open.

    It does when a Ritz value does, which is never above the largest eigenvalue. It does not when an eigenvalue at
    `value` would have shown by now: after j products the largest Ritz value is within (λ − λ_min) (tan φ / T_{j−1}(γ))²
    of it, with φ the angle of start and eigenvector, tan φ ≤ 30 √P but for a chance of 3 %, and (γ − 1) / 2 its
    distance from the rest of the spectrum as a share of that (Kaniel, Paige and Saad: Parlett, §12.4). Where the rest
    reaches up to the value, it does not when the largest pair has converged and one above it by the rest's width
    would have shown. Of a chain that was compressed (`steps` None) such bounds are not known: it does not when the
    largest pair has converged.
    """
    last = -1 if sign > 0 else 0
    highest, coupling = sign * chain.values[last], chain.coupling[last]
    edge, lowest = highest + coupling, sign * chain.values[-1 - last] - chain.coupling[-1 - last]
    if highest > value + limit:
        return True
    if steps is None:
        return False if coupling <= limit else None
    apart = (value - edge) / (edge - lowest) if edge > lowest else 1e300
    growth = np.arccosh(1 + 2 * max(apart, 1.0 if coupling <= limit else 0.0))
    return False if (steps - 1) * growth >= np.log(2 * HIDDEN * size**0.5) else None


def _make_room(space: KrylovSpace, goal: LanczosOptions) -> None:
    """Compresses a basis that is full and does not span the whole space."""
    if space.total >= goal.capacity and space.size > goal.capacity:
        _compress(space, space.ritz(), goal, goal.capacity // 2)


def _compress(space: KrylovSpace, ritz: Ritz, goal: LanczosOptions, most: int) -> None:
    """Thick restart: keeps the outer Ritz vectors, the pairs sought and others up to `most`."""
    spare = max(0, min(most, space.applied) - goal.top - goal.bottom)
    upper = goal.top + (spare // 2 if goal.bottom else spare) if goal.top else 0
    lower = min(goal.top + goal.bottom + spare, space.applied) - upper
    space.compress(ritz.coefficients[:, np.r_[0:lower, space.applied - upper : space.applied]])


def _compress_chain(space: KrylovSpace, first: int, waiting: int) -> None:
    """Thick restart of a chain in the complement of the first vectors, which stay: half of its Ritz vectors."""
    chain = space.ritz(first, waiting)
    own = len(chain.values)
    kept = np.r_[0 : own // 4, own - max(1, own // 4) : own]
    coefficients = np.zeros((space.applied, first + len(kept)))
    coefficients[:first, :first] = np.eye(first)
    coefficients[first:, first:] = chain.coefficients[:, kept]
    space.compress(coefficients)


def _collect(space: KrylovSpace, ritz: Ritz, goal: LanczosOptions, converged: bool) -> LanczosRun:
    def pairs(chosen: np.ndarray) -> Eigenpairs:
        return Eigenpairs(ritz.values[chosen], ritz.residuals[chosen], space.vectors(ritz.coefficients[:, chosen]))

    ascending = np.arange(space.applied)
    return LanczosRun(pairs(ascending[::-1][: goal.top]), pairs(ascending[: goal.bottom]), converged, space)


def warm_start(vectors: Tensor, generator: torch.Generator) -> Tensor:
    """A start that leans toward vectors close to those sought: their sum, and a normal vector of the same length.

    One chain from their sum took 10, 15 and 19 products to residuals 0.1, 0.01 and 0.001 where a random start took
    16, 18 and 26 (half a class of 46 samples, the eigenvectors of the whole class); a block of them took more than a
    random start, 17 and 34. What they miss the random half finds.

    Args:
        vectors: (k, P); rows that are not finite are left out.
        generator: Source of the normal vector.

    Returns:
        (P,).
    """
    known = vectors[vectors.isfinite().all(1)].sum(0)
    normal = random_normal(vectors.shape[1], generator).to(vectors)
    length = torch.linalg.vector_norm(known)
    return normal if length == 0 else known / length + normal / normal.numel() ** 0.5
