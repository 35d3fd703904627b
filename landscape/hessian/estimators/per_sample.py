"""The curvature of each sample's own loss along given directions.

vᵀH_i v is the second derivative of t ↦ ℓ_i(w + tv) at 0. With z the logits it is ∇ℓ_iᵀz″ + z′ᵀ∇²ℓ_i z′, and one
second-order Taylor pass gives z′ and z″ of a whole batch without a graph. Their weighted mean is vᵀHv: on some of the
samples that is checked against a product, and where it fails products are taken.

A trace needs the numbers zᵀMz of random probes alone, not the products Mz: of M = H or diag|w| H diag|w| they are such
means: those of the classes serve every mixture. Taylor passes take 4K + 1 forward passes for K probes where products on
kept graphs take 6K, which on a CPU comes to the same time (0.64 and 0.65 s for 600 images of a `cnn` with GELU).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from landscape.hessian.estimators.random_vectors import random_signs
from landscape.hessian.estimators.trace import probe
from landscape.hessian.products.jets import composed_attention, two_jets
from landscape.hessian.products.operators import HessianFactory
from landscape.subject.samples import Batch
from landscape.subject.subject import Subject
from landscape.subject.subsets import Subset

CHECKED = 64
"""Samples on which Taylor passes are held against a product."""
AGREEMENT = {torch.float32: 1e-3, torch.float64: 1e-8}
"""Difference of vᵀHv that rounding explains, as a share of ‖v‖‖Hv‖."""
BLOCK = 8
"""Probes of one pass, always the same ones together, so that what was asked before decides no last bit."""


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


class ProbeForms:
    """Values zᵀMz of the seed's probes: each class passes its samples once, and mixtures add up what classes know.

    Args:
        hessians: The subject and who computes its samples.
        seed: Of the probes.
        sizes: |w|, (P,), for diag|w| H diag|w|; None for H.
    """

    def __init__(self, hessians: HessianFactory, seed: int, sizes: Tensor | None = None) -> None:
        self._hessians, self._seed, self._sizes = hessians, seed, sizes
        self._known: dict[tuple[int | str, int], Tensor] = {}

    def of(self, subset: Subset, count: int) -> np.ndarray:
        """The values of a subset's mean loss.

        Args:
            subset: The subset.
            count: Of the first so many probes.

        Returns:
            (count,).
        """
        subject = self._hessians.subject
        blocks = range(-(-count // BLOCK))
        rows = subject.rows(subset)
        if not subject.by_class:  # subsets by masks are no mixtures of others: each passes its own samples
            parts, shares = [(subset.name, rows)], [1.0]
        else:
            labels, sizes = torch.unique_consecutive(subject.labels[rows], return_counts=True)
            ends = (rows.start + sizes.cumsum(0)).tolist()
            starts = [rows.start, *ends[:-1]]
            parts = [(c, slice(a, b)) for c, a, b in zip(labels.tolist(), starts, ends, strict=True)]
            weights = subject.weights(subset)
            shares = [float(weights[part.start - rows.start : part.stop - rows.start].sum()) for _, part in parts]
        total = torch.zeros(len(blocks) * BLOCK, dtype=torch.float64)
        for (key, part), share in zip(parts, shares, strict=True):
            total += share * torch.cat([self._block(key, part, index) for index in blocks])
        return total[:count].numpy()

    def probe(self, index: int) -> Tensor:
        """(P,) one of the probes."""
        like = self._hessians.subject.vector()
        return probe(len(like), self._seed, index).to(like)

    def _block(self, key: int | str, rows: slice, index: int) -> Tensor:
        """(BLOCK,) means over some rows."""
        if (key, index) not in self._known:
            probes = torch.stack([self.probe(i) for i in range(index * BLOCK, (index + 1) * BLOCK)])
            vectors = probes if self._sizes is None else self._sizes * probes
            self._known[key, index] = mean_curvature(self._hessians, rows, vectors).cpu()
        return self._known[key, index]


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
