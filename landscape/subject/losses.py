"""What is measured of a network's outputs: a loss of each sample, and whether it is classified rightly."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

LossFunction = Callable[[Tensor, Tensor], Tensor]
"""Outputs (n, …) and targets (n, …), of a classifier inference logits (n, C) and labels (n,), to losses (n,)."""
Accuracy = Callable[[Tensor, Tensor], Tensor]
"""Outputs and targets to the share of each sample that is right, 0 to 1, (n,)."""


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """The evaluation loss: plain unweighted cross-entropy of the inference logits, (n,)."""
    return functional.cross_entropy(logits, labels, reduction="none")


def top_class(logits: Tensor, labels: Tensor) -> Tensor:
    """Whether the largest logit is the label's, (n,); NaN where there are no logits of several classes."""
    if logits.dim() != 2 or logits.shape[1] == 1:
        return logits.new_full(labels.shape, torch.nan)
    return logits.argmax(1) == labels


def averaged(loss: LossFunction) -> LossFunction:
    """A loss of each sample from an unreduced one of each pixel, token or output: its mean over all but the samples.

    Args:
        loss: Gives (n,) or (n, …).

    Returns:
        The same loss, (n,).
    """

    def of_samples(outputs: Tensor, targets: Tensor) -> Tensor:
        losses = loss(outputs, targets)
        return losses.flatten(1).mean(1) if isinstance(losses, Tensor) and losses.dim() > 1 else losses

    of_samples.__qualname__ = named(loss)
    return of_samples


def named(loss: LossFunction) -> str:
    """What a loss is called in the code that it comes from."""
    return str(getattr(loss, "__qualname__", type(loss).__qualname__))
