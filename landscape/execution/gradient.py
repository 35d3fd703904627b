"""The gradient of a subset's loss."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from landscape.execution.layout import packed
from landscape.execution.sharing import thread_pool
from landscape.subject.samples import Batch
from landscape.subject.subject import Subject


def loss_and_gradient(subject: Subject, batches: Iterable[Batch], vector: Tensor) -> tuple[float, Tensor]:
    """A weighted loss and its gradient at any weights.

    Args:
        subject: What is measured; its weights are as before afterwards.
        batches: The samples and what each weighs, a graph each.
        vector: The weights, (P,).

    Returns:
        The loss and its gradient (P,).
    """
    parameters = list(subject.parameters.values())

    def part(batch: Batch) -> tuple[float, Tensor]:
        loss = subject.loss(subject.network(packed(subject, batch.inputs)), batch.targets) @ batch.weights
        slopes = torch.autograd.grad(loss, parameters, materialize_grads=True)
        return float(loss.detach()), torch.cat([slope.reshape(-1) for slope in slopes])

    total, gradient = 0.0, torch.zeros_like(vector)
    with subject.placed(vector):
        for loss, slope in thread_pool(subject).map(part, batches):
            total += loss
            gradient += slope
    return total, gradient
