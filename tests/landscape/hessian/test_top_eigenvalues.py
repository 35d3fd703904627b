"""The largest eigenvalues alone, against the exact dense Hessian, for far fewer products than a whole measurement."""

import pytest
import torch
from torch import nn
from torch.nn import functional

import landscape
from foundation.errors import InputError
from landscape.hessian.measure import measure_hessian
from landscape.hessian.result import HessianSettings
from landscape.subject.subject import Subject


def subject(**options) -> Subject:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3))
    x = torch.randn(30, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    y = torch.repeat_interleave(torch.arange(3), torch.tensor([18, 9, 3]))
    return Subject(net, (x, y), dtype=torch.float64, **options)


def exact(of: Subject, rows: slice) -> torch.Tensor:
    parameters = list(of.parameters.values())
    loss = functional.cross_entropy(of.network(of.inputs(rows)), of.labels[rows])
    gradient = torch.cat([g.flatten() for g in torch.autograd.grad(loss, parameters, create_graph=True)])
    rows_ = [torch.autograd.grad(g, parameters, retain_graph=True, materialize_grads=True) for g in gradient]
    return torch.linalg.eigvalsh(torch.stack([torch.cat([p.flatten() for p in row]) for row in rows_])).flip(0)


@pytest.mark.parametrize("k", [1, 3])
def test_they_are_those_of_the_dense_hessian(k):
    of = subject(subsets=["all", "few", "class:1", "class:2"])
    found = landscape.top_eigenvalues(of, k, tol=1e-8)
    assert found.subset == ("all", "few", "class:1", "class:2") and found.converged.all()
    for subset in of.subsets:
        expected = exact(of, of.rows(subset))[:k].numpy()
        assert found.of(subset.name) == pytest.approx(expected, rel=1e-7)
    few, last = found.subset.index("few"), found.subset.index("class:2")
    assert found.values[few] == pytest.approx(found.values[last]) and found.products[last] == 0  # the same samples
    with pytest.raises(InputError, match="unknown subset 'many'"):
        found.of("many")


def test_they_cost_a_fraction_of_a_whole_measurement():
    of = subject(subsets=["class:0"])
    alone = landscape.top_eigenvalues(of)
    whole = measure_hessian(of, settings=HessianSettings())
    assert alone.products.sum() * 4 <= whole.of("class:0").products


def test_an_overflowing_curvature_is_nan_and_not_an_error():
    of = subject(subsets=["all"])
    with of.placed(of.vector() * float("inf")):
        assert not landscape.top_eigenvalues(of).converged.any()


@pytest.mark.parametrize(("options", "said"), [({"k": 0}, "k 0 is too small"), ({"tol": 2}, "no relative residual")])
def test_what_cannot_be_asked_is_one_sentence(options, said):
    with pytest.raises(InputError, match=said):
        landscape.top_eigenvalues(subject(), **options)
