"""A subject's network in double precision, where it runs so."""

from __future__ import annotations

from dataclasses import dataclass
from weakref import WeakKeyDictionary

import torch
from torch import nn

from landscape.subject.called import inner
from landscape.subject.nested import cast
from landscape.subject.network import private_copy
from landscape.subject.subject import Subject


@dataclass(frozen=True)
class Double:
    """A network in float64 and its measured parameters, in the subject's order.

    Attributes:
        network: In evaluation mode.
        parameters: They alone require gradients.
    """

    network: nn.Module
    parameters: list[nn.Parameter]


_found: WeakKeyDictionary[nn.Module, Double] = WeakKeyDictionary()


def in_double(subject: Subject) -> Double | None:
    """The network as it is, nothing rewritten, in float64, on the present weights; made once for each network.

    Args:
        subject: Whose network it is.

    Returns:
        The network; None where it or the loss refuses float64 (`x.float()` in a forward, a loss with float32 weights).
    """
    if subject.network not in _found:
        network = private_copy(subject.network, dtype=torch.float64, device=subject.device)
        named = dict(inner(network).named_parameters())
        _found[subject.network] = Double(network, [named[name] for name in subject.parameters])
    double = _found[subject.network]
    rows = subject.few(2)
    with torch.no_grad():
        for parameter, present in zip(double.parameters, subject.parameters.values(), strict=True):
            parameter.copy_(present)
        for buffer, now in zip(double.network.buffers(), subject.network.buffers(), strict=True):
            buffer.copy_(now)
        inputs, targets = (cast(t, torch.float64) for t in (subject.inputs(rows), subject.targets(rows)))
        try:
            losses = subject.loss(double.network(inputs), targets)
        except (RuntimeError, TypeError):
            return None
    return double if losses.dtype == torch.float64 else None
