"""Whether threads may share a network: not where a forward pass keeps something on a module, or hooks look on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from foundation.dispatch import Dispatch
from landscape.execution.thread_pool import ThreadPool
from landscape.execution.traced import HOOKS
from landscape.subject.nested import Inputs, pieces
from landscape.subject.subject import Subject

SAMPLES = 16
"""Samples that are tried."""
WITHIN = {"_parameters", "_buffers", "_modules"}

_stateless: WeakKeyDictionary[nn.Module, bool] = WeakKeyDictionary()


def thread_pool(subject: Subject) -> ThreadPool:
    """Threads for the batches of a subject: all of them on a CPU, one where they would disturb each other.

    Two threads in one forward pass that stores an activation on `self` and reads it again gave losses that differed in
    the third digit from run to run.

    Args:
        subject: Whose batches they compute.

    Returns:
        The pool.
    """
    count = torch.get_num_threads() if subject.device.type == "cpu" else 1
    return ThreadPool(count if count == 1 or shareable(subject) else 1)


def shareable(subject: Subject) -> bool:
    """Whether batches side by side give what they give one after the other; found out once for each network."""
    network = subject.network
    if network not in _stateless:
        _stateless[network] = not _hooked(network) and _stays(subject) and _agrees(subject)
    return _stateless[network]


def _hooked(network: nn.Module) -> bool:
    return any(getattr(module, hooks, None) for module in network.modules() for hooks in HOOKS)


def _stays(subject: Subject) -> bool:
    """Whether every module is as it was at each operation of a forward pass and after it.

    What it refers to and what its containers hold is compared: a list that is filled and emptied again on the way is
    no other afterwards, yet two threads find each other's activations in it.
    """
    inputs, watch = subject.inputs(subject.few(2)), _Watch(subject.network)
    with torch.enable_grad(), watch:
        subject.network(inputs)
    return watch.unchanged()


class _Watch(Dispatch):  # type: ignore[no-untyped-call]
    """Looks at a network's state before every operation."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self._network, self._kept, self._same = network, list(_state(network)), True

    def unchanged(self) -> bool:
        """Whether its state is what it was at first, and has been at every operation."""
        self._same = self._same and [a for a, _ in self._kept] == [a for a, _ in _state(self._network)]
        return self._same

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.unchanged()
        return func(*args, **kwargs or {})


def _state(network: nn.Module) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """What identifies every attribute of every module, and the attribute, held so that no other takes its place."""
    for module in network.modules():
        for key, value in vars(module).items():
            parts = list(value.values()) if isinstance(value, dict) else value
            if key in WITHIN or isinstance(value, dict | list | tuple | set):
                parts = list(parts)
                yield (key, len(parts), *map(_identity, parts)), parts
            else:
                yield (key, _identity(value)), value


def _identity(value: Any) -> tuple[Any, ...]:
    if isinstance(value, bool | int | float | str | None):
        return type(value), value
    return id(value), value._version if isinstance(value, Tensor) else 0


def _agrees(subject: Subject) -> bool:
    """Whether two threads give what one gives: state may also lie outside the modules."""
    inputs = subject.inputs(subject.few(SAMPLES))
    parts = pieces(inputs, 1)

    def one(part: Inputs) -> Tensor:
        with torch.inference_mode():
            logits: Tensor = subject.network(part)
            return logits

    alone, beside = (torch.cat(list(ThreadPool(count).map(one, parts))) for count in (1, 2))
    return torch.allclose(alone, beside, rtol=1e-4, atol=1e-5, equal_nan=True)
