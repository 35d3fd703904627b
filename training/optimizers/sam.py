"""SAM and its relatives that perturb along the whole batch's gradient."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from training.optimizers.base import Gradients, Losses, Perturbing, toward


class SAM(Perturbing):
    """Sharpness-aware minimization: step with ∇L(w + ρ g/‖g‖) (Foret et al., ICLR 2021, eq. 3).

    Args:
        *args: See `Perturbing`.
        rho: ρ, the length of the perturbation over all parameters together.
        **kwargs: See `Perturbing`.
    """

    def __init__(self, *args: Any, rho: float, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.rho = rho

    def gradient(self, losses: Losses, progress: float) -> tuple[Tensor, Gradients]:
        """The gradient at w + ρ g/‖g‖."""
        value, (gradient,) = self.gradients(losses)
        with self.moved(toward(self.direction(gradient), self.rho)):
            _, (there,) = self.gradients(losses)
        return value, there
