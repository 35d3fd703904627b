"""Inputs of a network: one tensor, or tuples, lists and dictionaries of tensors, samples along the first axis of each.

Functions here treat a single tensor and a nest of them alike.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils import _pytree as tree

from foundation.errors import InputError

Inputs = Any
"""A tensor (n, …), or tuples, lists and dictionaries of them, however deep."""


def as_tensors(inputs: Any) -> Inputs:
    """A nest of tensors from one that may hold numpy arrays, lists of numbers and mappings of any kind.

    Args:
        inputs: What a user or a data set gives.

    Returns:
        The same nest of tensors.

    Raises:
        InputError: Something in it is neither.
    """
    if isinstance(inputs, Tensor):
        return inputs.detach()
    if isinstance(inputs, Mapping):
        return {key: as_tensors(value) for key, value in inputs.items()}
    if isinstance(inputs, tuple | list):
        return [as_tensors(value) for value in inputs]
    if isinstance(inputs, np.ndarray):
        inputs = inputs.copy()  # arrays may be read-only or run backwards
    try:
        return torch.as_tensor(inputs)
    except (TypeError, ValueError, RuntimeError):
        kind = f" of {inputs.dtype}" if isinstance(inputs, np.ndarray) else ""
        raise InputError(
            f"the data hold a {type(inputs).__name__}{kind}: give tensors, arrays, or tuples and dictionaries of them"
        ) from None


def tensors(inputs: Inputs) -> list[Tensor]:
    """Its tensors, in order."""
    return list(tree.tree_leaves(inputs))


def mapped(function: Callable[[Tensor], Tensor], inputs: Inputs) -> Inputs:
    """The same nest of what a function makes of each tensor."""
    return function(inputs) if isinstance(inputs, Tensor) else tree.tree_map(function, inputs)


def count(inputs: Inputs) -> int:
    """How many samples there are."""
    return len(tensors(inputs)[0])


def chosen(inputs: Inputs, rows: slice | Tensor) -> Inputs:
    """Some samples of it."""
    return mapped(lambda tensor: tensor[rows], inputs)


def pieces(inputs: Inputs, size: int) -> list[Inputs]:
    """At most so many samples at a time."""
    if isinstance(inputs, Tensor):
        return list(torch.split(inputs, size))
    return [chosen(inputs, slice(start, start + size)) for start in range(0, count(inputs), size)]


def joined(parts: Sequence[Inputs]) -> Inputs:
    """The samples of several nests of one form behind each other."""
    if all(isinstance(part, Tensor) for part in parts):
        return torch.cat(list(parts))
    leaves, form = zip(*(tree.tree_flatten(part) for part in parts), strict=True)
    if any(one != form[0] for one in form):
        raise ValueError("nests of different forms")
    return tree.tree_unflatten([torch.cat(column) for column in zip(*leaves, strict=True)], form[0])


def cast(inputs: Inputs, dtype: torch.dtype, device: torch.device | None = None) -> Inputs:
    """On a device, floating-point tensors in a dtype, others as they are."""
    return mapped(lambda t: t.to(device=device, dtype=dtype if t.is_floating_point() else t.dtype), inputs)


def sample_bytes(inputs: Inputs) -> int:
    """Bytes of one sample."""
    return sum(t.numel() * t.element_size() for t in tensors(inputs)) // count(inputs)


def same(one: Inputs, other: Inputs) -> bool:
    """Whether two nests of one form hold the same numbers, NaN at the same places."""
    pairs = zip(tensors(one), tensors(other), strict=True)
    return all(a.shape == b.shape and bool(((a == b) | ((a != a) & (b != b))).all()) for a, b in pairs)


def shapes(inputs: Inputs) -> str:
    """The shapes of its tensors, in words, such as `(64, 3, 32, 32)` or `{ids: (64, 20), mask: (64, 20)}`."""
    if isinstance(inputs, Mapping):
        return "{" + ", ".join(f"{key}: {shapes(value)}" for key, value in inputs.items()) + "}"
    if isinstance(inputs, tuple | list):
        return "[" + ", ".join(shapes(value) for value in inputs) + "]"
    return str(tuple(inputs.shape))
