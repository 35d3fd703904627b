"""What stands between the measured cells of a surface, and how far it may be off: `Interpolant`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree
from scipy.spatial.distance import cdist

NEIGHBORS = 8
"""Measured cells around a point whose leave-one-out errors say how rough a subset is there."""

OWN_LEVEL = 0.1
"""Weight of the whole surface's roughness beside that of the neighbors: a kink that passes between coarse cells shows
in few leave-one-out errors, and without this weight it was found only where they happened to be large."""

TINY = 1e-15


@dataclass(frozen=True)
class Interpolant:
    """Interpolated values of every subset with the size of their errors, not yet calibrated.

    Attributes:
        value: log(1 + loss), (cells, S).
        estimate: Size of its error, (cells, S); 0 to rounding at measured cells.
        left_out: Error at each measured cell of the interpolant that was made without it, (n, S).
        left_out_estimate: What `estimate` would have said of that error, (n, S).
        share: Share of the other cells whose nearest measured cell this is, (n,).
    """

    value: np.ndarray
    estimate: np.ndarray
    left_out: np.ndarray
    left_out_estimate: np.ndarray
    share: np.ndarray


def interpolate(grid: np.ndarray, known: np.ndarray, loss: np.ndarray) -> Interpolant:
    """Interpolates between measured cells.

    log(1 + loss) is interpolated by a cubic radial basis function with a linear part (Wendland, "Scattered Data
    Approximation", 2005, chapter 8). Its error at a point is at most the power function there, which follows from where
    the measured cells lie alone (ibid., chapter 11; the standard deviation of kriging), times the roughness of the
    surface, which is read off the leave-one-out errors of the measured cells around it; they come with the interpolant
    (Rippa, "An algorithm for selecting a good value for the parameter c in radial basis function interpolation", 1999)
    and so does the power function of each of them.

    Args:
        grid: Rows and columns of every cell, (cells, 2).
        known: Indices of the n measured cells.
        loss: Of every subset at the measured cells, (n, S).

    Returns:
        The interpolant at every cell.
    """
    points = (grid - grid.mean(axis=0)) / max(float(np.ptp(grid)), 1.0)
    at, logs, count = points[known], np.log1p(loss), len(known)
    tail = _linear(at)
    inverse = np.linalg.inv(np.block([[cdist(at, at) ** 3, tail], [tail.T, np.zeros((3, 3))]]))
    coefficients, diagonal = inverse[:, :count] @ logs, np.diag(inverse)[:count]
    basis = np.hstack([cdist(points, at) ** 3, _linear(points)])
    power = np.sqrt(np.maximum(-np.einsum("ij,ij->i", basis @ inverse, basis), 0.0))
    left_out, left_out_power = np.abs(coefficients[:count]) / diagonal[:, None], diagonal**-0.5
    rough = (left_out / left_out_power[:, None]) ** 2
    tree = cKDTree(at)
    around = tree.query(points, k=NEIGHBORS)[1]
    share = np.bincount(np.delete(around[:, 0], known), minlength=count) / max(len(grid) - count, 1)
    level = OWN_LEVEL * (share @ rough)

    def estimate(neighbors: np.ndarray, powers: np.ndarray) -> np.ndarray:
        local = (1 - OWN_LEVEL) * rough[neighbors].mean(axis=1)
        return np.asarray(np.sqrt(local + level) * powers[:, None] + TINY)

    others = tree.query(at, k=NEIGHBORS + 1)[1][:, 1:]
    return Interpolant(
        value=basis @ coefficients,
        estimate=estimate(around, power),
        left_out=left_out,
        left_out_estimate=estimate(others, left_out_power),
        share=share,
    )


def linear_weights(grid: np.ndarray, known: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """Weights of the measured cells in an interpolation that neither bends nor overshoots far, (cells, n).

    Radial basis function r with a constant: for what has kinks and bounds, as accuracies have.

    Args:
        grid: Rows and columns of every cell.
        known: Indices of the n measured cells.
        cells: Indices of the cells between.
    """
    at, one = grid[known], np.ones((len(known), 1))
    inverse = np.linalg.inv(np.block([[-cdist(at, at), one], [one.T, np.zeros((1, 1))]]))
    basis = np.hstack([-cdist(grid[cells], at), np.ones((len(cells), 1))])
    return np.asarray(basis @ inverse[:, : len(known)])


def quantile(values: np.ndarray, weights: np.ndarray, level: float) -> np.ndarray:
    """The smallest value of each column up to which lies `level` of the weight.

    Args:
        values: (n, S).
        weights: (n,).
        level: Between 0 and 1.

    Returns:
        (S,)
    """
    order = np.argsort(values, axis=0)
    reached = np.cumsum(weights[order], axis=0) >= level * weights.sum()
    first = np.where(reached.any(axis=0), reached.argmax(axis=0), len(values) - 1)
    columns = np.arange(values.shape[1])
    return np.asarray(values[order[first, columns], columns])


def _linear(points: np.ndarray) -> np.ndarray:
    return np.hstack([np.ones((len(points), 1)), points])
