"""Hessian-vector products of a weighted loss, in reverse-over-reverse mode on kept graphs.

∇(vᵀ∇L) by a second reverse sweep through the graph of the gradient (Pearlmutter 1994). A fresh graph costs nine
forward passes a product, a kept one six, which is two gradients and the floor for one vector: so graphs are kept as
long as a budget of samples allows, batch by batch, and made afresh for the rest, where k vectors at once share each
graph: 3 + 6k passes instead of 9k. When memory runs out the kept graphs go first, then batches are cut in halves,
and the sum goes on from where it stopped. `torch.autograd.grad` leaves no `.grad` behind, so a second object on the
same network sees nothing of the first.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

import torch
from torch import Tensor

from foundation.errors import LandscapeError
from landscape.execution.second_order import PlainOperations, math_attention
from landscape.execution.thread_pool import ThreadPool
from landscape.subject.losses import LossFunction
from landscape.subject.nested import Inputs, pieces
from landscape.subject.samples import Batch

Gradients = tuple[Tensor, ...]
"""A batch's gradient, one tensor a parameter, with the graph that made it."""
Source = TypeVar("Source")
Share = TypeVar("Share")

LARGEST_SPLIT = 4096
LARGEST_TOTAL = 1 << 30
"""Bytes of the sums of a block of products; more vectors take turns."""


class HessianOperator:
    """The Hessian of Σ w_i ℓ_i over batches, as a function v ↦ Hv on flat vectors.

    Args:
        forward: Inputs to logits.
        parameters: What is differentiated, P numbers together; they require gradients.
        loss: Unreduced loss of logits and labels.
        batches: The same ones at every pass; their weights sum to 1.
        keep: Samples whose graphs are kept, from the first batch on.
        workers: Who computes the batches; by default the calling thread, one after the other.

    Attributes:
        size: P.
        products: Products spent.
        pieces: Parts that each batch is computed in; 1 unless memory ran out.
    """

    def __init__(
        self,
        forward: Callable[[Inputs], Tensor],
        parameters: Sequence[Tensor],
        loss: LossFunction,
        batches: Iterable[Batch],
        *,
        keep: int = 0,
        workers: ThreadPool | None = None,
    ) -> None:
        self._forward, self._parameters, self._loss, self._batches = forward, list(parameters), loss, batches
        self._sizes = [p.numel() for p in self._parameters]
        self.size = sum(self._sizes)
        self.products = 0
        self.pieces = 1
        self._keep = keep
        self._workers = workers or ThreadPool(1)
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
        return self.block(vector[None])[0]

    def block(self, vectors: Tensor, members: Sequence[int] | None = None) -> Tensor:
        """HV, each batch's graph made at most once for all vectors.

        Args:
            vectors: (k, P) in the parameters' dtype.
            members: Positions of some parameters: the product with their own diagonal block, P counting theirs alone.

        Returns:
            (k, P) in the same dtype, summed over batches in float64.

        Raises:
            LandscapeError: Memory ran out even for single samples.
        """
        most = max(1, LARGEST_TOTAL // (8 * vectors.shape[1]))
        if len(vectors) > most:
            return torch.cat([self.block(some, members) for some in torch.split(vectors, most)])
        members = range(len(self._parameters)) if members is None else members
        if self._keep:
            self._prepare()
        sizes = [self._sizes[i] for i in members]
        total = torch.zeros(vectors.shape, dtype=torch.float64, device=vectors.device)
        for shares in self._survive(lambda source: self._shares(source, vectors, members), self._sources):
            for position, share in shares:
                _add(total[position], share, sizes)
        self.products += len(vectors)
        return total.to(vectors.dtype)

    def _prepare(self) -> None:
        """One pass over everything: loss, gradient, and the graphs that may be kept."""
        if self._gradient is not None:
            return
        gradient = torch.zeros(self.size, dtype=torch.float64, device=self._parameters[0].device)
        value, samples = 0.0, 0
        for graphs in self._survive(self._graphs, lambda done: itertools.islice(self._batches, done, None)):
            for count, part, gradients in graphs:
                samples += count
                value += part
                _add(gradient, [g.detach() for g in gradients], self._sizes)
            if samples <= self._keep and len(graphs) == 1:  # a run of first batches
                self._kept.append(graphs[0][2])
        self._all_kept = samples <= self._keep
        self._value, self._gradient = value, gradient

    def _survive(self, work: Callable[[Source], Share], sources: Callable[[int], Iterable[Source]]) -> Iterator[Share]:
        """Maps `work` over sources in order; when memory runs out, gives way and goes on with the next one due.

        Args:
            work: What to do with each.
            sources: The sources from a position on.

        Yields:
            One result a source.
        """
        done = 0
        while True:
            try:
                with math_attention():
                    for share in self._workers.map(work, sources(done)):
                        done += 1
                        yield share
                return
            except RuntimeError as error:
                if not out_of_memory(error):
                    raise
            self._give_way()  # only here, where the error no longer holds the tensors of the frames it came through

    def _give_way(self) -> None:
        """Frees the kept graphs; when there are none, halves what is computed at a time."""
        if self._keep:
            self._keep, self._all_kept = 0, False
            self._kept.clear()
        elif self.pieces < LARGEST_SPLIT:
            self.pieces *= 2
        else:
            raise LandscapeError("out of memory for a single sample: measure on a device with more memory")
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _sources(self, done: int) -> Iterator[Gradients | Batch]:
        """Kept graphs, then batches, from a position on."""
        fresh = () if self._all_kept else itertools.islice(self._batches, max(done, len(self._kept)), None)
        return itertools.chain(self._kept[done:], fresh)

    def _graphs(self, batch: Batch) -> list[tuple[int, float, Gradients]]:
        """Samples, loss and gradient of each piece of a batch."""
        return [self._graph(piece) for piece in self._cut(batch)]

    def _cut(self, batch: Batch) -> Iterator[Batch]:
        size = -(-len(batch.weights) // self.pieces)
        parts = zip(*(pieces(part, size) for part in (batch.inputs, batch.targets, batch.weights)), strict=True)
        return (Batch(*part) for part in parts)

    def _graph(self, batch: Batch) -> tuple[int, float, Gradients]:
        """Samples, loss and gradient of a batch, the gradient with its graph."""
        with PlainOperations():
            losses = self._loss(self._forward(batch.inputs), batch.targets)
        value = float(losses.detach().double() @ batch.weights.double())
        gradients = torch.autograd.grad(
            (losses * batch.weights).sum(), self._parameters, create_graph=True, materialize_grads=True
        )
        return len(batch.weights), value, gradients

    def _shares(
        self, source: Gradients | Batch, vectors: Tensor, members: Sequence[int]
    ) -> list[tuple[int, list[Tensor]]]:
        """What a source adds to the product of each vector, by the vector's position."""
        sources = self._cut(source) if isinstance(source, Batch) else [source]
        shares = []
        for piece in sources:
            gradients = self._graph(piece)[2] if isinstance(piece, Batch) else piece
            shares += [(i, self._second(gradients, vector, members)) for i, vector in enumerate(vectors)]
        return shares

    def _second(self, gradients: Gradients, vector: Tensor, members: Sequence[int]) -> list[Tensor]:
        """∇(vᵀg) from a batch's gradient g."""
        parameters = [self._parameters[i] for i in members]
        parts = torch.split(vector, [self._sizes[i] for i in members])
        pairs = [(gradients[i], v.view_as(gradients[i])) for i, v in zip(members, parts, strict=True)]
        curved = [(g, v) for g, v in pairs if g.requires_grad]
        if not curved:  # linear in the parameters
            return []
        products = torch.autograd.grad(
            [g for g, _ in curved], parameters, [v for _, v in curved], retain_graph=True, materialize_grads=True
        )
        return list(products)


def _add(total: Tensor, parts: Sequence[Tensor], sizes: Sequence[int]) -> None:
    """Adds tensors to the stretches of a flat vector; no tensors add nothing."""
    if parts:
        for place, part in zip(torch.split(total, list(sizes)), parts, strict=True):
            place.add_(part.reshape(-1))


def out_of_memory(error: RuntimeError) -> bool:
    """Whether an allocation failed: CUDA and MPS raise their own error, the CPU's allocator a plain one."""
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)
