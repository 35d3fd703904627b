"""The size |w| of every weight, in which scale-free measures count its changes.

Rescaling layers against each other changes no prediction and no measure of relative changes. One vector added to all
rows of a linear head, or one number to its biases, changes no prediction either, for all logits move alike; but it
changes sizes. They are therefore taken with the mean row and the mean bias removed, where the losses are seen not to
depend on them, here and nearby: gradients and Hessians are then the same, and so are the measures of both networks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from landscape.execution.agreement import moved
from landscape.subject.subject import Subject

SAMPLES = 64
"""Samples, of every class as far as they reach, whose losses must not change."""
SHIFT = 10.0
"""Length of the tried shifts, in sizes of the head's weights: a loss that looks at them at all is moved by nats."""
ROUNDINGS = 32
"""Units in the last place of the largest logit that a loss may change by."""


@torch.no_grad()
def weight_sizes(subject: Subject) -> Tensor:
    """|w| of every measured parameter, without what a linear head adds to all logits alike.

    Args:
        subject: The network, its data and loss; it is as before afterwards.

    Returns:
        (P,) sizes in the subject's dtype.
    """
    vector = subject.vector()
    named = subject.split(vector)  # views
    for names in _heads(subject):
        if _unseen(subject, names):
            for name in names:
                named[name] -= named[name].mean(0)
    return vector.abs()


def _heads(subject: Subject) -> Iterator[Sequence[str]]:
    """Measured parameters of each linear layer with as many outputs as the network has: weight, bias or both."""
    name_of = {id(parameter): name for name, parameter in subject.parameters.items()}
    for module in subject.network.modules():
        if isinstance(module, nn.Linear) and module.out_features == subject.outputs:
            names = [name_of[id(p)] for p in (module.weight, module.bias) if id(p) in name_of]
            if names:
                yield names


def _unseen(subject: Subject, names: Sequence[str]) -> bool:
    """Whether one random vector added to all rows of these parameters, (C, …), changes no sample's loss.

    At moved weights too: factors behind the layer may be all alike here, and yet move its logits apart when they move.
    """
    rows, generator = subject.few(SAMPLES), torch.Generator().manual_seed(0)
    inputs, targets = subject.inputs(rows), subject.targets(rows)
    here = subject.vector()
    shift = torch.zeros_like(here)
    weights, parts = subject.split(here), subject.split(shift)
    size = SHIFT * max(float(weights[name].square().mean().sqrt()) for name in names)
    for name in names:
        parts[name] += size * torch.randn(parts[name].shape[1:], generator=generator).to(shift)

    def losses(vector: Tensor) -> tuple[Tensor, float]:
        with subject.placed(vector):
            logits = subject.network(inputs)
        return subject.loss(logits, targets), ROUNDINGS * torch.finfo(logits.dtype).eps * (
            1 + float(logits.abs().max())
        )

    for point in (here, moved(subject)):
        before, _ = losses(point)
        for shifted in (point + shift, point - shift):
            after, rounding = losses(shifted)
            if not bool((after - before).abs().max() <= rounding):
                return False
    return True
