"""PyHessian (Yao et al., IEEE Big Data 2020) as a check of ours.

Its power iteration finds the eigenvalue of largest magnitude and stops when it changes little.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from typing import Any

import pyhessian
import torch
from torch import Tensor

from landscape.execution.second_order import PlainOperations, math_attention
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

    with torch.random.fork_rng(), warnings.catch_warnings(), math_attention(), PlainOperations():
        warnings.filterwarnings("ignore", "Using backward.. with create_graph")
        torch.manual_seed(seed)
        torch.set_default_dtype(subject.dtype)  # of its random vectors
        for parameter in parameters:
            parameter.grad = None  # what an earlier object left there would be added to every product
        try:
            data = (subject.inputs(rows), subject.targets(rows))
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
