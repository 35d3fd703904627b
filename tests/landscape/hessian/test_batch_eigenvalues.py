"""Top eigenvalues of mini-batches, against the dense Hessian of each."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

import landscape
from foundation.errors import InputError

DECAY = 0.3


class Noisy(Dataset):
    """Items that are augmented anew at every fetch; what was given is kept for the oracle."""

    def __init__(self):
        self.given = []

    def __len__(self):
        return 22

    def __getitem__(self, i):
        self.given.append((torch.randn(5) + i % 3, i % 3))
        return self.given[-1]


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Dropout(0.5), nn.Linear(4, 3))


def dense(net, inputs, targets):
    parameters = list(net.parameters())
    penalty = sum(p.square().sum() for p in parameters) * DECAY / 2
    loss = functional.cross_entropy(net(inputs), targets) + penalty
    gradient = torch.cat([g.flatten() for g in torch.autograd.grad(loss, parameters, create_graph=True)])
    rows = [torch.autograd.grad(g, parameters, retain_graph=True, materialize_grads=True) for g in gradient]
    return torch.linalg.eigvalsh(torch.stack([torch.cat([p.flatten() for p in row]) for row in rows])).flip(0)


def test_they_are_those_of_each_batch_as_it_was_given():
    net, data = network(), Noisy()
    fixed = torch.randn(9, 5), torch.arange(9) % 3
    subject = landscape.Subject(net, fixed, dtype=torch.float64)
    loader = DataLoader(data, batch_size=6, shuffle=True)
    found = landscape.batch_eigenvalues(subject, loader, 3, weight_decay=DECAY, tol=1e-7)
    assert found.samples.tolist() == [6, 6, 6, 4] and found.converged.all() and len(data.given) == 22
    exact, start = net.double().eval(), 0
    for row, count in enumerate(found.samples):
        inputs, targets = zip(*data.given[start : start + count], strict=True)
        expected = dense(exact, torch.stack(inputs).double(), torch.tensor(targets))[:3]
        assert found.values[row] == pytest.approx(expected.numpy(), rel=1e-6)
        start += count


def test_their_mean_lies_above_that_of_the_full_data():
    """The largest eigenvalue is convex: what the docs say of batches and the whole."""
    x, y = torch.randn(24, 5, generator=torch.Generator().manual_seed(1)), torch.arange(24) % 3
    subject = landscape.Subject(network(), (x, y), dtype=torch.float64)
    small, large = ([(x[i::n], y[i::n]) for i in range(n)] for n in (8, 2))
    means = [landscape.batch_eigenvalues(subject, list(b), tol=1e-6).values.mean() for b in (small, large)]
    assert means[0] > means[1] > landscape.top_eigenvalues(subject, tol=1e-6).of("all")[0]


def test_only_as_many_as_asked_are_read_and_bad_numbers_are_refused():
    subject = landscape.Subject(network(), (torch.randn(9, 5), torch.arange(9) % 3))
    read = []
    endless = (read.append(1) or (torch.randn(4, 5), torch.arange(4) % 3) for _ in iter(int, 1))
    assert landscape.batch_eigenvalues(subject, endless, batches=2).values.shape == (2, 1) and len(read) == 2
    assert np.isnan(landscape.batch_eigenvalues(subject, [(torch.full((4, 5), torch.inf), torch.arange(4) % 3)]).values)
    for options, said in (({"k": 0}, "k 0"), ({"weight_decay": -1.0}, "negative"), ({"batches": 0}, "batches 0")):
        with pytest.raises(InputError, match=said):
            landscape.batch_eigenvalues(subject, endless, **options)
    with pytest.raises(InputError, match="gives no batch"):
        landscape.batch_eigenvalues(subject, [])
