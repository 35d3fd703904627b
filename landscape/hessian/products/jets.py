"""Second-order Taylor expansions of a network's outputs along directions of its parameters.

Every tensor of a forward pass at w + tv is x + t x′ + ½t² x″ + …; the pair (x′, x″) beside x is its two-jet, and each
operation has a rule that makes the jet of its result from those of its inputs (Griewank and Walther, *Evaluating
Derivatives*, §13; `jet_rules`). One pass serves several directions: 4K + 1 forward passes for K of them where nested
forward modes take 9K, without a graph. PyTorch's own nested forward mode is wrong for layer, instance and batch
normalization.

Operations are seen below autograd, where composed ones are taken apart and views and writes in place have names, so
that these act on jets as they act on their tensors.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.weak import WeakTensorKeyDictionary

from foundation.dispatch import Dispatch
from landscape.hessian.products.jet_rules import COMPOSED, Call, NoJet, rule

CONSTANT = {"detach", "zeros_like", "ones_like", "empty_like", "full_like", "new_zeros", "new_ones", "new_empty"}


"""Operators whose results do not move."""


def two_jets(
    network: nn.Module, inputs: Tensor, parameters: Sequence[Tensor], directions: Sequence[Sequence[Tensor]]
) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
    """Outputs, and their first and second derivatives along each direction, in one pass without a graph.

    Attention needs `composed_attention` around it.

    Args:
        network: Called as it is, at the parameters it has.
        inputs: A batch, (n, …).
        parameters: Tensors that move.
        directions: For each direction v one tensor a parameter, in its shape.

    Returns:
        z (n, C), and for each direction z′ = d/dt z(w + tv) and z″ = d²/dt² z(w + tv) at t = 0, in the same shape.

    Raises:
        RuntimeError: An operation cannot be differentiated twice, or writes a jet into what has none.
    """
    mode = _Jets(parameters, directions)
    try:
        with torch.no_grad(), mode:
            outputs = network(inputs)
    except (TypeError, ValueError, AttributeError, AssertionError, IndexError) as error:
        raise NoJet(f"the network cannot be expanded: {error}") from error
    zero = torch.zeros_like(outputs)
    jets = mode.jets.get(outputs) or [(zero, zero)] * len(directions)
    return outputs, [(first, zero if second is None else second) for first, second in jets]


@contextmanager
def composed_attention() -> Iterator[None]:
    """Attention from products and a softmax while a block runs: its fused forms have no second derivative.

    A setting of the whole process: it surrounds the threads that expand a network, not each of them.

    Yields:
        Nothing.
    """
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


class _Jets(Dispatch):  # type: ignore[no-untyped-call]
    """Computes the jets of every operation's results beside them."""

    def __init__(self, parameters: Sequence[Tensor], directions: Sequence[Sequence[Tensor]]) -> None:
        super().__init__()
        self.jets: Any = WeakTensorKeyDictionary()
        for position, parameter in enumerate(parameters):
            self.jets[parameter] = [(direction[position], None) for direction in directions]

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        call = Call(func, args, kwargs or {}, self.jets)
        if not call.active or call.name in CONSTANT:
            return func(*args, **call.kwargs)
        if func._schema.is_mutable:
            return self._in_place(call)
        if call.name in COMPOSED:
            with self:
                return COMPOSED[call.name](*call.args), *[call.leaves[0].new_empty(0)] * 2  # what autograd would keep
        outputs, push = rule(call)
        if push is not None:
            self._note(outputs, [push(jets) for jets in call.jets])
        return outputs

    def _note(self, outputs: Any, jets: Sequence[Any]) -> None:
        """Keeps the jets of one result, or of each of several."""
        if isinstance(outputs, Tensor):
            self.jets[outputs] = [(first, second) for first, second in jets]
            return
        for position, output in enumerate(outputs):
            if output.is_floating_point():
                parts = [(first[position], None if second is None else second[position]) for first, second in jets]
                self.jets[output] = parts

    def _in_place(self, call: Call) -> Any:
        """The jets of `x.op_(…)` are those of `op(x, …)`, written into those of x, so that views see them too."""
        target = call.leaves[0]
        held = self.jets.get(target)
        if not call.name.endswith("_") or held is None or any(second is None for _, second in held):
            raise NoJet(f"{call.func} writes a moving value into a tensor at rest")
        packet = getattr(torch.ops.aten, call.name[:-1])
        functional = getattr(packet, call.func._overloadname)
        made = [(first.clone(), second) for first, second in held]
        push = rule(Call(functional, call.args, call.kwargs, self.jets))[1]
        made = [push(jets) for jets in call.jets] if push is not None else [(None, None)] * len(held)
        result = call.func(*call.args, **call.kwargs)
        for (first, second), (new_first, new_second) in zip(held, made, strict=True):
            for old, new in ((first, new_first), (second, new_second)):
                _ = old.zero_() if new is None else old.copy_(new)
        return result
