"""zᵀMz of random probes for every subset: each class passes its samples once, and mixtures add up what classes know.

A trace needs the numbers zᵀMz alone, not the products Mz: of M = H or diag|w| H diag|w| they are means of samples' own
values, for which Taylor passes take 4K + 1 forward passes for K probes where products on kept graphs take 6K.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from landscape.hessian.estimators.per_sample import mean_curvature
from landscape.hessian.estimators.trace import probe
from landscape.hessian.products.operators import HessianFactory
from landscape.subject.subsets import Subset

BLOCK = 8
"""Probes of one pass, always the same ones together, so that what was asked before decides no last bit."""


class ProbeForms:
    """Values zᵀMz of the seed's probes.

    Args:
        hessians: The subject and who computes its samples.
        seed: Of the probes.
        sizes: |w|, (P,), for diag|w| H diag|w|; None for H.
    """

    def __init__(self, hessians: HessianFactory, seed: int, sizes: Tensor | None = None) -> None:
        self._hessians, self._seed, self._sizes = hessians, seed, sizes
        self._known: dict[tuple[int | str, int], Tensor] = {}

    def of(self, subset: Subset, count: int) -> np.ndarray:
        """The values of a subset's mean loss.

        Args:
            subset: The subset.
            count: Of the first so many probes.

        Returns:
            (count,).
        """
        subject = self._hessians.subject
        blocks = range(-(-count // BLOCK))
        rows = subject.rows(subset)
        if not subject.by_class:  # subsets may share samples, but no samples are shared by all that they have
            parts, shares = [(subset.name, rows)], [1.0]
        else:
            labels, sizes = torch.unique_consecutive(subject.labels[rows], return_counts=True)
            ends = (rows.start + sizes.cumsum(0)).tolist()
            starts = [rows.start, *ends[:-1]]
            parts = [(c, slice(a, b)) for c, a, b in zip(labels.tolist(), starts, ends, strict=True)]
            weights = subject.weights(subset)
            shares = [float(weights[part.start - rows.start : part.stop - rows.start].sum()) for _, part in parts]
        total = torch.zeros(len(blocks) * BLOCK, dtype=torch.float64)
        for (key, part), share in zip(parts, shares, strict=True):
            total += share * torch.cat([self._block(key, part, index) for index in blocks])
        return total[:count].numpy()

    def probe(self, index: int) -> Tensor:
        """(P,) one of the probes."""
        like = self._hessians.subject.vector()
        return probe(len(like), self._seed, index).to(like)

    def _block(self, key: int | str, rows: slice, index: int) -> Tensor:
        """(BLOCK,) means over some rows."""
        if (key, index) not in self._known:
            probes = torch.stack([self.probe(i) for i in range(index * BLOCK, (index + 1) * BLOCK)])
            vectors = probes if self._sizes is None else self._sizes * probes
            self._known[key, index] = mean_curvature(self._hessians, rows, vectors).cpu()
        return self._known[key, index]
