"""BGP's default penalty taken apart: how much of it is a re-weighting of cross-entropy, and what is left.

With d = p - e_y and H = diag(p) - p pᵀ the gradient of ‖d‖² in the logits is 2Hd. Split along d, the gradient of
cross-entropy,

    2Hd = α d + g⊥,   α = 2 dᵀHd / dᵀd ∈ [0, 1],   g⊥ ⟂ d,

it is cross-entropy with the sample weight α and a rest. `bgp-as-weights` trains with the first part alone,
`bgp-orthogonal` with the second, and their gradients add up to BGP's. Along d lies the squared share
(dᵀHd)² / (dᵀd · ‖Hd‖²) of the gradient.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from training.methods.balance import check_balance
from training.methods.objective import Outputs, SampleTerm, TrainingProgress, cross_entropy, logit_gradient

SampleLosses = Callable[[Outputs, Tensor, TrainingProgress], Tensor]


def split_gradient(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The gradient of ‖p - e_y‖² in the logits, split along cross-entropy's.

    Args:
        logits: (B, C).
        labels: (B,).

    Returns:
        α (B,), g⊥ (B, C) and the squared share of the gradient along d (B,); 0 of each where d is 0.
    """
    p, d = logits.softmax(1), logit_gradient(logits, labels)
    gradient = 2 * p * (d - (p * d).sum(1, keepdim=True))
    tiny = torch.finfo(d.dtype).tiny
    inner, squared = (d * gradient).sum(1), d.square().sum(1)
    alpha = inner / squared.clamp(min=tiny)
    share = inner * alpha / gradient.square().sum(1).clamp(min=tiny)
    return alpha, gradient - alpha[:, None] * d, share


def unbalanced_penalty(class_counts: Sequence[int], *, weight: float = 2.0) -> SampleTerm:
    """Penalty weight · mean_i ‖p_i - e_{y_i}‖₂² over samples: BGP's `logit` member without its balance.

    Args:
        class_counts: Training samples of each class, (C,); not used.
        weight: λ.

    Returns:
        The penalty, the plain Brier score.
    """
    return SampleTerm(squared_error, coefficient=lambda progress: weight)


def bgp_as_weights(class_counts: Sequence[int], *, weight: float = 2.0, balance: str = "batch") -> SampleTerm:
    """BGP's part along cross-entropy: weight · mean over classes of mean_i α_i CE_i, α a constant of each step.

    Args:
        class_counts: Training samples of each class, (C,); not used.
        weight: λ of the penalty that it is part of.
        balance: How classes are weighed, see `training.methods.balance`.

    Returns:
        A term of which only the gradient has a meaning.
    """
    return _control(_reweighted, weight, balance, surrogate=True)


def bgp_orthogonal(class_counts: Sequence[int], *, weight: float = 2.0, balance: str = "batch") -> SampleTerm:
    """What BGP adds to a re-weighting: the linear surrogate weight · mean over classes of mean_i ⟨g⊥_i, z_i⟩.

    Args:
        class_counts: Training samples of each class, (C,); not used.
        weight: λ of the penalty that it is part of.
        balance: How classes are weighed, see `training.methods.balance`.

    Returns:
        A term of which only the gradient has a meaning.
    """
    return _control(_orthogonal, weight, balance, surrogate=True)


def trace(class_counts: Sequence[int], *, weight: float = 2.0, balance: str = "batch") -> SampleTerm:
    """Penalty weight · mean over classes of mean_i (1 - ‖p_i‖²), the trace of H: flat, whether or not it fits.

    Args:
        class_counts: Training samples of each class, (C,); not used.
        weight: λ.
        balance: How classes are weighed, see `training.methods.balance`.

    Returns:
        The penalty, a negative control.
    """
    return _control(_uncertainty, weight, balance)


def squared_error(outputs: Outputs, labels: Tensor, progress: TrainingProgress) -> Tensor:
    """‖p - e_y‖² of each sample, (B,): the Brier score."""
    return logit_gradient(outputs.logits, labels).square().sum(1)


def _control(losses: SampleLosses, weight: float, balance: str, *, surrogate: bool = False) -> SampleTerm:
    return SampleTerm(losses, check_balance(balance), lambda progress: weight, surrogate=surrogate)


def _reweighted(outputs: Outputs, labels: Tensor, progress: TrainingProgress) -> Tensor:
    alpha, _, _ = split_gradient(outputs.logits.detach(), labels)
    return alpha * cross_entropy(outputs.logits, labels)


def _orthogonal(outputs: Outputs, labels: Tensor, progress: TrainingProgress) -> Tensor:
    _, orthogonal, _ = split_gradient(outputs.logits.detach(), labels)
    return (orthogonal * outputs.logits).sum(1)


def _uncertainty(outputs: Outputs, labels: Tensor, progress: TrainingProgress) -> Tensor:
    return 1 - outputs.logits.softmax(1).square().sum(1)
