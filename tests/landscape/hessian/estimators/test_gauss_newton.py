"""The Gauss–Newton matrix against JᵀSJ formed by hand, and what it may and may not say."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from landscape.hessian.estimators.gauss_newton import GaussNewton, gauss_newton_ends, gauss_newton_spectrum, is_small
from landscape.hessian.products.operators import HessianFactory, Plan
from landscape.subject.subsets import Subset
from tests.landscape.hessian.oracle import LOSSES, dense, network_in_double, standard, subject

PLAN = Plan(8, keep=1000, workers=2)


def by_hand(of, subset) -> np.ndarray:
    """Σ w_i J_iᵀ (diag p − ppᵀ) J_i with the softmax's own formula."""
    net = network_in_double(of)
    parameters = list(net.parameters())
    total = torch.zeros(of.size, of.size, dtype=torch.float64)
    rows = of.rows(subset)
    for x, weight in zip(of.inputs(rows), of.weights(subset), strict=True):
        logits = net(x[None].double())[0]
        jacobian = torch.stack(
            [torch.cat([g.reshape(-1) for g in torch.autograd.grad(z, parameters, retain_graph=True)]) for z in logits]
        )
        p = logits.softmax(0).detach()
        total += weight * jacobian.T @ (torch.diag(p) - torch.outer(p, p)) @ jacobian
    return total.numpy()


def spectrum(of, subset, plan=PLAN):
    hessians = HessianFactory(of, plan)
    return gauss_newton_spectrum(hessians, subset, hessians.of(subset), seed=0)


@pytest.mark.parametrize("name", ["all", "balanced", "class:3"])
def test_products(name):
    of = standard(nn.ReLU)
    subset = next(s for s in of.subsets if s.name == name)
    product = GaussNewton(HessianFactory(of, PLAN), subset)
    exact = by_hand(of, subset)
    vectors = torch.randn(3, of.size, generator=torch.Generator().manual_seed(1), dtype=of.dtype)
    found = torch.stack([product(v) for v in vectors])
    np.testing.assert_allclose(found, vectors.numpy() @ exact, rtol=0, atol=1e-11 * np.abs(exact).max() * 20)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("name", ["class:2", "class:3", "class:4", "few"])
def test_the_whole_spectrum_of_a_small_class(name, dtype):
    of = subject(dtype)
    subset = next(s for s in of.subsets if s.name == name)
    assert is_small(of, subset)
    found = spectrum(of, subset)
    exact = by_hand(standard(), subset)
    values = np.linalg.eigvalsh(exact)[::-1]
    accuracy = (1e-10 if dtype == torch.float64 else 1e-5) * values[0]
    assert len(found.values) == subset.measured_count * (of.classes - 1)
    np.testing.assert_allclose(found.values, values[: len(found.values)], rtol=0, atol=accuracy)
    assert np.abs(values[len(found.values) :]).max() < 1e-12 * values[0]  # the rank is no more than that
    assert found.trace == pytest.approx(np.trace(exact), rel=1e-5)
    rest = np.linalg.norm(dense(standard(), subset)[2] - exact, 2)
    assert found.rest == pytest.approx(rest, rel=1e-3)


def of_any_loss(of, subset, loss) -> np.ndarray:
    """Σ w_i J_iᵀ ∇²ℓ_i J_i with the loss's own Hessian from autograd."""
    net = network_in_double(of)
    total = torch.zeros(of.size, of.size, dtype=torch.float64)
    rows = of.rows(subset)
    for x, y, weight in zip(of.inputs(rows), of.labels[rows], of.weights(subset), strict=True):
        logits = net(x[None].double())
        rows_of = [torch.autograd.grad(z, list(net.parameters()), retain_graph=True) for z in logits[0]]
        jacobian = torch.stack([torch.cat([g.reshape(-1) for g in parts]) for parts in rows_of])
        curved = torch.autograd.functional.hessian(lambda z, y=y: loss(z[None], y[None]).sum(), logits[0].detach())
        total += weight * jacobian.T @ curved @ jacobian
    return total.numpy()


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
@pytest.mark.parametrize("name", ["class:2", "class:4"])
def test_the_spectrum_of_any_loss_is_whole_with_its_signs(name, loss):
    of = subject(loss=loss)
    subset = next(s for s in of.subsets if s.name == name)
    exact = of_any_loss(of, subset, loss)
    values = np.linalg.eigvalsh(exact)
    scale = np.abs(values).max() or 1.0
    found = spectrum(of, subset)
    assert (np.diff(found.values) <= 0).all()
    left = list(values)
    for value in found.values:  # each is one eigenvalue, and what is left is zero
        place = int(np.abs(np.array(left) - value).argmin())
        assert left.pop(place) == pytest.approx(value, abs=1e-9 * scale)
    assert np.abs(left).max() < 1e-9 * scale
    assert found.trace == pytest.approx(np.trace(exact), rel=1e-8, abs=1e-12)
    assert found.rest == pytest.approx(np.linalg.norm(dense(of, subset, loss)[2] - exact, 2), rel=1e-3, abs=1e-12)


@pytest.mark.parametrize("name", ["all", "balanced", "class:0"])
def test_the_largest_of_any_subset_by_products(name):
    of = standard(nn.ReLU)
    subset = next(s for s in of.subsets if s.name == name)
    hessians = HessianFactory(of, PLAN)
    found = gauss_newton_ends(hessians, subset, hessians.of(subset), 3, 8, seed=0)
    exact = by_hand(of, subset)
    np.testing.assert_allclose(found.values, np.linalg.eigvalsh(exact)[::-1][:3], rtol=1e-4)
    assert found.trace == pytest.approx(np.trace(exact), rel=0.05)  # eight deflated probes
    assert found.rest == pytest.approx(np.linalg.norm(dense(of, subset)[2] - exact, 2), rel=1e-3)


def test_it_is_never_negative_where_the_hessian_is():
    of = standard()
    subset = next(s for s in of.subsets if s.name == "class:4")
    found = spectrum(of, subset)
    assert np.linalg.eigvalsh(dense(of, subset)[2])[0] < -1e-3 < 0 <= found.values.min()


def test_the_hessian_of_a_linear_classifier_is_its_gauss_newton_part():
    of = subject(net=nn.Sequential(nn.Flatten(), nn.Linear(36, 5)))
    subset = next(s for s in of.subsets if s.name == "class:2")
    assert spectrum(of, subset).rest < 1e-12


def test_a_large_subset_is_not_small():
    of = standard()
    assert not is_small(of, Subset("all", "all", "all", (0,), 101, 101))
