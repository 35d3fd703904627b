"""Which images an epoch shows, and how often (Kang et al., "Decoupling Representation and Classifier", ICLR 2020)."""

from __future__ import annotations

import torch
from torch import Tensor

from foundation.errors import one_of

SAMPLERS = ("class-balanced", "square-root", "progressive")


def class_shares(sampler: str, counts: Tensor, *, progress: float) -> Tensor:
    """How likely each class is to be drawn.

    Args:
        sampler: `"class-balanced"` (1/C), `"square-root"` (∝ √n_c) or `"progressive"` ((1 - t) n_c/n + t/C; eq. 3 of
            the paper).
        counts: n_c, (C,), float64.
        progress: t, the share of epochs that are done.

    Returns:
        Probabilities (C,), float64; 0 for a class without images.

    Raises:
        InputError: The sampler is unknown.
    """
    if sampler not in SAMPLERS:
        raise one_of("sampler", sampler, SAMPLERS)
    equal = (counts > 0).to(counts) / (counts > 0).sum()
    if sampler == "class-balanced":
        return equal
    if sampler == "square-root":
        return counts.sqrt() / counts.sqrt().sum()
    return (1 - progress) * counts / counts.sum() + progress * equal


def epoch_order(
    sampler: str | None, labels: Tensor, classes: int, *, progress: float, generator: torch.Generator
) -> Tensor:
    """The images of one epoch, as many as there are.

    Args:
        sampler: One of `SAMPLERS`, or None: every image once, in random order.
        labels: (N,) int64 on the CPU.
        classes: C.
        progress: Share of the epochs that are done.
        generator: On the CPU.

    Returns:
        (N,) int64 positions; with a sampler, drawn with replacement.
    """
    if sampler is None:
        return torch.randperm(len(labels), generator=generator)
    counts = labels.bincount(minlength=classes)
    shares = class_shares(sampler, counts.double(), progress=progress)
    drawn = torch.multinomial(shares, len(labels), replacement=True, generator=generator)
    # Positions sorted by class: a class's images lie side by side, from where the earlier classes end.
    by_class = labels.argsort(stable=True)
    first = counts.cumsum(0) - counts
    within = (torch.rand(len(labels), generator=generator, dtype=torch.float64) * counts[drawn]).long()
    return by_class[first[drawn] + within]
