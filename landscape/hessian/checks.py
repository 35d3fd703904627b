"""Whether a subject's loss has a Hessian: derivatives that are its own, two of them, and uᵀHv = vᵀHu."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from foundation.errors import LandscapeError
from landscape.execution.double import Double, in_double
from landscape.execution.second_order import PlainOperations, math_attention
from landscape.subject.losses import LossFunction
from landscape.subject.nested import Inputs, cast
from landscape.subject.subject import Subject

SAMPLES = 64
ASYMMETRY = 5e-3
"""Largest |uᵀHv − vᵀHu| that rounding explains, as a share of ‖Hv‖, the size of both for Gaussian u and v."""
STEPS = (1e-7, 1e-5, 3e-4)
"""Of central differences, as shares of the weights; the shortest first, which mostly agrees."""
SECOND_STEPS = (1e-10, 1e-8, *STEPS)
"""Of differences of gradients, which jump at kinks: a step that crosses some errs by their jumps over the step, and so
do all steps that cross many. So they are short, and taken on few samples."""
SECOND_SAMPLES = 8
SECOND_MISMATCH = 0.1
"""Wider than for slopes: kinks that even the shortest step crosses are no cut, and what is cut is mostly all of it."""
DIRECTIONS = 4
"""Random ones; a missing part may be small along one of them."""
ROUNDING = 1e-9
SECOND_ROUNDING = 1e-4
"""Of a gradient in float64 over the shortest of those steps, as a share of the gradient, with a margin of 50."""
MISMATCH = 0.02
"""Largest difference between them and the gradient, as a share of its size along a random direction."""
NOT_THE_SLOPE = (
    "the gradient of the network's outputs is not their derivative (a no_grad block, a detach or a "
    "custom backward on the way): measure the parameters behind it alone (params), or take it out"
)
NOT_THE_CURVATURE = (
    "the second derivative of the network's outputs is not the derivative of their gradient: a custom backward or a "
    "hook computes with values that autograd does not follow (.data, a detach, NumPy); write it in tensor operations"
)
NOT_FINITE = (
    "the second derivative of the network's outputs is not finite (a root, a norm or a power below 2 of a zero on the "
    "way): add a small constant before it"
)

_passed: WeakKeyDictionary[nn.Module, list[LossFunction]] = WeakKeyDictionary()


def check_symmetry(subject: Subject) -> None:
    """Checks that the loss can be differentiated twice and that its Hessian is symmetric; once a network and loss.

    Args:
        subject: What will be measured.

    Raises:
        LandscapeError: With the likely cause.
    """
    done = _passed.setdefault(subject.network, [])
    if any(loss is subject.loss for loss in done):
        return
    rows = subject.few(SAMPLES)
    inputs, labels = subject.inputs(rows), subject.targets(rows)
    generator = torch.Generator().manual_seed(0)
    draws = torch.randn(2, subject.size, generator=generator, dtype=torch.float64)
    u, v = draws.to(subject.device, subject.dtype)
    parameters = list(subject.parameters.values())
    try:
        with math_attention(), PlainOperations():
            loss = subject.loss(subject.network(inputs), labels).mean()
        gradients = torch.autograd.grad(loss, parameters, create_graph=True, materialize_grads=True)
        if _cut(gradients):
            raise RuntimeError("a custom backward pass that is differentiable once only")
        sides = []
        for left, right in ((u, v), (v, u)):
            inner = sum((g * p).sum() for g, p in zip(gradients, subject.split(right).values(), strict=True))
            if not isinstance(inner, Tensor) or not inner.requires_grad:
                break  # a loss linear in its parameters: the Hessian is zero
            product = torch.autograd.grad(inner, parameters, retain_graph=True, materialize_grads=True)
            flat = torch.cat([h.reshape(-1) for h in product])
            sides.append((float(left.double() @ flat.double()), float(flat.norm())))
    except (RuntimeError, NotImplementedError) as error:
        raise LandscapeError(
            f"the network has no second derivative here ({str(error).splitlines()[0]}): replace the operation, "
            "such as fused attention, by one that autograd can differentiate twice"
        ) from error
    if sides and abs(sides[0][0] - sides[1][0]) > ASYMMETRY * max(size for _, size in sides):
        raise LandscapeError(
            f"uᵀHv = {sides[0][0]:.6g} but vᵀHu = {sides[1][0]:.6g}: the Hessian is not symmetric, so the network "
            "or its loss has a hand-written gradient (a custom backward or a hook) that is not its derivative"
        )
    if not done and (double := in_double(subject)) is not None:
        _check_differences(subject, double)
    done.append(subject.loss)


def _cut(gradients: Sequence[Tensor]) -> bool:
    """Whether a gradient's graph ends in a backward pass marked `once_differentiable`.

    `torch.autograd.grad` goes around the error that such a node raises: all behind it counts as constant, in silence.
    """
    waiting: list[Any] = [gradient.grad_fn for gradient in gradients]
    seen = set()
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if node.name() == "torch::autograd::Error":
            return True
        waiting += [following for following, _ in node.next_functions]
    return False


def _check_differences(subject: Subject, double: Double) -> None:
    """Holds the gradient against differences of values and its derivative against differences of gradients.

    Both near the weights, where nothing ties by design. One of the steps is enough: long ones cross kinks (of
    EfficientNet-Lite0 1e-5 crosses so many that it errs by 0.19, 1e-7 by 4e-10), short ones see parts that compute in
    float32.
    """
    inputs, some = (cast(subject.inputs(subject.few(count)), torch.float64) for count in (SAMPLES, SECOND_SAMPLES))
    generator, parameters = torch.Generator().manual_seed(2), double.parameters
    point = [p.detach() for p in parameters]
    point = [p * (1 + 0.1 * _normal(p, generator)) + 0.01 * p.abs().mean() * _normal(p, generator) for p in point]
    scales = [p.abs() + p.abs().mean() for p in point]  # of a parameter's turn, and by which its slopes count

    def value(inputs: Inputs) -> Tensor:
        logits: Tensor = double.network(inputs)
        return (logits * _normal(logits, torch.Generator().manual_seed(3))).mean() + logits.square().mean() / 2

    def slopes(inputs: Inputs, create_graph: bool = False) -> list[Tensor]:
        found = torch.autograd.grad(value(inputs), parameters, create_graph=create_graph, materialize_grads=True)
        return [slope * scale for slope, scale in zip(found, scales, strict=True)]

    def quotient(of: Callable[[], Sequence[Tensor]], step: float, turns: Sequence[Tensor]) -> list[Tensor]:
        ends = []
        for signed in (step, -step):
            _put(parameters, [p + signed * turn for p, turn in zip(point, turns, strict=True)])
            ends.append(of())
        _put(parameters, point)
        return [(after - before) / (2 * step) for after, before in zip(*ends, strict=True)]

    kept = [p.detach().clone() for p in parameters]
    try:
        _put(parameters, point)
        own = slopes(inputs)
        size = _norm(own)
        if not math.isfinite(size):
            return  # nothing can be said of a network that has diverged; its measurement says so
        for _ in range(DIRECTIONS):
            signs = [_normal(p, generator) for p in point]
            turns = [scale * sign for scale, sign in zip(scales, signs, strict=True)]
            along = torch.stack([(slope * sign).sum() for slope, sign in zip(own, signs, strict=True)]).sum()
            with torch.no_grad():
                most = MISMATCH * size + ROUNDING * float(along.abs())
                if not any(
                    _norm([quotient(lambda: [value(inputs)], step, turns)[0] - along]) <= most for step in STEPS
                ):
                    raise LandscapeError(NOT_THE_SLOPE)
        with math_attention(), PlainOperations():
            graph = slopes(some, create_graph=True)
            inner = torch.stack([(slope * sign).sum() for slope, sign in zip(graph, signs, strict=True)]).sum()
        product = [torch.zeros_like(p) for p in point]
        if inner.requires_grad:
            second = torch.autograd.grad(inner, parameters, materialize_grads=True)
            product = [part * scale for part, scale in zip(second, scales, strict=True)]
        if not math.isfinite(_norm(product)):
            raise LandscapeError(NOT_FINITE)
        most = SECOND_MISMATCH * _norm(product) + SECOND_ROUNDING * _norm(graph)
        for step in SECOND_STEPS:
            found = quotient(lambda: slopes(some), step, turns)
            if _norm([one - other for one, other in zip(found, product, strict=True)]) <= most:
                return
        raise LandscapeError(NOT_THE_CURVATURE)
    finally:
        _put(parameters, kept)


def _norm(parts: Sequence[Tensor]) -> float:
    return float(torch.stack([part.detach().square().sum() for part in parts]).sum().sqrt())


def _normal(like: Tensor, generator: torch.Generator) -> Tensor:
    return torch.randn(like.shape, generator=generator, dtype=torch.float64).to(like)


def _put(parameters: Sequence[Tensor], values: Sequence[Tensor]) -> None:
    with torch.no_grad():
        for parameter, value in zip(parameters, values, strict=True):
            parameter.copy_(value)
