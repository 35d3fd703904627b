"""BGP, the balanced gradient penalty: a reconstruction from the abstract, by default the class-balanced Brier score.

Wang et al., "Balanced Gradient Penalty Improves Deep Long-Tailed Learning" (ACM MM 2022,
doi 10.1145/3503161.3547763) is known here by its abstract: a regularization loss on top of any long-tailed loss, free
of extra computation and of class priors, that flattens sharp minima and helps the few-shot classes. The formula below
is ours. It rests on exact identities of softmax cross-entropy, with errors d_i = p_i - e_{y_i} and features h_i:

    ∂l/∂z = d,    ∂l/∂W = d hᵀ,    ‖∂l/∂W‖_F = ‖d‖₂ ‖h‖₂,    ∇l = Jᵀ d, so ‖∇l‖ ≤ ‖J‖ ‖d‖₂,

and on first-order sharpness being the gradient's norm, max_{‖e‖≤ρ} L(w + e) - L(w) ≈ ρ ‖∇L(w)‖. A class's gradient norm
is penalized with the same weight however few samples it has; only the labels of the batch are used.

p is the softmax of the inference logits, whatever loss the penalty stands beside. What the default ‖p - e_y‖² adds to a
re-weighting of cross-entropy: `training.methods.losses.brier`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from foundation.errors import InputError, one_of
from training.distributed import gather_rows, global_sum
from training.methods.balance import check_balance
from training.methods.class_means import squared_mean_norms
from training.methods.losses.brier import squared_error
from training.methods.objective import BatchTerm, Outputs, SampleTerm, TrainingProgress, logit_gradient
from training.methods.parts import Perturbation

NOTE = "reconstruction; class-balanced Brier score"
"""What the default member is, as checkpoints and lists have it."""

MEMBERS: dict[str, dict[str, float]] = {
    "logit": {"l2": 2.0, "l1": 1.0},
    "sample-classifier": {"detached": 1.0, "joint": 0.1},
    "class-mean": {"l2": 2.0},
    "classifier": {"squared": 0.003, "plain": 0.1},
    "logit-norm": {"samples": 0.0001, "mean": 0.01},
    "parameters": {"l2": 0.08},
}
"""Each member's norms, the default one first, with their default weight λ.

Those of the squared norms of `logit`, `classifier` and `logit-norm` and of `sample-classifier` with detached features
were searched (docs/defaults.md): larger weights of `classifier` and `logit-norm` lower few-shot accuracy. That of
`parameters` is the λ = α r of the gradient-norm penalty's authors; the others are from a first look, unsearched.
"""

NOTES = {
    ("logit", "l2"): NOTE,
    ("logit", "l1"): "reconstruction; class-balanced mean absolute error",
    ("sample-classifier", "detached"): "reconstruction; class-balanced norm of samples' last-layer gradients",
    ("sample-classifier", "joint"): "reconstruction; class-balanced norm of samples' last-layer gradients",
    ("class-mean", "l2"): "reconstruction; norm of the classes' mean logit gradients",
    ("classifier", "squared"): "reconstruction; norm of the classes' last-layer gradients",
    ("classifier", "plain"): "reconstruction; norm of the classes' last-layer gradients",
    ("logit-norm", "samples"): "reconstruction; norm of the logits, without labels",
    ("logit-norm", "mean"): "reconstruction; norm of the mean logits, without labels",
    ("parameters", "l2"): "reconstruction; norm of the class-balanced gradient in all parameters",
}
"""What each member with each norm is."""

FLOOR = 1e-12  # beside ‖d‖² under a root, which has no slope at zero

SCHEDULES: dict[str, Callable[[float], float]] = {
    "constant": lambda share: 1.0,
    "rising": lambda share: share,
    "falling": lambda share: 1.0 - share,
}


def bgp(
    class_counts: Sequence[int],
    *,
    member: str = "logit",
    norm: str = "auto",
    weight: float | None = None,
    balance: str = "batch",
    schedule: str = "constant",
    radius: float = 0.1,
) -> SampleTerm | BatchTerm | Perturbation:
    """Penalty λ R; means over classes run over the classes present in the batch, unless `balance` says otherwise.

    | member | R | norm |
    |---|---|---|
    | `logit` | mean over classes of mean_i ‖d_i‖₂² or ‖d_i‖₁ | `l2`, `l1` |
    | `sample-classifier` | mean over classes of mean_i ‖d_i‖₂ ‖h_i‖₂, h held constant or not | `detached`, `joint` |
    | `class-mean` | mean over classes of ‖mean_i d_i‖₂² | `l2` |
    | `classifier` | mean over classes of ‖mean_i d_i h_iᵀ‖_F² or its root (last layer) | `squared`, `plain` |
    | `logit-norm` | mean_i ‖z_i‖₂² or ‖mean_i z_i‖₂², without labels | `samples`, `mean` |
    | `parameters` | ‖∇ of the class-balanced loss‖₂ in all parameters, by finite differences | `l2` |

    Args:
        class_counts: Training samples of each class, (C,); not used.
        member: Which penalty.
        norm: Which norm; `auto` is the member's first.
        weight: λ, see `MEMBERS` for the defaults.
        balance: How `logit` and `sample-classifier` weigh classes: `batch`, the mean over those present, or `running`,
            by their shares in the last epoch (`training.methods.balance`).
        schedule: λ over training: `constant`, `rising` (from 0) or `falling` (to 0), linearly.
        radius: r of `parameters`: the length of its finite-difference step.

    Returns:
        The penalty; for `parameters` the perturbing optimizer that does its work.

    Raises:
        InputError: An unknown member, norm, balance or schedule, a balance for a member that has none, or a schedule or
            a radius of 0 for `parameters`.
    """
    settings = complete({"member": member, "norm": norm, "weight": weight})
    norm, strength = settings["norm"], settings["weight"]
    kind = check_balance(balance)
    if kind != "batch" and member not in ("logit", "sample-classifier"):
        raise InputError(f"bgp's {member} member knows no balance {balance!r}: use batch, or the logit member")
    if schedule not in SCHEDULES:
        raise one_of("schedule of bgp", schedule, SCHEDULES)
    if member == "parameters":
        if radius == 0:
            raise InputError("bgp's parameters member takes a finite difference of radius 0: the usual value is 0.1")
        if schedule != "constant":
            raise InputError(f"bgp's parameters member knows no schedule {schedule!r}: use constant")
        # Synchronized: the classes present are those of the batch of all ranks, as for the other members.
        return Perturbation("bgp-parameters", {"weight": strength, "radius": radius, "synchronized": True})
    over_training = SCHEDULES[schedule]

    def coefficient(progress: TrainingProgress) -> float:
        return float(strength * over_training(progress.share)) if schedule != "constant" else float(strength)

    if member == "logit":
        return SampleTerm(squared_error if norm == "l2" else _absolute_errors, kind, coefficient)
    if member == "sample-classifier":
        losses = _detached_sizes if norm == "detached" else _joint_sizes
        return SampleTerm(losses, kind, coefficient, reads="network")
    if member == "class-mean":
        return BatchTerm(_class_mean, coefficient, "bgp's class-mean member")
    if member == "classifier":
        value = _classifier_squared if norm == "squared" else _classifier_plain
        return BatchTerm(value, coefficient, "bgp's classifier member")
    if norm == "samples":
        return SampleTerm(_squared_logits, coefficient=coefficient)
    return BatchTerm(_mean_logits, coefficient, "bgp's logit-norm member of the mean")


def complete(settings: dict[str, Any]) -> dict[str, Any]:
    """BGP's settings with the member's own norm and weight where none is given.

    Args:
        settings: `member`, `norm`, `weight` and others.

    Returns:
        The same with a norm and a weight.

    Raises:
        InputError: An unknown member or norm.
    """
    member, norm = settings["member"], settings["norm"]
    if member not in MEMBERS:
        raise one_of("member of bgp", member, MEMBERS)
    norms = MEMBERS[member]
    norm = next(iter(norms)) if norm == "auto" else norm
    if norm not in norms:
        raise one_of(f"norm of bgp's {member} member", norm, norms)
    weight = norms[norm] if settings["weight"] is None else settings["weight"]
    return {**settings, "norm": norm, "weight": weight}


def note(settings: dict[str, Any]) -> str:
    """What BGP with these settings, completed, is: a reconstruction, and of what."""
    return NOTES[settings["member"], settings["norm"]]


def _absolute_errors(outputs: Outputs, labels: Tensor, progress: TrainingProgress) -> Tensor:
    return logit_gradient(outputs.logits, labels).abs().sum(1)


def _detached_sizes(outputs: Outputs, labels: Tensor, progress: TrainingProgress) -> Tensor:
    # With ‖h‖ free to move the penalty is met by features that shrink.
    lengths: Tensor = torch.linalg.vector_norm(outputs.features.detach(), dim=1)
    return _sizes(outputs.logits, labels) * lengths


def _joint_sizes(outputs: Outputs, labels: Tensor, progress: TrainingProgress) -> Tensor:
    return _sizes(outputs.logits, labels) * (outputs.features.square().sum(1) + FLOOR).sqrt()


def _sizes(logits: Tensor, labels: Tensor) -> Tensor:
    return (logit_gradient(logits, labels).square().sum(1) + FLOOR).sqrt()


def _squared_logits(outputs: Outputs, labels: Tensor, progress: TrainingProgress) -> Tensor:
    return outputs.logits.square().sum(1)


def _mean_logits(outputs: Outputs, labels: Tensor, counts: Tensor) -> Tensor:
    return (global_sum(outputs.logits.sum(0)) / counts.sum()).square().sum()


def _class_mean(outputs: Outputs, labels: Tensor, counts: Tensor) -> Tensor:
    errors, labels = gather_rows(logit_gradient(outputs.logits, labels), labels, outputs.longest)
    return squared_mean_norms(errors @ errors.T, labels, counts).sum() / (counts > 0).sum()


def _classifier_squared(outputs: Outputs, labels: Tensor, counts: Tensor) -> Tensor:
    return _classifier_norms(outputs, labels, counts).sum() / (counts > 0).sum()


def _classifier_plain(outputs: Outputs, labels: Tensor, counts: Tensor) -> Tensor:
    squared = _classifier_norms(outputs, labels, counts)
    positive = squared > 0  # the root has no slope at zero: a class without a gradient adds nothing
    return torch.where(positive, squared, 1).sqrt().mul(positive).sum() / (counts > 0).sum()


def _classifier_norms(outputs: Outputs, labels: Tensor, counts: Tensor) -> Tensor:
    """‖G_c‖_F², (C,), from (d_iᵀd_j)(h_iᵀh_j)."""
    classes = outputs.logits.shape[1]
    both = torch.cat([logit_gradient(outputs.logits, labels), outputs.features], 1)
    rows, labels = gather_rows(both, labels, outputs.longest)
    errors, features = rows[:, :classes], rows[:, classes:]
    return squared_mean_norms((errors @ errors.T) * (features @ features.T), labels, counts)
