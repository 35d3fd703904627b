"""Two runs at equal loss: the temperature that lifts the lower loss to the higher one, on the higher one's side.

Curvature of a loss like cross-entropy vanishes as the loss does, so "A is flatter than B" may only mean that A's loss
is smaller. Dividing the logits by a temperature T changes the loss without touching the weights or the decisions; the
curvatures of both runs are then compared where their losses agree.

Equal losses are not enough. Cross-entropy is convex in 1/T, so that one loss is met at two temperatures, one on either
side of the lowest loss: once with logits too small for it, once with logits too large. A network and its copy with
other logits c z, which decide alike, meet at T and c T; dL/d log T is then the same for both, and its sign tells the
two temperatures of one loss apart. So the lower loss is lifted to the side on which the other run stands, and on that
side there is one temperature.
"""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import torch
from scipy.optimize import brentq
from torch import Tensor

from landscape.subject.losses import LossFunction

WIDEST = 1e4
"""Temperatures from 1/WIDEST to WIDEST are looked at …"""
STEPS = 66
"""… in steps of 15 % each way."""


def matching_temperature(
    loss: LossFunction, logits: Tensor, labels: Tensor, weights: Tensor, target: float, side: int
) -> float:
    """The temperature at which the weighted mean loss of `logits / T` equals `target`, on one side of its minimum.

    Args:
        loss: The loss that is measured, unreduced.
        logits: Inference logits, (n, C).
        labels: Classes, (n,) int64.
        weights: Sample weights that sum to 1, (n,).
        target: The loss to reach.
        side: 1 where the loss shall rise with T, as the other run's does, -1 where it shall fall; 0 for either.

    Returns:
        T; 1 when the loss is at the target or above it already. NaN when no temperature reaches it on that side, or,
        of a loss that is not convex in 1/T, several do. Of one on either side that nearest 1, in log T.
    """
    logits, weights = logits.double(), weights.double()

    def excess(log_temperature: float) -> float:
        return float((loss(logits / math.exp(log_temperature), labels).double() * weights).sum()) - target

    if excess(0.0) >= 0:
        return 1.0
    grid = np.linspace(-math.log(WIDEST), math.log(WIDEST), 2 * STEPS + 1).tolist()
    reached = [excess(at) >= 0 for at in grid]
    crossings: dict[int, list[float]] = {1: [], -1: []}
    for (low, before), (high, after) in pairwise(zip(grid, reached, strict=True)):
        if before != after:
            crossings[1 if after else -1].append(float(brentq(excess, low, high, xtol=1e-14, rtol=1e-12)))
    found = [roots[0] for sign, roots in crossings.items() if side in (0, sign) and len(roots) == 1]
    return math.exp(min(found, key=abs)) if found else math.nan


def tempered(loss: LossFunction, temperature: float) -> LossFunction:
    """The same loss of logits divided by a temperature."""

    def at_temperature(logits: Tensor, labels: Tensor) -> Tensor:
        return loss(logits / temperature, labels)

    return at_temperature


def slope_of(loss: LossFunction, dtype: torch.dtype = torch.float64) -> LossFunction:
    """How each sample's loss rises with the temperature: dℓ/d log T at T = 1, by a central difference.

    Args:
        loss: The loss, which need not be differentiable.
        dtype: What to compute it in. In float64 the difference is right to about (10⁻⁴ |z|)² of the slope, in float32
            to 10⁻⁵ of the loss.

    Returns:
        Outputs and targets to slopes, (n,).
    """
    step = 1e-4 if dtype == torch.float64 else 1e-2

    def slopes(outputs: Tensor, targets: Tensor) -> Tensor:
        wide = outputs.to(dtype)
        higher, lower = (loss(wide / math.exp(end), targets) for end in (step, -step))
        return (higher - lower) / (2 * step)

    return slopes
