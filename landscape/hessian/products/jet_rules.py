"""How the two-jet (x′, x″) of an operation's result follows from those of its inputs.

An operator without a rule of its own is differentiated by reverse mode, alone: right wherever PyTorch's third
derivatives are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

Jet = tuple[Tensor, Tensor | None]
"""x′ and x″; None is zero, as for parameters."""
Push = Callable[[Sequence[Jet | None]], Any]
"""From the jets of an operation's arguments, one direction's, to that of its result."""

LINEAR = {
    "sum", "mean", "neg", "_to_copy", "clone", "contiguous", "constant_pad_nd", "reflection_pad1d", "reflection_pad2d",
    "replication_pad1d", "replication_pad2d", "avg_pool2d", "avg_pool3d", "_adaptive_avg_pool2d", "index_select",
    "_adaptive_avg_pool3d", "upsample_nearest1d", "upsample_nearest2d", "upsample_bilinear2d", "upsample_bicubic2d",
    "_unsafe_view", "flip", "roll", "repeat", "cumsum", "gather", "unsafe_split", "pixel_shuffle", "im2col",
}  # fmt: skip
"""Linear in the first tensor; all else is kept."""
JOINTLY_LINEAR = {"cat", "stack", "where", "masked_fill", "add", "sub", "copy"}
"""Linear in all floating-point tensors together; constants among them count as zeros."""
PIECEWISE_LINEAR = {"relu", "leaky_relu", "hardtanh", "clamp", "clamp_min", "clamp_max", "abs", "threshold"}


class NoJet(RuntimeError):
    """An operation whose jet is not known."""


class Call:
    """One call of an operator.

    Attributes:
        name: The operator's, without its overload.
        leaves: Its arguments as a flat list.
        active: Positions of the tensors that have jets.
        jets: For each direction the jets of all leaves, None for those at rest.
    """

    def __init__(self, func: Any, args: Any, kwargs: Any, known: Any) -> None:
        self.func, self.args, self.kwargs = func, args, kwargs
        self.name = str(func._schema.name).split("::")[1]
        self.leaves, self._spec = pytree.tree_flatten((args, kwargs))
        held: list[Any] = [known.get(leaf) if isinstance(leaf, Tensor) else None for leaf in self.leaves]
        self.active = [i for i, jets in enumerate(held) if jets is not None]
        count = len(held[self.active[0]]) if self.active else 0
        self.jets: list[list[Jet | None]] = [[h and h[k] for h in held] for k in range(count)]

    def __call__(self, values: Sequence[Any]) -> Any:
        """The operator's result for other leaves."""
        args, kwargs = pytree.tree_unflatten(list(values), self._spec)
        return self.func(*args, **kwargs)

    def made(self) -> Any:
        """Its result."""
        return self.func(*self.args, **self.kwargs)

    def replaced(self, values: Sequence[Any | None], rest: Sequence[Any] | None = None) -> list[Any]:
        """The leaves with those values that are not None."""
        return [leaf if v is None else v for leaf, v in zip(rest or self.leaves, values, strict=True)]


def rule(call: Call) -> tuple[Any, Push | None]:
    """An operation's results and how jets pass through it; None where nothing that moves does."""
    alone = len(call.active) == 1
    first = call.leaves[call.active[0]]
    if _is_view(call.func) or (call.name in LINEAR and alone and call.active == [0]):
        return call.made(), _linear(call, call.leaves)
    if call.name in JOINTLY_LINEAR and all(isinstance(call.leaves[i], Tensor) for i in call.active):
        return call.made(), _jointly_linear(call)
    if call.name in BILINEAR:
        return call.made(), _bilinear(call, *BILINEAR[call.name])
    if call.name in ("_softmax", "_safe_softmax"):
        outputs = call.made()
        return outputs, _softmax(outputs, call.leaves[1])
    if call.name in ("max_pool2d_with_indices", "max_pool3d_with_indices", "adaptive_max_pool2d"):
        outputs = call.made()
        return outputs, _picked(outputs, 3 if "3d" in call.name else 2)
    if alone and torch.Tag.pointwise in call.func.tags and isinstance(first, Tensor):
        outputs, push = _elementwise(call)
        if push is not None or not outputs.is_floating_point():
            return outputs, push
    return _by_reverse_mode(call)


def _is_view(func: Any) -> bool:
    alias = [result.alias_info for result in func._schema.returns]
    return bool(alias) and all(a is not None and not a.is_write for a in alias)


def _linear(call: Call, rest: Sequence[Any]) -> Push:
    def push(jets: Sequence[Jet | None]) -> tuple[Any, Any]:
        first = call(call.replaced([j and j[0] for j in jets], rest))
        if any(j is not None and j[1] is not None for j in jets):
            seconds = [j and (torch.zeros_like(j[0]) if j[1] is None else j[1]) for j in jets]
            return first, call(call.replaced(seconds, rest))
        return first, None if _is_view(call.func) else pytree.tree_map(torch.zeros_like, first)

    return push


def _jointly_linear(call: Call) -> Push:
    """What is at rest adds nothing; a choice between tensors stays, and so does the factor of what is added."""
    own = {"alpha"} if call.name in ("add", "sub") else set[str]()
    flags = len(pytree.tree_flatten(call.args)[0])
    rest = []
    for position, leaf in enumerate(call.leaves):
        scalar = isinstance(leaf, (int, float)) and not isinstance(leaf, bool) and call.name not in ("cat", "stack")
        if position >= flags and own & set(call.kwargs):
            rest.append(leaf)
        elif isinstance(leaf, Tensor) and leaf.is_floating_point():
            rest.append(torch.zeros_like(leaf))
        else:
            rest.append(0.0 if scalar else leaf)
    return _linear(call, rest)


BILINEAR: dict[str, tuple[int, int, int | None]] = {
    "mul": (0, 1, None),
    "mm": (0, 1, None),
    "bmm": (0, 1, None),
    "mv": (0, 1, None),
    "dot": (0, 1, None),
    "addmm": (1, 2, 0),
    "baddbmm": (1, 2, 0),
    "addmv": (1, 2, 0),
    "convolution": (0, 1, 2),
}
"""Positions of the two factors, and of what is added."""


def _bilinear(call: Call, left: int, right: int, added: int | None) -> Push:
    """(x·w + b)″ = x″·w + 2x′·w′ + x·w″ + b″."""

    def product(x: Any, w: Any, b: Any) -> Any:
        if x is None or w is None:
            return None
        values = list(call.leaves)
        values[left], values[right] = x, w
        if added is not None and isinstance(values[added], Tensor):
            at_rest = call.name != "convolution"
            values[added] = (torch.zeros_like(values[added]) if at_rest else None) if b is None else b
        return call(values)

    def push(jets: Sequence[Jet | None]) -> tuple[Tensor, Tensor | None]:
        x, w = call.leaves[left], call.leaves[right]
        (x1, x2), (w1, w2) = (jets[i] or (None, None) for i in (left, right))
        b1, b2 = (jets[added] if added is not None else None) or (None, None)
        first = _sum(product(x1, w, b1), product(x, w1, b1 if x1 is None else None))
        twice = product(x1, w1, None)
        second = _sum(product(x2, w, b2), product(x, w2, b2 if x2 is None else None), twice, twice)
        if first is None or (b2 is not None and x2 is None and w2 is None):  # only what is added moves
            raise NoJet(f"{call.func} with factors at rest")
        return first, torch.zeros_like(first) if second is None else second

    return push


def _batch_norm(
    x: Tensor, weight: Any, bias: Any, mean: Any, variance: Any, training: bool, momentum: float, epsilon: float
) -> Tensor:
    shape = (1, -1, *[1] * (x.dim() - 2))
    if not training:
        normal = (x - mean.view(shape)) * torch.rsqrt(variance + epsilon).view(shape)
    elif mean is None:
        normal = _standardized(x, [0, *range(2, x.dim())], epsilon)
    else:
        raise NoJet("a BatchNorm in training mode")
    return _affine(normal, weight, bias, shape)


def _group_norm(
    x: Tensor, weight: Any, bias: Any, count: int, channels: int, positions: int, groups: int, epsilon: float
) -> Tensor:
    normal = _standardized(x.reshape(count, groups, -1), [2], epsilon).view(x.shape)
    return _affine(normal, weight, bias, (1, -1, *[1] * (x.dim() - 2)))


def _layer_norm(x: Tensor, shape: Sequence[int], weight: Any, bias: Any, epsilon: float) -> Tensor:
    return _affine(_standardized(x, list(range(-len(shape), 0)), epsilon), weight, bias, shape)


def _standardized(x: Tensor, dims: list[int], epsilon: float) -> Tensor:
    centered = x - x.mean(dims, keepdim=True)
    normal: Tensor = centered * torch.rsqrt((centered * centered).mean(dims, keepdim=True) + epsilon)
    return normal


def _affine(normal: Tensor, weight: Tensor | None, bias: Tensor | None, shape: Sequence[int]) -> Tensor:
    scaled = normal if weight is None else normal * weight.view(shape)
    return scaled if bias is None else scaled + bias.view(shape)


COMPOSED: dict[str, Callable[..., Tensor]] = {
    "native_batch_norm": _batch_norm,
    "native_group_norm": _group_norm,
    "native_layer_norm": _layer_norm,
}
"""Normalizations, made of operators that have rules."""


def _softmax(outputs: Tensor, dim: int) -> Push:
    """p′ = p ⊙ (x′ − pᵀx′), and the same once more."""

    def push(jets: Sequence[Jet | None]) -> tuple[Tensor, Tensor]:
        jet = jets[0]
        assert jet is not None
        x1, x2 = jet
        centered = x1 - (outputs * x1).sum(dim, keepdim=True)
        first = outputs * centered
        along = (first * x1).sum(dim, keepdim=True)
        second = first * centered - outputs * along
        if x2 is not None:
            second = second + outputs * (x2 - (outputs * x2).sum(dim, keepdim=True))
        return first, second

    return push


def _picked(outputs: Any, dims: int) -> Push:
    """A pooling picks the places that it picked in the primal."""
    values, places = outputs
    flat = places.flatten(-dims)

    def pick(x: Tensor) -> tuple[Tensor, Tensor]:
        return x.flatten(-dims).gather(-1, flat).view_as(values), places

    def push(jets: Sequence[Jet | None]) -> Any:
        jet = jets[0]
        assert jet is not None
        return pick(jet[0]), pick(torch.zeros_like(jet[0]) if jet[1] is None else jet[1])

    return push


def _elementwise(call: Call) -> tuple[Tensor, Push | None]:
    """y′ = f′x′, y″ = f′x″ + f″x′² with f′ and f″ by reverse mode."""
    place = call.active[0]
    with _reverse_mode():
        x = call.leaves[place].detach().requires_grad_()
        y = call(call.replaced([x if i == place else None for i in range(len(call.leaves))]))
        if not y.requires_grad or y.shape != x.shape:
            return y.detach(), None
        (slope,) = torch.autograd.grad(y.sum(), x, create_graph=True)
        curved = None
        if slope.requires_grad and call.name not in PIECEWISE_LINEAR:
            (curved,) = torch.autograd.grad(slope.sum(), x, materialize_grads=True)
        y, slope = y.detach(), slope.detach()

    def push(jets: Sequence[Jet | None]) -> tuple[Tensor, Tensor | None]:
        jet = jets[place]
        assert jet is not None
        x1, x2 = jet
        bent = None if curved is None else curved * x1 * x1
        second = _sum(None if x2 is None else slope * x2, bent)
        return slope * x1, torch.zeros_like(y) if second is None else second

    return y, push


def _by_reverse_mode(call: Call) -> tuple[Any, Push | None]:
    """Any operation by its own reverse mode: J x′ is the derivative of uᵀJ x′ by u, and so once more."""
    with _reverse_mode():
        xs = {i: call.leaves[i].detach().requires_grad_() for i in call.active}
        outputs = call(call.replaced([xs.get(i) for i in range(len(call.leaves))]))
        results = pytree.tree_map_only(Tensor, torch.Tensor.detach, outputs)
        moving = [y for y in pytree.tree_leaves(outputs) if isinstance(y, Tensor) and y.requires_grad]
        if not moving:
            return results, None
        if len(moving) > 1:
            raise NoJet(f"{call.func} has several results")
        y = moving[0]
        u = torch.zeros_like(y).requires_grad_()
        slopes = torch.autograd.grad(y, list(xs.values()), u, create_graph=True, materialize_grads=True)

    def push(jets: Sequence[Jet | None]) -> Any:
        with _reverse_mode():
            moved = [jets[i] for i in xs]
            firsts = [m[0] for m in moved if m is not None]
            first = _derivative(slopes, firsts, u, create_graph=True)
            second = _derivative(
                slopes, [torch.zeros_like(m[0]) if m[1] is None else m[1] for m in moved if m is not None], u
            )
            if first.requires_grad:
                again = torch.zeros_like(y).requires_grad_()
                bent = torch.autograd.grad(first, list(xs.values()), again, create_graph=True, materialize_grads=True)
                second = second + _derivative(bent, firsts, again)
            first, second = first.detach(), second.detach()
        if isinstance(outputs, Tensor):
            return first, second
        return [first if o is y else None for o in outputs], [second if o is y else None for o in outputs]

    return results, push


def _derivative(slopes: Sequence[Tensor], along: Sequence[Tensor], u: Tensor, *, create_graph: bool = False) -> Tensor:
    pairs = [(s * a).sum() for s, a in zip(slopes, along, strict=True) if s.requires_grad]
    if not pairs:
        return torch.zeros_like(u)
    (found,) = torch.autograd.grad(
        torch.stack(pairs).sum(), u, create_graph=create_graph, retain_graph=True, materialize_grads=True
    )
    return found


@contextmanager
def _reverse_mode() -> Iterator[None]:
    """Autograd inside a dispatch mode, which runs below it."""
    with torch._C._SetExcludeDispatchKeyGuard(torch._C.DispatchKey.AutogradFunctionality, False), torch.enable_grad():
        yield


def _sum(*terms: Tensor | None) -> Tensor | None:
    found = [t for t in terms if t is not None]
    total = found[0] if found else None
    for term in found[1:]:
        assert total is not None
        total = total + term
    return total
