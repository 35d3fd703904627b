"""Everything that is said of the curvature of one subset, and on what grounds."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from landscape.hessian.estimators.density import spectral_density
from landscape.hessian.estimators.exact_trace import ExactTrace, exact_trace
from landscape.hessian.estimators.fresh_samples import FEWEST, fresh_sample_curvature, padded
from landscape.hessian.estimators.gauss_newton import gauss_newton_ends, gauss_newton_spectrum, is_small
from landscape.hessian.estimators.lanczos import (
    ExtremalEigenpairs,
    LanczosOptions,
    extremal_eigenpairs,
    warm_start,
)
from landscape.hessian.estimators.layerwise import layer_tops, layers
from landscape.hessian.estimators.random_vectors import random_signs
from landscape.hessian.estimators.trace import estimate_trace, probe
from landscape.hessian.products.hvp import HessianOperator
from landscape.hessian.products.operators import COMPARED, HessianFactory
from landscape.hessian.result import (
    CHAIN,
    HessianSettings,
    SubsetCurvature,
    unmeasured,
)
from landscape.schema import NEGATIVE, NONE_FOUND, UNDECIDED
from landscape.subject.subsets import Subset

Array = NDArray[np.float64]

FLOOR_FACTOR = 3.0
"""A curvature counts as different from zero beyond this many noise floors …"""
ZERO_SHARE = 1e-4
"""… and beyond this share of the largest eigenvalue."""


def measure_subset(
    hessians: HessianFactory,
    subset: Subset,
    hessian: HessianOperator,
    settings: HessianSettings,
    *,
    probed: Sequence[Tensor] | None = None,
    warm: Tensor | None = None,
) -> SubsetCurvature:
    """Measures one subset.

    Args:
        hessians: Where float64 references and halves come from.
        subset: The subset.
        hessian: Its Hessian.
        settings: How much to measure.
        probed: H times the seed's probes, where they are known already.
        warm: (w, P) vectors that may lie close to its top eigenvectors; they save products and decide nothing, for
            trace and density rest on probes that are independent of them.

    Returns:
        The curvature; all NaN, with `finite` false, when a product is not finite.
    """
    blank = unmeasured(hessians.subject, subset, settings, hessian)
    try:
        return replace(blank, **_measure(hessians, subset, hessian, settings, probed, warm))
    except FloatingPointError:
        return replace(blank, products=hessian.products)


def _measure(
    hessians: HessianFactory,
    subset: Subset,
    hessian: HessianOperator,
    settings: HessianSettings,
    probed: Sequence[Tensor] | None,
    warm: Tensor | None,
) -> dict[str, Any]:
    subject, like, seed = hessians.subject, hessians.subject.vector(), settings.seed
    generator = _generator(seed, "start", subset.name)
    goal = LanczosOptions(
        settings.top, settings.bottom, tol=settings.tol, threshold=ZERO_SHARE, max_products=settings.max_products
    )
    known = like.new_empty(0, subject.size) if warm is None else warm.to(like)
    ends = extremal_eigenpairs(hessian, warm_start(known, generator), goal, generator)
    found: dict[str, Any] = {
        "finite": True,
        "top": padded(ends.top, settings.top),
        "top_residual": padded(ends.top_residual, settings.top),
        "bottom": padded(ends.bottom, settings.bottom),
        "bottom_residual": padded(ends.bottom_residual, settings.bottom),
    }
    direct = exact_trace(hessians, subset, seed=_seed(seed, "trace", subset.name), half_width=settings.trace_width)
    own = warm is None and not ends.space.compressed
    found |= _sums(hessian, ends, settings, like, probed, direct, own=own)
    scaled = _scaled(hessian, like, goal, seed)
    found |= {"top_scaled": float(scaled.top[0]), "top_scaled_residual": float(scaled.top_residual[0])}
    judged, spent = _judge(hessians, subset, hessian, ends, goal, seed)
    found |= judged
    if settings.intervals or subset.measured_count < FEWEST:  # the values of a few samples cost little
        interval, more = fresh_sample_curvature(hessians, subset, ends, seed=_seed(seed, "halves", subset.name))
        found["held_out"] = interval.padded(settings.top, settings.bottom)
        spent += more
    part, apart = None, _seed(seed, "rest", subset.name)
    if is_small(subject, subset):
        part = gauss_newton_spectrum(hessians, subset, hessian, apart)
    elif settings.gauss_newton:
        trace = direct.value if direct is not None else None
        part = gauss_newton_ends(hessians, subset, hessian, settings.top, settings.probes, apart, trace=trace)
    if part is not None:
        found |= {"gauss_newton_top": part.values, "gauss_newton_trace": part.trace, "gauss_newton_rest": part.rest}
    if settings.layers:
        blocks = list(layers(subject).values())
        found["layer_top"] = layer_tops(subject, hessian, blocks, seed=_seed(seed, "layers", subset.name))
    if settings.vectors:
        found["top_vectors"] = _rows(ends.top_vectors, settings.top)
        found["bottom_vectors"] = _rows(ends.bottom_vectors, settings.bottom)
    limits = settings.tol * np.maximum(np.abs(np.r_[ends.top, ends.bottom]), found["threshold"])
    residuals = np.r_[ends.top_residual, ends.bottom_residual]
    return {**found, "converged": bool((residuals <= limits).all()), "products": hessian.products + spent}


def _sums(
    hessian: HessianOperator,
    ends: ExtremalEigenpairs,
    settings: HessianSettings,
    like: Tensor,
    probed: Sequence[Tensor] | None,
    direct: ExactTrace | None,
    *,
    own: bool,
) -> dict[str, Any]:
    """Trace, norms and density: what random vectors say of the whole spectrum, `own` that of the Krylov space too."""
    space = ends.space
    starts = [probe(space.size, settings.seed, i).to(like) for i in range(settings.probes)]
    if space.applied == space.size:
        starts = []  # the basis holds everything
    products = list(hessian.block(torch.stack(starts))) if starts and not probed else list(probed or ())
    width = settings.trace_width if direct is None else 0.0
    probing = estimate_trace(
        hessian, space, seed=settings.seed, probes=settings.probes, half_width=width, known=products
    )
    trace = direct or probing
    chains = zip(starts[: settings.chains - own], products, strict=False)
    density = spectral_density(hessian, space, chains, steps=CHAIN, include_own_chain=own)
    rank = (density.absolute / probing.frobenius) ** 2 if probing.frobenius else 0.0
    relative = np.hypot(
        density.absolute_error / (density.absolute or 1), probing.frobenius_error / (probing.frobenius or 1)
    )
    return {
        "trace": trace.value,
        "trace_se": trace.error,
        "trace_low": trace.value - trace.half_width,
        "trace_high": trace.value + trace.half_width,
        "frobenius": probing.frobenius,
        "frobenius_se": probing.frobenius_error,
        "effective_rank": rank,
        "effective_rank_se": float(2 * rank * relative),
        "negative_share": density.negative_share,
        "negative_share_se": density.negative_share_error,
        "nodes": density.nodes,
        "weights": density.weights,
        "density_grid": density.grid,
        "density": density.values,
        "density_se": density.errors,
    }


def _scaled(hessian: HessianOperator, like: Tensor, goal: LanczosOptions, seed: int) -> ExtremalEigenpairs:
    """Largest eigenvalue of diag|w| H diag|w|.

    A residual of 1 % is enough: the eigenvalue's error is of its square. Three or four products reach it.
    """
    scale, generator = like.abs(), _generator(seed, "scaled", "")
    start = random_signs(like.numel(), generator).to(like)
    goal = replace(goal, top=1, bottom=0, tol=max(goal.tol, 1e-2))
    return extremal_eigenpairs(lambda v: scale * hessian(scale * v), start, goal, generator)


def _judge(
    hessians: HessianFactory,
    subset: Subset,
    hessian: HessianOperator,
    ends: ExtremalEigenpairs,
    goal: LanczosOptions,
    seed: int,
) -> tuple[dict[str, Any], int]:
    """Noise floor, τ and verdict, and the products on the way that were not the subset's own Hessian's.

    One accurate product proves a negative direction: in float64, of a subset small enough to be compared whole. That
    there is none rests on two random starts.
    """
    vector = ends.bottom_vectors[0]
    measured, exact = hessians.compared(subset)
    accurate = _form(exact, vector.double())
    floor = abs(_form(measured, vector) - accurate)
    threshold = max(FLOOR_FACTOR * floor, ZERO_SHARE * float(np.abs(np.r_[ends.top, ends.bottom]).max()))
    lowest, verdict = float(ends.bottom[0]), UNDECIDED
    if lowest >= -threshold and ends.converged:
        generator = _generator(seed, "again", subset.name)
        start = random_signs(hessians.subject.size, generator).to(vector)
        again = extremal_eigenpairs(hessian, start, replace(goal, top=0, bottom=1), generator)
        lowest = min(lowest, float(again.bottom[0]))
        if lowest >= -threshold and again.converged:
            verdict = NONE_FOUND
    elif subset.measured_count <= COMPARED:
        lowest = accurate
    if lowest < -threshold:
        verdict = NEGATIVE
    judged = {"noise_floor": floor, "threshold": threshold, "verdict": verdict}
    return judged, measured.products + exact.products


def _form(hessian: HessianOperator, vector: Tensor) -> float:
    """vᵀHv / vᵀv, summed in float64."""
    product, vector = hessian(vector).double(), vector.double()
    return float(vector @ product / (vector @ vector))


def _rows(vectors: Tensor, count: int) -> Tensor:
    return torch.cat([vectors, vectors.new_full((count - len(vectors), vectors.shape[1]), float("nan"))])


def _seed(seed: int, role: str, name: str) -> int:
    """Random numbers of one purpose: independent of those of any other, and of the order of the work."""
    digest = hashlib.sha256(f"{seed}/{role}/{name}".encode()).digest()
    return int.from_bytes(digest[:5], "big")  # a probe takes 20 bits more, of 64


def _generator(seed: int, role: str, name: str) -> torch.Generator:
    return torch.Generator().manual_seed(_seed(seed, role, name))
