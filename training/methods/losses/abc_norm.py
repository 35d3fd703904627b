"""ABC-Norm: cross-entropy with a penalty on confident predictions of frequent classes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from training.methods.objective import Outputs, PerClassTensor, TrainingProgress, cross_entropy
from training.methods.parts import Loss


def abc_norm(class_counts: Sequence[int], *, share: float = 0.5, exponent: float = 0.5) -> Loss:
    """(1 - t) CE + t Σ_c (w_c p_c)² with w_c = (n_c / mean n)^γ (Hsu et al., IEEE TIP 2023).

    Args:
        class_counts: Training samples of each class, (C,).
        share: t.
        exponent: γ.

    Returns:
        The loss.
    """
    n = torch.tensor(class_counts, dtype=torch.float64)
    weights = PerClassTensor((n / n.mean()) ** exponent)

    def losses(outputs: Outputs, labels: Tensor, progress: TrainingProgress) -> Tensor:
        weighted = weights.like(outputs.logits) * outputs.logits.softmax(1)
        return (1 - share) * cross_entropy(outputs.logits, labels) + share * weighted.square().sum(1)

    return Loss(losses)
