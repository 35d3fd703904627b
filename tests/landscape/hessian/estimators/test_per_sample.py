"""Curvature sample by sample, against exact Hessians of single samples."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.autograd import Function

from landscape.hessian.estimators.per_sample import per_sample_curvature
from landscape.hessian.products.operators import HessianFactory, Plan
from tests.landscape.hessian.oracle import dense, samples, standard, subject

PLAN = Plan(8, keep=1000, workers=2, fused=True)


@pytest.mark.parametrize("activation", [nn.GELU, nn.ReLU])
def test_the_weighted_mean_is_the_exact_quadratic_form(activation):
    of = standard(activation)
    vectors = torch.randn(3, of.size, generator=torch.Generator().manual_seed(1), dtype=of.dtype)
    for name in ("all", "balanced", "class:4"):
        subset = next(s for s in of.subsets if s.name == name)
        forms = per_sample_curvature(HessianFactory(of, PLAN), of.rows(subset), vectors)
        exact = np.einsum("kp,pq,kq->k", vectors, dense(of, subset)[2], vectors)
        np.testing.assert_allclose(forms @ of.weights(subset), exact, rtol=1e-10)


def test_each_value_is_that_of_its_sample():
    of = subject(samples=samples((1, 1, 1)), train_counts=(3, 2, 1))  # every class is one sample
    vectors = torch.randn(2, of.size, generator=torch.Generator().manual_seed(1), dtype=of.dtype)
    forms = per_sample_curvature(HessianFactory(of, PLAN), slice(0, 3, 2), vectors)
    for column, name in enumerate(("class:0", "class:2")):
        exact = dense(of, next(s for s in of.subsets if s.name == name))[2]
        np.testing.assert_allclose(forms[:, column], np.einsum("kp,pq,kq->k", vectors, exact, vectors), rtol=1e-10)


class _Square(Function):
    """x², without a forward mode."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**2

    @staticmethod
    def backward(ctx, gradient):
        return 2 * ctx.saved_tensors[0] * gradient


class _Through(Function):
    """tanh x whose gradient is given as that of 2x."""

    @staticmethod
    def forward(ctx, x):
        return x.tanh()

    @staticmethod
    def backward(ctx, gradient):
        return 2 * gradient


class _Stopped(nn.Module):
    def forward(self, x):
        with torch.no_grad():
            scale = x.square().mean(1, keepdim=True)
        return x * scale


NORMALIZED = {
    "layer norm": lambda: nn.Sequential(nn.Flatten(), nn.Linear(36, 8), nn.LayerNorm(8), nn.GELU(), nn.Linear(8, 5)),
    "instance norm": lambda: nn.Sequential(
        nn.Conv2d(1, 3, 3), nn.InstanceNorm2d(3, affine=True), nn.Tanh(), nn.Flatten(), nn.Linear(48, 5)
    ),
    "group norm": lambda: nn.Sequential(nn.Conv2d(1, 4, 3), nn.GroupNorm(2, 4), nn.Flatten(), nn.Linear(64, 5)),
}


@pytest.mark.parametrize("build", NORMALIZED.values(), ids=NORMALIZED)
def test_normalizations_whose_nested_forward_mode_is_wrong(build):
    torch.manual_seed(0)
    of = subject(net=build())
    vectors = torch.randn(2, of.size, generator=torch.Generator().manual_seed(1), dtype=of.dtype)
    forms = per_sample_curvature(HessianFactory(of, PLAN), of.rows(of.subsets[0]), vectors)
    exact = np.einsum("kp,pq,kq->k", vectors, dense(of, of.subsets[0])[2], vectors)
    np.testing.assert_allclose(forms @ of.weights(of.subsets[0]), exact, rtol=1e-9)


@pytest.mark.parametrize("last", [_Square.apply, _Through.apply, _Stopped()], ids=["square", "through", "stopped"])
def test_gradients_that_are_not_those_of_the_forward_pass_are_followed(last):
    """A Taylor pass sees the forward pass alone; the check against a product sends such networks to products."""

    class Net(nn.Sequential):
        def forward(self, x):
            return last(super().forward(x))

    of = subject(net=Net(nn.Flatten(), nn.Linear(36, 5)))
    vectors = torch.randn(2, of.size, generator=torch.Generator().manual_seed(1), dtype=of.dtype)
    forms = per_sample_curvature(HessianFactory(of, Plan(8)), of.rows(of.subsets[0]), vectors)
    exact = np.einsum("kp,pq,kq->k", vectors, dense(of, of.subsets[0])[2], vectors)
    np.testing.assert_allclose(forms @ of.weights(of.subsets[0]), exact, rtol=1e-10)
