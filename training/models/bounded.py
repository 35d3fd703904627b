"""Builds the network that a file describes, unless the file describes one far larger than the weights it holds."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor

from foundation.dispatch import Dispatch
from foundation.errors import InputError

_SLACK = 1 << 22
"""Elements beyond those of the weights: tables of positions, masks."""
_TIMES = 8
"""Tensors made for one that is kept: the same weight registered, initialized and copied."""


class _Bounded(Dispatch):  # type: ignore[no-untyped-call]
    """Counts what is made before memory is taken for it."""

    def __init__(self, state: Mapping[str, Tensor], place: str) -> None:
        super().__init__()
        self._elements = _TIMES * sum(tensor.numel() for tensor in state.values()) + _SLACK
        self._operations = 100 * len(state) + 1000
        self._place = place

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self._operations -= 1
        self._elements -= _made(func, args)
        if self._operations < 0 or self._elements < 0:
            raise InputError(f"{self._place} describes a network far larger than its weights: take a whole copy of it")
        return func(*args, **(kwargs or {}))


def _made(func: Any, args: tuple[Any, ...]) -> int:
    """Elements of what a factory makes: by its size, or by its end, steps or sides."""
    name = func._schema.name.removeprefix("aten::")
    if name in {"empty", "zeros", "ones", "full", "rand", "randn", "empty_strided"}:
        return math.prod(args[0])
    if name.startswith("new_") or name in {"repeat", "expand"}:
        return math.prod(args[1])
    numbers = [abs(value) for value in args if isinstance(value, int | float)]
    if name in {"arange", "linspace"}:
        return int(sum(min(value, float(1 << 62)) for value in numbers))
    return math.prod(int(n) for n in numbers) if name == "eye" else 0


@contextlib.contextmanager
def no_larger_than(state: Mapping[str, Tensor], place: str) -> Iterator[None]:
    """Lets a network be built inside, up to a size that weights may have.

    Args:
        state: The weights that the file holds.
        place: The file, for the sentence.

    Yields:
        Nothing.

    Raises:
        InputError: The network takes far more than they do.
    """
    with _Bounded(state, place):
        yield
