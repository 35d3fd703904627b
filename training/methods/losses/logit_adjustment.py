"""Losses that shift or scale logits by the class prior, and the shift after training."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from training.methods.losses.cross_entropy import check_smoothing
from training.methods.objective import Outputs, PerClassTensor, TrainingProgress, cross_entropy
from training.methods.parts import Loss


def balanced_softmax(class_counts: Sequence[int], *, smoothing: float = 0.0) -> Loss:
    """Cross-entropy of z + log n (Ren et al., "Balanced Meta-Softmax", NeurIPS 2020).

    Args:
        class_counts: Training samples of each class, (C,).
        smoothing: ε of smoothed labels.

    Returns:
        The loss.
    """
    return _adjusted(shift=torch.tensor(class_counts, dtype=torch.float64).log(), smoothing=smoothing)


def la(class_counts: Sequence[int], *, tau: float = 1.0, smoothing: float = 0.0) -> Loss:
    """Logit-adjusted cross-entropy, of z + τ log π (Menon et al., ICLR 2021, eq. 10); at τ = 1 balanced softmax.

    Args:
        class_counts: Training samples of each class, (C,).
        tau: τ.
        smoothing: ε of smoothed labels.

    Returns:
        The loss.
    """
    return _adjusted(shift=prior_shift(class_counts, tau), smoothing=smoothing)


def vs(class_counts: Sequence[int], *, gamma: float = 0.2, tau: float = 1.2) -> Loss:
    """Vector scaling, cross-entropy of z_c / Δ_c + τ log π_c, Δ_c = (n_max / n_c)^γ (Kini et al., NeurIPS 2021).

    Args:
        class_counts: Training samples of each class, (C,).
        gamma: γ of the multiplicative part; the default is the authors' for CIFAR-10 at imbalance 100, elsewhere they
            take 0.05 to 0.3.
        tau: τ of the additive part; elsewhere 1.

    Returns:
        The loss.
    """
    n = torch.tensor(class_counts, dtype=torch.float64)
    return _adjusted(shift=prior_shift(class_counts, tau), factor=(n / n.max()) ** gamma)


def prior_shift(class_counts: Sequence[int], tau: float = 1.0) -> Tensor:
    """τ log π, (C,) float64: added to logits in training, or subtracted from them after it.

    After plain cross-entropy training argmax z - τ log π is post-hoc logit adjustment (Menon et al., eq. 9).
    """
    n = torch.tensor(class_counts, dtype=torch.float64)
    return tau * (n / n.sum()).log()


def _adjusted(*, shift: Tensor, factor: Tensor | None = None, smoothing: float = 0.0) -> Loss:
    check_smoothing(smoothing)
    additive = PerClassTensor(shift)
    multiplicative = None if factor is None else PerClassTensor(factor)

    def losses(outputs: Outputs, labels: Tensor, progress: TrainingProgress) -> Tensor:
        logits = outputs.logits
        scaled = logits if multiplicative is None else logits * multiplicative.like(logits)
        return cross_entropy(scaled + additive.like(logits), labels, smoothing=smoothing)

    return Loss(losses)
