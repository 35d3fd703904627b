"""Sharpness-aware minimization that attends to rare classes: ImbSAM, Focal-SAM and SSE-SAM.

All split the objective by class, and one forward pass serves both parts of it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from foundation.errors import InputError
from foundation.groups import group_classes
from training.methods.objective import TrainingProgress
from training.methods.optimizers.base import Gradients, Losses, Perturbing, Radius, plus, radius_at, rescaled_to_norm

HEAD_FROM = 100  # images of a class of SSE-SAM's head


class ImbSAM(Perturbing):
    """Step with ∇L_head(w) + ∇L_tail(w + ρ g/‖g‖), g = ∇L_tail(w) (Zhou et al., ICCV 2023).

    The tail are the few-shot classes, n_c < 20 as in the paper (by rank on sets of at most ten classes that have none).
    L_head + L_tail is the objective itself; the authors' code counts the tail's part twice.

    Args:
        *args: See `Perturbing`.
        rho: ρ, or its steps.
        **kwargs: See `Perturbing`.

    Raises:
        InputError: There are no few-shot classes.
    """

    def __init__(self, *args: Any, rho: Radius, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.rho = rho
        counts = self.method.class_counts
        few = group_classes(counts).few
        if not few:
            raise InputError(
                f"imbsam perturbs for few-shot classes, and of {max(counts)} to {min(counts)} samples a class none is: "
                "use sam"
            )
        tail = torch.zeros(len(counts), dtype=torch.float64)
        tail[list(few)] = 1
        self._tail = self.method.class_weighted(tail).objective
        self._head = self.method.class_weighted(1 - tail).objective

    def gradient(self, losses: Losses, progress: TrainingProgress) -> tuple[Tensor, Gradients]:
        """The gradient of the head here and of the tail where it is worst."""
        values, (head, tail) = self.gradients(losses, self._head, self._tail)
        with self.perturbed(rescaled_to_norm(self.direction(tail), radius_at(self.rho, progress))):
            _, (tail_there,) = self.gradients(losses, self._tail)
        return values.sum(), plus(head, tail_there)


class FocalSAM(Perturbing):
    """Step with λ ∇L^γ(w + ρ g/‖g‖) + ∇[L - λ L^γ](w), g = ∇L^γ(w) (Li et al., ICML 2025).

    L^γ is the objective with each sample's share times (1 - π_c)^γ: the rarer its class, the more a sample's sharpness
    counts. The authors use it with logit adjustment, `la+focal-sam`.

    Args:
        *args: See `Perturbing`.
        rho: ρ, or its steps.
        gamma: γ.
        strength: λ. The authors' (ρ, γ, λ) are (0.2, 3, 0.5) on CIFAR-10, (0.3, 3.2, 0.8) on CIFAR-100, (0.1 then 0.2,
            0.8, 0.8) on ImageNet-LT and (0.2, 2, 1.1) on iNaturalist.
        **kwargs: See `Perturbing`.
    """

    def __init__(self, *args: Any, rho: Radius, gamma: float, strength: float, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.rho = rho
        n = torch.tensor(self.method.class_counts, dtype=torch.float64)
        sharp = strength * (1 - n / n.sum()) ** gamma
        self._sharp = self.method.class_weighted(sharp).objective
        self._clean = self.method.class_weighted(1 - sharp).objective

    def gradient(self, losses: Losses, progress: TrainingProgress) -> tuple[Tensor, Gradients]:
        """The gradient of the clean part here and of the sharp part where it is worst."""
        values, (clean, sharp) = self.gradients(losses, self._clean, self._sharp)
        with self.perturbed(rescaled_to_norm(self.direction(sharp), radius_at(self.rho, progress))):
            _, (sharp_there,) = self.gradients(losses, self._sharp)
        return values.sum(), plus(clean, sharp_there)


class SSESAM(Perturbing):
    """Step with ∇L_H(w + ρ_H g_H/‖g_H‖) + ∇L_T(w + ρ_T g_T/‖g_T‖), g_H and g_T their own (Lyu et al., AAAI 2025).

    L_H and L_T are the shares of the head classes (n_c ≥ 100) and of the others in the objective: they add up to it,
    and a batch without samples of one has nothing of it. ρ_H ends with the paper's first stage. Two forward passes more
    than a plain step, one when the head is no longer perturbed.

    Args:
        *args: See `Perturbing`.
        rho_head: ρ_H in the first stage; 0 in the second.
        rho_tail: ρ_T.
        until: Share of the epochs that the first stage lasts.
        **kwargs: See `Perturbing`.
    """

    def __init__(self, *args: Any, rho_head: float, rho_tail: float, until: float, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.rho_head, self.rho_tail, self.until = rho_head, rho_tail, until
        head = torch.tensor([n >= HEAD_FROM for n in self.method.class_counts], dtype=torch.float64)
        self._has_head = bool(head.any())
        self._head = self.method.class_weighted(head).objective
        self._tail = self.method.class_weighted(1 - head).objective

    def gradient(self, losses: Losses, progress: TrainingProgress) -> tuple[Tensor, Gradients]:
        """The sum of both parts' gradients, each where it is worst."""
        values, (head, tail) = self.gradients(losses, self._head, self._tail)
        with self.perturbed(rescaled_to_norm(self.direction(tail), self.rho_tail)):
            _, (tail_there,) = self.gradients(losses, self._tail)
        if progress.reached(self.until) or not self._has_head:
            return values.sum(), plus(head, tail_there)
        with self.perturbed(rescaled_to_norm(self.direction(head), self.rho_head)):
            _, (head_there,) = self.gradients(losses, self._head)
        return values.sum(), plus(head_there, tail_there)
