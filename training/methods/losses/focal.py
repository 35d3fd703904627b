"""The focal loss."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from training.methods.objective import Outputs, TrainingProgress, cross_entropy
from training.methods.parts import Loss


def focal(class_counts: Sequence[int], *, gamma: float = 1.0) -> Loss:
    """(1 - p_y)^γ · (-log p_y) (Lin et al., ICCV 2017, eq. 4).

    p_y is the plain softmax: class weights (`focal-drw`, `cb-focal`) multiply the finished loss. Code that derives p_y
    from an already weighted cross-entropy computes another function.

    Args:
        class_counts: Training samples of each class, (C,); not used.
        gamma: γ ≥ 0; the long-tailed literature uses 1, detection 2.

    Returns:
        The loss.
    """

    def losses(outputs: Outputs, labels: Tensor, progress: TrainingProgress) -> Tensor:
        ce = cross_entropy(outputs.logits, labels)
        # 1 - p_y keeps its digits this way, and stays above 0 where a power below 1 has an infinite slope.
        missing = (-torch.expm1(-ce)).clamp(min=torch.finfo(ce.dtype).tiny)
        return missing**gamma * ce

    return Loss(losses)
