"""Two runs at equal loss: the temperature that lifts the lower loss to the higher one.

Cross-entropy curvature vanishes as the loss does, so "A is flatter than B" may only mean that A's loss is smaller.
Dividing the logits by a temperature T > 1 raises the loss of a confident network without touching its weights or
its decisions; the curvatures of both runs are then compared where their losses agree.
"""

from __future__ import annotations

import math

from scipy.optimize import brentq
from torch import Tensor
from torch.nn import functional

from landscape.subject.losses import LossFunction


def matching_temperature(logits: Tensor, labels: Tensor, weights: Tensor, target: float) -> float:
    """The temperature at which the weighted mean cross-entropy of `logits / T` equals `target`.

    In β = 1/T the loss is convex, with log C at β = 0; a target between the loss at T = 1 and log C is therefore
    met by exactly one T ≥ 1.

    Args:
        logits: Inference logits, (n, C).
        labels: Classes, (n,) int64.
        weights: Sample weights that sum to 1, (n,).
        target: The loss to reach.

    Returns:
        T; 1 when the loss is at the target or above it already, NaN when no temperature reaches it.
    """
    logits, weights = logits.double(), weights.double()

    def excess(inverse: float) -> float:
        losses = functional.cross_entropy(logits * inverse, labels, reduction="none")
        return float((losses * weights).sum()) - target

    if excess(1.0) >= 0:
        return 1.0
    if excess(0.0) <= 0:
        return math.nan
    return 1.0 / float(brentq(excess, 0.0, 1.0, xtol=1e-14, rtol=1e-12))


def tempered(loss: LossFunction, temperature: float) -> LossFunction:
    """The same loss of logits divided by a temperature."""

    def at_temperature(logits: Tensor, labels: Tensor) -> Tensor:
        return loss(logits / temperature, labels)

    return at_temperature
