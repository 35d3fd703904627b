"""What the numbers of one measurement say of each other, however they came about."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np

from landscape.files.landscape_file import Measurement
from landscape.hessian.estimators.density import smooth, smoothing_grid
from landscape.schema import INTERPOLATED, MEASURED, NUMERICS

ROUNDING = 1e-6
"""Share by which sums of float64 numbers may differ that were added in another order."""
Rows = Iterator[tuple[int, str]]


def contradictions(measurement: Measurement) -> list[str]:
    """Everything in a finished measurement that cannot be, a short sentence each; empty where all fits.

    Numbers of other numerics are held to what a reader relies on alone, those of today's also to how they are made.

    Args:
        measurement: Of any analysis; of one that is not known nothing is said.

    Returns:
        The contradictions.
    """
    rules = _RULES.get(measurement.analysis)
    if rules is None or not measurement.complete:
        return []
    current = measurement.attributes.get("numerics", 1) == NUMERICS
    return [
        f"{measurement.subset[row]}: {said}" for rule in rules for row, said in rule(measurement.data, current=current)
    ]


def _pairs(data: Mapping[str, np.ndarray], *, current: bool) -> Rows:
    """Eigenvalues in their order, residuals beside them, the smallest not above the largest."""
    for row in _measured(data):
        top, bottom = _known(data, "top", row), _known(data, "bottom", row)
        if (np.diff(top) > 0).any() or (np.diff(bottom) < 0).any():
            yield row, "eigenvalues are not in their order"
        if top.size and bottom.size and bottom[0] > top[0]:
            yield row, f"its smallest eigenvalue {bottom[0]:.4g} is above its largest {top[0]:.4g}"
        for end, values in (("top", top), ("bottom", bottom)):
            residuals = _known(data, f"{end}_residual", row)
            if f"{end}_residual" in data and (len(residuals) != len(values) or (residuals < 0).any()):
                yield row, f"{end} and {end}_residual do not belong together"


def _density(data: Mapping[str, np.ndarray], *, current: bool) -> Rows:
    """A measure of sum 1 on ascending nodes, and the curve that is drawn of it."""
    if not {"nodes", "weights", "density", "density_grid"} <= set(data):
        return
    for row in _measured(data):
        nodes, weights = _known(data, "nodes", row), _known(data, "weights", row)
        grid, curve = _known(data, "density_grid", row), _known(data, "density", row)
        if len(nodes) != len(weights) or len(grid) != len(curve):
            yield row, "nodes and weights, or density and grid, are not as many"
        elif len(nodes) and ((np.diff(nodes) < 0).any() or (weights < -ROUNDING).any()):
            yield row, "nodes do not ascend, or a weight is negative"
        elif len(nodes) and abs(weights.sum() - 1) > ROUNDING:
            yield row, f"weights of the spectrum sum to {weights.sum():.6g}, not 1"
        elif current and len(nodes):
            expected, width = smoothing_grid(nodes)
            if not _equal(grid, expected, expected[-1] - expected[0]):
                yield row, "the grid of the density is not that of its nodes"
            elif not _equal(curve, drawn := smooth(nodes, weights, grid, width), drawn.max()):
                integral = float(((curve[1:] + curve[:-1]) / 2 * np.diff(grid)).sum())
                yield row, f"the density is not that of its nodes; it integrates to {integral:.6g}"


def _traces(data: Mapping[str, np.ndarray], *, current: bool) -> Rows:
    """Intervals around their values, exact traces without any; norms that bound what they bound."""
    for row in _measured(data):
        for name in ("trace", "trace_scaled"):
            if name not in data:
                continue
            value, error, low, high = (float(data[f"{name}{end}"][row]) for end in ("", "_se", "_low", "_high"))
            size = max(abs(value), abs(low), abs(high))
            if np.isfinite([value, low, high]).all():
                if error < 0 or abs((value - low) - (high - value)) > ROUNDING * size or low > high:
                    yield row, f"{name} {value:.6g} is not the middle of its interval [{low:.6g}, {high:.6g}]"
                elif (error == 0) != (low == high):
                    yield row, f"{name} has the error {error:.3g} and the interval [{low:.6g}, {high:.6g}]"
        if not current:
            continue
        top, residual = _known(data, "top", row), _known(data, "top_residual", row)
        norm, error = (float(data[key][row]) for key in ("frobenius", "frobenius_se"))
        if top.size and residual.size and np.isfinite([norm, error]).all():
            least = float(np.sqrt(np.square(np.maximum(np.abs(top) - residual, 0)).sum()))
            if least > (norm + 6 * error) * (1 + 1e-3):
                yield row, f"eigenvalues of norm {least:.4g} do not fit a Frobenius norm of {norm:.4g}"


def _verdicts(data: Mapping[str, np.ndarray], *, current: bool) -> Rows:
    """A verdict that its numbers bear out."""
    if not current or not {"verdict", "threshold"} <= set(data):
        return
    for row in _measured(data):
        bottom, threshold = _known(data, "bottom", row), float(data["threshold"][row])
        if bottom.size and data["verdict"][row] == "none-found" and bottom[0] < -threshold * (1 + ROUNDING):
            yield row, f"none-found, though its smallest eigenvalue {bottom[0]:.4g} is below −{threshold:.3g}"


def _increases(data: Mapping[str, np.ndarray], *, current: bool) -> Rows:
    """What projected ascent found is no less than its first step; the average is that of its draws."""
    if not {"sam", "sam_steps", "average", "average_se", "draws"} <= set(data):
        return
    for row in _measured(data):
        for radius, (one, many) in enumerate(zip(data["sam"][row], data["sam_steps"][row], strict=True)):
            if many < max(one, 0) * (1 - ROUNDING):
                yield row, f"sam_steps {many:.4g} is below sam {one:.4g} at radius {radius + 1}"
        draws, average = data["draws"][row], data["average"][row]
        if not _equal(average, draws.mean(-1), np.abs(draws).max()):
            yield row, "average is not the mean of its draws"


def _losses(data: Mapping[str, np.ndarray], *, current: bool) -> Rows:
    """Losses that are no NaN where they count as measured; interpolated cells alone have errors."""
    status, loss = data.get("status"), data.get("loss")
    if status is None or loss is None or loss.ndim != status.ndim + 1:
        return
    for row, values in enumerate(loss):
        if not np.isfinite(values[status == MEASURED]).all():
            yield row, "a measured point has a loss that is not finite"
        error = data.get("error")
        if error is not None and error.shape == loss.shape and (error[row][status != INTERPOLATED] > 0).any():
            yield row, "a point that is not interpolated has an error of interpolation"


def _measured(data: Mapping[str, np.ndarray]) -> list[int]:
    return [int(row) for row in np.flatnonzero(data["status"] == MEASURED)] if "status" in data else []


def _known(data: Mapping[str, np.ndarray], name: str, row: int) -> np.ndarray:
    values = np.asarray(data[name][row] if name in data else [], dtype=np.float64)
    return values[~np.isnan(values)]


def _equal(one: np.ndarray, two: np.ndarray, size: float) -> bool:
    return one.shape == two.shape and bool(np.allclose(one, two, rtol=ROUNDING, atol=ROUNDING * size, equal_nan=True))


_RULES: dict[str, tuple[Callable[..., Rows], ...]] = {
    "hessian": (_pairs, _density, _traces, _verdicts),
    "sharpness": (_increases,),
    "surface": (_losses,),
}
