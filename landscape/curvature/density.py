"""A spectral density from Lanczos quadrature (Lin, Saad and Yang, SIAM Review 2016; Ghorbani et al., ICML 2019)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

POINTS = 512
WIDTH = 0.01
"""Standard deviation of the Gaussian that smooths a node, as a share of the spectrum's width."""


def density(nodes: Array, weights: Array) -> tuple[Array, Array]:
    """Smooths quadrature nodes into a density on an even grid.

    Each node becomes a Gaussian of 1 % of the spectrum's width; the grid reaches four of its deviations further out.
    Nodes come from a cold, unrestarted chain from a random start: only its weights estimate a spectral measure.

    Args:
        nodes: (m,) eigenvalues of the tridiagonal matrix.
        weights: (m,) squared first components of its eigenvectors, sum 1.

    Returns:
        (G,) eigenvalues and (G,) density, which integrates to 1.
    """
    low, high = float(nodes.min()), float(nodes.max())
    width = WIDTH * (high - low) or WIDTH * abs(high) or 1.0
    grid = np.linspace(low - 4 * width, high + 4 * width, POINTS)
    bells = np.exp(-0.5 * ((grid[:, None] - nodes) / width) ** 2)
    return grid, bells @ weights / (width * np.sqrt(2 * np.pi))
