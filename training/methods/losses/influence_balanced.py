"""The influence-balanced loss."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from training.methods.objective import Outputs, PerClassTensor, TrainingProgress, cross_entropy, logit_gradient
from training.methods.parts import Loss

FLOOR = 1e-3  # the authors' ε beside ‖d‖₁ ‖h‖₁


def ib(class_counts: Sequence[int], *, alpha: float = 100.0, start: float = 0.5) -> Loss:
    """w_y α / (‖p - e_y‖₁ ‖h‖₁ + 0.001) · CE with w_c ∝ 1/n_c (Park et al., ICCV 2021); CE at first.

    ‖p - e_y‖₁ ‖h‖₁ is the size of the last layer's gradient: where BGP adds such a number as a penalty, this loss
    divides by it. As in the authors' code the factor is differentiated too, and the mean is a plain one.

    Args:
        class_counts: Training samples of each class, (C,).
        alpha: α. The authors take 1000 and divide the learning rate by 100 when the loss sets in; 10 does the same
            under a learning rate that goes on undivided. The default was searched (docs/defaults.md).
        start: Share of the epochs that are plain cross-entropy; theirs is 100 of 200.

    Returns:
        The loss.
    """
    inverse = 1 / torch.tensor(class_counts, dtype=torch.float64)
    weights = PerClassTensor(alpha * len(class_counts) * inverse / inverse.sum())

    def losses(outputs: Outputs, labels: Tensor, progress: TrainingProgress) -> Tensor:
        ce = cross_entropy(outputs.logits, labels)
        if not progress.reached(start):
            return ce
        size = logit_gradient(outputs.logits, labels).abs().sum(1) * outputs.features.abs().sum(1)
        return weights.like(ce)[labels] / (size + FLOOR) * ce

    return Loss(losses, reads="network")
