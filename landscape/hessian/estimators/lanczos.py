"""Eigenvalues at both ends of a symmetric matrix that is known only by its products with vectors.

One orthonormal basis grows by products (Lanczos 1950) and is kept orthogonal by classical Gram–Schmidt applied
twice ("twice is enough", Parlett, *The Symmetric Eigenvalue Problem*, §6.9). All coefficients are kept in float64,
also those that exact arithmetic would make zero, so that a Ritz pair's residual ‖Hy − θy‖ follows from them without
another product and includes the noise of the products. The same basis takes a random vector after a breakdown, a
second chain that looks for copies of a multiple eigenvalue (one start finds one copy of each), and is compressed to
its outer Ritz vectors when it outgrows its memory (thick restart: Wu and Simon 2000).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Matvec = Callable[[Tensor], Tensor]
Array = NDArray[np.float64]


@dataclass(frozen=True)
class Ritz:
    """The Rayleigh–Ritz approximations a basis of m vectors holds, ascending.

    Attributes:
        values: (m,) Ritz values θ.
        coefficients: (m, m) their vectors in the basis, one a column.
        coupling: (m,) the part of ‖Hy − θy‖ that leads out of the basis; it falls as the basis grows.
        residuals: (m,) ‖Hy − θy‖ of the computed products, their noise included.
    """

    values: Array
    coefficients: Array
    coupling: Array
    residuals: Array


class KrylovSpace:
    """An orthonormal basis of vectors v with known Hv, and the pending vectors those products lead to.

    Args:
        matvec: The product v ↦ Hv on flat vectors, (P,) → (P,).
        like: Any vector of P numbers: gives size, dtype and device of the basis.
        generator: Source of the random vectors, a CPU generator so that every device draws the same ones.
    """

    def __init__(self, matvec: Matvec, like: Tensor, generator: torch.Generator) -> None:
        self._matvec = matvec
        self._generator = generator
        self.size = like.numel()
        self._basis = like.new_empty(0, self.size)
        self._entries = np.zeros((0, 0))  # [i, j] = v_iᵀ H v_j for applied j; rows of pending i follow
        self.applied = 0
        self.total = 0
        self.products = 0
        self.compressed = False

    @property
    def pending(self) -> int:
        """How many vectors wait for their product."""
        return self.total - self.applied

    @property
    def scale(self) -> float:
        """The largest |v_iᵀHv_j| seen, a lower bound of ‖H‖."""
        return float(np.abs(self._entries[: self.total, : self.applied]).max(initial=0.0))

    @property
    def basis(self) -> Tensor:
        """(m, P) the vectors whose products are known."""
        return self._basis[: self.applied]

    @property
    def frobenius(self) -> float:
        """‖H‖² less ‖(I − VVᵀ)H(I − VVᵀ)‖², Frobenius: what the basis and its couplings hold."""
        inside, coupled = self.projected, self._entries[self.applied : self.total, : self.applied]
        return float((inside**2).sum() + 2 * (coupled**2).sum())

    @property
    def projected(self) -> Array:
        """(m, m) the symmetric part of VᵀHV."""
        square = self._entries[: self.applied, : self.applied]
        return (square + square.T) / 2

    def add(self, vector: Tensor) -> bool:
        """Queues the part of `vector` that is orthogonal to all vectors held; false when nothing is left of it."""
        if self.total == self.size:
            return False
        remainder = vector.to(self._basis.dtype, copy=True)
        before = _norm(remainder)
        if before == 0:
            return False
        remainder /= before
        self._orthogonalize(remainder)
        left = _norm(remainder)
        if left < 100 * torch.finfo(remainder.dtype).eps:
            return False
        remainder /= left
        self._orthogonalize(remainder)
        remainder /= _norm(remainder)
        self._append(remainder)
        return True

    def add_random(self) -> bool:
        """Queues a Gaussian vector made orthogonal to what is held (few random signs may lie in its span)."""
        return self.add(torch.randn(self.size, generator=self._generator).to(self._basis))

    def step(self) -> bool:
        """Applies H to the pending vector that waits longest and queues what is new in the product.

        Returns:
            Whether the product held something new; false is a breakdown: the space is invariant under H.

        Raises:
            FloatingPointError: The product holds a NaN or an infinity.
        """
        vector = self._basis[self.applied]
        product = self._matvec(vector).to(self._basis.dtype, copy=True)
        self.products += 1
        length = _norm(product)
        if not np.isfinite(length):
            raise FloatingPointError("a Hessian-vector product is not finite")
        diagonal = float(torch.dot(vector.double(), product.double()))
        coefficients = self._orthogonalize(product)
        coefficients[self.applied] = diagonal
        self._entries[: self.total, self.applied] = coefficients
        self.applied += 1
        new = _norm(product)
        # Below this the remainder is rounding, not direction. H's rounding is that of its largest entries, so a
        # remainder is judged by them and by its own product.
        if self.total == self.size or new <= 10 * torch.finfo(product.dtype).eps * max(length, self.scale):
            return False
        product /= new
        if new < 1e-2 * length:  # a short remainder carries the rounding of the subtraction: clean the unit vector
            self._orthogonalize(product)
            product /= _norm(product)
        self._append(product)
        self._entries[self.total - 1, self.applied - 1] = new
        return True

    def ritz(self, first: int = 0) -> Ritz:
        """Ritz pairs of the applied vectors from `first` on, within the complement of those before it."""
        own = self.applied - first
        rows = self._entries[first : self.total, first : self.applied]
        square = rows[:own]
        values, coefficients = np.linalg.eigh((square + square.T) / 2)
        coupling = np.linalg.norm(rows[own:] @ coefficients, axis=0)
        noise = np.linalg.norm((square - square.T) / 2 @ coefficients, axis=0)
        return Ritz(values, coefficients, coupling, np.hypot(coupling, noise))

    def vectors(self, coefficients: Array) -> Tensor:
        """(k, P) combinations of the applied vectors, one for each column of `coefficients` (m, k)."""
        return torch.as_tensor(coefficients.T.copy()).to(self._basis) @ self.basis

    def products_of(self, coefficients: Array) -> Tensor:
        """(k, P) the products of such combinations, H V C, from the recurrence H V = V VᵀHV + pending parts."""
        moved = self._entries[: self.total, : self.applied] @ coefficients
        return torch.as_tensor(moved.T.copy()).to(self._basis) @ self._basis[: self.total]

    def outside(self, product: Tensor, along: Array) -> float:
        """‖(I − VVᵀ)H(I − VVᵀ)z‖² for a further product Hz.

        Args:
            product: Hz, (P,).
            along: Vᵀz, (m,) in float64.

        Returns:
            The squared length.
        """
        rest = product.to(self._basis.dtype) - self.products_of(along[:, None])[0]  # H(I − VVᵀ)z
        rest -= (self.basis @ rest) @ self.basis
        return _norm(rest) ** 2

    def compress(self, coefficients: Array) -> None:
        """Replaces the applied vectors by k orthonormal combinations of them (columns), keeping the pending ones.

        Args:
            coefficients: (m, k) orthonormal columns.
        """
        kept, pending = coefficients.shape[1], self.pending
        rows = self._entries[: self.total, : self.applied]
        inner, outer = coefficients.T @ rows[: self.applied] @ coefficients, rows[self.applied :] @ coefficients
        mix = torch.as_tensor(coefficients.T.copy()).to(self._basis)
        for begin in range(0, self.size, 1 << 18):  # in place, a stripe at a time: never a second basis in memory
            stripe = self._basis[: self.total, begin : begin + (1 << 18)]
            stripe[:kept] = mix @ stripe[: self.applied]
            stripe[kept : kept + pending] = stripe[self.applied :].clone()
        self.applied, self.total, self.compressed = kept, kept + pending, True
        self._entries[: self.total, :kept] = np.vstack([inner, outer])

    def _orthogonalize(self, vector: Tensor) -> Array:
        """Subtracts, twice, the components along all vectors held; returns their sum as float64."""
        held = self._basis[: self.total]
        coefficients = np.zeros(self.total)
        for _ in range(2):
            along = held @ vector
            vector -= along @ held
            coefficients += along.double().cpu().numpy()
        return coefficients

    def _append(self, vector: Tensor) -> None:
        if self.total == self._basis.shape[0]:
            room = min(self.size, self.total + max(16, self.total // 2))
            basis = self._basis.new_empty(room, self.size)
            basis[: self.total] = self._basis
            self._basis = basis
            entries = np.zeros((room, room))
            entries[: self.total, : self.applied] = self._entries[: self.total, : self.applied]
            self._entries = entries
        self._basis[self.total] = vector
        self._entries[self.total, : self.applied] = 0.0
        self.total += 1


@dataclass(frozen=True)
class ExtremalEigenpairs:
    """Both ends of a spectrum.

    Attributes:
        top: (k,) largest algebraic eigenvalues, descending.
        top_residual: (k,) ‖Hv − λv‖ of each.
        top_vectors: (k, P) their unit vectors.
        bottom: (k',) smallest algebraic eigenvalues, ascending.
        bottom_residual: (k',) ‖Hv − λv‖ of each.
        bottom_vectors: (k', P) their unit vectors.
        converged: Every residual asked for met its tolerance within the budget of products.
        space: The basis itself; it deflates trace probes.
    """

    top: Array
    top_residual: Array
    top_vectors: Tensor
    bottom: Array
    bottom_residual: Array
    bottom_vectors: Tensor
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
        capacity: Most basis vectors held; beyond it only the outer Ritz vectors are kept.
        multiplicities: Look for further copies of multiple eigenvalues by chains in the complement of the basis.
            After a breakdown this happens by itself.
    """

    top: int
    bottom: int
    tol: float = 1e-3
    threshold: float = 1e-4
    max_products: int = 300
    capacity: int = 200
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


def extremal_eigenpairs(
    matvec: Matvec, start: Tensor, goal: LanczosOptions, generator: torch.Generator
) -> ExtremalEigenpairs:
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
        if space.total >= goal.capacity:
            _compress(space, ritz, goal)
    certain = alive and found and not goal.multiplicities
    while not certain and space.products < goal.max_products:
        if space.total > goal.capacity // 2:
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
        full = space.total >= 2 * goal.capacity or space.products >= goal.max_products
        if settled or full or not space.pending:
            return chain


def _compress(space: KrylovSpace, ritz: Ritz, goal: LanczosOptions) -> None:
    """Thick restart: keeps the outer Ritz vectors, as many as fill half the capacity."""
    spare = max(0, min(goal.capacity // 2, space.applied) - goal.top - goal.bottom)
    upper = goal.top + (spare // 2 if goal.bottom else spare) if goal.top else 0
    lower = min(goal.top + goal.bottom + spare, space.applied) - upper
    space.compress(ritz.coefficients[:, np.r_[0:lower, space.applied - upper : space.applied]])


def _collect(space: KrylovSpace, ritz: Ritz, goal: LanczosOptions, converged: bool) -> ExtremalEigenpairs:
    top, bottom = min(goal.top, space.applied), min(goal.bottom, space.applied)
    upper = np.arange(space.applied)[::-1][:top]
    lower = np.arange(space.applied)[:bottom]
    return ExtremalEigenpairs(
        top=ritz.values[upper],
        top_residual=ritz.residuals[upper],
        top_vectors=space.vectors(ritz.coefficients[:, upper]),
        bottom=ritz.values[lower],
        bottom_residual=ritz.residuals[lower],
        bottom_vectors=space.vectors(ritz.coefficients[:, lower]),
        converged=converged,
        space=space,
    )


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


def random_signs(size: int, generator: torch.Generator) -> Tensor:
    """(P,) independent signs ±1 (Rademacher), float32, drawn on the CPU so that every device gets the same ones."""
    return torch.randint(0, 2, (size,), generator=generator, dtype=torch.int8).float().mul_(2).sub_(1)


def _norm(vector: Tensor) -> float:
    return float(torch.linalg.vector_norm(vector, dtype=torch.float64))
