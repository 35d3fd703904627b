"""Which cells of a surface to evaluate, and what stands between them: interpolation with a stated error.

Pure planning on arrays: it sees coordinates, losses and statuses, never a network. What it asks for next follows
from what was measured alone, so that an interrupted surface goes on exactly as it would have.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from landscape.schema import MEASURED, TODO

COARSE = 7
"""Most cells between the first measurements. Of 51 × 51 surfaces of three networks at a tolerance of 0.01, 7.6, 8.2 and
14.8 % of the cells were then evaluated; with 8 it took 8.0, 8.9 and 16.7 %, with 10 it took 9.5, 9.1 and 16.3 %."""

BATCH = 8
"""A round adds one cell for this many that are known: small rounds waste fewer cells on what the last one settled."""

LOG_SHARE = 2.0
"""A loss may also be off by this many tolerances in log(1 + loss), so that valleys are as true as walls."""

NEIGHBORS = 4
ROUNDING = 1e-9
ENOUGH = 16
"""With fewer finite cells than this there is nothing to interpolate from."""

Cells = list[tuple[int, int]]


class Refinement:
    """Plans a surface: a coarse grid first, then the cells whose interpolation is worst in any subset.

    The interpolant of log(1 + loss) is a cubic radial basis function with a linear part, one for all subsets
    (Wendland, "Scattered Data Approximation", 2005, chapter 8). The error at a cell is estimated from the
    leave-one-out errors of the measured cells around it, which cost nothing once the interpolant is there (Rippa,
    "An algorithm for selecting a good value for the parameter c in radial basis function interpolation", 1999),
    shrunk with the square of its distance from the nearest of them where the next measurement is chosen, and with
    the distance itself, times what covers every leave-one-out error, where an error is stated: on surfaces of which all
    cells were known that covered the true error in 99.5 % of the cells, and in 93.5 % for the worst class. Nothing is
    interpolated next to a cell that is not finite.

    Args:
        shape: Rows and columns of the surface.
        tolerance: Largest error of a loss as a share of its subset's range; None measures every cell. Along a line
            every cell is measured.
    """

    def __init__(self, shape: tuple[int, int], tolerance: float | None) -> None:
        self._shape = shape
        self._tolerance = tolerance
        rows, columns = np.indices(shape)
        self._grid = np.stack([rows.ravel(), columns.ravel()], axis=1).astype(np.float64)

    def start(self) -> Cells:
        """The cells to evaluate first."""
        rows, columns = self._shape
        if self._tolerance is None or min(rows, columns) == 1:
            return [(i, j) for i in range(rows) for j in range(columns)]
        return [(i, j) for i in _coarse(rows) for j in _coarse(columns)]

    def more(self, loss: np.ndarray, status: np.ndarray) -> Cells:
        """The cells to evaluate next.

        Args:
            loss: (S, B, A), NaN where unknown.
            status: (B, A), values of `landscape.files.landscape_file`.

        Returns:
            Cells by row and column; none when every estimated error is within the tolerance.
        """
        todo = np.flatnonzero(status.ravel() == TODO)
        if not len(todo):
            return []
        fit = self._fit(loss, status)
        if fit is None:
            return self._cells(todo)
        assert self._tolerance is not None
        log_error = fit.log_error[todo]
        share = _in_nats(fit.value[todo], log_error) / fit.range
        excess = np.maximum(share, log_error / LOG_SHARE).max(axis=1) / self._tolerance
        excess[self._beside_broken(status)[todo]] = np.inf
        order = np.argsort(-excess, kind="stable")
        candidates = todo[order[excess[order] > 1.0]]
        return self._apart(candidates, max(BATCH, int((status != TODO).sum()) // BATCH))

    def between(self, values: Mapping[str, np.ndarray], status: np.ndarray) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """Fills the cells that were not evaluated.

        Args:
            values: `loss` and whatever else was measured, (S, B, A) each, NaN where unknown.
            status: (B, A), values of `landscape.files.landscape_file`.

        Returns:
            The values with those between: the loss by the interpolant and not below the smallest that was measured
            (an overshoot to 0 would be a hole on a logarithmic scale), all else linearly and within the range that
            was measured; and the estimated error of each loss, (S, B, A), 0 where measured.
        """
        loss = values["loss"]
        fit = self._fit(loss, status)
        assert fit is not None
        todo, known = (status == TODO).ravel(), (status == MEASURED).ravel()
        linear = _Spline(self._grid[known], np.eye(int(known.sum())), power=1)(self._grid[todo])
        filled = {}
        for name, array in values.items():
            flat = array.reshape(len(array), -1).copy()
            seen = flat[:, known]
            if name == "loss":
                flat[:, todo] = np.expm1(fit.value[todo]).T.clip(seen.min(1, keepdims=True))
            else:
                flat[:, todo] = (seen @ linear.T).clip(seen.min(1, keepdims=True), seen.max(1, keepdims=True))
            filled[name] = flat.reshape(array.shape)
        error = np.zeros((len(loss), status.size))
        error[:, todo] = _in_nats(fit.value[todo], fit.stated[todo]).T
        return filled, error.reshape(loss.shape)

    def _fit(self, loss: np.ndarray, status: np.ndarray) -> _Fit | None:
        known = np.flatnonzero(status.ravel() == MEASURED)
        if len(known) < ENOUGH:
            return None
        values = loss.reshape(len(loss), -1)[:, known].T
        spline = _Spline(self._grid[known], np.log1p(values), power=3)
        left_out = np.abs(spline.leave_one_out())
        tree = cKDTree(self._grid[known])
        beside = tree.query(self._grid[known], k=NEIGHBORS + 1)
        spacing = beside[0][:, 1]

        def from_neighbors(distance: np.ndarray, near: np.ndarray, power: int) -> np.ndarray:
            shrink = (distance[:, :1] / spacing[near]) ** power
            return np.asarray((left_out[near] * shrink[:, :, None]).max(axis=1))

        distance, near = tree.query(self._grid, k=NEIGHBORS)
        # How far the same rule underestimates the known leave-one-out errors from those of their neighbors.
        ratio = left_out / np.maximum(from_neighbors(beside[0][:, 1:], beside[1][:, 1:], 1), ROUNDING)
        spread = np.maximum(values.max(axis=0) - values.min(axis=0), ROUNDING * (1 + np.abs(values).max(axis=0)))
        stated = ratio.max(axis=0) * from_neighbors(distance, near, 1)
        return _Fit(spline(self._grid), from_neighbors(distance, near, 2), stated, spread)

    def _beside_broken(self, status: np.ndarray) -> np.ndarray:
        """Whether the evaluated cell nearest to each cell is not finite, (cells,)."""
        flat = status.ravel()
        evaluated = np.flatnonzero(flat != TODO)
        nearest = cKDTree(self._grid[evaluated]).query(self._grid)[1]
        return np.asarray(flat[evaluated][nearest] != MEASURED)

    def _apart(self, candidates: np.ndarray, most: int) -> Cells:
        """The first candidates of which no two touch: neighbors would tell much the same."""
        chosen: Cells = []
        blocked = np.zeros(self._shape, dtype=bool)
        for row, column in self._cells(candidates):
            if not blocked[row, column]:
                chosen.append((row, column))
                blocked[max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2] = True
            if len(chosen) == most:
                break
        return chosen

    def _cells(self, flat: np.ndarray) -> Cells:
        return [divmod(int(cell), self._shape[1]) for cell in flat]


@dataclass(frozen=True)
class _Fit:
    value: np.ndarray  # (cells, S) interpolated log(1 + loss)
    log_error: np.ndarray  # (cells, S) its typical error, which decides where to measure
    stated: np.ndarray  # (cells, S) its error with some caution, which the file states
    range: np.ndarray  # (S,) largest less smallest measured loss


class _Spline:
    """Radial basis functions r³ with a linear part, or r with a constant: interpolates scattered points exactly."""

    def __init__(self, points: np.ndarray, values: np.ndarray, *, power: int) -> None:
        self._origin, self._scale = points.mean(axis=0), max(float(np.ptp(points)), 1.0)
        self._points, self._power = (points - self._origin) / self._scale, power
        tail = self._tail(self._points)
        zero = np.zeros((tail.shape[1], tail.shape[1]))
        self._inverse = np.linalg.inv(np.block([[self._basis(self._points), tail], [tail.T, zero]]))
        self._coefficients = self._inverse[:, : len(points)] @ values

    def __call__(self, points: np.ndarray) -> np.ndarray:
        scaled = (points - self._origin) / self._scale
        return np.asarray(np.hstack([self._basis(scaled), self._tail(scaled)]) @ self._coefficients)

    def leave_one_out(self) -> np.ndarray:
        """At each point the error that an interpolant without it would make there (Rippa 1999, eq. 17)."""
        count = len(self._points)
        return np.asarray(self._coefficients[:count] / np.diag(self._inverse)[:count, None])

    def _basis(self, points: np.ndarray) -> np.ndarray:
        distances = np.linalg.norm(points[:, None] - self._points[None], axis=2)
        return np.asarray(distances**3 if self._power == 3 else -distances)

    def _tail(self, points: np.ndarray) -> np.ndarray:
        one = np.ones((len(points), 1))
        return np.hstack([one, points]) if self._power == 3 else one


def _coarse(count: int) -> list[int]:
    """Evenly spaced indices with both ends, an odd number of them so that an odd axis keeps its middle."""
    nodes = min(count, max(5, 2 * round((count - 1) / (2 * COARSE)) + 1))
    return sorted({round(k * (count - 1) / (nodes - 1)) for k in range(nodes)})


def _in_nats(value: np.ndarray, log_error: np.ndarray) -> np.ndarray:
    """The error of a loss whose log(1 + loss) is `value` give or take `log_error`."""
    return np.asarray(np.exp(value) * np.expm1(log_error))
