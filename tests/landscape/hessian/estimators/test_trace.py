"""The trace's interval keeps its promise, and shared products change nothing."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from landscape.hessian.estimators.krylov_space import KrylovSpace
from landscape.hessian.estimators.lanczos import LanczosOptions, extremal_eigenpairs
from landscape.hessian.estimators.random_vectors import random_signs
from landscape.hessian.estimators.trace import estimate_trace, probe
from tests.landscape.hessian.oracle import dense, standard

SIZE = 300


def estimate(h: torch.Tensor, seed: int, probes: int = 8, half_width: float = 0.0):
    generator = torch.Generator().manual_seed(10_000 + seed)
    goal = LanczosOptions(5, 1, tol=1e-2, max_products=min(20, len(h)))
    ends = extremal_eigenpairs(lambda v: h @ v, random_signs(len(h), generator).to(h.dtype), goal, generator)
    return estimate_trace(lambda v: h @ v, ends.space, seed=seed, probes=probes, half_width=half_width)


def covered(h: torch.Tensor, half_width: float = 0.0) -> int:
    exact = float(torch.trace(h.double()))
    traces = [estimate(h, seed, half_width=half_width) for seed in range(100)]
    return sum(abs(t.trace.value - exact) <= t.trace.half_width for t in traces)


@pytest.mark.parametrize("activation", [nn.GELU, nn.ReLU])
@pytest.mark.parametrize("name", ["all", "balanced", "class:2", "class:4"])
def test_the_interval_covers_the_truth_on_networks(name, activation):
    of = standard(activation)
    h = torch.as_tensor(dense(of, next(s for s in of.subsets if s.name == name))[2])
    assert covered(h) >= 90


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_the_interval_covers_the_truth_on_a_slowly_decaying_spectrum(dtype):
    generator = torch.Generator().manual_seed(0)
    q = torch.linalg.qr(torch.randn(SIZE, SIZE, generator=generator, dtype=torch.float64))[0]
    values = 100.0 / torch.arange(1, SIZE + 1, dtype=torch.float64) ** 0.7 - 2
    assert covered(((q * values) @ q.T).to(dtype)) >= 90


def test_an_asked_half_width_is_met():
    of = standard(nn.ReLU)
    h = torch.as_tensor(dense(of, of.subsets[0])[2])
    for seed in range(5):
        found = estimate(h, seed, half_width=0.01)
        assert found.trace.half_width <= 0.01 * found.trace.value or found.probes == 256
        assert found.probes > 8


@pytest.mark.exhaustive
def test_an_asked_half_width_still_covers_the_truth():
    of = standard(nn.ReLU)
    assert covered(torch.as_tensor(dense(of, of.subsets[0])[2]), 0.02) >= 90


def test_products_known_already_are_not_made_again():
    h = torch.diag(torch.linspace(1, 2, 60, dtype=torch.float64))
    generator = torch.Generator().manual_seed(0)
    space = extremal_eigenpairs(
        lambda v: h @ v, random_signs(60, generator).double(), LanczosOptions(2, 1, tol=0.1), generator
    ).space
    made = []

    def counted(v):
        made.append(v)
        return h @ v

    known = [h @ probe(60, 5, index).double() for index in range(6)]
    shared = estimate_trace(counted, space, seed=5, probes=8, known=known)
    assert len(made) == 2
    assert shared == estimate_trace(counted, space, seed=5, probes=8)


def test_deflated_probes_err_far_less_than_raw_ones():
    """A raw probe of a spectrum with outliers is off by about its size."""
    of = standard(nn.ReLU)
    h = torch.as_tensor(dense(of, of.subsets[0])[2])
    exact = float(torch.trace(h))
    raw = [float(z @ h @ z) for z in (probe(len(h), seed, 0).double() for seed in range(40))]
    deflated = [estimate(h, seed, probes=2).trace.value for seed in range(40)]
    assert np.std(deflated) < 0.2 * np.std(raw)
    assert np.mean(deflated) == pytest.approx(exact, rel=0.02)


def test_a_basis_of_the_whole_space_makes_the_trace_exact():
    h = torch.diag(torch.tensor([3.0, -1.0, 0.5], dtype=torch.float64))
    space = KrylovSpace(lambda v: h @ v, h[0], torch.Generator())
    for unit in torch.eye(3, dtype=torch.float64):
        space.add(unit)
    while space.pending:
        space.step()
    found = estimate_trace(lambda v: h @ v, space, seed=0, probes=8)
    assert found.probes == 0
    assert found.trace.value == pytest.approx(2.5, abs=1e-14) and found.trace.half_width == 0


def test_the_frobenius_norm_comes_from_the_same_probes():
    generator = torch.Generator().manual_seed(0)
    h = torch.diag(torch.cat([torch.tensor([50.0, 40, 30]), torch.linspace(-8, 8, 200)])).double()
    goal = LanczosOptions(3, 1, tol=1e-3, max_products=12)
    covered = []
    for seed in range(40):
        ends = extremal_eigenpairs(lambda v: h @ v, random_signs(203, generator).double(), goal, generator)
        norm = estimate_trace(lambda v: h @ v, ends.space, seed=seed, probes=8).frobenius
        assert norm.value == pytest.approx(float(h.norm()), rel=0.05)
        covered.append(abs(norm.value - float(h.norm())) <= stats.t.ppf(0.975, 7) * norm.error)
    assert np.mean(covered) >= 0.8


def test_probes_of_one_seed_are_the_same_everywhere_and_differ_between_seeds():
    assert torch.equal(probe(50, 3, 1), probe(50, 3, 1))
    assert not torch.equal(probe(50, 3, 1), probe(50, 3, 2))
    assert not torch.equal(probe(50, 3, 1), probe(50, 4, 1))
    assert set(probe(50, 3, 1).tolist()) == {-1.0, 1.0}
