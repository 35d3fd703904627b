"""Where a loss is known to be convex: never wrong, and worth products at the lower end of the spectrum."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from landscape.hessian.estimators.gauss_newton import is_convex
from landscape.hessian.estimators.lanczos import LanczosOptions, extremal_eigenpairs
from landscape.hessian.measure import measure_hessian
from landscape.hessian.products.operators import HessianFactory, Plan
from landscape.hessian.result import HessianSettings
from tests.landscape.hessian.oracle import LOSSES, dense, network, subject


class Tied(nn.Module):
    """One matrix twice: quadratic in it."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(36, 5)
        self.twice = nn.Linear(5, 5)

    def forward(self, images: Tensor) -> Tensor:
        return self.twice(self.twice(self.inner(images.flatten(1))))


class LowRank(nn.Module):
    """A head plus a product of two matrices."""

    def __init__(self) -> None:
        super().__init__()
        self.head, self.a, self.b = nn.Linear(36, 5), nn.Linear(36, 2, bias=False), nn.Linear(2, 5, bias=False)

    def forward(self, images: Tensor) -> Tensor:
        rows = images.flatten(1)
        return self.head(rows) + self.b(self.a(rows))


class Divided(nn.Module):
    """A head over a learnt temperature."""

    def __init__(self) -> None:
        super().__init__()
        self.head, self.temperature = nn.Linear(36, 5), nn.Parameter(torch.tensor(2.0))

    def forward(self, images: Tensor) -> Tensor:
        return self.head(images.flatten(1)) / self.temperature


CASES = {
    "a last layer over GELU": (network, ["8.*"], True),
    "its bias alone": (network, ["8.bias"], True),
    "everything": (network, None, False),
    "a BatchNorm before a nonlinearity": (network, ["4.*"], False),
    "a linear network": (lambda: nn.Sequential(nn.Flatten(), nn.Linear(36, 5)), None, True),
    "two linear layers": (lambda: nn.Sequential(nn.Flatten(), nn.Linear(36, 3), nn.Linear(3, 5)), None, False),
    "the second of them": (lambda: nn.Sequential(nn.Flatten(), nn.Linear(36, 3), nn.Linear(3, 5)), ["1.*"], True),
    "a matrix twice": (Tied, ["twice.*"], False),
    "low rank": (LowRank, None, False),
    "low rank, one factor": (LowRank, ["head.*", "b.*"], True),
    "a learnt temperature": (Divided, None, False),
    "a fixed temperature": (Divided, ["head.*"], True),
    "only the temperature": (Divided, ["temperature"], False),
}


def case(name, **settings):
    build, params, convex = CASES[name]
    torch.manual_seed(0)
    return subject(net=build(), params=params, subsets=["all", "class:1"], **settings), convex


@pytest.mark.parametrize("name", CASES)
def test_it_says_what_is_known_and_a_dense_hessian_agrees(name):
    of, convex = case(name)
    assert is_convex(HessianFactory(of, Plan(16)), of.subsets[0]) is convex
    if convex:
        values = np.linalg.eigvalsh(dense(of, of.subsets[0])[2])
        assert values[0] >= -1e-12 * values[-1]


@pytest.mark.parametrize("loss", LOSSES)
def test_a_loss_that_is_not_convex_in_the_logits_is_none(loss):
    of = case("a linear network")[0].with_loss(LOSSES[loss])
    flat = loss == "linear"  # without a graph to make a Hessian from: it is zero
    values = np.zeros(2) if flat else np.linalg.eigvalsh(dense(of, of.subsets[0], LOSSES[loss])[2])
    assert is_convex(HessianFactory(of, Plan(16)), of.subsets[0]) is bool(values[0] >= -1e-12 * values[-1])


def test_a_graph_that_differs_in_one_batch_is_none():
    class Switch(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(36, 5)

        def forward(self, images: Tensor) -> Tensor:
            logits: Tensor = self.head(images.flatten(1))
            return logits if len(images) == 16 else logits * logits

    of = subject(net=Switch())
    assert not is_convex(HessianFactory(of, Plan(16)), of.subsets[0])


def test_the_lower_end_costs_no_search_and_every_number_is_right():
    of, _ = case("a last layer over GELU")
    found = measure_hessian(of, settings=HessianSettings(top=2, bottom=2)).of("class:1")
    values = np.linalg.eigvalsh(dense(of, of.subsets[1])[2])
    assert found.converged and found.negative_curvature.verdict == "none-found"
    np.testing.assert_allclose(found.top.values, values[::-1][:2], rtol=1e-5)
    assert (np.abs(found.bottom.values - values[:2]) <= 1e-4 * values[-1]).all()


def test_products_are_fewer():
    spectrum = torch.cat([torch.zeros(300), torch.logspace(-7, 0, 200)]).double()
    goal = LanczosOptions(1, 1)
    spent = []
    for options in (goal, replace(goal, semidefinite=True)):
        generator = torch.Generator().manual_seed(0)
        start = torch.randn(500, generator=generator).double()
        run = extremal_eigenpairs(lambda v: spectrum * v, start, options, generator)
        assert run.converged and run.top.values[0] == pytest.approx(1.0, rel=1e-6)
        assert 0 <= run.bottom.values[0] <= 3e-5
        spent.append(run.space.products)
    assert spent[1] < spent[0]
