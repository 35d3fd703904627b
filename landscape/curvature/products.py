"""Hessian-vector products of a weighted loss, in reverse-over-reverse mode on kept graphs.

∇(vᵀ∇L) by a second reverse sweep through the graph of the gradient (Pearlmutter 1994). A fresh graph costs nine
forward passes a product, a kept one six, which is two gradients and the floor for one vector: so graphs are kept as
long as a budget of samples allows, batch by batch, and made afresh for the rest. Products of both kinds are the
same numbers. `torch.autograd.grad` leaves no `.grad` behind, so a second object on the same network sees nothing of
the first.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from landscape.subject import Batch, LossFunction


class LossHessian:
    """The Hessian of Σ w_i ℓ_i over batches, as a function v ↦ Hv on flat vectors.

    Args:
        forward: Inputs to logits.
        parameters: What is differentiated, P numbers together; they require gradients.
        loss: Unreduced loss of logits and labels.
        batches: Makes the batches, the same ones at every call; their weights sum to 1.
        keep: Samples whose graphs are kept, from the first batch on.

    Attributes:
        products: Products spent.
    """

    def __init__(
        self,
        forward: Callable[[Tensor], Tensor],
        parameters: Sequence[Tensor],
        loss: LossFunction,
        batches: Callable[[], Iterator[Batch]],
        *,
        keep: int = 0,
    ) -> None:
        self._forward, self._parameters, self._loss, self._batches = forward, list(parameters), loss, batches
        self._sizes = [p.numel() for p in self._parameters]
        self.products = 0
        self._keep = keep
        self._kept: list[tuple[Tensor, ...]] = []
        self._all_kept = False
        self._value = 0.0
        self._gradient: Tensor | None = None

    @property
    def value(self) -> float:
        """The loss, averaged in float64."""
        self._prepare()
        return self._value

    @property
    def gradient(self) -> Tensor:
        """(P,) float64 gradient of the loss."""
        self._prepare()
        assert self._gradient is not None
        return self._gradient

    def __call__(self, vector: Tensor) -> Tensor:
        """Hv.

        Args:
            vector: v, (P,) in the parameters' dtype.

        Returns:
            (P,) in the same dtype, summed over batches in float64.
        """
        if self._keep:
            self._prepare()
        parts = [v.view_as(p) for v, p in zip(torch.split(vector, self._sizes), self._parameters, strict=True)]
        total = torch.zeros(vector.shape, dtype=torch.float64, device=vector.device)
        for gradients in self._graphs():
            self._add_product(total, gradients, parts)
        self.products += 1
        return total.to(vector.dtype)

    def _graphs(self) -> Iterator[tuple[Tensor, ...]]:
        """Every batch's gradient with its graph: the kept ones, then the others, made one at a time."""
        yield from self._kept
        if not self._all_kept:
            for batch in itertools.islice(self._batches(), len(self._kept), None):
                yield self._graph(batch)[1]

    def _prepare(self) -> None:
        """One pass over everything: loss, gradient, and the graphs that may be kept."""
        if self._gradient is not None:
            return
        gradient = torch.zeros(sum(self._sizes), dtype=torch.float64, device=self._parameters[0].device)
        samples = 0
        for batch in self._batches():
            samples += len(batch.labels)
            value, gradients = self._graph(batch)
            self._value += value
            for part, g in zip(torch.split(gradient, self._sizes), gradients, strict=True):
                part.add_(g.detach().reshape(-1))
            if samples <= self._keep:  # a run of first batches
                self._kept.append(gradients)
        self._all_kept = samples <= self._keep
        self._gradient = gradient

    def _graph(self, batch: Batch) -> tuple[float, tuple[Tensor, ...]]:
        losses = self._loss(self._forward(batch.inputs), batch.labels)
        value = float(losses.detach().double() @ batch.weights.double())
        gradients = torch.autograd.grad(
            (losses * batch.weights).sum(), self._parameters, create_graph=True, materialize_grads=True
        )
        return value, gradients

    def _add_product(self, total: Tensor, gradients: tuple[Tensor, ...], parts: list[Tensor]) -> None:
        curved = [(g, v) for g, v in zip(gradients, parts, strict=True) if g.requires_grad]
        if not curved:
            return  # linear in the parameters
        product = torch.autograd.grad(
            [g for g, _ in curved],
            self._parameters,
            [v for _, v in curved],
            retain_graph=True,
            materialize_grads=True,
        )
        for part, h in zip(torch.split(total, self._sizes), product, strict=True):
            part.add_(h.reshape(-1))
