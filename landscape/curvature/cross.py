"""Curvature across classes: whose sharp direction hurts whom, and which classes are sharp along the same directions."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from landscape.curvature.operators import Hessians
from landscape.subject import Subset

Array = NDArray[np.float64]


def curvature_along(hessians: Hessians, subset: Subset, vectors: Tensor) -> Array:
    """A subset's curvature along given directions.

    Args:
        hessians: Where its Hessian comes from.
        subset: The subset c.
        vectors: Unit directions v, (D, P).

    Returns:
        (D,) vᵀ H_c v, one product each on one set of kept graphs; NaN for a direction that is not finite.
    """
    hessian = hessians.of(subset)
    found = np.full(len(vectors), np.nan)
    for position, vector in enumerate(vectors):
        if bool(vector.isfinite().all()):
            found[position] = float(torch.dot(vector.double(), hessian(vector).double()))
    return found


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
