"""The gradient of a subset's loss."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from landscape.execution.evaluate import channels_last
from landscape.execution.thread_pool import ThreadPool
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
    on_cpu = vector.device.type == "cpu"

    def part(batch: Batch) -> tuple[float, Tensor]:
        inputs = channels_last(batch.inputs) if on_cpu and batch.inputs.dim() == 4 else batch.inputs
        loss = subject.loss(subject.network(inputs), batch.labels) @ batch.weights
        slopes = torch.autograd.grad(loss, parameters, materialize_grads=True)
        return float(loss.detach()), torch.cat([slope.reshape(-1) for slope in slopes])

    total, gradient = 0.0, torch.zeros_like(vector)
    workers = ThreadPool(torch.get_num_threads() if on_cpu else 1)
    with subject.placed(vector):
        for loss, slope in workers.map(part, batches):
            total += loss
            gradient += slope
    return total, gradient
