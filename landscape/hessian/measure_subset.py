"""Everything that is said of the curvature of one subset, and on what grounds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from landscape.hessian.estimators.density import Density, spectral_density
from landscape.hessian.estimators.exact_trace import SampleTraces
from landscape.hessian.estimators.fresh_samples import FEWEST, FreshSamples, fresh_sample_curvature
from landscape.hessian.estimators.gauss_newton import (
    GaussNewtonSpectrum,
    gauss_newton_ends,
    gauss_newton_spectrum,
    is_convex,
    is_small,
)
from landscape.hessian.estimators.krylov_space import KrylovSpace
from landscape.hessian.estimators.lanczos import (
    Eigenpairs,
    ExtremalEigenpairs,
    LanczosOptions,
    extremal_eigenpairs,
    warm_start,
)
from landscape.hessian.estimators.layerwise import layer_tops, layers
from landscape.hessian.estimators.per_sample import ProbeForms
from landscape.hessian.estimators.random_vectors import seed_of
from landscape.hessian.estimators.scaled import scaled_top, scaled_trace
from landscape.hessian.estimators.trace import Trace, estimate_trace, probe
from landscape.hessian.products.hvp import HessianOperator
from landscape.hessian.products.operators import COMPARED, HessianFactory
from landscape.hessian.result import CHAIN, Eigenvalue, HessianSettings, NegativeCurvature, SubsetCurvature
from landscape.schema import MEASURED, NEGATIVE, NONE_FOUND, UNDECIDED, Estimate
from landscape.subject.subsets import Subset

Array = NDArray[np.float64]

SHARED_BYTES = 1 << 30
"""Most memory for products of random probes that are held together; more are made one by one."""
FLOOR_FACTOR = 3.0
"""A curvature counts as different from zero beyond this many noise floors …"""
ZERO_SHARE = 1e-4
"""… and beyond this share of the largest eigenvalue …"""
ROUNDING = 2 * 2.0**-23
"""… and if a step as long as the weights changes the loss by more than float32 rounds one nat: ½ λ ‖w‖² ≥ 2⁻²³."""


def measure_subset(
    hessians: HessianFactory,
    subset: Subset,
    hessian: HessianOperator,
    settings: HessianSettings,
    *,
    probe_products: Sequence[Tensor] | None = None,
    sample_traces: SampleTraces | None = None,
    forms: ProbeForms | None = None,
    scaled_forms: ProbeForms | None = None,
    initial_vectors: Tensor | None = None,
) -> SubsetCurvature:
    """Measures one subset.

    Args:
        hessians: Where float64 references and halves come from.
        subset: The subset.
        hessian: Its Hessian.
        settings: How much to measure.
        probe_products: H times the seed's probes, where they are known already.
        sample_traces: Where exact traces come from, shared with other subsets; its own by default.
        forms: Values of probes of H that other subsets share; its own by default.
        scaled_forms: The same of the scale-free Hessian.
        initial_vectors: (w, P) vectors that may lie close to its top eigenvectors; they save products and decide
            nothing, for trace and density rest on probes that are independent of them.

    Returns:
        The curvature; of a subset whose products are not finite only loss and gradient.
    """
    blank = SubsetCurvature(subset.name, hessian.value, float(hessian.gradient.norm()))
    try:
        traces = sample_traces or SampleTraces(hessians, seed=settings.seed, half_width=settings.trace_rtol)
        plain = forms or ProbeForms(hessians, settings.seed)
        scaled = scaled_forms or ProbeForms(hessians, settings.seed, hessians.weight_sizes)
        measured = _measure(
            hessians, subset, hessian, settings, blank, probe_products, traces, (plain, scaled), initial_vectors
        )
    except FloatingPointError:
        return replace(blank, products=hessian.products)
    return replace(measured, products=measured.products + hessian.products)


def _measure(
    hessians: HessianFactory,
    subset: Subset,
    hessian: HessianOperator,
    settings: HessianSettings,
    blank: SubsetCurvature,
    probe_products: Sequence[Tensor] | None,
    sample_traces: SampleTraces,
    forms: tuple[ProbeForms, ProbeForms],
    initial_vectors: Tensor | None,
) -> SubsetCurvature:
    """The curvature; its `products` are those on the way that were not the subset's own Hessian's."""
    subject, like, seed = hessians.subject, hessians.subject.vector(), settings.seed
    generator = _generator(seed, "start", subset.name)
    options = LanczosOptions(
        settings.top, settings.bottom, tol=settings.tol, threshold=ZERO_SHARE, max_products=settings.max_products,
        capacity=hessians.plan.basis, semidefinite=is_convex(hessians, subset),
    )  # fmt: skip
    initial = like.new_empty(0, subject.size) if initial_vectors is None else initial_vectors.to(like)
    run = extremal_eigenpairs(hessian, warm_start(initial, generator), options, generator)
    exact = sample_traces.of(subset)
    cold = initial_vectors is None and not run.space.compressed
    trace, frobenius, rank, density = _sums(
        hessian,
        run.space,
        settings,
        like,
        probe_products,
        exact.plain if exact else None,
        lambda count: forms[0].of(subset, count),
        include_own_chain=cold,
    )
    pairs, converged = ExtremalEigenpairs(run.top, run.bottom), run.converged
    del run  # a basis is the largest thing that is held, and others come
    scaled = scaled_top(hessian, hessians.weight_sizes, options, _generator(seed, "scaled", ""))
    negative, spent = _judge(hessians, subset, pairs, options, converged=converged)
    fresh, gauss_newton, layer_top = FreshSamples(), GaussNewtonSpectrum(), blank.layer_top
    if settings.intervals or subset.measured_count < FEWEST:  # the values of a few samples cost little
        fresh, more = fresh_sample_curvature(hessians, subset, pairs, seed=seed_of(seed, "halves", subset.name))
        spent += more
    remainder_seed = seed_of(seed, "rest", subset.name)
    if is_small(subject, subset):
        gauss_newton = gauss_newton_spectrum(hessians, subset, hessian, remainder_seed)
    elif settings.gauss_newton:
        known = exact.plain.value if exact else None
        gauss_newton = gauss_newton_ends(
            hessians, subset, hessian, settings.top, settings.probes, remainder_seed, trace=known
        )
    if settings.layers:
        blocks = list(layers(subject).values())
        layer_top = layer_tops(
            subject, hessian, blocks, capacity=options.capacity, seed=seed_of(seed, "layers", subset.name)
        )
    limits = np.concatenate(options.limits(pairs.top.values, pairs.bottom.values, negative.threshold))
    bounds = np.r_[pairs.top.residuals, options.bounds(pairs.bottom.values, pairs.bottom.residuals)]
    met = bool((bounds <= limits).all())
    return replace(
        blank,
        top=_kept(pairs.top, settings),
        bottom=_kept(pairs.bottom, settings),
        top_scaled=Eigenvalue(float(scaled.top.values[0]), float(scaled.top.residuals[0]), scaled.converged),
        trace_scaled=exact.scaled if exact else scaled_trace(forms[1], subset, scaled.space, settings.probes),
        trace=trace,
        frobenius=frobenius,
        effective_rank=rank,
        density=density,
        gauss_newton=gauss_newton,
        fresh_samples=fresh,
        layer_top=layer_top,
        negative_curvature=negative,
        converged=met and converged,
        products=spent,
        status=MEASURED,
    )


def _sums(
    hessian: HessianOperator,
    space: KrylovSpace,
    settings: HessianSettings,
    like: Tensor,
    probe_products: Sequence[Tensor] | None,
    exact: Trace | None,
    forms: Callable[[int], np.ndarray],
    *,
    include_own_chain: bool,
) -> tuple[Trace, Estimate, Estimate, Density]:
    """Trace, Frobenius norm, effective rank and density: what random vectors say of the whole spectrum.

    The Krylov space speaks for the density too (`include_own_chain`), where it began with random signs.
    """
    count = 0 if space.applied == space.size else settings.probes  # a whole basis holds everything
    if count * space.size * 8 > SHARED_BYTES:
        count = settings.slq_vectors  # the trace draws the others one by one
    starts = [probe(space.size, settings.seed, i).to(like) for i in range(count)]
    products = list(probe_products or ())
    if starts and not products:
        products = list(hessian.block(torch.stack(starts)))
    width = settings.trace_rtol if exact is None else 0.0
    probed = estimate_trace(
        hessian, space, seed=settings.seed, probes=settings.probes, half_width=width, known=products, forms=forms
    )
    chains = zip(starts[: settings.slq_vectors - include_own_chain], products, strict=False)
    density, absolute = spectral_density(hessian, space, chains, steps=CHAIN, include_own_chain=include_own_chain)
    norm = probed.frobenius
    rank = (absolute.value / norm.value) ** 2 if norm.value else 0.0
    relative = np.hypot(absolute.error / (absolute.value or 1), norm.error / (norm.value or 1))
    return exact or probed.trace, norm, Estimate(rank, float(2 * rank * relative)), density


def _judge(
    hessians: HessianFactory, subset: Subset, pairs: ExtremalEigenpairs, options: LanczosOptions, *, converged: bool
) -> tuple[NegativeCurvature, int]:
    """Noise floor (unknown where nothing runs in float64), τ and verdict, and the products on the way.

    A product proves a negative direction: in float64 where the subset is small enough to be compared whole, else as
    measured. That there is none rests on two random starts, on a smallest eigenvalue that has converged and on the
    noise of its product.
    """
    vector = pairs.bottom.vectors[0]
    measured, exact = hessians.compared(subset)
    largest = float(np.abs(np.r_[pairs.top.values, pairs.bottom.values]).max())
    length = float(torch.linalg.vector_norm(hessians.subject.vector(), dtype=torch.float64))
    threshold = max(ZERO_SHARE * largest, ROUNDING / max(1.0, length) ** 2)
    accurate, floor = pairs.bottom.outermost, np.nan
    if exact is not None:
        accurate = _form(exact, vector.double())
        floor = abs(_form(measured, vector) - accurate)
        threshold = max(FLOOR_FACTOR * floor, threshold)
    lowest, verdict = pairs.bottom.outermost, UNDECIDED
    limit = options.limits(pairs.top.values, pairs.bottom.values, threshold)[1][0]
    found = options.bounds(pairs.bottom.values, pairs.bottom.residuals)[0]
    if subset.measured_count <= COMPARED:
        lowest = min(lowest, accurate) if lowest >= -threshold else accurate
    if lowest < -threshold:
        verdict = NEGATIVE
    elif pairs.bottom.outermost >= -threshold and converged and found <= limit:
        verdict = NONE_FOUND
    return NegativeCurvature(verdict, floor, threshold), measured.products + (0 if exact is None else exact.products)


def _kept(pairs: Eigenpairs, settings: HessianSettings) -> Eigenpairs:
    """Without eigenvectors, unless they were asked for."""
    return pairs if settings.vectors else Eigenpairs(pairs.values, pairs.residuals)


def _form(hessian: HessianOperator, vector: Tensor) -> float:
    """vᵀHv / vᵀv, summed in float64."""
    product, vector = hessian(vector).double(), vector.double()
    return float(vector @ product / (vector @ vector))


def _generator(seed: int, role: str, name: str) -> torch.Generator:
    return torch.Generator().manual_seed(seed_of(seed, role, name))
