"""Compiled products against exact Hessians; the compiler's front end runs on any device, its kernels need a GPU."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from landscape.hessian.products import autotune as plan
from landscape.hessian.products import compiled
from landscape.hessian.products.operators import HessianFactory, Plan
from landscape.subject.samples import Batch
from tests.landscape.hessian.oracle import dense, subject

PLAN = Plan(16, compiled=True)


@pytest.fixture(autouse=True)
def _traced(monkeypatch):
    monkeypatch.setattr(compiled, "BACKEND", "aot_eager")  # traced and differentiated as ever, without kernels


def test_products_and_diagonal_blocks():
    of = subject()
    hessians, generator = HessianFactory(of, PLAN), torch.Generator().manual_seed(0)
    for name in ("all", "class:4"):
        subset = next(s for s in of.subsets if s.name == name)
        exact, hessian = dense(of, subset)[2], hessians.of(subset)
        vectors = torch.randn(2, of.size, generator=generator, dtype=of.dtype)
        np.testing.assert_allclose(hessian.block(vectors), vectors.numpy() @ exact, atol=1e-12 * np.abs(exact).max())
        size = of.parameters["0.weight"].numel()
        block = hessian.block(vectors[:1, :size], [0])
        np.testing.assert_allclose(block, vectors[:1, :size].numpy() @ exact[:size, :size], atol=1e-11)
        assert hessian.value == pytest.approx(dense(of, subset)[0]) and hessian.products == 3


@pytest.mark.parametrize(("count", "size"), [(1, 1), (3, 4), (16, 16), (17, 32)])
def test_padding_weighs_nothing(count, size):
    batch = Batch(torch.randn(count, 1, 2, 2), torch.arange(count), torch.full((count,), 1 / count))
    padded = compiled.padded(batch)
    assert padded.inputs.shape == (size, 1, 2, 2) and padded.targets.shape == (size,)
    assert float(padded.weights.sum()) == pytest.approx(1) and not padded.weights[count:].any()


def test_it_is_chosen_where_it_agrees_and_is_faster(monkeypatch):
    of = subject(torch.float32)
    slow = plan._compiled(of, Plan(16, keep=100), seconds=1e9)
    assert slow is not None and slow.compiled and not slow.keep and slow.sample_seconds > 0
    assert plan._compiled(of, Plan(16, keep=100), seconds=0.0) is None
    monkeypatch.setattr(compiled, "BACKEND", "no such backend")
    assert plan._compiled(of, Plan(16, keep=100), seconds=1e9) is None
