"""Curvature across classes: whose sharp direction hurts whom, who is sharp along the same ones, who makes the whole."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from landscape.hessian.products.operators import HessianFactory
from landscape.subject.subsets import Subset

Array = NDArray[np.float64]


def curvature_along(hessians: HessianFactory, subset: Subset, vectors: Tensor) -> Array:
    """A subset's curvature along given directions.

    Args:
        hessians: Where its Hessian comes from.
        subset: The subset c.
        vectors: Unit directions v, (D, P).

    Returns:
        (D,) vᵀ H_c v, one product each on one set of kept graphs; NaN for a direction that is not finite.
    """
    found = np.full(len(vectors), np.nan)
    finite = vectors.isfinite().all(1)
    if bool(finite.any()):
        some = vectors[finite]
        forms = (some.double() * hessians.of(subset).block(some).double()).sum(1)
        found[finite.cpu().numpy()] = forms.cpu().numpy()
    return found


def class_share(forms: Array, values: Array, part: float) -> Array:
    """A class's share of eigenvalues of the Hessian of all samples.

    That Hessian is Σ_c π_c H_c with π_c the class's part of the samples, so λ = Σ_c π_c vᵀH_c v along its eigenvectors.

    Args:
        forms: (k,) vᵀH_c v along k eigenvectors of all samples.
        values: (k,) their eigenvalues.
        part: π_c.

    Returns:
        (k,) shares; over all classes they sum to 1. A class that pulls the other way has a negative one.
    """
    return np.asarray(part * forms / values)


def overlaps(vectors: Tensor) -> Array:
    """How far eigenspaces coincide: ‖V_i V_jᵀ‖²_F / k, 1 for the same space and 0 for orthogonal ones.

    Args:
        vectors: (D, k, P), k orthonormal vectors each.

    Returns:
        (D, D). Two random k-dimensional spaces overlap by k / P.
    """
    count, k, size = vectors.shape
    flat = vectors.reshape(count * k, size).double()
    gram = (flat @ flat.T).square().reshape(count, k, count, k)
    return gram.sum((1, 3)).div(k).cpu().numpy()
