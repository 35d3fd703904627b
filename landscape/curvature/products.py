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

from landscape.curvature.workers import Workers
from landscape.subject import Batch, LossFunction

Gradients = tuple[Tensor, ...]
"""A batch's gradient, one tensor a parameter, with the graph that made it."""


class LossHessian:
    """The Hessian of Σ w_i ℓ_i over batches, as a function v ↦ Hv on flat vectors.

    Args:
        forward: Inputs to logits.
        parameters: What is differentiated, P numbers together; they require gradients.
        loss: Unreduced loss of logits and labels.
        batches: Makes the batches, the same ones at every call; their weights sum to 1.
        keep: Samples whose graphs are kept, from the first batch on.
        workers: Who computes the batches; by default the calling thread, one after the other.

    Attributes:
        size: P.
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
        workers: Workers | None = None,
    ) -> None:
        self._forward, self._parameters, self._loss, self._batches = forward, list(parameters), loss, batches
        self._sizes = [p.numel() for p in self._parameters]
        self.size = sum(self._sizes)
        self.products = 0
        self._keep = keep
        self._workers = workers or Workers(1)
        self._kept: list[Gradients] = []
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
        rest = () if self._all_kept else itertools.islice(self._batches(), len(self._kept), None)
        total = torch.zeros(vector.shape, dtype=torch.float64, device=vector.device)
        sources: Iterator[Gradients | Batch] = itertools.chain(self._kept, rest)
        for product in self._workers.map(lambda source: self._product(source, parts), sources):
            self._add(total, product)
        self.products += 1
        return total.to(vector.dtype)

    def _prepare(self) -> None:
        """One pass over everything: loss, gradient, and the graphs that may be kept."""
        if self._gradient is not None:
            return
        gradient = torch.zeros(self.size, dtype=torch.float64, device=self._parameters[0].device)
        samples = 0
        for count, value, gradients in self._workers.map(self._graph, self._batches()):
            samples += count
            self._value += value
            self._add(gradient, [g.detach() for g in gradients])
            if samples <= self._keep:  # a run of first batches
                self._kept.append(gradients)
        self._all_kept = samples <= self._keep
        self._gradient = gradient

    def _graph(self, batch: Batch) -> tuple[int, float, Gradients]:
        """Samples, loss and gradient of a batch, the gradient with its graph."""
        losses = self._loss(self._forward(batch.inputs), batch.labels)
        value = float(losses.detach().double() @ batch.weights.double())
        gradients = torch.autograd.grad(
            (losses * batch.weights).sum(), self._parameters, create_graph=True, materialize_grads=True
        )
        return len(batch.labels), value, gradients

    def _product(self, source: Gradients | Batch, parts: Sequence[Tensor]) -> Sequence[Tensor]:
        """One batch's share of Hv, from its kept graph or a fresh one."""
        gradients = self._graph(source)[2] if isinstance(source, Batch) else source
        curved = [(g, v) for g, v in zip(gradients, parts, strict=True) if g.requires_grad]
        if not curved:
            return ()  # linear in the parameters
        return torch.autograd.grad(
            [g for g, _ in curved],
            self._parameters,
            [v for _, v in curved],
            retain_graph=True,
            materialize_grads=True,
        )

    def _add(self, total: Tensor, parts: Sequence[Tensor]) -> None:
        if parts:
            for place, part in zip(torch.split(total, self._sizes), parts, strict=True):
                place.add_(part.reshape(-1))
