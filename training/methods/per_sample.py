"""A trained objective as per-sample losses, so that its landscape can be measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from foundation.errors import InputError
from training.methods.balance import DRAWS, SEED, expected_class_weights
from training.methods.objective import FINISHED, Outputs, PerClassTensor, SampleTerm, check_counts


@dataclass(frozen=True)
class SampleLosses:
    """A trained objective, sample by sample.

    Attributes:
        function: `(logits (n, C), labels (n,)) -> (n,)` losses in the logits' dtype.
        record: What it rests on beside the method's own record, in plain types: the expected class weights of penalties
            that are balanced batch by batch, and how they were simulated. Empty where there are none.
    """

    function: Callable[[Tensor, Tensor], Tensor] = field(repr=False)
    record: dict[str, Any]

    def __call__(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The losses."""
        return self.function(logits, labels)


def sample_losses(
    method: Mapping[str, Any], class_counts: Sequence[int], *, batch_size: int | None = None
) -> SampleLosses:
    """The loss a network was trained with, as one loss a sample.

    Each sample's loss is its share of the objective over the whole training set as it stood at the end of training
    (deferred weights on), times N: the plain mean over all training samples is the objective. For cross-entropy with
    the balanced penalty λ mean_c mean_{i∈c} r_i that is l_i + λ N / (C n_{y_i}) r_i. Trained in batches, such a penalty
    weighs rare classes less: with w_c of `expected_class_weights` it is l_i + λ N w_{y_i} / n_{y_i} r_i.

    Args:
        method: A method's record, `{"name", "kwargs", …}`.
        class_counts: Training samples of each class, (C,).
        batch_size: Samples that class means ran over in training: a batch, or its part under gradient accumulation.
            None takes all classes alike, as in one batch of everything.

    Returns:
        The losses.

    Raises:
        InputError: The record names no known method, or its objective is no sum over samples of losses of the logits.
    """
    from training.methods.method import build_method  # methods are put together from losses

    built = build_method(str(method["name"]), class_counts, **method["kwargs"])
    name = built.record["name"]
    way_out = "measure it with the plain cross-entropy, --loss evaluation"
    reason = None
    if built.mixing is not None:
        reason = f"is trained on mixed images ({built.mixing.name})"
    elif built.sampler is not None:
        reason = f"draws samples by a sampler of its own ({built.sampler})"
    elif built.stages:
        reason = f"is followed by a later stage ({built.stages[0].name})"
    elif built.optimizer is not None and built.optimizer.name == "bgp-parameters":
        reason = "penalizes the gradient in all parameters"
    for term in built.terms:
        if not isinstance(term, SampleTerm):
            reason = f"contains {term.name}, which belongs to a whole batch"
        elif term.reads == "network":
            reason = "reads the network's features"
        elif term.surrogate:
            reason = "holds weights constant in every step, so that it has a gradient and no value,"
    if reason is not None:
        raise InputError(f"the trained loss of {name!r} {reason} and is no sum of per-sample losses: {way_out}")
    terms = [term for term in built.terms if isinstance(term, SampleTerm)]
    counts = torch.tensor(check_counts(class_counts), dtype=torch.float64)
    finished = replace(FINISHED, class_shares=PerClassTensor(counts / counts.sum()))
    record: dict[str, Any] = {}
    if batch_size is not None and any(term.class_weights == "batch" for term in terms):
        expected = expected_class_weights(class_counts, batch_size)
        record = {"batch_size": batch_size, "draws": DRAWS, "seed": SEED, "class_weights": expected.tolist()}
        weights = PerClassTensor(expected / counts)
        terms = [replace(t, class_weights=lambda _: weights) if t.class_weights == "batch" else t for t in terms]

    def losses(logits: Tensor, labels: Tensor) -> Tensor:
        outputs = Outputs(logits, logits[:, :0], logits[:0, :0])
        placed = counts.to(logits.device, logits.dtype)
        total = torch.zeros_like(logits[:, 0])
        for term in terms:
            shares = term.shares(labels, placed, finished) * counts.sum().item()
            total = total + term.coefficient(finished) * shares * term.losses(outputs, labels, finished)
        return total

    return SampleLosses(losses, record)
