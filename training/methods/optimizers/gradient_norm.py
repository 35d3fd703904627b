"""Gradient-norm penalties by finite differences: GNP, and the `parameters` member of BGP.

With u = ∇F/‖∇F‖ the gradient of ‖∇F(w)‖ is the Hessian of F times u, and [∇F(w + r u) - ∇F(w)] / r approaches it: a
penalty λ ‖∇F‖ costs one more gradient, no double backward pass.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from training.methods.objective import TrainingProgress
from training.methods.optimizers.base import Gradients, Losses, Perturbing, plus, rescaled_to_norm, times


class GNP(Perturbing):
    """Step with (1 - α) ∇L(w) + α ∇L(w + r g/‖g‖), which penalizes λ ‖∇L‖ with λ = α r (Zhao et al., ICML 2022).

    The paper's formula; the authors' code normalizes the first gradient unless told otherwise.

    Args:
        *args: See `Perturbing`.
        radius: r.
        alpha: α.
        **kwargs: See `Perturbing`.
    """

    def __init__(self, *args: Any, radius: float, alpha: float, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.radius, self.alpha = radius, alpha

    def gradient(self, losses: Losses, progress: TrainingProgress) -> tuple[Tensor, Gradients]:
        """The mixed gradient."""
        values, (here,) = self.gradients(losses)
        with self.perturbed(rescaled_to_norm(self.direction(here), self.radius)):
            _, (there,) = self.gradients(losses)
        return values[0], plus(times(here, 1 - self.alpha), there, self.alpha)


class BGPParameters(Perturbing):
    """Step with ∇L(w) + λ/r [∇L_bal(w + r u) - ∇L_bal(w)], u = ∇L_bal/‖∇L_bal‖.

    L_bal is the mean over the classes present of the class means of the main loss: λ weighs the norm of its gradient in
    all parameters, of which the cheaper members of BGP penalize parts. The dear upper bound of the family.

    Args:
        *args: See `Perturbing`.
        weight: λ.
        radius: r.
        **kwargs: See `Perturbing`.
    """

    def __init__(self, *args: Any, weight: float, radius: float, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.weight, self.radius = weight, radius
        self._balanced = self.method.class_balanced().objective

    def gradient(self, losses: Losses, progress: TrainingProgress) -> tuple[Tensor, Gradients]:
        """The penalized gradient, from two forward passes."""
        values, (here, balanced_here) = self.gradients(losses, self.method.objective, self._balanced)
        with self.perturbed(rescaled_to_norm(self.direction(balanced_here), self.radius)):
            _, (balanced_there,) = self.gradients(losses, self._balanced)
        return values[0], plus(here, plus(balanced_there, balanced_here, -1.0), self.weight / self.radius)
