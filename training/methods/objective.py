"""What every loss is handed, and the two shapes a part of an objective can have.

An objective is a sum of terms. Most terms are weighted means of per-sample losses, and those have a meaning for a
single sample too (`SampleTerm`); the others exist for a whole batch only (`BatchTerm`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from foundation.errors import InputError
from training.distributed import global_sum
from training.methods.class_means import count_classes


@dataclass(frozen=True)
class Outputs:
    """What a network says about a batch.

    Attributes:
        logits: Inference logits z, (B, C): the cosine scale is in them, a margin or a prior is not.
        features: What the classifier saw, h, (B, d).
        weight: The classifier's weight W, (C, d).
        longest: B of the rank that has most, where it is known: what `gather_rows` need not ask for.
    """

    logits: Tensor
    features: Tensor
    weight: Tensor
    longest: int | None = None

    def upcast(self) -> Outputs:
        """The same in float32 where it was float16 or bfloat16: a softmax in bfloat16 has 3 significant digits."""
        logits, features, weight = (t.to(_wide(t.dtype)) for t in (self.logits, self.features, self.weight))
        return Outputs(logits, features, weight, self.longest)


def _wide(dtype: torch.dtype) -> torch.dtype:
    return torch.promote_types(dtype, torch.float32)


@dataclass(frozen=True)
class TrainingProgress:
    """Where training stands.

    Attributes:
        share: Share of all optimizer steps that are done, 0 to 1.
        epoch: The running epoch, from 0.
        epochs: Epochs in all.
        class_shares: π̂, how often each class was drawn in the last full epoch, (C,); None before there is one.
    """

    share: float
    epoch: int
    epochs: int
    class_shares: PerClassTensor | None = None

    def reached(self, share: float) -> bool:
        """Whether the running epoch is at or after `share` of all epochs (0.8: from epoch 160 of 200)."""
        return self.epoch >= share * self.epochs


FINISHED = TrainingProgress(share=1.0, epoch=1, epochs=1)


class PerClassTensor:
    """One number a class, on the device and in the dtype of whatever it meets.

    Args:
        values: The numbers, (C,), kept in float64.
    """

    def __init__(self, values: Sequence[float] | Tensor) -> None:
        self.values = torch.as_tensor(values, dtype=torch.float64)
        # A copy from the host at every step would make the GPU wait for it.
        self._placed: dict[tuple[torch.device, torch.dtype], Tensor] = {}

    def like(self, tensor: Tensor) -> Tensor:
        """The numbers (C,) on `tensor`'s device, in its dtype."""
        key = (tensor.device, tensor.dtype)
        if key not in self._placed:
            self._placed[key] = self.values.to(*key)
        return self._placed[key]


def cross_entropy(logits: Tensor, labels: Tensor, *, smoothing: float = 0.0) -> Tensor:
    """Cross-entropy of each sample, (B,); smoothed labels keep 1 - ε and spread ε over all classes."""
    return functional.cross_entropy(logits, labels, reduction="none", label_smoothing=smoothing)


def logit_gradient(logits: Tensor, labels: Tensor) -> Tensor:
    """The gradient of cross-entropy in the logits, softmax(z) - e_y, (B, C)."""
    return add_at(logits.softmax(1), labels, torch.full_like(logits[:, 0], -1))


def add_at(logits: Tensor, labels: Tensor, values: Tensor) -> Tensor:
    """The logits (B, C) with values (B,) added at the labels."""
    return logits.scatter_add(1, labels[:, None], values[:, None])


Balance = Literal["batch", "running"]


@dataclass(frozen=True)
class SampleTerm:
    """coefficient · Σ_i a_{y_i} l_i / Σ_i a_{y_i}: a weighted mean of per-sample losses over the batch of all ranks.

    Attributes:
        losses: l: `(outputs, labels, progress) -> (B,)`.
        class_weights: a: `progress -> PerClassTensor`, or None for the plain mean; `"batch"` weighs each sample by one
            over its class's count in the batch, which makes the mean one over the *classes present* of the class
            means; `"running"` by 1 / (C N π̂_y), see `training.methods.balance`.
        coefficient: `progress -> number`.
        reads: What `losses` looks at; only terms of the logits can be evaluated without the network.
        surrogate: Whether only the gradient has a meaning, because `losses` holds something constant.
    """

    losses: Callable[[Outputs, Tensor, TrainingProgress], Tensor]
    class_weights: Callable[[TrainingProgress], PerClassTensor | None] | Balance = field(default=lambda progress: None)
    coefficient: Callable[[TrainingProgress], float] = field(default=lambda progress: 1.0)
    reads: Literal["logits", "network"] = "logits"
    surrogate: bool = False

    def shares(self, labels: Tensor, counts: Tensor, progress: TrainingProgress) -> Tensor:
        """What each sample weighs in the mean, (B,): a_{y_i} / Σ_c a_c n_c.

        Args:
            labels: (B,).
            counts: Samples of each class that the mean runs over, (C,), in the losses' dtype.
            progress: Where training stands.
        """
        if self.class_weights == "batch":
            return (1 / (counts.clamp(min=1) * (counts > 0).sum()))[labels]
        if self.class_weights == "running":
            if progress.class_shares is None:  # uniform until there has been an epoch to count
                return (1 / counts.sum()).expand(labels.shape)
            return (1 / (len(counts) * counts.sum() * progress.class_shares.like(counts)))[labels]
        weights = self.class_weights(progress)
        if weights is None:
            return (1 / counts.sum()).expand(labels.shape)
        a = weights.like(counts)
        return (a / (a @ counts))[labels]


@dataclass(frozen=True)
class BatchTerm:
    """coefficient · R(batch of all ranks), where R is no mean of per-sample losses.

    Attributes:
        value: R: `(outputs, labels, counts) -> scalar`, the same on every rank; `counts` (C,) is the global batch's.
        coefficient: `progress -> number`.
        name: What it is called in sentences.
    """

    value: Callable[[Outputs, Tensor, Tensor], Tensor]
    coefficient: Callable[[TrainingProgress], float]
    name: str


Term = SampleTerm | BatchTerm


def objective_value(
    terms: Sequence[Term],
    outputs: Outputs,
    labels: Tensor,
    progress: TrainingProgress,
    *,
    class_factors: PerClassTensor | None = None,
) -> Tensor:
    """The objective of a batch: the sum of its terms, the same number on every rank.

    With gradients averaged over ranks (as `DistributedDataParallel` does), a backward pass gives every rank the exact
    gradient of the objective over the global batch, however unequal the shards. All ranks must call it together.

    Args:
        terms: The parts of the objective.
        outputs: What the network says, in float32 or wider.
        labels: (B,) int64.
        progress: Where training stands.
        class_factors: A factor for each class's share of the per-sample means, leaving their denominators alone: an
            indicator of the tail classes gives the tail's part of the objective. For objectives of `SampleTerm`s only.

    Returns:
        A scalar.
    """
    counts = count_classes(labels, outputs.logits.shape[1], outputs.logits.dtype)
    local = outputs.logits.new_zeros(())
    whole = outputs.logits.new_zeros(())
    for term in terms:
        if isinstance(term, SampleTerm):
            shares = term.shares(labels, counts, progress)
            if class_factors is not None:
                shares = shares * class_factors.like(counts)[labels]
            local = local + term.coefficient(progress) * (shares * term.losses(outputs, labels, progress)).sum()
        else:
            whole = whole + term.coefficient(progress) * term.value(outputs, labels, counts)
    return global_sum(local) + whole


def check_counts(class_counts: Sequence[int]) -> tuple[int, ...]:
    """The counts as a tuple.

    Raises:
        InputError: There are fewer than two classes, or one without a training sample.
    """
    counts = tuple(int(n) for n in class_counts)
    if len(counts) < 2 or min(counts) < 1:
        raise InputError(f"class counts {list(counts)} need two or more classes with at least one training sample each")
    return counts
