"""The measured parameters of a network as one flat vector."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import Tensor, nn

from foundation.errors import InputError


class FlatParameters:
    """Parameters as views of one flat vector, so that moving to another point is one copy.

    Args:
        named: By name; their data are moved into the vector.

    Attributes:
        named: As given, in its order.
        size: How many numbers they hold, P.
    """

    def __init__(self, named: dict[str, nn.Parameter]) -> None:
        self.named = named
        self._flat = torch.cat([p.detach().reshape(-1) for p in named.values()])
        self.size = self._flat.numel()
        for parameter, part in zip(named.values(), self.split(self._flat).values(), strict=True):
            parameter.data = part

    def vector(self) -> Tensor:
        """A copy of the parameters as one flat vector, (P,)."""
        return self._flat.clone()

    @contextlib.contextmanager
    def placed(self, vector: Tensor) -> Iterator[None]:
        """Puts the parameters at another point, (P,), while the block runs, and back afterwards."""
        before = self.vector()
        try:
            self._flat.copy_(vector)
            yield
        finally:
            self._flat.copy_(before)

    def split(self, vector: Tensor) -> dict[str, Tensor]:
        """Views of a flat vector (P,) in the shapes of the parameters, by name."""
        parts = torch.split(vector, [p.numel() for p in self.named.values()])
        return {n: v.view(p.shape) for (n, p), v in zip(self.named.items(), parts, strict=True)}


def select_parameters(network: nn.Module, patterns: Sequence[str] | str | None) -> dict[str, nn.Parameter]:
    """The parameters to measure; they alone require gradients afterwards, and none holds one.

    What is frozen is not measured unless it is named: a loss flat along adapters may be sharp along all weights.

    Args:
        network: Changed in place: which of its parameters require gradients.
        patterns: Globs of names, such as `["layer3.*"]`, or `"all"`; None for those that require gradients.

    Returns:
        The parameters by name, in the network's order.

    Raises:
        InputError: A pattern matches nothing, or nothing is left to measure.
    """
    named = {name: p for name, p in network.named_parameters() if p.is_floating_point()}
    if not named:
        raise InputError("the network has no parameters to measure")
    if patterns is None:
        chosen = {name: p for name, p in named.items() if p.requires_grad}
    else:
        patterns = ["*"] if patterns == "all" else [patterns] if isinstance(patterns, str) else patterns
        for pattern in patterns:
            if not any(fnmatchcase(name, pattern) for name in named):
                raise InputError(f"no parameter matches {pattern!r}: the network has {_some(named)}")
        chosen = {n: p for n, p in named.items() if any(fnmatchcase(n, pattern) for pattern in patterns)}
    if not chosen:
        raise InputError("every parameter of the network is frozen: give params='all', or globs of some")
    for name, parameter in named.items():
        parameter.requires_grad_(name in chosen)
        parameter.grad = None
    return chosen


def _some(names: Iterable[Any], most: int = 6) -> str:
    listed = [str(name) for name in names]
    return ", ".join(listed[:most]) + (f" and {len(listed) - most} more" if len(listed) > most else "")
