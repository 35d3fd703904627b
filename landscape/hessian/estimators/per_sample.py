"""The curvature of each sample's own loss along given directions.

vᵀH_i v is the second derivative of t ↦ ℓ_i(w + tv) at 0. With z the logits it is ∇ℓ_iᵀz″ + z′ᵀ∇²ℓ_i z′, and one
second-order Taylor pass gives z′ and z″ of a whole batch without a graph. Their weighted mean is vᵀHv: on some of the
samples that is checked against a product, and where it fails every sample takes products of its own.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from landscape.hessian.estimators.random_vectors import random_signs
from landscape.hessian.products.jets import composed_attention, two_jets
from landscape.hessian.products.operators import HessianFactory
from landscape.subject.samples import Batch
from landscape.subject.subject import Subject

CHECKED = 64
"""Samples on which Taylor passes are held against a product."""
AGREEMENT = {torch.float32: 1e-3, torch.float64: 1e-8}
"""Difference of vᵀHv that rounding explains, as a share of ‖v‖‖Hv‖."""


def per_sample_curvature(hessians: HessianFactory, rows: slice, vectors: Tensor) -> Tensor:
    """vᵀH_i v of each sample.

    Args:
        hessians: The subject and how much of it is computed at a time.
        rows: The samples, a range of class-sorted rows that may have a step.
        vectors: Directions v, (k, P).

    Returns:
        (k, n) float64.
    """
    found = _expanded(hessians, rows, vectors)
    if found is not None:
        return found
    places = range(rows.start, rows.stop, rows.step or 1)
    products = [hessians.of_rows(slice(i, i + 1)).block(vectors).double() for i in places]
    return torch.stack([(product * vectors.double()).sum(1) for product in products], 1)


def mean_curvature(hessians: HessianFactory, rows: slice, vectors: Tensor) -> Tensor:
    """vᵀHv of the mean loss over some rows.

    Args:
        hessians: The subject and how much of it is computed at a time.
        rows: The samples, a range of class-sorted rows that may have a step.
        vectors: Directions v, (k, P).

    Returns:
        (k,) float64.
    """
    found = _expanded(hessians, rows, vectors)
    if found is not None:
        return found.mean(1)
    return (hessians.of_rows(rows).block(vectors).double() * vectors.double()).sum(1)


def _expanded(hessians: HessianFactory, rows: slice, vectors: Tensor) -> Tensor | None:
    """vᵀH_i v of each sample by Taylor passes, (k, n); None where they do not serve."""
    places = range(rows.start, rows.stop, rows.step or 1)
    try:
        return _by_jets(hessians, places, vectors) if _agrees(hessians, places, vectors) else None
    except RuntimeError:  # an operation that Taylor passes do not know, or no memory for one
        return None


def _agrees(hessians: HessianFactory, places: range, vectors: Tensor) -> bool:
    """Whether the mean of vᵀH_i v over some samples is vᵀHv by a product, for a random mixture of the directions."""
    some = places[:: -(-len(places) // CHECKED)]
    signs = random_signs(len(vectors), torch.Generator().manual_seed(0)).to(vectors)
    mixed = signs @ vectors
    product = hessians.of_rows(slice(some.start, some.stop, some.step))(mixed).double()
    difference = _by_jets(hessians, some, mixed[None]).mean() - mixed.double() @ product
    return bool(difference.abs() <= AGREEMENT[vectors.dtype] * mixed.double().norm() * product.norm())


def _by_jets(hessians: HessianFactory, places: range, vectors: Tensor) -> Tensor:
    subject = hessians.subject
    weights = torch.ones(len(places), dtype=subject.dtype, device=subject.device)
    batches = hessians.batches(slice(places.start, places.stop, places.step), weights)
    directions = [list(subject.split(v.to(subject.dtype)).values()) for v in vectors]
    with composed_attention():
        return torch.cat(list(hessians.workers.map(lambda b: _curvature(subject, b, directions), batches)), 1)


def _curvature(subject: Subject, batch: Batch, directions: Sequence[Sequence[Tensor]]) -> Tensor:
    """(k, n) second derivatives of each sample's loss along each direction."""
    logits, jets = two_jets(subject.network, batch.inputs, list(subject.parameters.values()), directions)
    with torch.enable_grad():
        free = logits.detach().requires_grad_()
        (slope,) = torch.autograd.grad(subject.loss(free, batch.targets).sum(), free, create_graph=True)
        found = []
        for first, second in jets:
            value = (slope.detach() * second).double().reshape(len(logits), -1).sum(1)
            if slope.requires_grad:  # else the loss is linear in the logits
                (curved,) = torch.autograd.grad(slope, free, first, retain_graph=True, materialize_grads=True)
                value += (curved * first).double().reshape(len(logits), -1).sum(1)
            found.append(value)
    return torch.stack(found)
