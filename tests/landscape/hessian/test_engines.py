"""One suite for every engine: eigenvalues, trace and vectors against exact Hessians, and nothing left behind."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from foundation.errors import InputError
from landscape.hessian.measure import ENGINES, measure_hessian
from landscape.hessian.products.operators import Plan
from landscape.hessian.pyhessian import largest_by_magnitude
from landscape.hessian.result import HessianSettings
from tests.landscape.hessian.oracle import dense, network, standard, subject

PLAN = Plan(16, keep=1000, fused=True)
ACCURACY = {"krylov": 1e-6, "pyhessian": 5e-2}  # of the largest eigenvalue, at tol 1e-4


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("name", ["all", "balanced", "class:4"])
def test_eigenvalues_and_trace(engine, dtype, name):
    of = subject(dtype, subsets=[name])
    settings = HessianSettings(top=2, tol=1e-4, engine=engine, vectors=True, intervals=False)
    before = torch.random.get_rng_state()
    found = measure_hessian(of, settings=settings, plan=PLAN).of(name)
    assert torch.equal(before, torch.random.get_rng_state())
    assert all(p.grad is None for p in of.network.parameters())
    loss, gradient, hessian = dense(standard(), of.subsets[0])
    values = np.linalg.eigvalsh(hessian)
    expected = values[::-1][:2] if engine == "krylov" else np.sort(values[np.argsort(-np.abs(values))[:2]])[::-1]
    np.testing.assert_allclose(found.top, expected, atol=max(ACCURACY[engine], 1e-4) * np.abs(values).max())
    for value, residual, vector in zip(found.top, found.top_residual, found.top_vectors.double().numpy(), strict=True):
        true = np.linalg.norm(hessian @ vector - value * vector)
        assert residual == pytest.approx(true, rel=0.05, abs=1e-5 * np.abs(values).max())
    assert found.loss == pytest.approx(loss, rel=1e-5)
    assert found.gradient_norm == pytest.approx(float(gradient.norm()), rel=1e-5)
    error = 6 * found.trace_se if np.isfinite(found.trace_se) else np.inf
    assert abs(found.trace - values.sum()) <= error


@pytest.mark.parametrize("engine", ENGINES)
def test_a_second_measurement_is_the_same(engine):
    of = subject(subsets=["few"])
    settings = HessianSettings(top=1, engine=engine)
    first, second = (measure_hessian(of, settings=settings, plan=PLAN).of("few") for _ in range(2))
    np.testing.assert_array_equal(first.top, second.top)
    assert first.trace == second.trace


@pytest.mark.parametrize("engine", ENGINES)
def test_a_diverged_network_is_reported_not_repaired(engine):
    net = network()
    net[-1].weight.data[0, 0] = float("nan")
    settings = HessianSettings(top=2, engine=engine)
    found = measure_hessian(subject(net=net, subsets=["all"]), settings=settings, plan=PLAN).of("all")
    assert not found.finite and np.isnan(found.top).all() and np.isnan(found.trace)


def test_the_check_finds_the_largest_magnitude():
    of = standard(nn.ReLU)
    for subset in of.subsets:
        values = np.linalg.eigvalsh(dense(of, subset)[2])
        largest = values[np.abs(values).argmax()]
        assert largest_by_magnitude(of, subset, tol=1e-5, seed=0) == pytest.approx(largest, rel=0.02)


def test_an_unknown_engine_is_one_sentence():
    with pytest.raises(InputError, match="unknown engine 'magic'"):
        measure_hessian(standard(), settings=HessianSettings(engine="magic"))
