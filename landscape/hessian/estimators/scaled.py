"""The scale-free Hessian diag|w| H diag|w|: curvature along relative changes of the weights.

Its eigenvalues and trace do not change when a layer's weights are multiplied and the next one's divided. The trace is
that of a Krylov basis and of random probes beyond it, zᵀMz − (Vᵀz)ᵀVᵀMV(Vᵀz), for which the numbers zᵀMz are enough:
they are those of `per_sample.ProbeForms`, which every subset shares.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from landscape.hessian.estimators.krylov_space import KrylovSpace
from landscape.hessian.estimators.lanczos import LanczosOptions, LanczosRun, extremal_eigenpairs
from landscape.hessian.estimators.per_sample import ProbeForms
from landscape.hessian.estimators.random_vectors import random_normal
from landscape.hessian.estimators.trace import Trace, coordinates
from landscape.hessian.products.hvp import HessianOperator
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


def scaled_trace(forms: ProbeForms, subset: Subset, space: KrylovSpace, probes: int) -> Trace:
    """The trace of a subset's scale-free Hessian.

    Args:
        forms: Values zᵀ|w|H|w|z of random probes.
        subset: The subset.
        space: A Krylov space of that matrix whose start did not depend on the probes.
        probes: How many take part, at least 2.

    Returns:
        The trace and its t-interval; exact where the space is whole.
    """
    inner = space.projected
    if space.applied == space.size:
        return Trace.of(float(np.trace(inner)))
    samples = []
    for index, value in enumerate(forms.of(subset, probes)):
        along = coordinates(space.basis, forms.probe(index))
        samples.append(value - along @ inner @ along)
    error = float(np.std(samples, ddof=1) / len(samples) ** 0.5)
    return Trace.of(float(np.trace(inner) + np.mean(samples)), error, len(samples))
