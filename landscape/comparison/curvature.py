"""What a Hessian measurement says of each subset, one number a measure, and how far each number is to be believed."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from landscape.comparison.columns import Z95, Column, Measure
from landscape.files.landscape_file import Measurement

RESIDUAL = "± the residual ‖Hv − λv‖: an eigenvalue lies within it"
BRACKETS = {
    "top": "95 % over the samples, from the held-out value (errs low) to this one (errs high); without a bar where "
    "there are too few samples to hold any out",
    "bottom": "95 % over the samples, from this one (errs low) to the held-out value (errs high); without a bar where "
    "there are too few samples to hold any out",
}
"""What the bars of eigenvalues are where samples were held out."""
_SAMPLES = "95 % interval over the samples, at these weights"
_PROBES = "95 % interval of the probes"

CURVATURE = (
    Measure(
        "top", "Top eigenvalue λ₁", "λ₁", "log", "Curvature",
        "largest eigenvalue of the subset's Hessian: curvature along the sharpest direction", RESIDUAL,
    ),
    Measure(
        "bottom", "Bottom eigenvalue λmin", "λmin", "signed", "Curvature",
        "smallest eigenvalue of the subset's Hessian: below 0 the loss falls away on both sides", RESIDUAL,
    ),
    Measure(
        "ratio", "Negativity |λmin| / λ₁", "|λmin|/λ₁", "log", "Curvature",
        "depth of the most negative curvature as a share of the sharpest; free of the loss's scale",
    ),
    Measure(
        "negative_share", "Negative share", "Negative", "linear", "Curvature",
        "sum of the sizes of all negative eigenvalues over that of all eigenvalues", _PROBES, percent=True,
    ),
    Measure(
        "trace", "Hessian trace", "Trace", "signed", "Curvature",
        "sum of all eigenvalues: mean curvature times the number of parameters", f"{_PROBES}; no bar where it is exact",
    ),
    Measure(
        "frobenius", "Frobenius norm ‖H‖", "‖H‖", "log", "Curvature",
        "root of the sum of all squared eigenvalues", _PROBES,
    ),
    Measure(
        "effective_rank", "Effective rank", "Eff. rank", "log", "Curvature",
        "how many eigenvalues carry the spectrum: (Σ|λ|)² / Σλ²", _PROBES,
    ),
    Measure(
        "scaled", "Top eigenvalue of |w|H|w|", "λ₁ scaled", "log", "Curvature",
        "top eigenvalue after scaling every parameter by its size: comparable across heads and weight decay", RESIDUAL,
    ),
    Measure(
        "trace_scaled", "Trace of |w|H|w|", "Trace scaled", "signed", "Curvature",
        "trace after scaling every parameter by its size: comparable across heads and weight decay",
        f"{_PROBES}; no bar where it is exact",
    ),
    Measure(
        "top_held_out", "λ₁ held out", "λ₁ held out", "signed", "Held-out curvature",
        "curvature along the sharpest direction of one half of the samples, measured on the other half: free of the "
        "choice of the sharpest, so it errs low where λ₁ errs high", _SAMPLES,
    ),
    Measure(
        "bottom_held_out", "λmin held out", "λmin held out", "signed", "Held-out curvature",
        "curvature along the most negative direction of one half of the samples, measured on the other half: below 0 "
        "the class, and not its samples alone, is negatively curved", _SAMPLES,
    ),
    Measure(
        "gauss_newton_top", "λ₁ of the Gauss–Newton part", "λ₁ of G", "log", "Gauss–Newton",
        "top eigenvalue of G, the part of the Hessian that cannot be negative",
    ),
    Measure(
        "gauss_newton_trace", "Trace of the Gauss–Newton part", "Trace of G", "log", "Gauss–Newton",
        "trace of G, the part of the Hessian that cannot be negative",
    ),
    Measure(
        "gauss_newton_rest", "Rest beyond Gauss–Newton ‖H − G‖", "‖H − G‖", "log", "Gauss–Newton",
        "what bends the network itself: all negative curvature is in it",
    ),
)  # fmt: skip

_PLAIN = {
    "gradient": "gradient_norm", "loss": "loss", "temperature": "temperature",
    "gauss_newton_trace": "gauss_newton_trace", "gauss_newton_rest": "gauss_newton_rest",
}  # fmt: skip


def read_curvature(measurement: Measurement) -> dict[str, Column]:
    """The measures of a Hessian measurement; what an older file does not hold is left out.

    Args:
        measurement: One of `/hessian`.

    Returns:
        By key of the measure.
    """
    data, found = measurement.data, dict[str, Column]()
    for key, extreme in (("top", np.fmax), ("bottom", np.fmin)):
        if key in data:
            found[key] = _eigenvalue(data, key, extreme)
    if {"top", "bottom"} <= found.keys():
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = np.abs(found["bottom"].value) / found["top"].value
        found["ratio"] = Column(np.where(found["top"].value > 0, ratio, np.nan))
    for key in ("trace", "trace_scaled"):
        if key in data:
            trace, low, high = data[key].astype(float), data.get(f"{key}_low"), data.get(f"{key}_high")
            if low is not None and high is not None:
                found[key] = Column(trace, *(np.where(low < high, end, np.nan) for end in (low, high)))
            else:
                found[key] = _within(trace, data.get(f"{key}_se"))
    if "top_scaled" in data:
        value, residual = data["top_scaled"].astype(float), data.get("top_scaled_residual")
        found["scaled"] = Column(value) if residual is None else Column(value, value - residual, value + residual)
    for key, least in (("frobenius", 0.0), ("negative_share", 0.0), ("effective_rank", 1.0)):
        if key in data:
            found[key] = _within(data[key], data.get(f"{key}_se"), least=least)
    for key in ("top_held_out", "bottom_held_out"):
        if key in data:
            found[key] = _within(_first(data[key]), _first(data[f"{key}_se"]) if f"{key}_se" in data else None)
    if "gauss_newton_top" in data:
        found["gauss_newton_top"] = Column(_first(data["gauss_newton_top"]))
    return found | {key: Column(data[name].astype(float)) for key, name in _PLAIN.items() if name in data}


def _first(values: np.ndarray) -> np.ndarray:
    """The first of each row, (S, k) to (S,)."""
    return values.astype(float).reshape(len(values), -1)[:, 0]


def _within(value: np.ndarray, error: np.ndarray | None, *, least: float = -np.inf) -> Column:
    """A value and its 95 % interval, cut off at `least`; without an error, or where it is NaN, without an interval."""
    value = value.astype(float)
    if error is None:
        return Column(value)
    half = Z95 * error.astype(float)
    return Column(value, np.maximum(value - half, least), value + half)


def _eigenvalue(
    data: Mapping[str, np.ndarray], key: str, extreme: Callable[[np.ndarray, np.ndarray], np.ndarray]
) -> Column:
    """The most extreme eigenvalue, between it and the held-out one where there is one, else within its residual.

    The largest of many directions on the very samples it was chosen on errs outwards, the same direction on other
    samples inwards: the class's own eigenvalue lies between, each end known up to the scatter of the samples. Where
    there were too few samples to hold any out, the residual would look like a certainty that is not there: no interval.
    """
    value, residual = _extreme(data[key], data.get(f"{key}_residual"), extreme)
    low, high = value - residual, value + residual
    if f"{key}_held_out" in data and f"{key}_held_out_se" in data:
        held, half = _first(data[f"{key}_held_out"]), Z95 * _first(data[f"{key}_held_out_se"])
        low, high = np.minimum(value, held) - half, np.maximum(value, held) + half
    return Column(value, low, high)


def _extreme(
    values: np.ndarray, residuals: np.ndarray | None, extreme: Callable[[np.ndarray, np.ndarray], np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """The most extreme eigenvalue of each row and its residual: (S, k) to (S,) twice."""
    values = values.astype(float).reshape(len(values), -1)
    best = values[:, 0].copy()
    for rank in range(1, values.shape[1]):
        best = extreme(best, values[:, rank])
    residual = np.full(len(values), np.nan)
    if residuals is not None:
        table = residuals.astype(float).reshape(len(values), -1)
        hits = values == best[:, None]
        rows = hits.any(axis=1)
        residual[rows] = table[rows, hits[rows].argmax(axis=1)]
    return best, residual
