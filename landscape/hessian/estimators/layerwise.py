"""The largest eigenvalue of each layer's own diagonal block: where in the network a loss is sharp."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from landscape.hessian.estimators.lanczos import LanczosOptions, extremal_eigenpairs, warm_start
from landscape.hessian.products.hvp import HessianOperator
from landscape.subject.subject import Subject

Array = NDArray[np.float64]

RESIDUAL = 1e-2
"""Relative residual of a block's top pair; the eigenvalue's error is of its square."""


def layers(subject: Subject) -> dict[str, list[int]]:
    """Positions of the parameters that one module owns together, by the module's name, in the network's order."""
    found: dict[str, list[int]] = {}
    for position, name in enumerate(subject.parameters):
        found.setdefault(name.rpartition(".")[0] or name, []).append(position)
    return found


def layer_tops(
    subject: Subject, hessian: HessianOperator, blocks: Sequence[Sequence[int]], *, capacity: int, seed: int
) -> Array:
    """The largest eigenvalue of each block.

    A chain starts from the block's own gradient and random signs: gradients lie close to the outliers (Gur-Ari et
    al., 2018) and save about one product in four.

    Args:
        subject: Whose parameters they are.
        hessian: The Hessian of one subset.
        blocks: Positions of each block's parameters.
        capacity: Vectors of a Krylov basis, at most.
        seed: Of the random starts.

    Returns:
        (L,) largest algebraic eigenvalues; never above that of the whole Hessian.
    """
    sizes = [p.numel() for p in subject.parameters.values()]
    gradients = torch.split(hessian.gradient.to(subject.vector()), sizes)
    tops = []
    for block in blocks:
        generator = torch.Generator().manual_seed(seed)
        start = warm_start(torch.cat([gradients[i] for i in block])[None], generator)
        options = LanczosOptions(1, 0, tol=RESIDUAL, capacity=capacity)
        ends = extremal_eigenpairs(partial(_product, hessian, block), start, options, generator)
        tops.append(ends.top.outermost)
    return np.array(tops)


def _product(hessian: HessianOperator, block: Sequence[int], vector: Tensor) -> Tensor:
    return hessian.block(vector[None], block)[0]
