"""The Hessian of a sample's loss in its logits, as signed squares: ∇²_z ℓ = Σ_k s_k r_k r_kᵀ with s_k = ±1.

Cross-entropy is convex in the logits, and all s_k are 1; a Brier score, a generalized cross-entropy or a penalty on
p − e_y is not, and what is said of the Gauss–Newton part must carry the signs.
"""

from __future__ import annotations

import torch
from torch import Tensor

from landscape.subject.nested import cast
from landscape.subject.subject import Subject

NEGLIGIBLE = 1e-12
"""Eigenvalues below this share of a sample's largest |eigenvalue| are rounding, and zero."""


def loss_roots(subject: Subject, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """R and s with Rᵀ diag(s) R = ∇²_z ℓ.

    Args:
        subject: Whose loss it is.
        logits: (n, C); also of any other shape (n, …), with C numbers a sample.
        labels: (n,), or other targets (n, …).

    Returns:
        (n, C, C) float64 with the rows r_k, those of zero length for eigenvalues that are rounding; and (n, C) their
        signs, 1 or −1.
    """
    shape, logits = logits.shape, logits.reshape(len(logits), -1)
    free, exact = logits.double().requires_grad_(), cast(labels, torch.float64)
    try:
        losses = subject.loss(free.view(shape), exact)
    except RuntimeError:  # a loss with float32 tensors of its own
        free = logits.clone().requires_grad_()
        losses = subject.loss(free.view(shape), labels)
    (slope,) = torch.autograd.grad(losses.sum(), free, create_graph=True)
    if not slope.requires_grad:  # linear in the logits
        free = free.detach().double()
        return torch.zeros_like(free)[:, :, None].expand(-1, -1, logits.shape[1]), torch.ones_like(free)
    units = torch.eye(logits.shape[1], dtype=free.dtype, device=logits.device)[:, None].expand(-1, len(logits), -1)
    (curvature,) = torch.autograd.grad(slope, free, units, is_grads_batched=True)
    values, vectors = torch.linalg.eigh(curvature.double().transpose(0, 1))
    sizes = values.abs()
    values = torch.where(sizes > NEGLIGIBLE * sizes.amax(1, keepdim=True), values, 0.0)
    return values.abs().sqrt()[:, :, None] * vectors.mT, torch.where(values < 0, -1.0, 1.0)
