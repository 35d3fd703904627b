"""Products, gradients and losses against exact dense Hessians; the network is left as it was."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

from foundation.errors import LandscapeError
from landscape.execution.memory import LARGEST_BASIS
from landscape.hessian.products.autotune import choose_plan
from landscape.hessian.products.bn_fusion import fused
from landscape.hessian.products.operators import HessianFactory, Plan
from landscape.subject.samples import TensorSamples
from landscape.subject.subject import Subject
from tests.landscape.hessian.oracle import COUNTS, dense, network, samples, standard, subject

PLANS = {
    "one graph": Plan(1000, keep=1000),
    "ragged kept chunks": Plan(8, keep=1000),
    "fused": Plan(8, keep=1000, fused=True),
    "fresh graphs": Plan(8),
    "half kept": Plan(8, keep=25, fused=True),
    "two workers": Plan(8, keep=25, workers=2, fused=True),
}


PROBES = 5


def assert_exact(hessian, of: Subject, subset, accuracy: float = 1e-12, known: Subject | None = None):
    """H times a few random vectors against the exact dense matrix, in units of its largest entry."""
    exact = dense(known or of, subset)[2]
    generator = torch.Generator().manual_seed(7)
    vectors = torch.randn(PROBES, of.size, generator=generator, dtype=torch.float64) / of.size**0.5
    products = torch.stack([hessian(v.to(of.dtype)).double() for v in vectors]).numpy()
    np.testing.assert_allclose(products, vectors.numpy() @ exact, rtol=0, atol=accuracy * np.abs(exact).max())


@pytest.mark.parametrize(("dtype", "accuracy"), [(torch.float64, 1e-12), (torch.float32, 2e-6)])
@pytest.mark.parametrize("activation", [nn.GELU, nn.ReLU])
@pytest.mark.parametrize("plan", PLANS)
def test_every_plan_gives_the_exact_hessian(plan, activation, dtype, accuracy):
    of = subject(dtype, activation=activation)
    hessians = HessianFactory(of, PLANS[plan])
    for name in ("all", "balanced", "few", "class:4"):
        subset = next(s for s in of.subsets if s.name == name)
        loss, gradient, _ = dense(standard(activation), subset)
        hessian = hessians.of(subset)
        assert_exact(hessian, of, subset, accuracy, known=standard(activation))
        assert hessian.value == pytest.approx(loss, rel=max(accuracy, 1e-9))
        np.testing.assert_allclose(hessian.gradient, gradient, rtol=0, atol=accuracy * float(gradient.abs().max()))


def test_averages_weigh_samples_not_batches():
    """A mean of batch means errs by a factor when the last batch holds one sample."""
    of = subject(samples=samples((9, 4)), train_counts=(9, 4))
    everything = of.subsets[0]
    assert_exact(HessianFactory(of, Plan(12, keep=100)).of(everything), of, everything)


def test_a_second_hessian_on_the_same_network_is_the_same():
    """Gradients left in `.grad` by a first object are known to double every eigenvalue of a second."""
    of = subject()
    vector = torch.ones(of.size, dtype=of.dtype)
    first = HessianFactory(of, PLANS["one graph"]).of(of.subsets[0])(vector)
    second = HessianFactory(of, PLANS["one graph"]).of(of.subsets[0])(vector)
    assert torch.equal(first, second)
    assert all(p.grad is None for p in of.network.parameters())


def test_the_callers_network_is_untouched_also_after_an_exception():
    net = network().train()
    before = copy.deepcopy(net.state_dict())
    of = subject(net=net)

    def broken(logits, labels):
        raise RuntimeError("loss failed")

    HessianFactory(of, PLANS["fused"]).of(of.subsets[0])(torch.ones(of.size, dtype=of.dtype))
    of.loss = broken
    with pytest.raises(RuntimeError, match="loss failed"):
        HessianFactory(of, PLANS["fused"]).of(of.subsets[0])(torch.ones(of.size, dtype=of.dtype))
    assert net.training and all(p.requires_grad and p.grad is None for p in net.parameters())
    after = net.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)


def test_batch_norm_buffers_do_not_move():
    of = subject()
    before = copy.deepcopy(of.network.state_dict())
    HessianFactory(of, choose_plan(of)).of(of.subsets[0])(torch.ones(of.size, dtype=of.dtype))
    assert all(torch.equal(before[key], value) for key, value in of.network.state_dict().items())


def test_relu_products_are_derivatives_not_differences():
    """A finite difference steps over kinks: at a ReLU's plateau it sees curvature that is not there."""
    net = nn.Sequential(nn.Flatten(), nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3))
    data = TensorSamples(torch.randn(30, 1, 2, 2, generator=torch.Generator().manual_seed(0)), torch.arange(30) % 3)
    of = subject(net=net, samples=data, train_counts=(10, 10, 10))
    assert_exact(HessianFactory(of, PLANS["fused"]).of(of.subsets[0]), of, of.subsets[0])


def test_some_parameters_only():
    of = subject(params=["3.*", "8.bias"])
    for plan in ("one graph", "fused"):
        assert_exact(HessianFactory(of, PLANS[plan]).of(of.subsets[0]), of, of.subsets[0])


def test_a_loss_linear_in_its_parameters_has_a_zero_hessian():
    net = nn.Sequential(nn.Flatten(), nn.Linear(36, 5))
    of = subject(net=net, loss=lambda logits, labels: logits[torch.arange(len(labels)), labels])
    assert not HessianFactory(of, PLANS["one graph"]).of(of.subsets[0])(torch.ones(of.size, dtype=of.dtype)).any()


def test_a_chosen_plan_stays_within_its_memory():
    of = subject(torch.float32)
    vectors, sample = LARGEST_BASIS * of.size * 4, choose_plan(of).sample_bytes
    plan = choose_plan(of, memory=2 * vectors + 10 * sample)
    assert plan.basis == LARGEST_BASIS and plan.fused and plan.sample_seconds > 0
    assert plan.keep == (vectors + 10 * sample) // sample
    tight = choose_plan(of, memory=vectors)
    assert tight.basis == LARGEST_BASIS // 2 and tight.keep == vectors // 2 // sample


class Residual(nn.Module):
    """BatchNorm in every place: behind a convolution, before one, behind one that others read too."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(1, 4, 3, padding=1)
        self.norms = nn.ModuleList([nn.BatchNorm2d(4) for _ in range(3)])
        self.second = nn.Conv2d(4, 4, 3, padding=1, groups=2, dilation=1)
        self.relu = nn.GELU()  # a name that says nothing
        self.head = nn.Linear(4, 3)

    def forward(self, x):
        x = self.first(x)
        y = torch.relu(self.norms[0](x))
        y = self.norms[1](self.second(y)) + x
        return self.head(self.relu(self.norms[2](y).relu()).mean((2, 3)))


def test_a_rewritten_network_is_the_same_function_of_the_same_parameters():
    torch.manual_seed(0)
    net = Residual()
    for norm in net.norms:
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2)
    data = samples((9, 6, 4))
    of = subject(net=net, samples=data, train_counts=(9, 6, 4))
    assert fused(of) is not None
    assert_exact(HessianFactory(of, PLANS["fused"]).of(of.subsets[0]), of, of.subsets[0])


def test_a_network_that_cannot_be_traced_is_measured_as_it_is():
    class Branching(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(36, 5)

        def forward(self, x):
            x = x.flatten(1)
            return self.layer(x if x.sum() > -1e9 else -x).tanh()

    of = subject(net=Branching())
    assert fused(of) is None
    assert_exact(HessianFactory(of, Plan(10, keep=100, fused=True)).of(of.subsets[0]), of, of.subsets[0])


assert COUNTS == (37, 11, 3, 2, 1)  # classes of 3, 2 and 1 samples, and chunks of 8 that are ragged


@pytest.mark.parametrize("plan", ["one graph", "half kept", "fresh graphs", "two workers"])
def test_several_vectors_at_once_are_the_products_one_by_one(plan):
    of = subject()
    hessian = HessianFactory(of, PLANS[plan]).of(of.subsets[0])
    vectors = torch.randn(4, of.size, generator=torch.Generator().manual_seed(3), dtype=of.dtype)
    assert torch.equal(hessian.block(vectors), torch.stack([hessian(v) for v in vectors]))
    assert hessian.products == 8


def test_a_diagonal_block_is_that_of_the_dense_hessian():
    of = subject()
    exact, sizes = dense(of, of.subsets[0])[2], [p.numel() for p in of.parameters.values()]
    hessian = HessianFactory(of, PLANS["half kept"]).of(of.subsets[0])
    places = torch.split(torch.arange(of.size), sizes)
    for members in ([0], [2, 3], [len(sizes) - 1]):
        rows = torch.cat([places[i] for i in members])
        vectors = torch.eye(len(rows), dtype=of.dtype)[:5]
        expected = exact[np.ix_(rows, rows)][:5]
        np.testing.assert_allclose(hessian.block(vectors, members), expected, rtol=0, atol=1e-12 * np.abs(exact).max())


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("limit", [1, 3])
def test_out_of_memory_halves_the_batch_and_leaves_the_answer(plan, limit):
    """An allocator that refuses batches of more than `limit` samples, from the second batch on."""
    plain = subject()
    vectors = torch.randn(2, plain.size, generator=torch.Generator().manual_seed(3), dtype=plain.dtype)
    calls = []

    def crowded(logits, labels):
        calls.append(len(labels))
        if len(calls) > 2 and len(labels) > limit:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return plain.loss(logits, labels)

    for name in ("all", "class:4"):
        subset = next(s for s in plain.subsets if s.name == name)
        expected = HessianFactory(plain, PLANS[plan]).of(subset)
        found = HessianFactory(plain.with_loss(crowded), PLANS[plan]).of(subset)
        scale = float(expected.block(vectors).abs().max())
        torch.testing.assert_close(found.block(vectors), expected.block(vectors), rtol=0, atol=1e-13 * scale)
        torch.testing.assert_close(found.gradient, expected.gradient, rtol=0, atol=1e-13 * scale)
        assert found.value == pytest.approx(expected.value, rel=1e-13)
        calls.clear()


def test_out_of_memory_for_a_single_sample_is_one_sentence():
    def hopeless(logits, labels):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes")

    of = subject(loss=hopeless)
    with pytest.raises(LandscapeError, match="single sample"):
        HessianFactory(of, PLANS["half kept"]).of(of.subsets[0])(torch.ones(of.size, dtype=of.dtype))
