"""Eigenvalues at both ends of a symmetric matrix that is known only by its products with vectors.

One Krylov space (Lanczos 1950; `krylov_space`) grows until the pairs asked for have converged, and takes a random
vector after a breakdown, for a second chain that looks for copies of a multiple eigenvalue (one start finds one copy
of each).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from landscape.conversion import unknown
from landscape.hessian.estimators.krylov_space import Array, KrylovSpace, Matvec, Ritz
from landscape.hessian.estimators.random_vectors import random_signs
from landscape.schema import quantity

CAPACITY = 200
"""Most basis vectors held; beyond it only the outer Ritz vectors are kept."""


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

    A pair has converged when ‖Hv − λv‖ ≤ tol · max(|λ|, threshold · max|θ|): the second term keeps the iteration
    from chasing digits of an eigenvalue that is zero beside the largest.

    Attributes:
        top: How many of the largest eigenvalues.
        bottom: How many of the smallest.
        tol: Relative residual of a converged pair.
        threshold: Share of the largest |θ| below which an eigenvalue counts as zero.
        max_products: Most products in all.
        multiplicities: Look for further copies of multiple eigenvalues by chains in the complement of the basis.
            After a breakdown this happens by itself.
    """

    top: int
    bottom: int
    tol: float = 1e-3
    threshold: float = 1e-4
    max_products: int = 300
    multiplicities: bool = False

    def limits(self, ritz: Ritz) -> Array:
        """(m,) the residuals at which pairs count as converged."""
        least = self.threshold * float(np.abs(ritz.values).max())
        return np.asarray(self.tol * np.maximum(np.abs(ritz.values), least))

    def met(self, ritz: Ritz, size: int) -> bool:
        """Whether as many outermost pairs as asked for have converged, of a matrix with `size` rows."""
        if len(ritz.values) < min(self.top + self.bottom, size):  # one value must not stand for both ends
            return False
        met = ritz.coupling <= self.limits(ritz)
        return bool(met[len(met) - self.top :].all() and met[: self.bottom].all())

    def beyond(self, chain: Ritz, ritz: Ritz) -> bool:
        """Whether a complement's chain reaches past the outermost pairs found, so that one may be missing."""
        slack = self.limits(ritz)
        above = self.top > 0 and chain.values[-1] > ritz.values[-self.top] + slack[-self.top]
        below = self.bottom > 0 and chain.values[0] < ritz.values[self.bottom - 1] - slack[self.bottom - 1]
        return bool(above or below)


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
    space = KrylovSpace(matvec, start, generator)
    goal = replace(goal, top=min(goal.top, space.size), bottom=min(goal.bottom, space.size))
    if not (space.add(start) or space.add_random()):
        raise ValueError("a matrix without rows has no eigenvalues")
    while True:
        alive = space.step()
        ritz = space.ritz()
        found = goal.met(ritz, space.size)
        if not alive or space.products >= goal.max_products or found:
            break
        if space.total >= CAPACITY:
            _compress(space, ritz, goal)
    certain = alive and found and not goal.multiplicities
    while not certain and space.products < goal.max_products:
        if space.total > CAPACITY // 2:
            _compress(space, ritz, goal)
        chain = _explore(space, goal)
        ritz = space.ritz()
        full = chain is None  # then what is pending completes the space
        while space.pending and (full or not goal.met(ritz, space.size)) and space.products < goal.max_products:
            space.step()
            ritz = space.ritz()
        found = goal.met(ritz, space.size)
        certain = chain is None or (found and not goal.beyond(chain, ritz))
    return _collect(space, ritz, goal, found and certain)


def _explore(space: KrylovSpace, goal: LanczosOptions) -> Ritz | None:
    """Grows the basis from a random vector, and what was pending, until the ends of what is added are known.

    Returns:
        Ritz pairs of the added vectors in the complement of the others, or None when they fill the space.
    """
    first = space.applied
    if not space.add_random() or space.total == space.size:
        return None
    random = space.total - 1  # what was pending is applied first, and says nothing of the rest when it converges
    ends = [index for index, asked in ((-1, goal.top), (0, goal.bottom)) if asked]
    while True:
        space.step()
        chain = space.ritz(first)
        settled = space.applied > random and bool((chain.coupling <= goal.limits(chain))[ends].all())
        full = space.total >= 2 * CAPACITY or space.products >= goal.max_products
        if settled or full or not space.pending:
            return chain


def _compress(space: KrylovSpace, ritz: Ritz, goal: LanczosOptions) -> None:
    """Thick restart: keeps the outer Ritz vectors, as many as fill half the capacity."""
    spare = max(0, min(CAPACITY // 2, space.applied) - goal.top - goal.bottom)
    upper = goal.top + (spare // 2 if goal.bottom else spare) if goal.top else 0
    lower = min(goal.top + goal.bottom + spare, space.applied) - upper
    space.compress(ritz.coefficients[:, np.r_[0:lower, space.applied - upper : space.applied]])


def _collect(space: KrylovSpace, ritz: Ritz, goal: LanczosOptions, converged: bool) -> LanczosRun:
    def pairs(chosen: np.ndarray) -> Eigenpairs:
        return Eigenpairs(ritz.values[chosen], ritz.residuals[chosen], space.vectors(ritz.coefficients[:, chosen]))

    ascending = np.arange(space.applied)
    return LanczosRun(pairs(ascending[::-1][: goal.top]), pairs(ascending[: goal.bottom]), converged, space)


def warm_start(vectors: Tensor, generator: torch.Generator) -> Tensor:
    """A start that leans toward vectors close to those sought: their sum, and random signs of the same length.

    One chain from their sum took 10, 15 and 19 products to residuals 0.1, 0.01 and 0.001 where a random start took
    16, 18 and 26 (half a class of 46 samples, the eigenvectors of the whole class); a block of them took more than a
    random start, 17 and 34. What they miss the random half finds.

    Args:
        vectors: (k, P); rows that are not finite are left out.
        generator: Source of the random signs.

    Returns:
        (P,).
    """
    known = vectors[vectors.isfinite().all(1)].sum(0)
    signs = random_signs(vectors.shape[1], generator).to(vectors)
    length = torch.linalg.vector_norm(known)
    return signs if length == 0 else known / length + signs / signs.numel() ** 0.5
