"""The Gauss–Newton part of a Hessian: the whole spectrum of a small class from a Gram matrix, else by products.

H = G + Σ_i w_i Σ_c ∂ℓ_i/∂z_c ∇²z_c with G = Σ_i w_i J_iᵀ S_i J_i, where J_i is the Jacobian of sample i's logits and
S_i = ∇²_z ℓ_i (Schraudolph, Neural Computation 2002; Sagun et al., 2017). A class of n samples has at most n · rank S_i
eigenvalues that are not zero, and they follow from the Gram matrix AAᵀ where G = Aᵀ diag(±1) A. For cross-entropy
S_i = diag(p) − ppᵀ has rank C − 1 and no negative eigenvalue, so that G is positive semi-definite whatever H is and
says nothing about negative curvature. A loss that is not convex in the logits gives G negative eigenvalues of its own.
Where the logits are affine in all measured parameters together, as in those of a last linear layer, H is G.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from landscape.conversion import unknown
from landscape.hessian.estimators.exact_trace import LARGEST_CLASSES
from landscape.hessian.estimators.krylov_space import Matvec
from landscape.hessian.estimators.lanczos import LanczosOptions, extremal_eigenpairs
from landscape.hessian.estimators.loss_curvature import loss_roots
from landscape.hessian.estimators.multiaffine import affine_together
from landscape.hessian.estimators.random_vectors import random_normal
from landscape.hessian.estimators.trace import estimate_trace
from landscape.hessian.products.hvp import HessianOperator
from landscape.hessian.products.operators import HessianFactory
from landscape.schema import quantity
from landscape.subject.samples import Batch
from landscape.subject.subject import Subject
from landscape.subject.subsets import Subset

Array = NDArray[np.float64]

LARGEST_ROWS = 500
"""Rows n·C of A up to which the Gram matrix is made: 500 backward passes of one sample."""
LARGEST_BYTES = 1 << 30
"""Of A."""
STRIPE = 1 << 18


class GaussNewton:
    """v ↦ Gv for the loss of a subset: Jv, the loss's own Hessian of it, and one backward pass.

    Args:
        hessians: The subject and how much of it is computed at a time.
        subset: The subset.
    """

    def __init__(self, hessians: HessianFactory, subset: Subset) -> None:
        self._subject = hessians.subject
        weights = hessians.subject.weights(subset).to(hessians.subject.dtype)
        self._batches = hessians.batches(hessians.subject.rows(subset), weights)

    def __call__(self, vector: Tensor) -> Tensor:
        """Gv, (P,) → (P,), summed over batches in float64."""
        total = torch.zeros(vector.shape, dtype=torch.float64, device=vector.device)
        for batch in self._batches:
            total += torch.cat([part.reshape(-1) for part in self._product(batch, vector)]).double()
        return total.to(vector.dtype)

    def _product(self, batch: Batch, vector: Tensor) -> tuple[Tensor, ...]:
        subject, parameters = self._subject, list(self._subject.parameters.values())
        outputs = subject.network(batch.inputs)
        moved = _moved(outputs, parameters, list(subject.split(vector).values()))
        free = outputs.detach().requires_grad_()
        loss = (subject.loss(free, batch.targets) * batch.weights).sum()
        (slope,) = torch.autograd.grad(loss, free, create_graph=True)
        if not slope.requires_grad:  # linear in the logits
            return tuple(torch.zeros_like(p) for p in parameters)
        (curved,) = torch.autograd.grad(slope, free, moved, materialize_grads=True)
        return torch.autograd.grad(outputs, parameters, curved, materialize_grads=True)


def _moved(outputs: Tensor, parameters: Sequence[Tensor], vector: Sequence[Tensor]) -> Tensor:
    """Jv, by reverse mode twice: uᵀJv is linear in u, and its derivative there is Jv."""
    u = torch.zeros_like(outputs).requires_grad_()
    rows = torch.autograd.grad(outputs, parameters, u, create_graph=True, materialize_grads=True)
    along = torch.stack([(row * v).sum() for row, v in zip(rows, vector, strict=True)]).sum()
    (moved,) = torch.autograd.grad(along, u, retain_graph=True)
    return moved


def is_convex(hessians: HessianFactory, subset: Subset) -> bool:
    """Whether the Hessian of a subset is known to have no negative eigenvalue, at the price of one forward pass.

    H is G where the logits are affine in all measured parameters together, whatever comes before these, and G ⪰ 0 if
    every sample's S_i is: read off every batch's graph and every sample's loss.

    Args:
        hessians: The subject and who computes its samples.
        subset: The subset.

    Returns:
        False also where nothing is known: more than 128 classes, or an operation whose derivative is not known.
    """
    subject = hessians.subject
    parameters = list(subject.parameters.values())

    def convex(batch: Batch) -> bool:
        logits = subject.network(batch.inputs)
        if not affine_together(logits, parameters):
            return False
        return not bool((loss_roots(subject, logits.detach(), batch.targets)[1] < 0).any())

    if subject.outputs > LARGEST_CLASSES:
        return False
    with torch.enable_grad():
        return all(map(convex, hessians.batches(subject.rows(subset), subject.weights(subset).to(subject.dtype))))


@dataclass(frozen=True)
class GaussNewtonSpectrum:
    """The Gauss–Newton spectrum of a subset.

    Attributes:
        values: (m,) its eigenvalues, descending: of a small subset all that can differ from zero, else the largest.
        trace: The sum of all.
        rest: ‖H − G‖, the largest |eigenvalue| of what G leaves out.
    """

    values: Array = field(
        default_factory=unknown,
        metadata=quantity("Gauss–Newton eigenvalues, descending; of a small subset all", "mode", name="{name}_top"),
    )
    trace: float = field(default=np.nan, metadata=quantity("trace of the Gauss–Newton part", name="{name}_trace"))
    rest: float = field(default=np.nan, metadata=quantity("‖H − G‖, what Gauss–Newton leaves out", name="{name}_rest"))


def is_small(subject: Subject, subset: Subset) -> bool:
    """Whether the subset's Gram matrix is small enough to be made."""
    rows = subset.measured_count * subject.outputs
    element = torch.finfo(subject.dtype).bits // 8
    return rows <= LARGEST_ROWS and rows * subject.size * element <= LARGEST_BYTES


def gauss_newton_spectrum(
    hessians: HessianFactory, subset: Subset, hessian: HessianOperator, seed: int
) -> GaussNewtonSpectrum:
    """All of G's spectrum, from its Gram matrix, and how far H is from G.

    Args:
        hessians: The subject and who computes its samples.
        subset: A small one (`is_small`).
        hessian: Its Hessian.
        seed: Of the random start that looks for ‖H − G‖.

    Returns:
        The spectrum.
    """
    subject = hessians.subject
    rows, signs = _factor(hessians, subset)
    gram = torch.zeros(len(rows), len(rows), dtype=torch.float64, device=rows.device)
    for stripe in torch.split(rows, STRIPE, 1):
        gram += stripe.double() @ stripe.double().T
    values = _signed_eigenvalues(gram, signs).cpu().numpy()
    moving = torch.count_nonzero(gram.diagonal().view(subset.measured_count, -1), 1)
    most = min(subset.measured_count * max(int(moving.max()), 1), subject.size)
    outermost = np.sort(np.argsort(-np.abs(values), kind="stable")[:most])
    rest = _rest(hessian, lambda v: (signs.to(rows) * (rows @ v)) @ rows, rows[0], seed, hessians.plan.basis)
    return GaussNewtonSpectrum(values[outermost], float(values.sum()), rest)


def _signed_eigenvalues(gram: Tensor, signs: Tensor) -> Tensor:
    """Eigenvalues of Aᵀ diag(s) A that can differ from zero, descending, from AAᵀ and s.

    They are those of Bᵀ diag(s) B for any square B with BBᵀ = AAᵀ.
    """
    values, vectors = torch.linalg.eigh(gram)
    if bool((signs < 0).any()):
        root = vectors * values.clamp(min=0).sqrt()
        values = torch.linalg.eigvalsh(root.T @ (signs[:, None] * root))
    else:
        values = values.clamp(min=0)
    descending: Tensor = values.flip(0)
    return descending


def gauss_newton_ends(
    hessians: HessianFactory,
    subset: Subset,
    hessian: HessianOperator,
    top: int,
    probes: int,
    seed: int,
    *,
    trace: float | None = None,
) -> GaussNewtonSpectrum:
    """The largest eigenvalues of G and its trace from products, and how far H is from G: for a subset of any size.

    Args:
        hessians: The subject and how much of it is computed at a time.
        subset: The subset.
        hessian: Its Hessian.
        top: How many eigenvalues.
        probes: Of the trace.
        seed: Of the random starts and the probes.
        trace: G's trace, where it is known without probes.

    Returns:
        The spectrum.
    """
    product, like = GaussNewton(hessians, subset), hessians.subject.vector()
    generator = torch.Generator().manual_seed(seed)
    options = LanczosOptions(top, 0, tol=1e-2, capacity=hessians.plan.basis)
    ends = extremal_eigenpairs(product, random_normal(len(like), generator).to(like), options, generator)
    if trace is None:
        trace = estimate_trace(product, ends.space, seed=seed, probes=probes).trace.value
    return GaussNewtonSpectrum(ends.top.values, trace, _rest(hessian, product, like, seed, hessians.plan.basis))


def _rest(hessian: Matvec, part: Matvec, like: Tensor, seed: int, capacity: int) -> float:
    """‖H − G‖, spectral."""
    options = LanczosOptions(1, 1, tol=1e-2, capacity=capacity)
    generator = torch.Generator().manual_seed(seed)
    start = random_normal(len(like), generator).to(like)
    ends = extremal_eigenpairs(lambda v: hessian(v) - part(v), start, options, generator)
    return max(abs(ends.top.outermost), abs(ends.bottom.outermost))


def _factor(hessians: HessianFactory, subset: Subset) -> tuple[Tensor, Tensor]:
    """A and s with G = Aᵀ diag(s) A, (n·C, P) and (n·C,): √w_i R_iJ_i of each sample, its Jacobian row by row."""
    subject, start = hessians.subject, hessians.subject.rows(subset).start
    parameters, weights = list(subject.parameters.values()), subject.weights(subset).tolist()

    def rows(i: int) -> tuple[Tensor, Tensor]:
        sample = slice(start + i, start + i + 1)
        logits = subject.network(subject.inputs(sample))
        roots, signs = loss_roots(subject, logits.detach(), subject.targets(sample))
        found = []
        for direction in weights[i] ** 0.5 * roots[0].to(logits):
            parts = torch.autograd.grad(
                logits, parameters, direction.view_as(logits), retain_graph=True, materialize_grads=True
            )
            found.append(torch.cat([p.reshape(-1) for p in parts]))
        return torch.stack(found), signs[0]

    found = list(hessians.workers.map(rows, range(subset.measured_count)))
    return torch.cat([row for row, _ in found]), torch.cat([sign for _, sign in found])
