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

PLAN = Plan(8, keep=1000, workers=2, fused=True)  # PyTorch's forward mode must not meet itself in another thread


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


def test_an_operation_without_forward_mode_is_measured_by_products():
    class Net(nn.Sequential):
        def forward(self, x):
            return _Square.apply(super().forward(x))

    of = subject(net=Net(nn.Flatten(), nn.Linear(36, 5)))
    vectors = torch.randn(2, of.size, generator=torch.Generator().manual_seed(1), dtype=of.dtype)
    forms = per_sample_curvature(HessianFactory(of, Plan(8)), of.rows(of.subsets[0]), vectors)
    exact = np.einsum("kp,pq,kq->k", vectors, dense(of, of.subsets[0])[2], vectors)
    np.testing.assert_allclose(forms @ of.weights(of.subsets[0]), exact, rtol=1e-10)
