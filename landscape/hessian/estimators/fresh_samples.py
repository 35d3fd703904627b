"""Eigenvalues with an interval over data.

The largest eigenvalue of a few samples is the largest of many directions on those very samples: it is biased
upwards, and the smallest downwards. So directions are found on one half of a subset and curvature is measured on the
other, sample by sample, and the other way round. No direction knows the samples it is judged by; but one found on
half the data is not the best for all, which biases the held-out value the other way, so that, off the training
split, the truth for new data of the subset lies between the two. Everything is conditional on the trained weights.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from landscape.conversion import unknown
from landscape.hessian.estimators.lanczos import ExtremalEigenpairs, LanczosOptions, extremal_eigenpairs
from landscape.hessian.estimators.per_sample import per_sample_curvature
from landscape.hessian.estimators.random_vectors import random_normal
from landscape.hessian.products.operators import HessianFactory
from landscape.schema import quantity
from landscape.subject.subsets import Subset

Array = NDArray[np.float64]

FEWEST = 20
"""Samples from which on halves are large enough; of fewer every sample's own value is given."""
LOOSE = 0.1
"""Relative residual of the halves' directions: they need not be exact, only independent of the other half."""


@dataclass(frozen=True)
class FreshSamples:
    """Curvature of samples along directions that they did not choose, or all samples' values where there are few.

    Attributes:
        top: (k,) held-out curvature of the largest eigenvalues' directions; empty below 20 samples.
        top_error: (k,) its standard error over samples.
        bottom: (k',) the same of the smallest.
        bottom_error: (k',) its standard error.
        top_samples: (n,) vᵀH_i v of every sample along the subset's first top eigenvector; empty from 20 samples on.
        bottom_samples: (n,) along its first bottom eigenvector.
    """

    top: Array = field(
        default_factory=unknown,
        metadata=quantity(
            "curvature of held-out samples along the other half's directions",
            "rank",
            name="top_held_out",
            when="intervals",
        ),
    )
    top_error: Array = field(
        default_factory=unknown,
        metadata=quantity("its standard error over samples", "rank", name="top_held_out_se", when="intervals"),
    )
    bottom: Array = field(
        default_factory=unknown,
        metadata=quantity("the same at the bottom", "rank_bottom", name="bottom_held_out", when="intervals"),
    )
    bottom_error: Array = field(
        default_factory=unknown,
        metadata=quantity(
            "its standard error over samples", "rank_bottom", name="bottom_held_out_se", when="intervals"
        ),
    )
    top_samples: Array = field(
        default_factory=unknown,
        metadata=quantity("vᵀH_i v of every sample of a few, along the top vector", "sample"),
    )
    bottom_samples: Array = field(
        default_factory=unknown, metadata=quantity("the same along the bottom vector", "sample")
    )


def fresh_sample_curvature(
    hessians: HessianFactory, subset: Subset, ends: ExtremalEigenpairs, *, seed: int
) -> tuple[FreshSamples, int]:
    """The interval over data of a subset's eigenvalues.

    Args:
        hessians: Where the halves' Hessians come from.
        subset: The subset.
        ends: Its eigenpairs.
        seed: Of the random starts.

    Returns:
        The values, and the products spent in units of the whole subset's.
    """
    rows, top = hessians.subject.rows(subset), len(ends.top.values)
    count = rows.stop - rows.start
    if count < FEWEST:
        pair = torch.stack([ends.top.vectors[0], ends.bottom.vectors[0]])
        few = per_sample_curvature(hessians, rows, pair).cpu().numpy()
        return FreshSamples(top_samples=few[0], bottom_samples=few[1]), 0
    forms, weights, spent = _crossed(hessians, subset, ends, seed)
    means = forms @ weights
    errors = np.sqrt(((forms - means[:, None]) ** 2) @ weights**2 * count / (count - 1))
    return FreshSamples(means[:top], errors[:top], means[top:], errors[top:]), spent


def _crossed(hessians: HessianFactory, subset: Subset, ends: ExtremalEigenpairs, seed: int) -> tuple[Array, Array, int]:
    """(k + k', n) forms of every sample along the other half's directions, their (n,) weights, and products."""
    subject = hessians.subject
    rows, weights = subject.rows(subset), subject.weights(subset)
    halves = [slice(rows.start + i, rows.stop, 2) for i in (0, 1)]  # every class in both, as far as it can be
    shares = [weights[i::2] / weights[i::2].sum() for i in (0, 1)]
    sought, capacity = (len(ends.top.values), len(ends.bottom.values)), hessians.plan.basis
    goal = LanczosOptions(*sought, tol=LOOSE, capacity=capacity, second_start=False)
    forms, spent = np.empty((goal.top + goal.bottom, rows.stop - rows.start)), 0
    for mine, other in ((0, 1), (1, 0)):
        hessian = hessians.of_rows(halves[mine], shares[mine])
        generator = torch.Generator().manual_seed((seed << 1) + mine)
        start = random_normal(subject.size, generator).to(
            subject.vector()
        )  # the whole subset's vectors know all samples
        found = extremal_eigenpairs(hessian, start, goal, generator)
        vectors = torch.cat([found.top.vectors, found.bottom.vectors])
        forms[:, other::2] = per_sample_curvature(hessians, halves[other], vectors).cpu().numpy()
        spent += hessian.products
    return forms, weights.cpu().numpy(), -(-spent // 2)
