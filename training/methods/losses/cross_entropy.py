"""Cross-entropy, and the penalties that plain cross-entropy offers as alternatives to BGP.

The two penalties are what a skeptic would ask for beside a balanced gradient penalty: is it more than a re-weighting
(batch-balanced cross-entropy), is it more than a robust loss (mean absolute error)?
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from foundation.errors import InputError
from training.methods.balance import check_balance
from training.methods.objective import Outputs, SampleTerm, TrainingProgress, cross_entropy, logit_gradient
from training.methods.parts import Loss


def ce(class_counts: Sequence[int], *, smoothing: float = 0.0) -> Loss:
    """Cross-entropy, -log p_y.

    Args:
        class_counts: Training samples of each class, (C,); not used.
        smoothing: ε of smoothed labels (Szegedy et al., CVPR 2016, section 7).

    Returns:
        The loss.

    Raises:
        InputError: ε is above 1.
    """
    check_smoothing(smoothing)
    return Loss(lambda outputs, labels, progress: cross_entropy(outputs.logits, labels, smoothing=smoothing))


def check_smoothing(smoothing: float) -> None:
    """Refuses what is no share.

    Raises:
        InputError: It is above 1.
    """
    if not 0 <= smoothing <= 1:
        raise InputError(f"smoothing {smoothing:g} is no share of the label: give 0 to 1, such as 0.1")


def batch_balanced_ce(class_counts: Sequence[int], *, weight: float = 1.0, balance: str = "batch") -> SampleTerm:
    """Penalty weight · mean over the classes present of the class's mean cross-entropy in the batch.

    Args:
        class_counts: Training samples of each class, (C,); not used.
        weight: Its weight beside the loss.
        balance: `running` weighs classes by their shares in the last epoch instead, see `training.methods.balance`.

    Returns:
        The penalty.
    """
    return SampleTerm(_cross_entropy, check_balance(balance), lambda progress: weight)


def mae(class_counts: Sequence[int], *, weight: float = 1.0) -> SampleTerm:
    """Penalty weight · mean_i ‖p_i - e_{y_i}‖₁ = weight · mean_i 2 (1 - p_y).

    The mean absolute error of Ghosh et al., "Robust Loss Functions under Label Noise" (AAAI 2017).

    Args:
        class_counts: Training samples of each class, (C,); not used.
        weight: Its weight beside the loss.

    Returns:
        The penalty.
    """
    return SampleTerm(_absolute_error, coefficient=lambda progress: weight)


def _cross_entropy(outputs: Outputs, labels: Tensor, progress: TrainingProgress) -> Tensor:
    return cross_entropy(outputs.logits, labels)


def _absolute_error(outputs: Outputs, labels: Tensor, progress: TrainingProgress) -> Tensor:
    return logit_gradient(outputs.logits, labels).abs().sum(1)
