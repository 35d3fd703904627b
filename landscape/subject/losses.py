"""What is measured of a network's outputs."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor
from torch.nn import functional

LossFunction = Callable[[Tensor, Tensor], Tensor]
"""Inference logits (n, C) and labels (n,) to unreduced losses (n,)."""


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """The evaluation loss: plain unweighted cross-entropy of the inference logits, (n,)."""
    return functional.cross_entropy(logits, labels, reduction="none")
