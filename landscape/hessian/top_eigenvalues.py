"""The largest eigenvalues of every subset's Hessian, and nothing else: `landscape.top_eigenvalues`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from foundation.errors import InputError, one_of
from landscape.execution.checks import guarded
from landscape.execution.second_order import math_attention
from landscape.hessian.checks import check_symmetry
from landscape.hessian.estimators.lanczos import LanczosOptions, extremal_eigenpairs
from landscape.hessian.estimators.random_vectors import random_normal
from landscape.hessian.products.autotune import choose_plan
from landscape.hessian.products.operators import HessianFactory, Plan
from landscape.subject.subject import Subject


@dataclass(frozen=True)
class TopEigenvalues:
    """The largest eigenvalues of every subset.

    Attributes:
        subset: Names of the S subsets.
        values: (S, k) descending; NaN behind the last of a smaller matrix, or where products are not finite.
        residuals: (S, k) ‖Hv − λv‖ of each; some eigenvalue lies within that of λ.
        converged: (S,) whether every residual met the tolerance.
        products: (S,) Hessian-vector products spent; 0 where an earlier subset has the same samples.
    """

    subset: tuple[str, ...]
    values: NDArray[np.float64]
    residuals: NDArray[np.float64]
    converged: NDArray[np.bool_]
    products: NDArray[np.int64]

    def of(self, name: str) -> NDArray[np.float64]:
        """The eigenvalues of one subset, (k,).

        Args:
            name: Such as `"all"`.

        Returns:
            They, descending.

        Raises:
            InputError: No such subset was measured.
        """
        if name not in self.subset:
            raise InputError(one_of("subset", name, self.subset))
        found: NDArray[np.float64] = self.values[self.subset.index(name)]
        return found


@guarded
def top_eigenvalues(
    subject: Subject,
    k: int = 1,
    *,
    tol: float = 1e-3,
    max_products: int = 300,
    seed: int = 0,
    plan: Plan | None = None,
) -> TopEigenvalues:
    """The k largest algebraic eigenvalues of every subset, by Lanczos from one Gaussian start.

    For k above 1 a second start looks for copies of multiple eigenvalues, of which one start finds one.

    Args:
        subject: What is measured; `with_subsets(["all"])` for a single one.
        k: How many.
        tol: Relative residual ‖Hv − λv‖/|λ| at which an eigenvalue counts as found.
        max_products: Most products a subset.
        seed: Of the starts.
        plan: How to compute products; by default chosen by timing a few.

    Returns:
        The eigenvalues, with residuals and products.

    Raises:
        InputError: `k`, `tol` or `max_products` is out of range.
        LandscapeError: The loss has no Hessian; the sentence names the likely cause.
    """
    for name, value in {"k": k, "max_products": max_products}.items():
        if value < 1:
            raise InputError(f"{name} {value} is too small: give 1 or more")
    if not 0 < tol < 1:
        raise InputError(f"tol {tol:g} is no relative residual: give a number such as 1e-3")
    check_symmetry(subject)
    hessians = HessianFactory(subject, plan or choose_plan(subject))
    options = LanczosOptions(k, 0, tol=tol, max_products=max_products, capacity=hessians.plan.basis, second_start=k > 1)
    rows: dict[str, tuple[np.ndarray, np.ndarray, bool, int]] = {}
    with math_attention(), hessians.workers.alone(subject.size):
        for subset in subject.subsets:
            twin = subject.twin(subset)
            if twin is not None:
                rows[subset.name] = (*rows[twin.name][:3], 0)
                continue
            hessian, generator = hessians.of(subset), torch.Generator().manual_seed(seed)
            values, residuals, converged = np.full(k, np.nan), np.full(k, np.nan), False
            try:
                start = random_normal(subject.size, generator).to(subject.vector())
                found = extremal_eigenpairs(hessian, start, options, generator)
            except FloatingPointError:  # products that are not finite
                pass
            else:
                count = len(found.top.values)
                values[:count], residuals[:count], converged = found.top.values, found.top.residuals, found.converged
            rows[subset.name] = values, residuals, converged, hessian.products
    return _collected(rows)


def _collected(rows: Mapping[str, tuple[np.ndarray, np.ndarray, bool, int]]) -> TopEigenvalues:
    values, residuals, converged, products = zip(*rows.values(), strict=True)
    return TopEigenvalues(
        tuple(rows), np.stack(values), np.stack(residuals), np.array(converged, dtype=bool), np.array(products)
    )
