"""LDAM: larger margins for rarer classes, on a cosine classifier."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from training.methods.objective import Outputs, PerClassTensor, TrainingProgress, add_at, cross_entropy
from training.methods.parts import Loss


def ldam(class_counts: Sequence[int], *, max_margin: float = 0.5, scale: float = 30.0) -> Loss:
    """CE(s (cos - Δ_y e_y)) with the margin Δ_c ∝ n_c^{-1/4} (Cao et al., NeurIPS 2019, eq. 13).

    Args:
        class_counts: Training samples of each class, (C,).
        max_margin: The rarest class's margin; the authors take 0.5 on CIFAR and 0.3 on large sets.
        scale: s of the cosine classifier. The logits contain it, so the margin is s Δ_y in their units.

    Returns:
        The loss; it wants a cosine classifier of that scale.
    """
    margins = torch.tensor(class_counts, dtype=torch.float64) ** -0.25
    logit_margins = PerClassTensor(scale * max_margin * margins / margins.max())

    def losses(outputs: Outputs, labels: Tensor, progress: TrainingProgress) -> Tensor:
        margins = logit_margins.like(outputs.logits)[labels]
        return cross_entropy(add_at(outputs.logits, labels, -margins), labels)

    return Loss(losses, head="cosine", scale=scale)
