"""What is asked of the curvature of a subset, and what is known of it afterwards.

Every number says in its field what it is (`landscape.schema`): the data sets of a file, the columns of a table and the
variables of xarray follow from the dataclasses below and from those of the estimators that they are made of.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from foundation.errors import one_of
from landscape.conversion import to_frame, to_xarray, unknown
from landscape.hessian.estimators.density import LONGEST, MOST_PAIRS, Density
from landscape.hessian.estimators.fresh_samples import FreshSamples
from landscape.hessian.estimators.gauss_newton import GaussNewtonSpectrum
from landscape.hessian.estimators.lanczos import Eigenpairs
from landscape.hessian.estimators.trace import Trace
from landscape.hessian.products.operators import Plan
from landscape.schema import MEASURED, NAT, NON_FINITE, SHARE, UNDECIDED, Estimate, part, quantity
from landscape.subject.subsets import Subset

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

CHAIN = 5
"""Products of each chain of the density."""


@dataclass(frozen=True)
class HessianSettings:
    """How much is asked of each subset.

    Attributes:
        top: k, how many of the largest eigenvalues.
        bottom: k', how many of the smallest.
        tol: One of the largest has converged when ‖Hv − λv‖ ≤ tol · max(|λ|, τ), one of the smallest when it is below
            ten times that (at most 1 %) of |λ|, or 300 tol · τ.
        probes: Random probes of the Frobenius norm and of traces that take probes, at least 2; where traces are exact,
            the norm takes no more than `slq_vectors`.
        trace_rtol: Work on until a trace's 95 % half-width is below this share of it, with 256 probes at most; 0: no
            more. Most networks' traces are exact (`exact_trace`).
        slq_vectors: Random vectors that the density and its error rest on, at least 2: the Krylov run's own, and
            probes that go on as short chains.
        max_products: Most products of one Krylov run; pairs not converged by then keep their residuals.
        intervals: Measure eigenvalues on held-out samples too; every value of fewer than 20 samples is measured anyway.
        gauss_newton: Measure the Gauss–Newton part of subsets that are too large for a Gram matrix too, by products.
        layers: Measure the largest eigenvalue of each layer's own block too.
        vectors: Keep the eigenvectors, for `measure_cross_class`, warm starts and planes.
        seed: Of all random vectors.
    """

    top: Annotated[int, Field(ge=1, le=1000)] = 5
    bottom: Annotated[int, Field(ge=1, le=1000)] = 1
    tol: float = 1e-3
    probes: Annotated[int, Field(ge=2, le=10_000)] = 8
    trace_rtol: float = 0.0
    slq_vectors: Annotated[int, Field(ge=2, le=1000)] = 3
    max_products: Annotated[int, Field(ge=1, le=1_000_000)] = 300
    intervals: bool = True
    gauss_newton: bool = False
    layers: bool = False
    vectors: bool = False
    seed: int = 0

    @property
    def nodes(self) -> int:
        """Most nodes of a density."""
        return MOST_PAIRS + LONGEST + self.slq_vectors * CHAIN


@dataclass(frozen=True)
class Eigenvalue:
    """One eigenvalue.

    Attributes:
        value: The eigenvalue.
        residual: ‖Hv − λv‖ of its vector.
        converged: The residual met the tolerance, and a second random start found nothing beyond.
    """

    value: float = field(default=np.nan, metadata=quantity("{meaning}", name="{name}", unit="{unit}"))
    residual: float = field(default=np.nan, metadata=quantity("its residual", name="{name}_residual", unit="{unit}"))
    converged: bool = field(
        default=False, metadata=quantity("1: its residual met tol from two starts", name="{name}_converged")
    )


@dataclass(frozen=True)
class NegativeCurvature:
    """What is said of negative curvature, and on what grounds.

    Attributes:
        verdict: `negative`, `none-found` or `undecided`.
        noise_floor: |vᵀ(H_measured − H_float64)v| at the bottom vector, on at most 256 samples.
        threshold: τ: curvature within ±τ counts as none.
    """

    verdict: str = field(default=UNDECIDED, metadata=quantity("negative, none-found or undecided"))
    noise_floor: float = field(default=np.nan, metadata=quantity("|vᵀ(H − H in float64)v| at the bottom vector"))
    threshold: float = field(default=np.nan, metadata=quantity("curvature within ± this counts as none"))


@dataclass(frozen=True, repr=False)
class SubsetCurvature:
    """The curvature of one subset's loss. What was not asked for or cannot be known is NaN, or an empty array.

    Attributes:
        subset: Its name.
        loss: Mean loss.
        gradient_norm: ‖∇L‖: at trained weights rarely zero for a class.
        top: Largest eigenvalues, descending; as many as there are parameters, if that is fewer than were asked for.
        bottom: Smallest eigenvalues, ascending.
        top_scaled: Largest eigenvalue of diag|w| H diag|w|, comparable across heads and weight decay.
        trace_scaled: tr diag|w| H diag|w|, comparable in the same way.
        trace: tr H.
        frobenius: ‖H‖, Frobenius.
        effective_rank: (Σ|λ|)² / Σλ²: as many equal eigenvalues would give the same two sums.
        density: The spectrum as a measure, and the share of it that is negative.
        gauss_newton: The Gauss–Newton part: of a small subset all eigenvalues that can differ from zero, of another
            the k largest where they were asked for.
        fresh_samples: What the eigenvalues are on samples that did not choose their directions.
        layer_top: (L,) largest eigenvalue of each layer's own block.
        negative_curvature: Whether there is any.
        converged: Every pair asked for met its tolerance.
        products: Hessian-vector products spent on this subset, those for noise floor and halves included.
        status: `MEASURED`; `NON_FINITE` when a product held a NaN or an infinity: then only loss and gradient are
            known.
    """

    subset: str
    loss: float = field(metadata=quantity("mean evaluation loss", unit=NAT))
    gradient_norm: float = field(metadata=quantity("norm of the gradient of the subset's loss"))
    top: Eigenpairs = field(default_factory=Eigenpairs, metadata=part(meaning="largest eigenvalues, descending"))
    bottom: Eigenpairs = field(
        default_factory=Eigenpairs, metadata=part(meaning="smallest eigenvalues, ascending", rank="rank_bottom")
    )
    top_scaled: Eigenvalue = field(
        default=Eigenvalue(), metadata=part(meaning="largest eigenvalue of diag|w| H diag|w|", unit=NAT)
    )
    trace_scaled: Trace = field(default=Trace(), metadata=part(meaning="trace of diag|w| H diag|w|", unit=NAT))
    trace: Trace = field(default=Trace(), metadata=part(meaning="trace of the Hessian"))
    frobenius: Estimate = field(default=Estimate(), metadata=part(meaning="Frobenius norm of the Hessian"))
    effective_rank: Estimate = field(default=Estimate(), metadata=part(meaning="(Σ|λ|)² / Σλ²", unit=SHARE))
    density: Density = field(default_factory=Density, metadata=part())
    gauss_newton: GaussNewtonSpectrum = field(default_factory=GaussNewtonSpectrum, metadata=part())
    fresh_samples: FreshSamples = field(default_factory=FreshSamples, metadata=part())
    layer_top: NDArray[np.float64] = field(
        default_factory=unknown,
        metadata=quantity("largest eigenvalue of each layer's own block", "layer", when="layers"),
    )
    negative_curvature: NegativeCurvature = field(default=NegativeCurvature(), metadata=part())
    converged: bool = field(default=False, metadata=quantity("1: every residual met tol"))
    products: int = field(default=0, metadata=quantity("Hessian-vector products spent", unit=SHARE))
    status: int = field(default=NON_FINITE, metadata=quantity("0 to do, 1 measured, 2 non-finite", dtype="i1"))

    @property
    def finite(self) -> bool:
        """Whether every product was."""
        return self.status == MEASURED

    def __repr__(self) -> str:
        said = f"λ_top {self.top.outermost:.4g}, λ_bottom {self.bottom.outermost:.4g}, trace {self.trace.value:.4g}"
        return f"<{type(self).__name__} of {self.subset}: loss {self.loss:.4g}, {said}>"


@dataclass(frozen=True, repr=False)
class HessianResult:
    """The curvature of every subset of a subject.

    Attributes:
        curvatures: One a subset, in the subject's order.
        subsets: What was measured.
        layers: Names of the L layers that `layer_top` speaks of.
        settings: How much was asked.
        plan: How products were computed.
    """

    curvatures: tuple[SubsetCurvature, ...]
    subsets: tuple[Subset, ...]
    layers: tuple[str, ...]
    settings: HessianSettings
    plan: Plan

    def of(self, name: str) -> SubsetCurvature:
        """The curvature of one subset.

        Args:
            name: Such as `class:3`.

        Returns:
            Its curvature.

        Raises:
            InputError: There is no such subset.
        """
        for curvature in self.curvatures:
            if curvature.subset == name:
                return curvature
        raise one_of("subset", name, [c.subset for c in self.curvatures])

    def to_xarray(self) -> xr.Dataset:
        """Every number with its dimensions, unit and meaning, named as in a `landscape.h5`; NaN where unknown."""
        about = {
            key: [getattr(s, key) for s in self.subsets] for key in ("label", "kind", "train_count", "measured_count")
        }
        coordinates = {
            "subset": [s.name for s in self.subsets],
            "layer": list(self.layers),
            **{key: ("subset", values) for key, values in about.items()},
        }
        return to_xarray(self.curvatures, coordinates, asdict(self.settings))

    def to_frame(self) -> pd.DataFrame:
        """One row a subset: every number that it has one of, and `top[0]`, `bottom[0]`, … of its eigenvalues."""
        return to_frame(self.to_xarray(), spread=("rank", "rank_bottom", "layer"))

    def __repr__(self) -> str:
        names = [c.subset for c in self.curvatures]
        listed = ", ".join([*names[:3], *(["…"] if len(names) > 3 else [])])
        return f"<{type(self).__name__} of {len(names)} subsets ({listed}): top {self.settings.top}>"
