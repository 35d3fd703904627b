"""Everything that is said of the curvature of one subset, and on what grounds."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from landscape.curvature.density import POINTS, density
from landscape.curvature.krylov import Ends, Goal, both_ends, random_signs
from landscape.curvature.operators import Hessians
from landscape.curvature.products import LossHessian
from landscape.curvature.trace import estimate_trace
from landscape.subject import Subset

Array = NDArray[np.float64]

NEGATIVE, NONE_FOUND, UNDECIDED = "negative", "none-found", "undecided"
FLOOR_FACTOR = 3.0
"""A curvature counts as different from zero beyond this many noise floors …"""
ZERO_SHARE = 1e-4
"""… and beyond this share of the largest eigenvalue."""


@dataclass(frozen=True)
class Settings:
    """How much is asked of each subset.

    Attributes:
        top: k, how many of the largest eigenvalues.
        bottom: k', how many of the smallest.
        tol: A pair has converged when ‖Hv − λv‖ ≤ tol · max(|λ|, τ).
        probes: Random probes of the trace, at least 2.
        trace_width: More probes, up to 256, until the trace's 95 % half-width is below this share of it; 0: no more.
        max_products: Most products of one Krylov run; pairs not converged by then keep their residuals.
        nodes: Fewest steps of the run that the density comes from.
        vectors: Keep the eigenvectors of the largest eigenvalues.
        seed: Of all random vectors.
    """

    top: int = 5
    bottom: int = 1
    tol: float = 1e-3
    probes: int = 8
    trace_width: float = 0.0
    max_products: int = 300
    nodes: int = 16
    vectors: bool = False
    seed: int = 0


@dataclass(frozen=True)
class SubsetCurvature:
    """The curvature of one subset's loss.

    Attributes:
        subset: Its name.
        finite: False when a product held a NaN or an infinity; then every number is NaN.
        loss: Mean loss.
        gradient_norm: ‖∇L‖: at trained weights rarely zero for a class.
        top: (k,) largest eigenvalues, descending; NaN beyond the number of parameters.
        top_residual: (k,) ‖Hv − λv‖.
        bottom: (k',) smallest eigenvalues, ascending.
        bottom_residual: (k',) ‖Hv − λv‖.
        top_scaled: Largest eigenvalue of diag|w| H diag|w|, comparable across heads and weight decay.
        top_scaled_residual: Its residual.
        trace: tr H.
        trace_se: Standard error of the trace.
        trace_low: Lower end of its 95 % interval.
        trace_high: Upper end.
        nodes: (m,) quadrature nodes of the density.
        weights: (m,) their weights.
        density_grid: (G,) eigenvalues at which the density is given.
        density: (G,) smoothed spectral density.
        noise_floor: |vᵀ(H_measured − H_float64)v| at the bottom vector, on at most 256 samples.
        threshold: τ: curvature within ±τ counts as none.
        verdict: `negative`, `none-found` or `undecided`.
        converged: Every pair asked for met its tolerance.
        products: Hessian-vector products spent on this subset, those for the noise floor included.
        top_vectors: (k, P) unit eigenvectors of `top`, NaN like it, where they were asked for.
    """

    subset: str
    finite: bool
    loss: float
    gradient_norm: float
    top: Array
    top_residual: Array
    bottom: Array
    bottom_residual: Array
    top_scaled: float
    top_scaled_residual: float
    trace: float
    trace_se: float
    trace_low: float
    trace_high: float
    nodes: Array
    weights: Array
    density_grid: Array
    density: Array
    noise_floor: float
    threshold: float
    verdict: str
    converged: bool
    products: int
    top_vectors: Tensor | None = None


def measure_subset(
    hessians: Hessians, subset: Subset, hessian: LossHessian, settings: Settings, probed: Sequence[Tensor] | None = None
) -> SubsetCurvature:
    """Measures one subset.

    Args:
        hessians: Where float64 references come from.
        subset: The subset.
        hessian: Its Hessian.
        settings: How much to measure.
        probed: H times the seed's probes, where they are known already.

    Returns:
        The curvature; all NaN, with `finite` false, when a product is not finite.
    """
    try:
        return _measure(hessians, subset, hessian, settings, probed)
    except FloatingPointError:
        return _not_finite(subset, settings, hessian)


def _measure(
    hessians: Hessians, subset: Subset, hessian: LossHessian, settings: Settings, probed: Sequence[Tensor] | None
) -> SubsetCurvature:
    size, like = hessians.subject.size, hessians.subject.vector()
    generator = _generator(settings.seed, "start", subset.name)
    goal = Goal(
        settings.top, settings.bottom, tol=settings.tol, threshold=ZERO_SHARE, at_least=min(settings.nodes, size),
        max_products=settings.max_products,
    )  # fmt: skip
    ends = both_ends(hessian, random_signs(size, generator).to(like), goal, generator)
    trace = estimate_trace(
        hessian, ends.space, seed=settings.seed, probes=settings.probes, half_width=settings.trace_width,
        known=probed or (),
    )  # fmt: skip
    scaled = _scaled(hessian, like, goal, settings)
    floor, threshold, verdict, accurate = _judge(hessians, subset, hessian, ends, goal, settings)
    grid, curve = density(ends.nodes, ends.weights)
    limits = settings.tol * np.maximum(np.abs(np.r_[ends.top, ends.bottom]), threshold)
    return SubsetCurvature(
        subset=subset.name,
        finite=True,
        loss=hessian.value,
        gradient_norm=float(hessian.gradient.norm()),
        top=_padded(ends.top, settings.top),
        top_residual=_padded(ends.top_residual, settings.top),
        bottom=_padded(ends.bottom, settings.bottom),
        bottom_residual=_padded(ends.bottom_residual, settings.bottom),
        top_scaled=float(scaled.top[0]),
        top_scaled_residual=float(scaled.top_residual[0]),
        trace=trace.value,
        trace_se=trace.error,
        trace_low=trace.value - trace.half_width,
        trace_high=trace.value + trace.half_width,
        nodes=ends.nodes,
        weights=ends.weights,
        density_grid=grid,
        density=curve,
        noise_floor=floor,
        threshold=threshold,
        verdict=verdict,
        converged=bool((np.r_[ends.top_residual, ends.bottom_residual] <= limits).all()),
        products=hessian.products + accurate,
        top_vectors=_rows(ends.top_vectors, settings.top) if settings.vectors else None,
    )


def _scaled(hessian: LossHessian, like: Tensor, goal: Goal, settings: Settings) -> Ends:
    """Largest eigenvalue of diag|w| H diag|w|.

    A residual of 1 % is enough: the eigenvalue's error is of its square. Three or four products reach it.
    """
    scale, generator = like.abs(), _generator(settings.seed, "scaled", "")
    start = random_signs(like.numel(), generator).to(like)
    goal = replace(goal, top=1, bottom=0, at_least=0, tol=max(goal.tol, 1e-2))
    return both_ends(lambda v: scale * hessian(scale * v), start, goal, generator)


def _judge(
    hessians: Hessians, subset: Subset, hessian: LossHessian, ends: Ends, goal: Goal, settings: Settings
) -> tuple[float, float, str, int]:
    """Noise floor, τ, verdict and the products on the way that were not the subset's own Hessian's.

    One accurate product proves a negative direction; that there is none rests on two random starts.
    """
    vector = ends.bottom_vectors[0]
    measured, exact = hessians.compared(subset)
    floor = abs(_form(measured, vector) - _form(exact, vector.double()))
    threshold = max(FLOOR_FACTOR * floor, ZERO_SHARE * float(np.abs(np.r_[ends.top, ends.bottom]).max()))
    lowest, spent = float(ends.bottom[0]), measured.products + exact.products
    if lowest >= -threshold and ends.converged:
        generator = _generator(settings.seed, "again", subset.name)
        start = random_signs(hessians.subject.size, generator).to(vector)
        again = both_ends(hessian, start, replace(goal, top=0, bottom=1, at_least=0), generator)
        lowest = min(lowest, float(again.bottom[0]))
        if lowest >= -threshold and again.converged:
            return floor, threshold, NONE_FOUND, spent
    return floor, threshold, NEGATIVE if lowest < -threshold else UNDECIDED, spent


def _form(hessian: LossHessian, vector: Tensor) -> float:
    """vᵀHv / vᵀv, summed in float64."""
    product, vector = hessian(vector).double(), vector.double()
    return float(vector @ product / (vector @ vector))


def _not_finite(subset: Subset, settings: Settings, hessian: LossHessian) -> SubsetCurvature:
    nan = float("nan")
    return SubsetCurvature(
        subset=subset.name,
        finite=False,
        loss=hessian.value,
        gradient_norm=float(hessian.gradient.norm()),
        top=np.full(settings.top, nan),
        top_residual=np.full(settings.top, nan),
        bottom=np.full(settings.bottom, nan),
        bottom_residual=np.full(settings.bottom, nan),
        top_scaled=nan,
        top_scaled_residual=nan,
        trace=nan,
        trace_se=nan,
        trace_low=nan,
        trace_high=nan,
        nodes=np.empty(0),
        weights=np.empty(0),
        density_grid=np.full(POINTS, nan),
        density=np.full(POINTS, nan),
        noise_floor=nan,
        threshold=nan,
        verdict=UNDECIDED,
        converged=False,
        products=hessian.products,
        top_vectors=hessian.gradient.new_full((settings.top, hessian.size), nan) if settings.vectors else None,
    )


def _padded(values: Array, count: int) -> Array:
    return np.pad(values, (0, count - len(values)), constant_values=np.nan)


def _rows(vectors: Tensor, count: int) -> Tensor:
    return torch.cat([vectors, vectors.new_full((count - len(vectors), vectors.shape[1]), float("nan"))])


def _generator(seed: int, role: str, name: str) -> torch.Generator:
    """Random numbers of one purpose: independent of those of any other, and of the order of the work."""
    digest = hashlib.sha256(f"{seed}/{role}/{name}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))
