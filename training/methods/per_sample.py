"""A trained objective as per-sample losses, so that its landscape can be measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from foundation.errors import InputError
from training.methods.objective import FINISHED, Outputs, SampleTerm, check_counts


def sample_losses(method: Mapping[str, Any], class_counts: Sequence[int]) -> Callable[[Tensor, Tensor], Tensor]:
    """The loss a network was trained with, as one loss a sample.

    Each sample's loss is its share of the objective over the whole training set as it stood at the end of training
    (deferred weights on), times N: the plain mean over all training samples is the objective. For cross-entropy with
    the balanced penalty λ mean_c mean_{i∈c} r_i that is l_i + λ N / (C n_{y_i}) r_i.

    Args:
        method: A method's record, `{"name", "kwargs", …}`.
        class_counts: Training samples of each class, (C,).

    Returns:
        `(logits (n, C), labels (n,)) -> (n,)` losses in the logits' dtype.

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
    if reason is not None:
        raise InputError(f"the trained loss of {name!r} {reason} and is no sum of per-sample losses: {way_out}")
    terms = [term for term in built.terms if isinstance(term, SampleTerm)]
    counts = torch.tensor(check_counts(class_counts), dtype=torch.float64)

    def losses(logits: Tensor, labels: Tensor) -> Tensor:
        outputs = Outputs(logits, logits[:, :0], logits[:0, :0])
        placed = counts.to(logits.device, logits.dtype)
        total = torch.zeros_like(logits[:, 0])
        for term in terms:
            shares = term.shares(labels, placed, FINISHED) * counts.sum().item()
            total = total + term.coefficient(FINISHED) * shares * term.losses(outputs, labels, FINISHED)
        return total

    return losses
