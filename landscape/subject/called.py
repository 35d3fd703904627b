"""How a network is called: what is measured is a function of one argument that gives one tensor."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn

from landscape.subject.nested import Inputs

Forward = Callable[[Any, Inputs], Tensor]
"""A network and inputs to its outputs, such as `lambda network, inputs: network(**inputs).logits`."""


class Called(nn.Module):
    """A network behind a function that calls it; threads, traces and replicas see an ordinary module.

    Args:
        network: Any module.
        forward: Calls it.
    """

    def __init__(self, network: nn.Module, forward: Forward) -> None:
        super().__init__()
        self.network, self.call = network, forward

    def forward(self, inputs: Inputs) -> Tensor:
        """The outputs, (n, …)."""
        return self.call(self.network, inputs)


def spread(network: nn.Module, inputs: Inputs) -> Any:
    """The usual call: entries of a dictionary by keyword, those of a tuple or list by position."""
    return network(**inputs) if isinstance(inputs, Mapping) else network(*inputs)


def inner(network: nn.Module) -> nn.Module:
    """The network as it was given, whose parameters have the names that its owner knows."""
    return network.network if isinstance(network, Called) else network
