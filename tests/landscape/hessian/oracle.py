"""Small subjects whose exact dense float64 Hessians are known, for every test of curvature."""

from __future__ import annotations

import copy
import functools

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from landscape.subject.losses import LossFunction
from landscape.subject.samples import TensorSamples
from landscape.subject.subject import Subject
from landscape.subject.subsets import Subset


def network(*, seed: int = 0, activation: type[nn.Module] = nn.GELU, width: int = 4, classes: int = 5) -> nn.Module:
    """A convolutional network with two BatchNorms whose statistics are not those of any batch; 200 to 300 numbers."""
    torch.manual_seed(seed)
    net = nn.Sequential(
        nn.Conv2d(1, width, 3, padding=1, bias=False),
        nn.BatchNorm2d(width),
        activation(),
        nn.Conv2d(width, width, 3, stride=2, padding=1),
        nn.BatchNorm2d(width),
        activation(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(width, classes),
    )
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(std=0.3)
            module.running_var.uniform_(0.5, 2.0)
            module.weight.data.uniform_(0.5, 1.5)
            module.bias.data.normal_(std=0.3)
    net[-1].weight.data.mul_(3)
    return net


def samples(counts: tuple[int, ...] = (37, 11, 3, 2, 1), *, seed: int = 1, side: int = 6) -> TensorSamples:
    """Images of classes as rare as 3, 2 and 1 samples, in shuffled order."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    images = torch.randn(len(labels), 1, side, side, generator=generator) + 0.3 * labels.view(-1, 1, 1, 1)
    order = torch.randperm(len(labels), generator=generator)
    return TensorSamples(images[order], labels[order])


COUNTS = (37, 11, 3, 2, 1)


def subject(dtype: torch.dtype = torch.float64, **settings) -> Subject:
    """All of the above as a subject."""
    net = settings.pop("net", None) or network(activation=settings.pop("activation", nn.GELU))
    settings.setdefault("train_counts", COUNTS)
    return Subject(net, settings.pop("samples", None) or samples(), dtype=dtype, **settings)


@functools.cache
def standard(activation: type[nn.Module] = nn.GELU) -> Subject:
    """The float64 subject that dense Hessians are shared through; tests must not change it."""
    return subject(activation=activation)


@functools.cache
def dense(of: Subject, subset: Subset, loss_of: LossFunction | None = None) -> tuple[float, torch.Tensor, np.ndarray]:
    """Loss, gradient (P,) and Hessian (P, P) of a subset by the book: float64, one graph, row by row.

    Samples are picked by their labels, not by the subject's own rows or weights, and plain cross-entropy is measured
    unless another loss is given.
    """
    net = network_in_double(of)
    named = dict(net.named_parameters())
    parameters = [named[name] for name in of.parameters]
    inputs, labels = of.inputs(slice(0, len(of.labels))).double(), of.labels
    losses = (
        loss_of(net(inputs), labels) if loss_of else functional.cross_entropy(net(inputs), labels, reduction="none")
    )
    if subset.kind == "balanced":
        present = [c for c in range(of.classes) if (labels == c).any()]
        loss = torch.stack([losses[labels == c].mean() for c in present]).mean()
    else:
        members = torch.isin(labels, torch.tensor(subset.classes))
        loss = losses[members].mean()
    gradients = torch.autograd.grad(loss, parameters, create_graph=True)
    flat = torch.cat([g.reshape(-1) for g in gradients])
    units = torch.eye(len(flat), dtype=torch.float64)
    rows = torch.autograd.grad(flat, parameters, units, is_grads_batched=True, materialize_grads=True)
    whole = [h.expand(len(flat), *p.shape) for h, p in zip(rows, parameters, strict=True)]  # zeros come as one row
    hessian = torch.cat([h.reshape(len(flat), -1) for h in whole], 1)
    return float(loss.detach()), flat.detach(), hessian.numpy()


def sizes(of: Subject, *, centered: bool = True) -> np.ndarray:
    """|w|, (P,): without the mean row and the mean bias of the last linear layer where no loss depends on them."""
    last = [module for module in of.network.modules() if isinstance(module, nn.Linear)][-1]
    values = [
        parameter - parameter.mean(0) if centered and parameter in set(last.parameters()) else parameter
        for parameter in of.parameters.values()
    ]
    return torch.cat([value.detach().double().abs().flatten() for value in values]).numpy()


def _errors(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """p − e_y, (n, C)."""
    return logits.softmax(1) - functional.one_hot(labels, logits.shape[1])


LOSSES = {
    "cross-entropy and the penalty of BGP": lambda z, y: (
        functional.cross_entropy(z, y, reduction="none") + 2 * _errors(z, y).square().sum(1)
    ),
    "Brier": lambda z, y: _errors(z, y).square().sum(1),
    "generalized cross-entropy": lambda z, y: (1 - z.softmax(1).gather(1, y[:, None])[:, 0] ** 0.7) / 0.7,
    "squared error": lambda z, y: (z - functional.one_hot(y, z.shape[1])).square().sum(1),
    "linear": lambda z, y: -z.gather(1, y[:, None])[:, 0],
}
"""Losses whose own Hessian has negative eigenvalues, full rank, or is zero."""


def network_in_double(of: Subject) -> nn.Module:
    return copy.deepcopy(of.network).double()
