"""The Hessians of a subject's subsets, computed by a plan."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from landscape.curvature.fused import fused
from landscape.curvature.products import LossHessian
from landscape.curvature.workers import Workers
from landscape.subject import Batch, Subject, Subset


@dataclass(frozen=True)
class Plan:
    """How products are computed; recorded with a measurement and used again when it is continued.

    Attributes:
        chunk: Samples in one graph, at most.
        keep: Samples whose graphs are kept, at most.
        workers: Batches computed side by side, each on one thread.
        fused: BatchNorm goes into the weights of the convolution before it.
        sample_bytes: What the graph of one sample holds.
        sample_seconds: What one sample of one product took when the plan was made.
    """

    chunk: int
    keep: int = 0
    workers: int = 1
    fused: bool = False
    sample_bytes: int = 0
    sample_seconds: float = 0.0


class Hessians:
    """Makes the Hessian of any subset of a subject.

    Args:
        subject: The network, its parameters, data and loss.
        plan: How to compute.
    """

    def __init__(self, subject: Subject, plan: Plan) -> None:
        self.subject, self.plan = subject, plan
        self._parameters = list(subject.parameters.values())
        self._forward = subject.network
        if plan.fused:
            self._forward = fused(subject.network, subject.inputs(slice(0, 1))) or subject.network
        self._workers = Workers(plan.workers)
        self._double: tuple[torch.nn.Module, list[torch.nn.Parameter]] | None = None

    def of(self, subset: Subset) -> LossHessian:
        """The Hessian of a subset's loss in the subject's dtype; it keeps graphs until it is dropped."""
        return self._made(self.subject.rows(subset), self.subject.weights(subset))

    def of_rows(self, rows: slice) -> LossHessian:
        """The Hessian of the mean loss over a range of class-sorted rows."""
        count = rows.stop - rows.start
        weights = torch.full((count,), 1 / count, dtype=torch.float64, device=self.subject.device)
        return self._made(rows, weights)

    def reference(self, subset: Subset) -> LossHessian:
        """The same Hessian in float64 through the network as it is, nothing fused: what products are judged by."""
        if self._double is None:
            network = copy.deepcopy(self.subject.network).double()
            named = dict(network.named_parameters())
            self._double = network, [named[name] for name in self.subject.parameters]
        network, parameters = self._double
        batches = _Batches(self.subject, self.subject.rows(subset), self.subject.weights(subset), self.plan)
        return LossHessian(network, parameters, self.subject.loss, batches, workers=self._workers)

    def _made(self, rows: slice, weights: Tensor) -> LossHessian:
        batches = _Batches(self.subject, rows, weights.to(self.subject.dtype), self.plan)
        return LossHessian(
            self._forward, self._parameters, self.subject.loss, batches, keep=self.plan.keep, workers=self._workers
        )


@dataclass(frozen=True)
class _Batches:
    """The rows in chunks of nearly equal size: a ragged last one would cost a launch for a few samples."""

    subject: Subject
    rows: slice
    weights: Tensor
    plan: Plan

    def __call__(self) -> Iterator[Batch]:
        count = self.rows.stop - self.rows.start
        size = math.ceil(count / math.ceil(count / self.plan.chunk))
        for begin in range(0, count, size):
            part = slice(self.rows.start + begin, self.rows.start + min(begin + size, count))
            inputs = self.subject.inputs(part)
            if inputs.is_floating_point():
                inputs = inputs.to(self.weights.dtype)
            yield Batch(inputs, self.subject.labels[part], self.weights[begin : begin + size])
