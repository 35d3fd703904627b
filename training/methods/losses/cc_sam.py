"""CC-SAM: each class perturbs the classifier by its own radius, then a second stage retrains the classifier.

Zhou et al., "Class-Conditional Sharpness-Aware Minimization for Deep Long-Tailed Recognition" (CVPR 2023). As in the
authors' code only the classifier is perturbed. Moving W by E_c = ρ_c G_c / ‖G_c‖_F, with G_c = mean_{i∈c} d_i h_iᵀ the
class's gradient, moves a logit vector by E_c h_i = ρ_c / (‖G_c‖_F n_c) Σ_{j∈c} (h_jᵀ h_i) d_j. So one forward pass
through the network is enough, no weight has to be moved, and the cost is a few B x B products.

Class gradients are those of the batch of all ranks: their rows are gathered, which costs a small message a step.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from foundation.errors import InputError
from training.distributed import gather_rows, global_sum
from training.methods.class_means import count_classes, squared_mean_norms
from training.methods.objective import Outputs, PerClassTensor, TrainingProgress, cross_entropy, logit_gradient
from training.methods.parts import Loss, Stage, Transform


def cc_sam(
    class_counts: Sequence[int],
    *,
    share: float = 0.5,
    strength: float = 1.0,
    stage_share: float = 0.15,
    feature_scale: float = 1.0,
    limit: float = 1.0,
) -> Transform:
    """(1 - share) l(W) + share l(W + E_y), and then `cc-sam-classifier` on a frozen backbone.

    ρ_c = strength · (‖W‖ / (2 ‖G_c‖))^{1/2} k^{-1/4} (n_c - 1)^{-1/4}, k the numbers in W; the authors' code multiplies
    by k^{+1/4} and by a strength of 1e-6 instead. n_c - 1 counts as 1 where a class has one sample.

    Args:
        class_counts: Training samples of each class, (C,).
        share: Weight of the perturbed loss; the authors take 0.3 on CIFAR-10 and 0.5 on CIFAR-100.
        strength: A factor on the paper's radius.
        stage_share: Length of the second stage as a share of the first; theirs is 30 of 200 epochs.
        feature_scale: Of the second stage, see `cc_sam_classifier`.
        limit: Of the second stage; the authors take 1 on CIFAR-10 and 0.3 on CIFAR-100.

    Returns:
        What turns a main loss into CC-SAM's, with its second stage.
    """
    radii = PerClassTensor(strength * (torch.tensor(class_counts, dtype=torch.float64) - 1).clamp(min=1) ** -0.25)

    def transform(loss: Loss) -> Loss:
        if loss.head != "linear":
            raise InputError("cc-sam perturbs a linear classifier: it does not go with a cosine head")

        def losses(outputs: Outputs, labels: Tensor, progress: TrainingProgress) -> Tensor:
            clean = loss.losses(outputs, labels, progress)
            d, h, of = _gradient_rows(loss, outputs, labels, progress)
            counts = count_classes(labels, d.shape[1], d.dtype)
            squared = squared_mean_norms((d @ d.T) * (h @ h.T), of, counts)
            size = squared.clamp(min=0).sqrt()[labels]  # ‖G_{y_i}‖; rounding can leave a zero slightly negative
            weight = outputs.weight.detach()
            radius = radii.like(d)[labels] * (weight.norm() / (2 * size)).sqrt() * weight.numel() ** -0.25
            # A class without a gradient has no direction to move in.
            length = torch.where(size > 0, radius / (size * counts[labels]), 0)
            products = (outputs.features @ h.T) * (labels[:, None] == of[None, :])
            logits = outputs.logits + length[:, None] * (products @ d)
            perturbed = loss.losses(Outputs(logits, outputs.features, outputs.weight), labels, progress)
            return (1 - share) * clean + share * perturbed

        return Loss(losses, reads="network")

    settings = {"feature_scale": feature_scale, "limit": limit}
    # As in the authors' code (train_cifar.py) the second stage goes on with the classifier, at a tenth of the rate.
    stage = Stage("crt", stage_share, "class-balanced", "cc-sam-classifier", settings, lr=0.1, anew=False)
    return Transform(transform, stage)


def _gradient_rows(
    loss: Loss, outputs: Outputs, labels: Tensor, progress: TrainingProgress
) -> tuple[Tensor, Tensor, Tensor]:
    """Logit gradients (B, C), features (B, d) and labels (B,) of all ranks' samples, as constants."""
    with torch.enable_grad():
        logits = outputs.logits.detach().requires_grad_()
        still = Outputs(logits, outputs.features.detach(), outputs.weight.detach())
        (d,) = torch.autograd.grad(loss.losses(still, labels, progress).sum(), logits)
    rows, of = gather_rows(torch.cat([d, still.features], 1), labels, outputs.longest)
    return rows[:, : d.shape[1]], rows[:, d.shape[1] :], of


def cc_sam_classifier(class_counts: Sequence[int], *, feature_scale: float = 1.0, limit: float = 1.0) -> Loss:
    """CC-SAM's second stage: (1 - α) CE(h) + α v_y CE(h + e), the features moved against the class.

    e_i = feature_scale · v_c times the gradient of the class's mean loss in its features, all of the class's rows
    together normalized; v_c = log(n_max / n_c + 0.01) / 2; α grows linearly to `limit` over the stage.

    Args:
        class_counts: Training samples of each class, (C,).
        feature_scale: Factor on the features' perturbation.
        limit: The largest α.

    Returns:
        The loss, for a frozen backbone and class-balanced sampling.
    """
    n = torch.tensor(class_counts, dtype=torch.float64)
    weights = PerClassTensor((n.max() / n + 0.01).log() / 2)

    def losses(outputs: Outputs, labels: Tensor, progress: TrainingProgress) -> Tensor:
        alpha = min((progress.epoch + 1) / progress.epochs, limit)
        weight = outputs.weight
        v = weights.like(outputs.logits)[labels]
        with torch.no_grad():
            slopes = logit_gradient(outputs.logits, labels) @ weight
            squared = slopes.new_zeros(len(class_counts)).index_add_(0, labels, slopes.square().sum(1))
            size = global_sum(squared).sqrt().clamp(min=torch.finfo(slopes.dtype).tiny)
            noise = (feature_scale * v / size[labels])[:, None] * slopes
        perturbed = outputs.logits + noise @ weight.T
        clean = cross_entropy(outputs.logits, labels)
        return (1 - alpha) * clean + alpha * v * cross_entropy(perturbed, labels)

    return Loss(losses, reads="network")
