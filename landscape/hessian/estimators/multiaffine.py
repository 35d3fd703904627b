"""Networks whose logits are affine in each parameter tensor by itself, and their layers, read off the autograd graph.

Convolutions, linear layers and BatchNorms in evaluation mode multiply what comes before them by a parameter that
appears nowhere else, and ReLU, pooling, interpolation, addition and multiplication by constants are linear wherever
they can be differentiated. With all other
tensors held, a logit of such a network is affine in any one of them, so that the diagonal blocks of its second
derivatives vanish (Botev, Ritter and Barber, ICML 2017). An operation that is not known here, or that
multiplies a parameter by a function of itself, makes the answer no.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge
from torch.nn import functional

LINEAR = {
    "AddBackward0", "SubBackward0", "NegBackward0", "SumBackward0", "SumBackward1", "MeanBackward0", "MeanBackward1",
    "ReluBackward0", "LeakyReluBackward0", "HardtanhBackward0", "MaxPool2DWithIndicesBackward0", "AvgPool2DBackward0",
    "AdaptiveAvgPool2DBackward0", "AdaptiveMaxPool2DBackward0", "ViewBackward0", "UnsafeViewBackward0",
    "ReshapeAliasBackward0", "SqueezeBackward0", "SqueezeBackward1", "SqueezeBackward2", "UnsqueezeBackward0",
    "TBackward0", "TransposeBackward0", "PermuteBackward0", "CloneBackward0", "SliceBackward0", "SelectBackward0",
    "CatBackward0", "ConstantPadNdBackward0", "ToCopyBackward0", "StackBackward0", "SplitBackward0", "ExpandBackward0",
    "SplitWithSizesBackward0", "UnbindBackward0", "AbsBackward0", "ClampBackward0", "ClampBackward1", "RepeatBackward0",
    "ClampMinBackward0", "ClampMaxBackward0", "ThresholdBackward0", "MaxPool3DWithIndicesBackward0", "FlipBackward0",
    "AvgPool3DBackward0", "AdaptiveAvgPool3DBackward0", "UpsampleNearest1DBackward0", "UpsampleNearest2DBackward0",
    "UpsampleNearest3DBackward0", "UpsampleLinear1DBackward0", "UpsampleBilinear2DBackward0",
    "UpsampleBicubic2DBackward0", "UpsampleTrilinear3DBackward0", "ReflectionPad2DBackward0",
    "ReplicationPad2DBackward0", "PixelShuffleBackward0", "MaskedFillBackward0", "WhereBackward0",
}  # fmt: skip
"""Operations that are linear in all their inputs together, wherever they can be differentiated."""
PRODUCTS = {"MulBackward0", "DivBackward0"}
"""Operations that are linear where only the first, or the only, of their inputs depends on parameters."""
LEAF = "torch::autograd::AccumulateGrad"

AT_A_TIME = 1 << 20
"""Numbers of the samples' own weight gradients that are made at a time."""

Norms = Callable[[Tensor], Tensor]
"""The gradient at a layer's outputs, (n, C', …), to two squared norms of each sample's parameter gradient g, (2, n):
‖g‖² and ‖|w| ∘ g‖²."""
Node = Any
"""Of an autograd graph; what it has saved is known by its name only."""


@dataclass(frozen=True)
class Layer:
    """A layer with measured parameters.

    Attributes:
        edge: Where the gradient of its outputs passes.
        weight: |w| of its weight, in the shape the operation takes that in, if it is measured.
        bias: |w| of its bias, (C',), if that is.
    """

    edge: GradientEdge
    weight: Tensor | None
    bias: Tensor | None

    def norms(self) -> tuple[Norms, int]:
        """Squared norms of the samples' gradients from the gradient at the outputs, and how many numbers that keeps.

        Returns:
            The function and the count.
        """
        node: Node = self.edge.node
        of_weight, kept = (_nothing, 0) if self.weight is None else KINDS[node.name()].norms(node, self.weight)
        if self.bias is None:
            return of_weight, kept
        bias = self.bias.square()
        return lambda gradient: of_weight(gradient) + _both(_per_output(gradient).square(), bias), kept


@dataclass(frozen=True)
class _Kind:
    """An operation that multiplies inputs by a weight.

    Attributes:
        inputs: Their edge.
        weight: Its edge.
        bias: The edge of what is added.
        norms: Squared norms of the samples' weight gradients; numbers kept.
        fits: Whether those can be had.
    """

    inputs: int
    weight: int
    bias: int | None
    norms: Callable[[Node, Tensor], tuple[Norms, int]]
    fits: Callable[[Node], bool]


def multiaffine_layers(
    logits: Tensor, measured: Sequence[Tensor], sizes: Sequence[Tensor] | None = None
) -> list[Layer] | None:
    """The layers that hold the measured parameters.

    Args:
        logits: (n, C) of a batch, with their graph; each sample's depend on its own inputs alone.
        measured: Parameters.
        sizes: |w| of each; by default the parameters as they are.

    Returns:
        The layers; None when some logit is not known to be affine in each parameter tensor by itself, or a measured
        parameter sits where its gradients are not known sample by sample.
    """
    wanted, layers = {id(p): size.detach() for p, size in zip(measured, sizes or measured, strict=True)}, list[Layer]()
    leaves, edges, covered = dict[Node, frozenset[int]](), Counter[int | None](), Counter[int | None]()
    consumers, views = Counter[Node](), list[Node]()
    for node in _upwards(logits.grad_fn):
        below = [frozenset[int]() if f is None else leaves[f] for f, _ in node.next_functions]
        consumers.update(f for f, _ in node.next_functions if f is not None)
        kind = KINDS.get(node.name())
        if node.name() == LEAF:
            below = [frozenset({id(node.variable)})]
        elif kind is not None:
            if below[kind.inputs] & below[kind.weight] or getattr(node, "_saved_training", False):
                return None
            weight, bias = _parameter(node, kind.weight), _parameter(node, kind.bias)
            if weight in wanted or bias in wanted:
                shape = node._input_metadata[0].shape
                if shape[0] != len(logits) or not kind.fits(node) or (bias in wanted and not _a_channel(node, kind)):
                    return None
                covered.update(wanted.keys() & {weight, bias})
                views.append(node.next_functions[kind.weight][0])
                own = _in_place(wanted[weight], node.next_functions[kind.weight][0]) if weight in wanted else None
                added = None if bias is None else wanted.get(bias)
                layers.append(Layer(GradientEdge(node, 0), own, added))
        elif node.name() in PRODUCTS:
            moving = [place for place, (f, _) in enumerate(node.next_functions) if f is not None]
            if len(moving) > 1 or (node.name() == "DivBackward0" and moving == [1]):
                return None
        elif node.name() not in LINEAR:
            return None
        leaves[node] = frozenset[int]().union(*below)
        edges.update(id(f.variable) for f, _ in node.next_functions if f is not None and f.name() == LEAF)
    alone = all(view is None or view.name() == LEAF or consumers[view] == 1 for view in views)
    return layers if alone and all(covered[p] == edges[p] <= 1 for p in wanted) else None


def affine_together(logits: Tensor, measured: Sequence[Tensor]) -> bool:
    """Whether logits are known to be affine in all measured parameters together.

    What comes before the measured parameters may be any function of other ones.

    Args:
        logits: Of a batch, with their graph.
        measured: Parameters.

    Returns:
        False where an operation is not known, or multiplies two things that move.
    """
    wanted, moving = {id(p) for p in measured}, dict[Node, bool]()
    for node in _upwards(logits.grad_fn):
        below = [place for place, (f, _) in enumerate(node.next_functions) if f is not None and moving[f]]
        kind = KINDS.get(node.name())
        moving[node] = bool(below) or (node.name() == LEAF and id(node.variable) in wanted)
        if kind is not None:
            known = not {kind.inputs, kind.weight} <= set(below) and not getattr(node, "_saved_training", False)
        elif node.name() in PRODUCTS:
            known = len(below) < 2 and not (node.name() == "DivBackward0" and below == [1])
        else:
            known = node.name() in LINEAR
        if below and not known:
            return False
    return True


def _upwards(root: Node) -> Iterator[Node]:
    """Every node of a graph, after those that it rests on."""
    done, waiting = set[Node](), [root]
    while waiting:
        node = waiting[-1]
        below = [f for f, _ in node.next_functions if f is not None and f not in done] if node is not None else []
        waiting += below
        if not below:
            waiting.pop()
            if node is not None and node not in done:
                done.add(node)
                yield node


def _parameter(node: Node, edge: int | None) -> int | None:
    """The identity of the leaf at an edge, or behind a transposition there."""
    below = None if edge is None else node.next_functions[edge][0]
    if below is not None and below.name() == "TBackward0":
        below = below.next_functions[0][0]
    return id(below.variable) if below is not None and below.name() == LEAF else None


def _in_place(size: Tensor, below: Node) -> Tensor:
    """Numbers of a leaf, transposed if the operation takes it so."""
    return size.t() if below.name() == "TBackward0" else size


def _a_channel(node: Node, kind: _Kind) -> bool:
    """Whether what is added is a vector with one number an output channel."""
    leaf = node.next_functions[kind.bias][0]
    return leaf.name() == LEAF and tuple(leaf.variable.shape) == (node._input_metadata[0].shape[1],)


def _nothing(gradient: Tensor) -> Tensor:
    return gradient.new_zeros(2, len(gradient))


def _both(squares: Tensor, scale: Tensor) -> Tensor:
    """(n, p) squared gradients and the (p,) squared parameters: (2, n) their sums, plain and scaled."""
    return torch.stack([squares.sum(1), squares @ scale])


def _per_output(gradient: Tensor) -> Tensor:
    """(n, C', …) → (n, C'), summed over positions."""
    return gradient.reshape(*gradient.shape[:2], -1).sum(2)


def _of_convolution(node: Node, weight: Tensor) -> tuple[Norms, int]:
    """Each sample's weight gradient δXᵀ with X the unfolded inputs."""
    if node._saved_transposed or weight.dim() != 4:
        return _of_any_convolution(node, weight)
    columns = functional.unfold(
        node._saved_input.detach(),
        weight.shape[2:],
        dilation=node._saved_dilation,
        padding=node._saved_padding,
        stride=node._saved_stride,
    )
    groups = node._saved_groups
    kept = columns.reshape(len(columns), groups, -1, columns.shape[2]).mT
    scale, together = weight.square().flatten(), max(1, AT_A_TIME // weight.numel())

    def norms(gradient: Tensor) -> Tensor:
        rows = gradient.reshape(len(kept), groups, -1, kept.shape[2])
        parts = zip(torch.split(rows, together), torch.split(kept, together), strict=True)
        return torch.cat([_both((r @ x).square_().flatten(1), scale) for r, x in parts], 1)

    return norms, kept.numel()


def _of_any_convolution(node: Node, weight: Tensor) -> tuple[Norms, int]:
    """In one or three dimensions, or transposed: from each sample's weight gradient itself."""
    inputs, scale = node._saved_input.detach(), weight.square()
    geometry = (
        node._saved_stride, node._saved_padding, node._saved_dilation, node._saved_transposed,
        node._saved_output_padding, node._saved_groups,
    )  # fmt: skip

    def norms(gradient: Tensor) -> Tensor:
        pairs = zip(torch.split(gradient, 1), torch.split(inputs, 1), strict=True)
        backward = torch.ops.aten.convolution_backward
        squares = [backward(g, x, weight, None, *geometry, [False, True, False])[1].square() for g, x in pairs]
        return torch.stack([torch.stack([s.sum(), (s * scale).sum()]) for s in squares], 1)

    return norms, inputs.numel() + weight.numel()


def _of_linear(node: Node, weight: Tensor) -> tuple[Norms, int]:
    """Each sample's weight gradient is xδᵀ: Σ x² Σ δ², and Σ x²ᵀW²δ²."""
    inputs = node._saved_self if node.name() == "MmBackward0" else node._saved_mat1
    squares = inputs.detach().square()
    plain, scaled = squares.sum(1), squares @ weight.square()

    def norms(gradient: Tensor) -> Tensor:
        rows = gradient.square()
        return torch.stack([plain * rows.sum(1), (scaled * rows).sum(1)])

    return norms, plain.numel() + scaled.numel()


def _of_norm(node: Node, weight: Tensor) -> tuple[Norms, int]:
    """δγ = Σ δ·(x − μ)/√(σ² + ε) in evaluation mode."""
    shape = (1, -1, *[1] * (node._saved_input.dim() - 2))
    epsilon = node._saved_eps if node.name().startswith("Native") else node._saved_epsilon
    deviation = torch.rsqrt(node._saved_running_var + epsilon).view(shape)
    normal = (node._saved_input.detach() - node._saved_running_mean.view(shape)) * deviation
    scale = weight.square()
    return lambda gradient: _both(_per_output(gradient * normal).square(), scale), normal.numel()


def _batched(node: Node) -> bool:
    return bool(node._saved_input.dim() == node._saved_weight.dim())


def _plain_linear(node: Node) -> bool:
    return node.name() == "MmBackward0" or bool(node._saved_alpha == node._saved_beta == 1)


def _tracked(node: Node) -> bool:
    return node._saved_running_var is not None


KINDS = {
    "ConvolutionBackward0": _Kind(0, 1, 2, _of_convolution, _batched),
    "AddmmBackward0": _Kind(1, 2, 0, _of_linear, _plain_linear),
    "MmBackward0": _Kind(0, 1, None, _of_linear, _plain_linear),
    "NativeBatchNormBackward0": _Kind(0, 1, 2, _of_norm, _tracked),
    "CudnnBatchNormBackward0": _Kind(0, 1, 2, _of_norm, _tracked),
}
"""Operations that multiply two of their inputs, by name."""
