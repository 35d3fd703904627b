"""The gradient of a subset's loss."""

from __future__ import annotations

import torch
from torch import Tensor

from landscape.evaluation import channels_last
from landscape.subject import Subject, Subset


def loss_and_gradient(subject: Subject, subset: Subset, vector: Tensor, *, chunk: int) -> tuple[float, Tensor]:
    """A subset's loss and its gradient at any weights.

    Args:
        subject: What is measured; its weights are as before afterwards.
        subset: Whose loss.
        vector: The weights, (P,).
        chunk: Samples in one graph.

    Returns:
        The loss and its gradient (P,).
    """
    total, gradient = 0.0, torch.zeros_like(vector)
    parameters = list(subject.parameters.values())
    with subject.placed(vector):
        for batch in subject.batches(subset, chunk):
            images = batch.inputs.dim() == 4 and vector.device.type == "cpu"
            logits = subject.network(channels_last(batch.inputs) if images else batch.inputs)
            loss = subject.loss(logits, batch.labels) @ batch.weights
            parts = torch.autograd.grad(loss, parameters, materialize_grads=True)
            gradient += torch.cat([part.reshape(-1) for part in parts])
            total += float(loss.detach())
    return total, gradient
