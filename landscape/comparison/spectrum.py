"""The spectrum of each subset as a measure: which share of the eigenvalues lies where, without any smoothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from landscape.comparison.rows import Row, keys_of, places_of
from landscape.comparison.runs import Run

CONVERGED = 0.03
"""An eigenvalue whose residual is a larger share of it is not drawn by itself."""


@dataclass(frozen=True)
class SpectralMeasure:
    """A spectrum as weighted nodes.

    Attributes:
        nodes: Eigenvalues, ascending, (m,): converged ones, and the nodes of Lanczos quadrature for all others.
        weights: The share of all eigenvalues that each stands for, (m,), sum 1.
        converged: Eigenvalues that were found one by one, ascending, (n,).
    """

    nodes: np.ndarray
    weights: np.ndarray
    converged: np.ndarray

    def beyond(self) -> tuple[np.ndarray, np.ndarray]:
        """The share of eigenvalues at or beyond each node, counted from its own end of the spectrum.

        Returns:
            Nodes other than 0, ascending, and for a negative one the share of eigenvalues at or below it, for a
            positive one the share at or above it.
        """
        below, above = np.cumsum(self.weights), np.cumsum(self.weights[::-1])[::-1]
        apart = self.nodes != 0
        return self.nodes[apart], np.where(self.nodes < 0, below, above)[apart]


def spectra_of(run: Run, rows: Sequence[Row], view: str) -> dict[int, SpectralMeasure]:
    """The spectra a run has in one view.

    Args:
        run: The run.
        rows: The page's subsets.
        view: The measurement's name.

    Returns:
        By index of the row; a row without two nodes is left out. Where a file holds a smoothed density and no nodes,
        its grid stands for them, without what the smoothing put beyond the extreme eigenvalues.
    """
    measurement = run.of("hessian").get(view)
    if measurement is None:
        return {}
    index, spectra = places_of(rows), dict[int, SpectralMeasure]()
    for position, key in enumerate(keys_of(measurement)):
        nodes, weights = _nodes(measurement.data, position)
        known = np.isfinite(nodes) & np.isfinite(weights) & (weights > 0)
        if known.sum() > 1:
            order = np.argsort(nodes[known], kind="stable")
            nodes, weights = nodes[known][order], weights[known][order]
            found = _converged(measurement.data, position)
            spectra[index[key]] = SpectralMeasure(nodes, weights / weights.sum(), found)
    return spectra


def _nodes(data: Mapping[str, np.ndarray], position: int) -> tuple[np.ndarray, np.ndarray]:
    if {"nodes", "weights"} <= data.keys():
        return data["nodes"][position].astype(float), data["weights"][position].astype(float)
    if not {"density", "density_grid"} <= data.keys():
        return np.empty(0), np.empty(0)
    grid = data["density_grid"]
    grid = (grid[position] if grid.ndim == 2 else grid).astype(float)
    weights = data["density"][position].astype(float)
    for key, beyond in (("top", np.greater), ("bottom", np.less)):
        end = data[key][position].reshape(-1)[:1] if key in data else np.empty(0)
        if np.isfinite(end).any():
            weights = np.where(beyond(grid, end), 0.0, weights)
    return grid, weights


def _converged(data: Mapping[str, np.ndarray], position: int) -> np.ndarray:
    found = []
    for key in ("bottom", "top"):
        if key in data and f"{key}_residual" in data:
            values, residuals = (data[name][position].reshape(-1).astype(float) for name in (key, f"{key}_residual"))
            found.append(values[residuals <= CONVERGED * np.abs(values)])
    return np.unique(np.concatenate(found)) if found else np.empty(0)
