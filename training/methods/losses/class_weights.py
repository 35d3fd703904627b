"""Weights for the classes of the main loss, from the start or deferred."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from foundation.errors import InputError
from training.methods.objective import PerClassTensor
from training.methods.parts import Weights


def cb(class_counts: Sequence[int], *, beta: float = 0.9999) -> Weights:
    """Class-balanced weights w_c ∝ (1 - β) / (1 - β^{n_c}) (Cui et al., CVPR 2019), summing to C.

    Args:
        class_counts: Training samples of each class, (C,).
        beta: β in [0, 1): 0 weighs all classes alike, toward 1 each class by 1/n_c.

    Returns:
        The weights, from the first epoch on.
    """
    weights = _effective_number_weights(class_counts, beta)
    return Weights(lambda progress: weights)


def drw(class_counts: Sequence[int], *, beta: float = 0.9999, start: float = 0.8) -> Weights:
    """Deferred re-weighting (Cao et al., NeurIPS 2019): equal weights first, class-balanced ones from `start` on.

    As in the authors' code a batch's mean is a weighted one, Σ w_{y_i} l_i / Σ w_{y_i}, so that the step size does not
    collapse when the weights set in.

    Args:
        class_counts: Training samples of each class, (C,).
        beta: β of the class-balanced weights.
        start: Share of the epochs with equal weights; 0.8 is epoch 160 of 200.

    Returns:
        The weights.
    """
    weights = _effective_number_weights(class_counts, beta)
    return Weights(lambda progress: weights if progress.reached(start) else None)


def _effective_number_weights(class_counts: Sequence[int], beta: float) -> PerClassTensor:
    if not 0 <= beta < 1:
        raise InputError(f"beta {beta:g} of the class-balanced weights must lie in [0, 1): the usual value is 0.9999")
    n = torch.tensor(class_counts, dtype=torch.float64)
    weights = (1 - beta) / (1 - beta**n)
    return PerClassTensor(weights * len(class_counts) / weights.sum())
