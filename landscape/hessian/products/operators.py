"""The Hessians of a subject's subsets, computed by a plan."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from landscape.execution.double import in_double
from landscape.execution.memory import LARGEST_BASIS
from landscape.execution.sharing import shareable
from landscape.execution.thread_pool import ThreadPool
from landscape.execution.weight_sizes import weight_sizes
from landscape.hessian.products.bn_fusion import fused
from landscape.hessian.products.compiled import CompiledHessianOperator, compile_product
from landscape.hessian.products.hvp import HessianOperator
from landscape.subject.nested import cast
from landscape.subject.samples import Batch
from landscape.subject.subject import Subject
from landscape.subject.subsets import Subset

COMPARED = 256
"""Samples on which products are held against float64."""


@dataclass(frozen=True)
class Plan:
    """How products are computed; recorded with a measurement and used again when it is continued.

    Attributes:
        chunk: Samples in one graph, at most.
        keep: Samples whose graphs are kept, at most.
        workers: Batches computed side by side, each on one thread; a batch with nobody beside it has as many.
        basis: Vectors of a Krylov basis, at most.
        fused: BatchNorm goes into the weights of the convolution before it.
        compiled: Products are one compiled function of a batch, on fresh graphs.
        sample_bytes: What the graph of one sample holds.
        sample_seconds: What one sample of one product took when the plan was made.
    """

    chunk: int
    keep: int = 0
    workers: int = 1
    basis: int = LARGEST_BASIS
    fused: bool = False
    compiled: bool = False
    sample_bytes: int = 0
    sample_seconds: float = 0.0


class HessianFactory:
    """Makes the Hessian of any subset of a subject.

    Args:
        subject: The network, its parameters, data and loss.
        plan: How to compute.

    Attributes:
        workers: Who computes batches side by side.
    """

    def __init__(self, subject: Subject, plan: Plan) -> None:
        self.subject, self.plan = subject, plan
        self._parameters = list(subject.parameters.values())
        self._forward = subject.network
        if plan.fused:
            self._forward = fused(subject) or subject.network
        self.workers = ThreadPool(plan.workers if plan.workers == 1 or shareable(subject) else 1)
        self._compiled = compile_product(subject) if plan.compiled else None

    @functools.cached_property
    def weight_sizes(self) -> Tensor:
        """|w| of the scale-free measures, (P,)."""
        return weight_sizes(self.subject)

    def of(self, subset: Subset) -> HessianOperator:
        """The Hessian of a subset's loss in the subject's dtype; it keeps graphs until it is dropped."""
        return self._made(self.subject.rows(subset), self.subject.weights(subset))

    def of_rows(self, rows: slice, weights: Tensor | None = None) -> HessianOperator:
        """The Hessian of the mean loss over some class-sorted rows, or of the mean with weights (n,) that sum to 1."""
        if weights is None:
            count = len(range(rows.start, rows.stop, rows.step or 1))
            weights = torch.full((count,), 1 / count, dtype=torch.float64, device=self.subject.device)
        return self._made(rows, weights)

    def compared(self, subset: Subset) -> tuple[HessianOperator, HessianOperator | None]:
        """The Hessian as measured and in float64 through the network as it is, nothing fused, on the same samples.

        At most `COMPARED` samples, evenly spaced through the subset: rounding errors of samples are independent, so
        the noise of a few hundred is no smaller than that of all. None where network or loss do not run in float64.
        """
        rows, weights = self.subject.rows(subset), self.subject.weights(subset)
        step = math.ceil((rows.stop - rows.start) / COMPARED)
        rows, weights = slice(rows.start, rows.stop, step), weights[::step]
        weights = weights / weights.sum()
        measured, double = self._made(rows, weights, keep=0), in_double(self.subject)
        if double is None:
            return measured, None
        exact = self.batches(rows, weights)
        return measured, HessianOperator(
            double.network, double.parameters, self.subject.loss, exact, workers=self.workers
        )

    def batches(self, rows: slice, weights: Tensor) -> Batches:
        """Some rows with their weights, (n,), in the chunks that products are computed in; iterable again and again."""
        return Batches(self.subject, rows, weights, self.plan)

    def _made(self, rows: slice, weights: Tensor, *, keep: int | None = None) -> HessianOperator:
        batches = self.batches(rows, weights.to(self.subject.dtype))
        keep = self.plan.keep if keep is None else keep
        if self._compiled is not None:
            return CompiledHessianOperator(self._compiled, self._forward, self._parameters, self.subject.loss, batches)
        return HessianOperator(
            self._forward, self._parameters, self.subject.loss, batches, keep=keep, workers=self.workers
        )


@dataclass(frozen=True)
class Batches:
    """The rows in chunks of nearly equal size, as many for each worker: a ragged last one would keep others waiting."""

    subject: Subject
    rows: slice
    weights: Tensor
    plan: Plan

    def __iter__(self) -> Iterator[Batch]:
        """One batch after the other."""
        rows = range(self.rows.start, self.rows.stop, self.rows.step or 1)
        count = math.ceil(len(rows) / self.plan.chunk)
        if count > 1:
            count = math.ceil(count / self.plan.workers) * self.plan.workers
        size = math.ceil(len(rows) / count)
        for begin in range(0, len(rows), size):
            some = rows[begin : begin + size]
            part = slice(some.start, some.stop, some.step)
            inputs, targets = (
                cast(t, self.weights.dtype) for t in (self.subject.inputs(part), self.subject.targets(part))
            )
            yield Batch(inputs, targets, self.weights[begin : begin + size])
