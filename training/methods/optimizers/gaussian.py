"""Steps from a random point near the weights instead of the worst one: GNM."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from training.methods.objective import TrainingProgress
from training.methods.optimizers.base import Gradients, Losses, Perturbing, Radius, radius_at


class GNM(Perturbing):
    """Step with ∇L(w + ρ m ½^⌊e/E⌋ ξ), ξ Gaussian with deviation 1/3, cut at ±1 (Li et al., NeurIPS 2024).

    Gaussian neighborhood minimization costs one pass, as a plain step does. It is at moved weights, so that the
    objective which it reports and what BatchNorm's running statistics count are of there. The authors tune prompts of a
    ViT with ρ 0.05, m 0.1 and E 59 of 70 epochs.

    Args:
        *args: See `Perturbing`.
        rho: ρ, or its steps.
        magnitude: m.
        halving: E as a share of the epochs: after each such stretch the perturbation is halved.
        **kwargs: See `Perturbing`.
    """

    def __init__(self, *args: Any, rho: Radius, magnitude: float, halving: float, **kwargs: Any) -> None:
        super().__init__(*args, **{**kwargs, "update_bn": True})
        self.rho, self.magnitude, self.halving = rho, magnitude, halving

    def gradient(self, losses: Losses, progress: TrainingProgress) -> tuple[Tensor, Gradients]:
        """The gradient at the random point."""
        halvings = int(progress.epoch // (self.halving * progress.epochs)) if self.halving else 0
        length = radius_at(self.rho, progress) * self.magnitude * 0.5**halvings
        with self.perturbed([length * noise for noise in self.noise(progress)]):
            values, (there,) = self.gradients(losses)
        return values[0], there

    def noise(self, progress: TrainingProgress) -> Gradients:
        """ξ of a step: from the epoch's seed and the step, so that it is one on all ranks and in a resumed run."""
        generator = torch.Generator(self.parameters[0].device)
        generator.manual_seed(torch.initial_seed() + int(progress.share * 2**40))
        return [
            torch.randn(p.shape, generator=generator, device=p.device, dtype=p.dtype).div_(3).clamp_(-1, 1)
            for p in self.parameters
        ]
