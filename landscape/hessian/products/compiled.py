"""Compiled products for GPUs, where small classes wait for kernels to be launched rather than for arithmetic.

Reverse mode over reverse mode as one function of parameters, vector and batch, compiled as a whole: compiling the
network alone leaves its second derivative eager, and PyTorch 2.14 cannot compile forward mode through a view. Batches
are padded with samples of weight zero to the next power of two, so that classes of all sizes share a few compiled
shapes, which CUDA graphs then replay without launches. On a CPU kept graphs are faster.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad

from landscape.hessian.products.hvp import Gradients, HessianOperator
from landscape.subject.nested import Inputs, mapped
from landscape.subject.network import own_tensors
from landscape.subject.samples import Batch
from landscape.subject.subject import Subject

BACKEND, MODE = "inductor", "reduce-overhead"
"""Of `torch.compile`; the mode records CUDA graphs."""

Compiled = Callable[..., Gradients]


def compile_product(subject: Subject) -> Compiled:
    """The product of one batch as a compiled function.

    Args:
        subject: The network and its loss.

    Returns:
        A function of parameters, vector (both as tuples of tensors in the parameters' shapes), inputs, labels and
        weights; compiled at its first call for each shape.
    """
    called = {id(p): name for name, p in subject.network.named_parameters()}
    names = [called[id(p)] for p in subject.parameters.values()]

    def product(values: Gradients, vectors: Gradients, inputs: Inputs, labels: Tensor, weights: Tensor) -> Gradients:
        def loss(values: Gradients) -> Tensor:
            logits = functional_call(subject.network, dict(zip(names, values, strict=True)), (inputs,))
            return (subject.loss(logits, labels) * weights).sum()

        def slope(values: Gradients) -> Tensor:
            return torch.stack([(g * v).sum() for g, v in zip(grad(loss)(values), vectors, strict=True)]).sum()

        curved: Gradients = grad(slope)(values)
        return curved

    mode = MODE if BACKEND == "inductor" else None
    compiled: Compiled = torch.compile(product, backend=BACKEND, mode=mode, dynamic=False, fullgraph=True)
    return compiled


class CompiledHessianOperator(HessianOperator):
    """The same Hessian; products by a compiled function, loss and gradient as ever.

    Args:
        product: Of `compile_product`, for the same parameters and loss.
        network: Whose modules keep their own parameters.
        *arguments: As for `HessianOperator`.
    """

    def __init__(self, product: Compiled, network: nn.Module, *arguments: object) -> None:
        super().__init__(network, *arguments)  # type: ignore[arg-type]  # no graphs are kept
        self._product = product
        self._network = network

    def _shares(
        self, source: Gradients | Batch, vectors: Tensor, members: Sequence[int]
    ) -> list[tuple[int, list[Tensor]]]:
        """What a batch adds to the product of each vector, by the vector's position."""
        assert isinstance(source, Batch)
        values, shares = tuple(p.detach() for p in self._parameters), []
        for piece in map(padded, self._cut(source)):
            for position, vector in enumerate(vectors):
                parts = self._directions(vector, members)
                with torch.no_grad(), own_tensors(self._network):
                    found = self._product(values, parts, piece.inputs, piece.targets, piece.weights)
                shares.append((position, [found[i].clone() for i in members]))  # replays overwrite their results
        return shares

    def _directions(self, vector: Tensor, members: Sequence[int]) -> Gradients:
        """A flat vector of some parameters as tensors of all, zero elsewhere."""
        parts = dict(zip(members, torch.split(vector, [self._sizes[i] for i in members]), strict=True))
        whole = enumerate(self._parameters)
        return tuple(parts[i].view_as(p).contiguous() if i in parts else torch.zeros_like(p) for i, p in whole)


def padded(batch: Batch) -> Batch:
    """The batch with samples of weight zero up to the next power of two."""
    count = len(batch.weights)
    missing = (1 << (count - 1).bit_length()) - count

    def more(tensor: Tensor) -> Tensor:
        return torch.cat([tensor, tensor[:1].expand(missing, *tensor.shape[1:])])

    return Batch(
        mapped(more, batch.inputs), more(batch.targets), torch.cat([batch.weights, batch.weights.new_zeros(missing)])
    )
