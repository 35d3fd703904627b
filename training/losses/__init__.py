"""Losses for long-tailed data, one family a file; `training.methods` puts methods together from them.

`sample_losses` gives a trained objective back as per-sample losses, so that its landscape can be measured.
"""

from training.losses.base import Outputs
from training.losses.separate import sample_losses

__all__ = ["Outputs", "sample_losses"]
