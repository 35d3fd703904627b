"""The scale-free Hessian diag|w| H diag|w|: curvature along relative changes of the weights.

Its eigenvalues and trace do not change when a layer's weights are multiplied and the next one's divided. The trace is
that of a Krylov basis and of random probes beyond it, zᵀMz − (Vᵀz)ᵀVᵀMV(Vᵀz), for which the numbers zᵀMz are enough:
they are means of samples' own values, so that one pass over a class serves every subset that holds it.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from landscape.hessian.estimators.krylov_space import KrylovSpace
from landscape.hessian.estimators.lanczos import LanczosOptions, LanczosRun, extremal_eigenpairs
from landscape.hessian.estimators.per_sample import per_sample_curvature
from landscape.hessian.estimators.random_vectors import random_normal
from landscape.hessian.estimators.trace import Trace, probe
from landscape.hessian.products.hvp import HessianOperator
from landscape.hessian.products.operators import HessianFactory
from landscape.subject.subsets import Subset


def scaled_top(
    hessian: HessianOperator, sizes: Tensor, options: LanczosOptions, generator: torch.Generator
) -> LanczosRun:
    """The largest eigenvalue of diag|w| H diag|w|.

    Args:
        hessian: H.
        sizes: |w|, (P,), see `weight_sizes`.
        options: Tolerance and budget; one eigenvalue is sought.
        generator: Source of the random starts.

    Returns:
        The pair and its Krylov space.
    """
    start = random_normal(len(sizes), generator).to(sizes)
    one = replace(options, top=1, bottom=0)
    return extremal_eigenpairs(lambda v: sizes * hessian(sizes * v), start, one, generator)


class ScaledProbes:
    """Values zᵀ|w|H|w|z of random probes for every subset, each class's samples passed once.

    Args:
        hessians: The subject and who computes its samples.
        seed: Of the probes.
        count: How many, at least 2; they share one pass.
    """

    def __init__(self, hessians: HessianFactory, seed: int, count: int) -> None:
        self._hessians, self._seed, self._count = hessians, seed, count
        self._known: dict[int, Tensor] = {}

    def trace(self, subset: Subset, space: KrylovSpace) -> Trace:
        """The trace of a subset's scale-free Hessian.

        Args:
            subset: The subset.
            space: A Krylov space of that matrix whose start did not depend on the probes.

        Returns:
            The trace and its t-interval; exact where the space is whole.
        """
        inner = space.projected
        if space.applied == space.size:
            return Trace.of(float(np.trace(inner)))
        values = self._values(subset)
        samples = []
        for index, value in enumerate(values):
            along = (space.basis.double() @ self._probe(index).double()).cpu().numpy()
            samples.append(value - along @ inner @ along)
        error = float(np.std(samples, ddof=1) / len(samples) ** 0.5)
        return Trace.of(float(np.trace(inner) + np.mean(samples)), error, len(samples))

    def _values(self, subset: Subset) -> np.ndarray:
        """(K,) zᵀ|w|H|w|z of each probe."""
        subject = self._hessians.subject
        if subject.by_class:
            parts = [self._of_class(c) for c in subset.classes]
        else:  # subsets may share samples: each is passed once
            every = self._of_rows(-1, slice(0, len(subject.labels)))
            parts = [every[:, subject.places(subject.rows(subset)).to(every.device)]]
        return (torch.cat(parts, 1) @ subject.weights(subset).to(parts[0])).cpu().numpy()

    def _of_class(self, label: int) -> Tensor:
        """(K, n) the values of each of a class's samples."""
        places = torch.nonzero(self._hessians.subject.labels == label)[:, 0].tolist()
        return self._of_rows(label, slice(places[0], places[-1] + 1) if places else slice(0, 0))

    def _of_rows(self, key: int, rows: slice) -> Tensor:
        if key not in self._known:
            vectors = torch.stack([self._hessians.weight_sizes * self._probe(index) for index in range(self._count)])
            empty = torch.empty(self._count, 0, dtype=torch.float64, device=vectors.device)
            some = rows.stop > rows.start
            self._known[key] = per_sample_curvature(self._hessians, rows, vectors) if some else empty
        return self._known[key]

    def _probe(self, index: int) -> Tensor:
        like = self._hessians.subject.vector()
        return probe(len(like), self._seed, index).to(like)
