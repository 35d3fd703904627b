"""Two runs at equal loss: the temperature that lifts the lower loss to the higher one.

Curvature of a loss like cross-entropy vanishes as the loss does, so "A is flatter than B" may only mean that A's loss
is smaller. Dividing the logits by a temperature T changes the loss without touching the weights or the decisions; the
curvatures of both runs are then compared where their losses agree. For most networks T > 1 raises the loss; of a class
that is mostly misclassified the loss rises with T < 1, and no temperature above 1 takes it beyond log C.
"""

from __future__ import annotations

import itertools
import math

import numpy as np
from scipy.optimize import brentq
from torch import Tensor

from landscape.subject.losses import LossFunction

WIDEST = 1e4
"""Temperatures from 1/WIDEST to WIDEST are looked at …"""
STEPS = 200
"""… in steps of 5 % each way."""


def matching_temperature(loss: LossFunction, logits: Tensor, labels: Tensor, weights: Tensor, target: float) -> float:
    """The temperature nearest 1, in log T, at which the weighted mean loss of `logits / T` equals `target`.

    Args:
        loss: The loss that is measured, unreduced.
        logits: Inference logits, (n, C).
        labels: Classes, (n,) int64.
        weights: Sample weights that sum to 1, (n,).
        target: The loss to reach.

    Returns:
        T; 1 when the loss is at the target or above it already, NaN when no temperature reaches it.
    """
    logits, weights = logits.double(), weights.double()

    def excess(log_temperature: float) -> float:
        return float((loss(logits / math.exp(log_temperature), labels).double() * weights).sum()) - target

    if excess(0.0) >= 0:
        return 1.0
    grid = np.linspace(0, math.log(WIDEST), STEPS + 1)
    for near, far in itertools.pairwise(grid):
        found = [
            float(brentq(excess, sign * near, sign * far, xtol=1e-14, rtol=1e-12))
            for sign in (1, -1)
            if excess(sign * far) >= 0
        ]
        if found:
            return math.exp(min(found, key=abs))
    return math.nan


def tempered(loss: LossFunction, temperature: float) -> LossFunction:
    """The same loss of logits divided by a temperature."""

    def at_temperature(logits: Tensor, labels: Tensor) -> Tensor:
        return loss(logits / temperature, labels)

    return at_temperature
