"""What is asked of the curvature of a subset, and what is known of it afterwards."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from landscape.hessian.estimators.density import LONGEST, MOST_PAIRS, POINTS
from landscape.hessian.estimators.fresh_samples import FEWEST, FreshSamples
from landscape.hessian.estimators.layerwise import layers
from landscape.hessian.products.hvp import HessianOperator
from landscape.schema import UNDECIDED
from landscape.subject.subject import Subject
from landscape.subject.subsets import Subset

Array = NDArray[np.float64]

CHAIN = 5
"""Products of each chain of the density."""


@dataclass(frozen=True)
class HessianSettings:
    """How much is asked of each subset.

    Attributes:
        top: k, how many of the largest eigenvalues.
        bottom: k', how many of the smallest.
        tol: A pair has converged when ‖Hv − λv‖ ≤ tol · max(|λ|, τ).
        probes: Random probes of the Frobenius norm and of a trace that takes probes, at least 2; where traces are
            exact, no more than `chains`.
        trace_width: Work on until a trace's 95 % half-width is below this share of it, with 256 probes at most; 0: no
            more. Most networks' traces are exact (`exact_trace`).
        chains: Random vectors that the density and its error rest on, at least 2: the Krylov run's own, and probes
            that go on as short chains.
        max_products: Most products of one Krylov run; pairs not converged by then keep their residuals.
        intervals: Measure eigenvalues on held-out samples too; every value of fewer than 20 samples is measured anyway.
        gauss_newton: Measure the Gauss–Newton part of subsets that are too large for a Gram matrix too, by products.
        layers: Measure the largest eigenvalue of each layer's own block too.
        vectors: Keep the eigenvectors.
        engine: `krylov`, or `pyhessian` for comparison.
        seed: Of all random vectors.
    """

    top: int = 5
    bottom: int = 1
    tol: float = 1e-3
    probes: int = 8
    trace_width: float = 0.0
    chains: int = 3
    max_products: int = 300
    intervals: bool = True
    gauss_newton: bool = False
    layers: bool = False
    vectors: bool = False
    engine: str = "krylov"
    seed: int = 0

    @property
    def nodes(self) -> int:
        """Most nodes of a density."""
        return MOST_PAIRS + LONGEST + self.chains * CHAIN


@dataclass(frozen=True)
class SubsetCurvature:
    """The curvature of one subset's loss. What was not asked for or cannot be known is NaN.

    Attributes:
        subset: Its name.
        finite: False when a product held a NaN or an infinity; then every number is NaN.
        loss: Mean loss.
        gradient_norm: ‖∇L‖: at trained weights rarely zero for a class.
        top: (k,) largest eigenvalues, descending; NaN beyond the number of parameters.
        top_residual: (k,) ‖Hv − λv‖.
        bottom: (k',) smallest eigenvalues, ascending.
        bottom_residual: (k',) ‖Hv − λv‖.
        held_out: What they are on samples that did not choose their directions.
        top_scaled: Largest eigenvalue of diag|w| H diag|w|, comparable across heads and weight decay.
        top_scaled_residual: Its residual.
        trace: tr H.
        trace_se: Standard error of the trace; 0 where it is exact.
        trace_low: Lower end of its 95 % interval.
        trace_high: Upper end.
        frobenius: ‖H‖, Frobenius.
        frobenius_se: Its standard error.
        effective_rank: (Σ|λ|)² / Σλ²: as many equal eigenvalues would give the same two sums.
        effective_rank_se: Its standard error.
        negative_share: Σ|λ| over the negative eigenvalues, as a share of Σ|λ|.
        negative_share_se: Its standard error.
        nodes: (m,) nodes of the spectral measure.
        weights: (m,) their weights.
        density_grid: (G,) eigenvalues at which the density is given.
        density: (G,) smoothed spectral density.
        density_se: (G,) its error, over chains and of one node less in each.
        gauss_newton_top: (r,) eigenvalues of the Gauss–Newton part, descending: of a small subset all that can differ
            from zero, of another the k largest where they were asked for.
        gauss_newton_trace: Its trace.
        gauss_newton_rest: ‖H − G‖.
        layer_top: (L,) largest eigenvalue of each layer's own block.
        noise_floor: |vᵀ(H_measured − H_float64)v| at the bottom vector, on at most 256 samples.
        threshold: τ: curvature within ±τ counts as none.
        verdict: `negative`, `none-found` or `undecided`.
        converged: Every pair asked for met its tolerance.
        products: Hessian-vector products spent on this subset, those for noise floor and halves included.
        top_vectors: (k, P) unit eigenvectors of `top`, NaN like it, where they were asked for.
        bottom_vectors: (k', P) of `bottom`.
    """

    subset: str
    finite: bool
    loss: float
    gradient_norm: float
    top: Array
    top_residual: Array
    bottom: Array
    bottom_residual: Array
    held_out: FreshSamples
    nodes: Array
    weights: Array
    density_grid: Array
    density: Array
    density_se: Array
    gauss_newton_top: Array
    layer_top: Array
    products: int
    top_scaled: float = np.nan
    top_scaled_residual: float = np.nan
    trace: float = np.nan
    trace_se: float = np.nan
    trace_low: float = np.nan
    trace_high: float = np.nan
    frobenius: float = np.nan
    frobenius_se: float = np.nan
    effective_rank: float = np.nan
    effective_rank_se: float = np.nan
    negative_share: float = np.nan
    negative_share_se: float = np.nan
    gauss_newton_trace: float = np.nan
    gauss_newton_rest: float = np.nan
    noise_floor: float = np.nan
    threshold: float = np.nan
    verdict: str = UNDECIDED
    converged: bool = False
    top_vectors: Tensor | None = None
    bottom_vectors: Tensor | None = None


def unmeasured(
    subject: Subject, subset: Subset, settings: HessianSettings, hessian: HessianOperator
) -> SubsetCurvature:
    """Loss and gradient of a subset; everything else is unknown."""
    top, bottom = np.full(settings.top, np.nan), np.full(settings.bottom, np.nan)
    points, few = np.full(POINTS, np.nan), np.full(FEWEST - 1, np.nan)
    kept = max(settings.top, settings.bottom) if settings.vectors else 0
    unknown = subject.vector().new_full((kept, subject.size), np.nan)
    return SubsetCurvature(
        subset=subset.name,
        finite=False,
        loss=hessian.value,
        gradient_norm=float(hessian.gradient.norm()),
        top=top,
        top_residual=top,
        bottom=bottom,
        bottom_residual=bottom,
        held_out=FreshSamples(top, top, bottom, bottom, few, few),
        nodes=np.empty(0),
        weights=np.empty(0),
        density_grid=points,
        density=points,
        density_se=points,
        gauss_newton_top=np.empty(0),
        layer_top=np.full(len(layers(subject)), np.nan),
        products=hessian.products,
        top_vectors=unknown[: settings.top] if settings.vectors else None,
        bottom_vectors=unknown[: settings.bottom] if settings.vectors else None,
    )
