"""The scale-free Hessian diag|w| H diag|w| against the dense one, its trace by probes too."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from landscape.hessian.estimators.lanczos import LanczosOptions
from landscape.hessian.estimators.per_sample import ProbeForms
from landscape.hessian.estimators.scaled import scaled_top, scaled_trace
from landscape.hessian.estimators.trace import probe
from landscape.hessian.products.operators import HessianFactory, Plan
from tests.landscape.hessian.oracle import dense, sizes, standard

SEED, PROBES = 3, 6


def scaled(of, subset) -> np.ndarray:
    weights = sizes(of)
    return weights[:, None] * dense(of, subset)[2] * weights


@pytest.mark.parametrize("max_products", [8, 300])
def test_top_and_trace(max_products):
    of = standard()
    hessians = HessianFactory(of, Plan(16, keep=1000, workers=2))
    forms = ProbeForms(hessians, SEED, hessians.weight_sizes)
    for subset in (s for s in of.subsets if s.name in ("balanced", "class:2")):
        exact = scaled(of, subset)
        options = LanczosOptions(5, 1, tol=1e-6, max_products=max_products)
        run = scaled_top(hessians.of(subset), hessians.weight_sizes, options, torch.Generator().manual_seed(1))
        if run.converged:
            assert run.top.values[0] == pytest.approx(np.linalg.eigvalsh(exact)[-1], rel=1e-10)
        basis = run.space.basis.numpy()
        outside = np.eye(of.size) - basis.T @ basis
        kept = np.trace(basis @ exact @ basis.T)
        drawn = [probe(of.size, SEED, index).double().numpy() for index in range(PROBES)]
        # zᵀMz − (Vᵀz)ᵀ VᵀMV (Vᵀz) is zᵀ(M − VVᵀMVVᵀ)z: the trace of what the basis does not hold, unbiased
        left = exact - (np.eye(of.size) - outside) @ exact @ (np.eye(of.size) - outside)
        values = [z @ left @ z for z in drawn]
        found = scaled_trace(forms, subset, run.space, PROBES)
        assert found.value == pytest.approx(kept + np.mean(values), rel=1e-7)
        assert found.error == pytest.approx(np.std(values, ddof=1) / PROBES**0.5, rel=1e-6)
        assert kept + np.trace(left) == pytest.approx(np.trace(exact), rel=1e-10)


def test_the_interval_holds_the_trace():
    of = standard()
    hessians, subset = HessianFactory(of, Plan(16, keep=1000)), of.subsets[0]
    exact = float(np.trace(scaled(of, subset)))
    run = scaled_top(
        hessians.of(subset),
        hessians.weight_sizes,
        LanczosOptions(1, 0, max_products=6),
        torch.Generator().manual_seed(1),
    )
    forms = [ProbeForms(hessians, seed, hessians.weight_sizes) for seed in range(20)]
    found = [scaled_trace(each, subset, run.space, 8) for each in forms]
    assert sum(f.low <= exact <= f.high for f in found) >= 17
