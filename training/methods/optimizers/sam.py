"""Sharpness-aware minimization along the whole batch's gradient: SAM, ASAM, GSAM."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from training.methods.objective import TrainingProgress
from training.methods.optimizers.base import (
    Gradients,
    Losses,
    Perturbing,
    Radius,
    inner,
    norm,
    plus,
    radius_at,
    rescaled_to_norm,
    times,
)


class SAM(Perturbing):
    """Step with ∇L(w + ρ g/‖g‖), g = ∇L(w) (Foret et al., ICLR 2021, eq. 2 and 3).

    Args:
        *args: See `Perturbing`.
        rho: ρ, the length of the perturbation over all parameters together, or its steps (see `radius_at`).
        **kwargs: See `Perturbing`.
    """

    def __init__(self, *args: Any, rho: Radius, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.rho = rho

    def gradient(self, losses: Losses, progress: TrainingProgress) -> tuple[Tensor, Gradients]:
        """The gradient at w + ρ g/‖g‖."""
        values, (here,) = self.gradients(losses)
        with self.perturbed(self.ascent(self.direction(here), radius_at(self.rho, progress))):
            _, (there,) = self.gradients(losses)
        return values[0], there

    def ascent(self, gradient: Gradients, rho: float) -> Gradients:
        """The perturbation along a gradient."""
        return rescaled_to_norm(gradient, rho)


class ASAM(SAM):
    """Step with ∇L(w + ρ T²g / ‖Tg‖), T = |w| + η (Kwon et al., ICML 2021).

    As in the authors' code T is 1 for parameters that are no weights: biases and the like.

    Args:
        *args: See `Perturbing`.
        rho: ρ: 0.5 on CIFAR-10 and 1 on CIFAR-100 in the paper.
        eta: η.
        **kwargs: See `Perturbing`.
    """

    def __init__(self, *args: Any, rho: Radius, eta: float, **kwargs: Any) -> None:
        super().__init__(*args, rho=rho, **kwargs)
        self.eta = eta
        weights = {id(p) for name, p in self._network.named_parameters() if name.endswith("weight")}
        self._scaled = [id(parameter) in weights for parameter in self.parameters]

    def ascent(self, gradient: Gradients, rho: float) -> Gradients:
        """The perturbation ρ T²g / ‖Tg‖."""
        scales = [
            parameter.detach().abs() + self.eta if scaled else torch.ones_like(parameter)
            for parameter, scaled in zip(self.parameters, self._scaled, strict=True)
        ]
        stretched = rescaled_to_norm(list(torch._foreach_mul(gradient, scales)), rho)
        return list(torch._foreach_mul(stretched, scales))


class GSAM(SAM):
    """Step with ∇f_p - α g_⊥, g_⊥ the part of g = ∇f(w) orthogonal to ∇f_p = ∇f(w + ρ g/‖g‖).

    Zhuang et al., "Surrogate Gap Minimization Improves Sharpness-Aware Training" (ICLR 2022). ρ follows the learning
    rate: ρ_min + (ρ - ρ_min) lr / lr₀, with lr₀ the rate the optimizer was made with.

    Args:
        *args: See `Perturbing`.
        rho: ρ at the full learning rate.
        rho_min: ρ at learning rate 0.
        alpha: α.
        **kwargs: See `Perturbing`.
    """

    def __init__(self, *args: Any, rho: Radius, rho_min: float, alpha: float, **kwargs: Any) -> None:
        super().__init__(*args, rho=rho, **kwargs)
        self.rho_min, self.alpha = rho_min, alpha

    def gradient(self, losses: Losses, progress: TrainingProgress) -> tuple[Tensor, Gradients]:
        """The gradient ∇f_p - α g_⊥."""
        values, (here,) = self.gradients(losses)
        here = self.direction(here)
        share = self.optimizer.param_groups[0]["lr"] / self.optimizer.defaults["lr"]
        rho = self.rho_min + (radius_at(self.rho, progress) - self.rho_min) * share
        with self.perturbed(self.ascent(here, rho)):
            _, (there,) = self.gradients(losses)
        there = self.direction(there)  # the decomposition is not linear: both gradients of one rank, or both global
        size = norm(there).square().clamp(min=torch.finfo(here[0].dtype).tiny)
        across = plus(here, times(there, inner(here, there) / size), -1.0)
        return values[0], plus(there, across, -self.alpha)
