"""Derivatives of a network along a direction of its measured parameters, in forward mode.

One at a time: PyTorch keeps one level of forward mode for the whole process, and threads would share it.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable

import torch
from torch import Tensor
from torch.func import functional_call

from landscape.subject.subject import Subject


def along(
    subject: Subject, inputs: Tensor, vector: Tensor, output: Callable[[Tensor], Tensor], *, order: int = 1
) -> Tensor:
    """dᵒ/dtᵒ output(logits at w + tv) at t = 0, without a graph.

    Args:
        subject: The network and its parameters w.
        inputs: A batch, (n, …).
        vector: Direction v, (P,).
        output: What is differentiated, a function of the logits (n, C).
        order: o, at least 1; forward modes are nested.

    Returns:
        A tensor in the shape of the output.

    Raises:
        RuntimeError: An operation of the network has no forward mode.
    """
    names, directions = list(subject.parameters), tuple(subject.split(vector).values())

    def function(*values: Tensor) -> Tensor:
        return output(functional_call(subject.network, dict(zip(names, values, strict=True)), (inputs,)))

    for _ in range(order):
        function = _slope(function, directions)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`torch.jit.script`")  # PyTorch's own first use of its forward mode
        return function(*(p.detach() for p in subject.parameters.values()))


def _slope(function: Callable[..., Tensor], directions: tuple[Tensor, ...]) -> Callable[..., Tensor]:
    return lambda *values: torch.func.jvp(function, values, directions)[1]
