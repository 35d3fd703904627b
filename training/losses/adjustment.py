"""Losses that shift or scale logits by the class prior."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from training.losses.base import Moment, Outputs, PerClass, cross_entropy
from training.losses.parts import Loss


def balanced_softmax(class_counts: Sequence[int]) -> Loss:
    """Cross-entropy of z + log n (Ren et al., "Balanced Meta-Softmax", NeurIPS 2020, eq. 4)."""
    return _shifted(torch.tensor(class_counts, dtype=torch.float64).log())


def _shifted(shift: Tensor) -> Loss:
    iota = PerClass(shift)

    def losses(outputs: Outputs, labels: Tensor, moment: Moment) -> Tensor:
        return cross_entropy(outputs.logits + iota.like(outputs.logits), labels)

    return Loss(losses)
