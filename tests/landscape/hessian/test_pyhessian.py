"""PyHessian as an oracle: its eigenvalues and traces beside ours and beside exact Hessians, and nothing left behind."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from landscape.hessian.measure import measure_hessian
from landscape.hessian.products.operators import Plan
from landscape.hessian.pyhessian import ITERATIONS, largest_by_magnitude, pyhessian_of
from landscape.hessian.result import HessianSettings
from tests.landscape.hessian.oracle import dense, standard, subject

PLAN = Plan(16, keep=1000, fused=True)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("name", ["all", "balanced", "class:4"])
def test_eigenvalues_and_trace_agree_with_ours_and_with_the_dense_hessian(dtype, name):
    of = subject(dtype, subsets=[name])
    before = torch.random.get_rng_state()
    with pyhessian_of(of, of.subsets[0], seed=0) as peer:
        largest = np.sort(np.array(peer.eigenvalues(maxIter=ITERATIONS, tol=1e-4, top_n=2)[0], dtype=float))[::-1]
        probes = np.array(peer.trace(maxIter=ITERATIONS, tol=1e-4))
    assert torch.equal(before, torch.random.get_rng_state()) and torch.get_default_dtype() == torch.float32
    assert all(p.grad is None for p in of.network.parameters())
    values = np.linalg.eigvalsh(dense(standard(), of.subsets[0])[2])
    scale = np.abs(values).max()
    by_magnitude = np.sort(values[np.argsort(-np.abs(values))[:2]])[::-1]
    np.testing.assert_allclose(largest, by_magnitude, atol=5e-2 * scale)
    ours = measure_hessian(of, settings=HessianSettings(top=2, tol=1e-4, intervals=False), plan=PLAN).of(name)
    if (by_magnitude > 0).all():
        np.testing.assert_allclose(ours.top.values, largest, atol=5e-2 * scale)
    error = probes.std(ddof=1) / np.sqrt(len(probes))
    assert abs(probes.mean() - values.sum()) <= 6 * error
    assert abs(probes.mean() - ours.trace.value) <= 6 * np.hypot(error, ours.trace.error)


def test_the_check_finds_the_largest_magnitude():
    of = standard(nn.ReLU)
    for subset in of.subsets:
        values = np.linalg.eigvalsh(dense(of, subset)[2])
        largest = values[np.abs(values).argmax()]
        assert largest_by_magnitude(of, subset, tol=1e-5, seed=0) == pytest.approx(largest, rel=0.02)


def test_a_second_check_gives_the_same():
    of = subject(subsets=["few"])
    first, second = (largest_by_magnitude(of, of.subsets[0], tol=1e-3, seed=4) for _ in range(2))
    assert first == second
