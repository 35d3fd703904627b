"""PyHessian (Yao et al., IEEE Big Data 2020) behind our interface: another engine, and a check of ours.

Its power iteration finds eigenvalues of largest magnitude one after the other and stops when a value changes little;
its trace is Hutchinson's without deflation and stops in the same way. It has no smallest eigenvalue and no residuals:
those stay unknown here, or cost one product of our own each.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyhessian
import torch
from torch import Tensor

from landscape.hessian.products.hvp import HessianOperator
from landscape.hessian.products.operators import HessianFactory
from landscape.hessian.result import HessianSettings, SubsetCurvature, unmeasured
from landscape.subject.subject import Subject
from landscape.subject.subsets import Subset

ITERATIONS = 100
"""PyHessian's own default, of power iterations and of trace probes."""


@contextlib.contextmanager
def pyhessian_of(subject: Subject, subset: Subset, seed: int) -> Iterator[Any]:
    """PyHessian's object for one subset as a single batch, for it would average batches, not samples.

    Args:
        subject: The network and data; unchanged afterwards.
        subset: The subset.
        seed: Of PyTorch's global random numbers, from which PyHessian draws; they are put back afterwards.

    Yields:
        `pyhessian.hessian`.
    """
    rows, parameters = subject.rows(subset), list(subject.network.parameters())
    weights, default = subject.weights(subset).to(subject.dtype), torch.get_default_dtype()

    def criterion(logits: Tensor, labels: Tensor) -> Tensor:
        return (subject.loss(logits, labels) * weights).sum()

    with torch.random.fork_rng(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Using backward.. with create_graph")
        torch.manual_seed(seed)
        torch.set_default_dtype(subject.dtype)  # of its random vectors
        for parameter in parameters:
            parameter.grad = None  # what an earlier object left there would be added to every product
        try:
            data = (subject.inputs(rows), subject.labels[rows])
            yield pyhessian.hessian(subject.network, criterion, data=data, cuda=subject.device.type == "cuda")
        finally:
            torch.set_default_dtype(default)
            for parameter in parameters:
                parameter.grad = None


def largest_by_magnitude(subject: Subject, subset: Subset, *, tol: float, seed: int) -> float:
    """PyHessian's eigenvalue of largest magnitude.

    Args:
        subject: The network and data.
        subset: The subset.
        tol: Relative change between two power iterations at which it stops.
        seed: Of its random start.

    Returns:
        The eigenvalue.
    """
    with pyhessian_of(subject, subset, seed) as other:
        return float(other.eigenvalues(maxIter=ITERATIONS, tol=tol, top_n=1)[0][0])


def measure_by_pyhessian(
    hessians: HessianFactory,
    subset: Subset,
    hessian: HessianOperator,
    settings: HessianSettings,
    *,
    probed: Sequence[Tensor] | None = None,
    warm: Tensor | None = None,
) -> SubsetCurvature:
    """Measures one subset as PyHessian would: its largest eigenvalues by magnitude and its trace.

    Args:
        hessians: The subject.
        subset: The subset.
        hessian: Its Hessian, for residuals.
        settings: How much; `tol` is PyHessian's.
        probed: Not used: PyHessian draws its own probes
        warm: … and starts.

    Returns:
        The curvature; what PyHessian does not measure is NaN, and no verdict is given. `products` counts ours alone.
    """
    subject = hessians.subject
    blank = unmeasured(subject, subset, settings, hessian)
    count = min(settings.top, subject.size)
    with pyhessian_of(subject, subset, settings.seed) as other:
        values, directions = other.eigenvalues(maxIter=ITERATIONS, tol=settings.tol, top_n=count)
        samples = np.array(other.trace(maxIter=ITERATIONS, tol=settings.tol))
    top = np.array([float(value) for value in values])
    if not np.isfinite(top).all():
        return blank
    vectors = torch.stack([torch.cat([part.detach().reshape(-1) for part in vector]) for vector in directions])
    vectors /= torch.linalg.vector_norm(vectors, dim=1, keepdim=True)
    order = np.argsort(-top, kind="stable")
    top, vectors = top[order], vectors[torch.as_tensor(order).to(vectors.device)]
    misses = hessian.block(vectors) - torch.as_tensor(top).to(vectors)[:, None] * vectors
    residuals = torch.linalg.vector_norm(misses, dim=1).double().cpu().numpy()
    empty = np.full(settings.top - count, np.nan)
    kept = None
    if settings.vectors:
        kept = torch.cat([vectors, vectors.new_full((len(empty), subject.size), np.nan)])
    return replace(
        blank,
        finite=True,
        top=np.r_[top, empty],
        top_residual=np.r_[residuals, empty],
        trace=float(samples.mean()),
        trace_se=float(samples.std(ddof=1) / np.sqrt(len(samples))) if len(samples) > 1 else np.nan,
        converged=bool((residuals <= settings.tol * np.abs(top)).all()),
        products=hessian.products,
        top_vectors=kept,
    )
