"""Whether a rewritten form of a network is the network: outputs at present and moved weights, and one product.

A form may agree at the trained weights and not elsewhere (a kernel that was computed once, a mask that was baked in),
and its outputs may agree where its derivatives do not (a block without gradients, a hand-written backward pass, which
tracing sees through). So both are compared, on samples of every class.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from landscape.execution.second_order import PlainOperations, math_attention
from landscape.subject.subject import Subject

AGREEMENT = 1e-4
"""Largest difference of logits, as a share of the largest logit, that float32 rounding explains."""
PRODUCT_AGREEMENT = 1e-3
"""The same of each parameter tensor's part of a gradient or product …"""
PRODUCT_FLOOR = 1e-5
"""… beside this share of the whole, for parts that are zero but for rounding."""
STEP, LEAST_STEP = 0.1, 0.01
"""Moved weights are these shares of their own size and of their mean size away."""

Forward = Callable[[Tensor], Tensor]


def moved(subject: Subject) -> Tensor:
    """Weights near the present ones, (P,), each of them another."""
    vector = subject.vector()
    draw = torch.randn(subject.size, generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(vector)
    return vector + draw * (STEP * vector.abs() + LEAST_STEP * vector.abs().mean())


def same_outputs(subject: Subject, form: Forward, inputs: Tensor, *, before: Callable[[], None] | None = None) -> bool:
    """Whether a form's outputs are the network's, to float32 rounding, at present and at moved weights.

    Args:
        subject: The network and its parameters.
        form: The other form; it follows the parameters.
        inputs: Samples of every class.
        before: Called whenever the weights have moved.

    Returns:
        Whether they are; outputs that are not finite agree with nothing.
    """
    with torch.no_grad():
        for vector in (moved(subject), subject.vector()):
            with subject.placed(vector):
                if before is not None:
                    before()
                try:
                    ours, theirs = form(inputs), subject.network(inputs)
                except RuntimeError:  # a sum whose result is larger than what it would overwrite
                    return False
                if not bool((ours - theirs).abs().max() <= AGREEMENT * theirs.abs().max()):
                    return False
    return True


def same_products(subject: Subject, form: nn.Module, inputs: Tensor) -> bool:
    """Whether gradient and one Hessian-vector product through a form are the network's, tensor by tensor.

    Args:
        subject: The network and its parameters.
        form: The other form, of the same parameters.
        inputs: Samples of every class.

    Returns:
        Whether they are.
    """
    try:
        pairs = [derivatives(subject, forward, inputs) for forward in (form, subject.network)]
    except RuntimeError:  # nothing that can be differentiated twice
        return False
    for ours, theirs in zip(*pairs, strict=True):
        whole = sum(part.double().square().sum() for part in theirs) ** 0.5
        for one, other in zip(ours, theirs, strict=True):
            far, length = (torch.linalg.vector_norm(t.double()) for t in (one - other, other))
            if not bool(far <= PRODUCT_AGREEMENT * length + PRODUCT_FLOOR * whole):
                return False
    return True


def derivatives(subject: Subject, forward: Forward, inputs: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """Gradient and Hessian times random signs of a quadratic function of the logits, one tensor a parameter."""
    generator = torch.Generator().manual_seed(1)
    parameters = list(subject.parameters.values())
    signs = torch.randint(0, 2, (subject.size,), generator=generator).mul_(2).sub_(1).to(subject.vector())
    with math_attention(), PlainOperations():
        logits = forward(inputs)
        tilt = torch.randn(logits.shape, generator=generator, dtype=torch.float64).to(logits)
        loss = (logits * tilt).mean() + logits.square().mean() / 2
    gradients = torch.autograd.grad(loss, parameters, create_graph=True, materialize_grads=True)
    pairs = [(g, v) for g, v in zip(gradients, subject.split(signs).values(), strict=True) if g.requires_grad]
    if not pairs:
        return [g.detach() for g in gradients], [torch.zeros_like(p) for p in parameters]
    ends, directions = zip(*pairs, strict=True)
    products = torch.autograd.grad(ends, parameters, directions, materialize_grads=True)
    return [g.detach() for g in gradients], list(products)
