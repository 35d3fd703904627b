"""An orthonormal basis that grows by products of a symmetric matrix with vectors.

Lanczos's basis (1950), kept orthogonal by classical Gram–Schmidt applied twice ("twice is enough", Parlett, *The
Symmetric Eigenvalue Problem*, §6.9). All coefficients are kept in float64, also those that exact arithmetic would make
zero, so that a Ritz pair's residual ‖Hy − θy‖ follows from them without another product and includes the noise of the
products. The same basis takes further random vectors, and is compressed to some of its Ritz vectors when it outgrows
its memory (thick restart: Wu and Simon 2000).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from landscape.execution.memory import LARGEST_BASIS
from landscape.hessian.estimators.random_vectors import random_normal

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
        capacity: Vectors that it has room for. A CPU hands out memory as it is written to, so that room costs nothing.

    Attributes:
        capacity: The same, or P where that is less.
    """

    def __init__(self, matvec: Matvec, like: Tensor, generator: torch.Generator, capacity: int = LARGEST_BASIS) -> None:
        self._matvec = matvec
        self._generator = generator
        self.size = like.numel()
        self.capacity = min(capacity, self.size)
        self._basis = like.new_empty(self.capacity, self.size)
        # [i, j] = v_iᵀ H v_j for applied j; rows of pending i follow
        self._entries = np.zeros((self.capacity, self.capacity))
        self.applied = 0
        self.total = 0
        self.products = 0
        self.compressed = False
        self.first_chain: int | None = None  # vectors of the first start, once there is another

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
        return any(self.add(random_normal(self.size, self._generator)) for _ in range(3))

    def step(self, *, latest: bool = False) -> bool:
        """Applies H to a pending vector and queues what is new in the product.

        Args:
            latest: To the one that came last, not to the one that waits longest.

        Returns:
            Whether the product held something new; false is a breakdown: the space is invariant under H.

        Raises:
            FloatingPointError: The product holds a NaN or an infinity.
        """
        if latest:
            self._swap(self.applied, self.total - 1)
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

    def ritz(self, first: int = 0, waiting: int = 0, last: int | None = None) -> Ritz:
        """Ritz pairs of the applied vectors from `first` on, within the complement of those before it.

        Args:
            first: How many applied vectors stay out.
            waiting: How many pending vectors do, those that wait longest.
            last: The first applied vector that stays out at the end; by default none does.

        Returns:
            The pairs.
        """
        last = self.applied if last is None else last
        own = last - first
        rows = self._entries[first : self.total, first:last]
        rows = np.delete(rows, np.s_[own : own + waiting], 0)
        square = rows[:own]
        values, coefficients = np.linalg.eigh((square + square.T) / 2)
        coupling = np.linalg.norm(rows[own:] @ coefficients, axis=0)
        noise = np.linalg.norm((square - square.T) / 2 @ coefficients, axis=0)
        return Ritz(values, coefficients, coupling, np.hypot(coupling, noise))

    def vectors(self, coefficients: Array) -> Tensor:
        """(k, P) combinations of the applied vectors, one for each column of `coefficients` (m, k)."""
        return torch.as_tensor(coefficients.T.copy()).to(self._basis) @ self.basis[: len(coefficients)]

    def products_of(self, coefficients: Array) -> Tensor:
        """(k, P) the products of such combinations, H V C, from the recurrence H V = V VᵀHV + pending parts."""
        moved = self._entries[: self.total, : len(coefficients)] @ coefficients
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

    def _swap(self, one: int, other: int) -> None:
        """Exchanges two pending vectors."""
        if one != other:
            self._basis[[one, other]] = self._basis[[other, one]]
            self._entries[[one, other], : self.applied] = self._entries[[other, one], : self.applied]

    def _append(self, vector: Tensor) -> None:
        if self.total == len(self._basis):  # vectors of several starts wait: none may be lost, their couplings count
            more = min(8, self.size - self.total)
            self._basis = torch.cat([self._basis, self._basis.new_empty(more, self.size)])
            self._entries = np.pad(self._entries, (0, more))
        self._basis[self.total] = vector
        self._entries[self.total, : self.applied] = 0.0
        self.total += 1


def _norm(vector: Tensor) -> float:
    return float(torch.linalg.vector_norm(vector, dtype=torch.float64))
