"""Which cells of a surface to evaluate, and what stands between them: interpolation with a stated error.

Pure planning on arrays: it sees losses and statuses, never a network. What it asks for next follows from what was
measured alone, so that an interrupted surface goes on exactly as it would have.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from landscape.schema import MEASURED, TODO
from landscape.surface.interpolation import Interpolant, interpolate, linear_weights, quantile

COARSE = 7
"""Most cells between the first measurements: with 8 and with 10 more cells were evaluated in the end."""

BATCH = 8
"""A round adds one cell for this many that are known: small rounds waste fewer cells on what the last one settled."""

HELD_OUT = 1 / 40
"""Share of the cells that test the interpolant before they become part of it."""

LOG_SHARE = 3.0
"""A loss may also be off by this many tolerances in log(1 + loss), so that valleys are as true as walls."""

CAUTION, BOUND = 0.65, 0.97
"""Another cell is measured where an error may be too large: `CAUTION` times what covers the share `BOUND` of all
leave-one-out errors, those in rough places counting in full. Then creases and smooth fields alike had at most 1 % of
their cells off by more than the tolerance; a larger share with a smaller factor favors creases."""

STATED, KEPT = 0.95, 0.99
"""Shares of a subset's interpolated cells that err by less than is stated, and by less than the tolerance it keeps."""

MARGIN = 1.45
"""What is stated over the best estimate of it, so that not half of the classes but nearly all are covered."""

FLATTENED = 0.15
"""Power of a cell's estimate in what is stated of it: the estimate knows single cells within a factor of a few only,
and taken at its word (1) it stated the largest errors at twice their size where it covered 95 %."""

TYPICAL, TRUST = 0.6, 60
"""True errors over leave-one-out errors of the same estimate, where no cell was held out, and how many held-out cells
say as much as this number does: it lay between 0.4 and 0.9 on all kinds of surfaces, for cells close to measured ones
are easier than the estimate says."""

CHECKED = (0.8, 0.9, 0.95)
"""Quantiles at which the errors of held-out cells are compared with the leave-one-out errors."""

ENOUGH = 16
"""With fewer finite cells than this there is nothing to interpolate from."""

PLASTIC = 1.32471795724474602596
ROUNDING, TINY, OVERFLOW = 1e-9, 1e-12, 50.0

Cells = list[tuple[int, int]]


@dataclass(frozen=True)
class Between:
    """A surface of which no cell is left to do.

    Attributes:
        values: `loss` and whatever else was measured, (S, B, A) each; NaN where not finite.
        error: Stated error of each interpolated loss in nats, (S, B, A); 0 where measured. About 95 % of a subset's
            interpolated cells err by less.
        kept_tolerance: Share of its range below which about 99 % of a subset's interpolated cells err, (S,).
    """

    values: dict[str, np.ndarray]
    error: np.ndarray
    kept_tolerance: np.ndarray


class Refinement:
    """Plans a surface: a coarse grid first, then the cells whose interpolation may be worst in any subset.

    The interpolant and the size of its errors: `landscape.surface.interpolation`. That size has no scale yet. The scale
    is found in two ways. Each leave-one-out error is a test of what its neighbors say, there are many, and weighted by
    the cells that each of them stands for they have the spread of the true ones; but the cell left out was farther from
    the others than an interpolated one is. So 1 cell in 40, spread over the surface without regard to the losses, is
    measured early and held out: these cells are as far from measured ones as those between, and a rule that does not
    know them can ask for one of them too, which then joins the others for free, so that those that stay are to the end
    a fair sample of the cells between (split-conformal prediction: Lei et al., "Distribution-Free Predictive Inference
    for Regression", JASA 2018, section 2.2). What is stated are the leave-one-out errors of the last interpolant, times
    what the held-out cells' errors were of those of the interpolant without them. Then they too are interpolated from.

    Eight surfaces of trained networks of which all cells were known, 15 subsets each, tolerance 0.01: 10 to 14 % of the
    cells were evaluated in seven of them, 19 % in a gradient plane of 41 × 41. In 118 of 120 subsets 95 % of the
    others erred by less than stated, 94.2 % in the worst; the 95th percentile of what was stated was 1.6 times the true
    one in the median, above 2 in ten subsets, 2.5 in the worst. The constants were chosen with
    seven of the eight in sight.

    Nothing is interpolated next to a cell that is not finite.

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
        self._held: np.ndarray | None = None  # not drawn yet

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
            status: (B, A), values of `landscape.schema`.

        Returns:
            Cells by row and column; none when every estimated error is within the tolerance.
        """
        flat = status.ravel()
        todo = np.flatnonzero(flat == TODO)
        while len(todo):
            known = self._interpolated_from(flat)
            if len(known) < ENOUGH:
                return self._cells(todo)
            fit = interpolate(self._grid, known, _of(loss, known))
            if self._held is None:
                self._held = self._drawn(todo) if fit.estimate.max() > ROUNDING else todo[:0]
                if len(self._held):
                    return self._cells(self._held)
            self._held = self._held[flat[self._held] == MEASURED]
            between = np.concatenate([todo, self._held])
            excess = self._excess(fit, loss, flat)[between]
            order = np.argsort(-excess, kind="stable")
            candidates = between[order[excess[order] > 1.0]]
            chosen = self._apart(candidates, max(BATCH, int((flat != TODO).sum()) // BATCH))
            self._held = np.setdiff1d(self._held, chosen)
            wanted = chosen[flat[chosen] == TODO]
            if len(wanted) or not len(chosen):
                return self._cells(wanted)
        return []

    def between(self, values: Mapping[str, np.ndarray], status: np.ndarray) -> Between:
        """Fills the cells that were not evaluated.

        Args:
            values: `loss` and whatever else was measured, (S, B, A) each, NaN where unknown.
            status: (B, A), values of `landscape.schema`.

        Returns:
            The values with those between: the loss by the interpolant and not below the smallest that was measured
            (an overshoot to 0 would be a hole on a logarithmic scale), all else linearly and within the range that
            was measured; and how far the losses may be off.
        """
        loss, flat = values["loss"], status.ravel()
        todo, known = np.flatnonzero(flat == TODO), np.flatnonzero(flat == MEASURED)
        fit = interpolate(self._grid, known, _of(loss, known))
        linear = linear_weights(self._grid, known, todo)
        filled = {}
        for name, array in values.items():
            cells = array.reshape(len(array), -1).copy()
            seen = cells[:, known]
            if name == "loss":
                cells[:, todo] = np.expm1(fit.value[todo]).T.clip(seen.min(1, keepdims=True))
            else:
                cells[:, todo] = (seen @ linear.T).clip(seen.min(1, keepdims=True), seen.max(1, keepdims=True))
            filled[name] = cells.reshape(array.shape)
        left_out, expected = _in_nats(fit, known)
        factor = MARGIN * self._true_over_left_out(loss, flat)
        error = np.zeros((status.size, len(loss)))
        error[todo] = factor * quantile(left_out, fit.share, STATED) * expected[todo]
        rarely_more = factor * quantile(left_out, fit.share, KEPT) * expected[todo]
        kept = np.quantile(rarely_more, KEPT, axis=0) / _range(loss, flat)
        return Between(filled, error.T.reshape(loss.shape), kept)

    def _excess(self, fit: Interpolant, loss: np.ndarray, flat: np.ndarray) -> np.ndarray:
        """How many tolerances each cell may be off in the subset where it is worst, (cells,)."""
        assert self._tolerance is not None
        left_out = fit.left_out / fit.left_out_estimate
        bound = CAUTION * quantile(left_out, np.ones(len(left_out)), BOUND)
        log_error = np.minimum(bound * fit.estimate, OVERFLOW)
        share = np.exp(fit.value) * np.expm1(log_error) / _range(loss, flat)
        excess = np.maximum(share, log_error / LOG_SHARE).max(axis=1) / self._tolerance
        evaluated = np.flatnonzero(flat != TODO)
        nearest = evaluated[cKDTree(self._grid[evaluated]).query(self._grid)[1]]
        return np.asarray(np.where(flat[nearest] == MEASURED, excess, np.inf))

    def _true_over_left_out(self, loss: np.ndarray, flat: np.ndarray) -> np.ndarray:
        """Errors at the held-out cells over leave-one-out errors of the interpolant without them, (S,)."""
        assert self._held is not None
        known, held = self._interpolated_from(flat), self._held
        fit = interpolate(self._grid, known, _of(loss, known))
        left_out, expected = _in_nats(fit, known)
        return _compared(np.abs(_of(loss, held) - np.expm1(fit.value[held])) / expected[held], left_out, fit.share)

    def _interpolated_from(self, flat: np.ndarray) -> np.ndarray:
        known = np.flatnonzero(flat == MEASURED)
        return known if self._held is None else np.setdiff1d(known, self._held)

    def _drawn(self, todo: np.ndarray) -> np.ndarray:
        """Cells to hold out, evenly spread without a pattern: those that the R2 sequence (Roberts 2018) comes to."""
        count = round(HELD_OUT * len(self._grid))
        sequence = (0.5 + np.arange(1, 4 * count + 1)[:, None] / [PLASTIC, PLASTIC**2]) % 1.0
        cells = np.ravel_multi_index(tuple((sequence * self._shape).astype(int).T), self._shape)
        fresh = cells[np.isin(cells, todo)]
        return np.asarray(fresh[np.sort(np.unique(fresh, return_index=True)[1])][:count])

    def _apart(self, candidates: np.ndarray, most: int) -> np.ndarray:
        """The first candidates of which no two touch: neighbors would tell much the same."""
        chosen: list[int] = []
        blocked = np.zeros(self._shape, dtype=bool)
        for cell, (row, column) in zip(candidates.tolist(), self._cells(candidates), strict=True):
            if not blocked[row, column]:
                chosen.append(cell)
                blocked[max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2] = True
            if len(chosen) == most:
                break
        return np.array(chosen, dtype=int)

    def _cells(self, flat: np.ndarray) -> Cells:
        return [divmod(int(cell), self._shape[1]) for cell in flat]


def _in_nats(fit: Interpolant, known: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Leave-one-out errors over what is expected of them, (n, S), and what is expected of every cell, (cells, S)."""
    nats = np.exp(fit.value)
    expected = (nats * fit.estimate) ** FLATTENED
    return nats[known] * fit.left_out / (nats[known] * fit.left_out_estimate) ** FLATTENED, expected


def _compared(held: np.ndarray, left_out: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Errors of held-out cells over leave-one-out errors, both over what was expected; the fewer, the more typical."""
    if not len(held):
        return np.full(left_out.shape[1], TYPICAL)
    true = np.log(np.quantile(held, CHECKED, axis=0) + TINY).mean(axis=0)
    known = np.mean([np.log(quantile(left_out, share, level) + TINY) for level in CHECKED], axis=0)
    trust = len(held) / (len(held) + TRUST)
    return np.asarray(np.exp(trust * (true - known)) * TYPICAL ** (1 - trust))


def _of(loss: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """The losses of some cells, (n, S)."""
    return np.asarray(loss.reshape(len(loss), -1)[:, cells].T)


def _range(loss: np.ndarray, flat: np.ndarray) -> np.ndarray:
    """Largest less smallest measured loss of each subset, (S,)."""
    seen = _of(loss, np.flatnonzero(flat == MEASURED))
    return np.asarray(np.maximum(np.ptp(seen, axis=0), ROUNDING * (1 + np.abs(seen).max(axis=0))))


def _coarse(count: int) -> list[int]:
    """Evenly spaced indices with both ends, an odd number of them so that an odd axis keeps its middle."""
    nodes = min(count, max(5, 2 * round((count - 1) / (2 * COARSE)) + 1))
    return sorted({round(k * (count - 1) / (nodes - 1)) for k in range(nodes)})
