"""Learning-rate schedules with a linear warm-up, as factors on the base learning rate."""

from __future__ import annotations

import math

from foundation.errors import one_of

SCHEDULES = ("cosine", "step", "step-ib")
STEP_AT = {
    "step": (0.8, 0.9),  # epochs 160 and 180 of 200 (Cao et al., NeurIPS 2019)
    "step-ib": (0.5, 0.8, 0.9),  # and from 100 on, where the influence-balanced loss sets in (Park et al., ICCV 2021)
}
STEP_FACTOR = 0.01


def learning_rate_factor(schedule: str, epoch: float, *, epochs: int, warmup: float) -> float:
    """What the base learning rate is multiplied by.

    Args:
        schedule: `"cosine"` (half a wave down to 0; Loshchilov & Hutter, ICLR 2017), `"step"` (× 0.01 at four fifths
            and again at nine tenths of the epochs) or `"step-ib"` (at one half too).
        epoch: Epochs done so far, with fractions.
        epochs: Epochs in all.
        warmup: Epochs over which the factor first rises linearly from 0.

    Returns:
        The factor, from 0 to 1.

    Raises:
        InputError: The schedule is unknown.
    """
    if schedule not in SCHEDULES:
        raise one_of("schedule", schedule, SCHEDULES)
    if epoch < warmup:
        return epoch / warmup
    if schedule in STEP_AT:
        return float(STEP_FACTOR ** sum(epoch >= share * epochs for share in STEP_AT[schedule]))
    return (1 + math.cos(math.pi * (epoch - warmup) / max(epochs - warmup, 1e-9))) / 2
