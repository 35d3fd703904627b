"""The curvature of each sample's own loss along given directions.

vᵀH_i v is the second derivative of t ↦ ℓ_i(w + tv) at 0. Forward mode over forward mode gives it for a whole batch
at once at the price of nine forward passes and without a graph; their weighted mean is vᵀHv.
"""

from __future__ import annotations

import torch
from torch import Tensor

from landscape.hessian.products.forward_mode import along
from landscape.hessian.products.operators import HessianFactory
from landscape.subject.samples import Batch
from landscape.subject.subject import Subject


def per_sample_curvature(hessians: HessianFactory, rows: slice, vectors: Tensor) -> Tensor:
    """vᵀH_i v of each sample.

    Args:
        hessians: The subject and how much of it is computed at a time.
        rows: The samples, a range of class-sorted rows that may have a step.
        vectors: Directions v, (k, P).

    Returns:
        (k, n) float64.
    """
    subject = hessians.subject
    places = range(rows.start, rows.stop, rows.step or 1)
    batches = hessians.batches(rows, torch.ones(len(places), dtype=subject.dtype, device=subject.device))
    try:
        return torch.cat([_forms(subject, batch, vectors) for batch in batches], 1)
    except RuntimeError:  # an operation without a forward mode (or no memory for one): a product a sample
        products = [hessians.of_rows(slice(i, i + 1)).block(vectors).double() for i in places]
        return torch.stack([(product * vectors.double()).sum(1) for product in products], 1)


def _forms(subject: Subject, batch: Batch, vectors: Tensor) -> Tensor:
    """(k, n) second derivatives of each sample's loss along each direction."""

    def losses(logits: Tensor) -> Tensor:
        return subject.loss(logits, batch.labels)

    return torch.stack([along(subject, batch.inputs, v.to(subject.dtype), losses, order=2) for v in vectors]).double()
