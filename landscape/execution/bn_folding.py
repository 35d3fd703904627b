"""A second form of a network for fast evaluation: BatchNorm folded into the convolutions before it."""

from __future__ import annotations

import copy
import operator
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, fx, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

from landscape.execution.traced import Traced, traced

SUMS = (operator.add, operator.iadd, torch.add)


@dataclass(frozen=True)
class _Pair:
    source: _ConvNd
    norm: _BatchNorm
    target: _ConvNd

    def refold(self) -> None:
        norm, source = self.norm, self.source
        assert norm.running_mean is not None and norm.running_var is not None
        assert self.target.bias is not None
        scale = torch.rsqrt(norm.running_var + norm.eps)
        if norm.weight is not None:
            scale = scale * norm.weight
        shift = -norm.running_mean if source.bias is None else source.bias - norm.running_mean
        shift = shift * scale if norm.bias is None else torch.addcmul(norm.bias, shift, scale)
        torch.mul(source.weight, scale.view(-1, *[1] * (source.weight.dim() - 1)), out=self.target.weight.data)
        self.target.bias.data.copy_(shift)


class FoldedNetwork:
    """The same function as `network` in evaluation mode, with fewer passes over the activations.

    Every BatchNorm that follows a convolution, and nothing else, is absorbed: w ← w γ/√(σ²+ε),
    b ← (b - μ) γ/√(σ²+ε) + β (Jacob et al., CVPR 2018, section 3.2). All other modules are shared with `network`,
    so that only folded convolutions must follow when its weights move: `refold`. Sums and ReLUs work in place.

    ResNet-32, 1,000 images, one thread, ms of processor time: 1,377 with new memory for each sum, 1,317 in place and in
    chunks of 50, of which 1,170 are the multiplications at the speed of a large matrix product. What else was tried:
    oneDNN's convolutions with sum and ReLU at their end take 1,271, but their ReLU makes 0 of NaN, and a hole in a
    surface must not vanish; Winograd's F(4×4, 3×3) in PyTorch operations takes 1.4 times as long as the direct
    convolution of 32 channels and 0.87 times as long for 64, at ten times its rounding error.

    Args:
        network: In evaluation mode; it is not changed.

    Attributes:
        folded: How many BatchNorm layers were absorbed; 0 where the network cannot be traced.
    """

    def __init__(self, network: nn.Module) -> None:
        self._forward: nn.Module = network
        self._pairs: list[_Pair] = []
        trace = traced(network)
        if trace is not None:
            self._fold(trace)
        self.folded = len(self._pairs)

    def refold(self) -> None:
        """Follows the network's present weights and running statistics."""
        with torch.no_grad():
            for pair in self._pairs:
                pair.refold()

    def __call__(self, inputs: Tensor) -> Tensor:
        """The logits (n, C) of `inputs`."""
        logits: Tensor = self._forward(inputs)
        return logits

    def _fold(self, trace: Traced) -> None:
        targets: dict[str, nn.Module] = {}
        for convolution, node in trace.convolutions().items():
            if node is None:
                continue
            source, norm = trace.convolution(convolution), trace.norm(node)
            assert norm is not None
            target = copy.deepcopy(source).requires_grad_(False)
            target.bias = nn.Parameter(target.weight.new_zeros(target.out_channels), requires_grad=False)
            self._pairs.append(_Pair(source, norm, target))
            targets[str(convolution.target)] = target
            node.replace_all_uses_with(convolution)
            trace.graph.erase_node(node)
        for node in trace.graph.nodes:
            _add_in_place(node, targets)
            _rectify_in_place(node, trace)
        self._forward = fx.GraphModule(trace.root, trace.graph).eval()
        for name, folded in targets.items():
            self._forward.set_submodule(name, folded)
        self.refold()


def _add_in_place(node: fx.Node, targets: Mapping[str, nn.Module]) -> None:
    """Lets a sum overwrite the result of a folded convolution that nobody else reads."""
    if node.target not in SUMS or node.kwargs or len(node.args) != 2:
        return
    for one, other in (node.args, node.args[::-1]):
        if isinstance(one, fx.Node) and str(one.target) in targets and len(one.users) == 1:
            node.target, node.args = operator.iadd, (one, other)
            return


def _rectify_in_place(node: fx.Node, trace: Traced) -> None:
    """Lets a ReLU overwrite its input where that is a convolution's or a sum's and nobody else reads it."""
    if not trace.rectifies(node) or not isinstance(node.args[0], fx.Node) or len(node.args[0].users) != 1:
        return
    before = node.args[0]
    if isinstance(trace.called(before), _ConvNd) or before.target in SUMS:
        node.op, node.target, node.args, node.kwargs = "call_function", torch.relu_, (before,), {}
