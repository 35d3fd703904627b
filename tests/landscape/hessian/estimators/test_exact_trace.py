"""Traces from gradients of samples against dense Hessians, and networks for which they would be wrong."""

from __future__ import annotations

import functools
from collections.abc import Callable
from unittest import mock

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrizations

from landscape.hessian.estimators.exact_trace import MIXTURES, SampleTraces
from landscape.hessian.estimators.gauss_newton import gauss_newton_spectrum
from landscape.hessian.products.operators import HessianFactory, Plan
from landscape.subject.losses import cross_entropy
from landscape.subject.samples import TensorSamples
from landscape.subject.temperature import tempered
from tests.landscape.hessian.oracle import LOSSES, dense, network, samples, sizes, standard, subject
from training.models.resnet import cifar_resnet

PLAN = Plan(16, keep=1000, workers=2)
HEAD = [nn.AdaptiveAvgPool2d(1), nn.Flatten()]


def traces(of, name="all", *, half_width=0.0, seed=0, plan=PLAN):
    return SampleTraces(HessianFactory(of, plan), seed=seed, half_width=half_width).of(named(of, name))


def trace(of, name="all", **how):
    found = traces(of, name, **how)
    return found and found.plain


def named(of, name):
    return next(s for s in of.subsets if s.name == name)


def made(*layers: nn.Module) -> nn.Module:
    return shaken(nn.Sequential(*layers))


def shaken(net: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    for parameter in net.parameters():
        parameter.data.normal_(std=0.5)
    return net


AFFINE = {
    "residual": lambda: shaken(cifar_resnet(depth=8, in_channels=1, classes=5, width=1)),
    "pooling": lambda: made(
        nn.Conv2d(1, 4, 3), nn.LeakyReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 4, 1), nn.ReLU6(), *HEAD, nn.Linear(4, 5)
    ),
    "groups, strides, dilation": lambda: made(
        nn.Conv2d(1, 4, 3, stride=2, padding=2, dilation=2),
        nn.ReLU(),
        nn.Conv2d(4, 6, (3, 1), padding=(1, 0), groups=2, bias=False),
        nn.BatchNorm2d(6),
        *HEAD,
        nn.Linear(6, 5, bias=False),
    ),
    "perceptron": lambda: made(
        nn.Flatten(), nn.Linear(36, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 4, bias=False), nn.Linear(4, 5)
    ),
    "constants, clamp and interpolation": lambda: Scaled(
        nn.Conv2d(1, 4, 3),
        nn.Hardtanh(-1, 1),
        nn.Upsample(scale_factor=2),
        nn.Upsample(size=5, mode="bilinear"),
        *HEAD,
        nn.Linear(4, 5),
    ),
    "one dimension": lambda: made(
        nn.Flatten(1, 2), nn.Conv1d(6, 4, 3, stride=2, groups=2), nn.ReLU(), nn.Flatten(), nn.Linear(8, 5)
    ),
    "three dimensions": lambda: made(
        nn.Unflatten(1, (1, 1)),
        nn.Conv3d(1, 3, (1, 3, 3)),
        nn.BatchNorm3d(3),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(48, 5),
    ),
    "transposed": lambda: made(nn.ConvTranspose2d(1, 3, 2, stride=2, bias=False), nn.ReLU(), *HEAD, nn.Linear(3, 5)),
    "no affine norm": lambda: made(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4, affine=False), nn.ReLU(), *HEAD, nn.Linear(4, 5)
    ),
}


class Scaled(nn.Sequential):
    """Layers, and multiplications by constants, absolute values and clamps."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__(*layers)
        shaken(self)

    def forward(self, inputs: Tensor) -> Tensor:
        x = 2.5 * super().forward(inputs) / 3
        return x.abs() - (x * torch.arange(1, 6, device=x.device)).clamp(-2, 2)


class Twice(nn.Module):
    """Something done twice with the same parameter."""

    def __init__(self, then: Callable[[Tensor, nn.Linear], Tensor]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.inner, self.square, self.then = nn.Linear(36, 5), nn.Linear(5, 5), then

    def forward(self, inputs: Tensor) -> Tensor:
        return self.then(functional.relu(self.inner(inputs.flatten(1))), self.square)


def transposed_twice(x: Tensor, square: nn.Linear) -> Tensor:
    weight = square.weight.t()
    return functional.relu(x @ weight) @ weight + square.bias


CURVED = {
    "gelu": lambda: network(activation=nn.GELU),
    "the same module twice": lambda: Twice(lambda x, square: square(functional.relu(square(x)))),
    "tied weights": lambda: Twice(lambda x, square: square(x) @ square.weight),
    "a transposition used twice": lambda: Twice(transposed_twice),
    "a product of features": lambda: Twice(lambda x, square: x * square(x)),
    "normalized weights": lambda: Twice(
        lambda x, square: functional.linear(x, functional.normalize(square.weight), square.bias)
    ),
    "parametrized": lambda: made(nn.Flatten(), parametrizations.weight_norm(nn.Linear(36, 5))),
}


def of_tiny(net: nn.Module, dtype: torch.dtype = torch.float64, **more):
    return subject(dtype, net=net, **more)


def scaled(of, hessian: np.ndarray, *, centered: bool = True) -> np.ndarray:
    """diag|w| H diag|w|."""
    weights = sizes(of, centered=centered)
    return weights[:, None] * hessian * weights


@functools.cache
def dense_traces(kind: str, name: str) -> tuple[float, float]:
    of = of_tiny(AFFINE[kind]())
    hessian = dense(of, named(of, name))[2]
    centered = not isinstance(of.network, Scaled)  # whose logits are bent behind the head
    return float(np.trace(hessian)), float(np.trace(scaled(of, hessian, centered=centered)))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("kind", AFFINE)
@pytest.mark.parametrize("name", ["balanced", "class:1", "class:4"])
def test_it_is_exact(kind, name, dtype):
    found = traces(of_tiny(AFFINE[kind](), dtype), name)
    for one, exact in zip((found.plain, found.scaled), dense_traces(kind, name), strict=True):
        assert one.value == pytest.approx(exact, rel=1e-11 if dtype == torch.float64 else 1e-5)
        assert one.error == one.half_width == 0


@pytest.mark.parametrize("which", LOSSES)
@pytest.mark.parametrize("name", ["all", "class:1", "class:4"])
def test_a_loss_that_is_not_convex_in_the_logits_keeps_its_signs(name, which):
    loss, centered = LOSSES[which], which not in ("squared error", "linear")
    of = subject(activation=nn.ReLU, loss=loss)
    hessian = dense(of, named(of, name), loss)[2]
    found = traces(of, name)
    assert found.plain.value == pytest.approx(np.trace(hessian), rel=1e-10, abs=1e-12)
    exact = np.trace(scaled(of, hessian, centered=centered))
    assert found.scaled.value == pytest.approx(exact, rel=1e-10, abs=1e-12)
    assert found.plain.error == found.scaled.error == 0


@pytest.mark.parametrize("params", [["*.weight"], ["*.bias"], ["0.*"], ["1.weight", "8.bias"]])
def test_some_parameters(params):
    of = subject(activation=nn.ReLU, params=params)
    found, hessian = traces(of), dense(of, of.subsets[0])[2]
    assert found.plain.value == pytest.approx(np.trace(hessian), rel=1e-11)
    assert found.scaled.value == pytest.approx(np.trace(scaled(of, hessian)), rel=1e-11)


@pytest.mark.parametrize("build", CURVED.values(), ids=CURVED)
def test_it_refuses_where_it_would_be_wrong(build):
    of = of_tiny(build())
    assert trace(of) is None
    hessians, subset = HessianFactory(of, PLAN), named(of, "class:2")
    assert gauss_newton_spectrum(hessians, subset, hessians.of(subset), 0).trace != pytest.approx(
        np.trace(dense(of, subset)[2]), rel=1e-3
    )


@pytest.mark.parametrize("classes", [5, MIXTURES + 3])
def test_mixtures_of_classes_take_no_further_pass(classes):
    net = made(nn.Flatten(), nn.Linear(36, 4), nn.ReLU(), nn.Linear(4, classes))
    counts = (3,) * (classes - 1) + (0,)
    of = subject(net=net, samples=samples(counts), train_counts=counts)
    source = SampleTraces(HessianFactory(of, PLAN), seed=0, half_width=0.0)
    parts = {s.classes[0]: source.of(s) for s in of.subsets if s.kind == "class" and s.measured_count}
    with mock.patch.object(nn.Module, "__call__", side_effect=AssertionError("the network ran again")):
        for subset in (s for s in of.subsets if s.kind != "class"):
            shares = {c: float(of.weights(subset)[of.labels[of.rows(subset)] == c].sum()) for c in subset.classes}
            found = source.of(subset)
            for kind in ("plain", "scaled"):
                expected = sum(shares.get(c, 0.0) * getattr(parts[c], kind).value for c in parts)
                assert getattr(found, kind).value == pytest.approx(expected, rel=1e-9)


def test_it_refuses_what_it_does_not_know():
    scaled = Twice(lambda x, square: square.bias * (x @ square.weight))
    assert trace(of_tiny(scaled)) is None
    sequence = made(nn.Flatten(2), nn.Linear(36, 4), nn.ReLU(), nn.Flatten(), nn.Linear(4, 5))
    tokens = made(nn.Flatten(1, 2), nn.Linear(6, 4), nn.ReLU(), nn.Flatten(), nn.Linear(24, 5))
    assert trace(of_tiny(tokens)) is None
    assert trace(of_tiny(sequence)) is not None
    many = subject(net=made(nn.Flatten(), nn.Linear(36, 129)), samples=samples((3, 2)), train_counts=(1,) * 129)
    assert trace(many) is None


def in_a_fixed_batch(x: Tensor, square: nn.Linear) -> Tensor:
    """A layer whose leading dimension is two, whatever the batch's is."""
    halves = torch.stack([x[:, :3].sum((0, 1)), x[:, 3:].sum((0, 1))])[:, None].expand(2, 5)
    return x + square(halves).sum(0)


MIXED = {
    "a leading dimension of two": in_a_fixed_batch,
    "the batch's mean": lambda x, square: square(x - x.mean(0)),
    "the batch's order": lambda x, square: square(x).flip(0),
    "a scalar bias": lambda x, square: torch.addmm(square.bias[:1] * 0 + square.bias[0], x, square.weight),
}


@pytest.mark.parametrize("then", MIXED.values(), ids=MIXED)
def test_batches_that_mix_samples_take_probes(then):
    assert trace(of_tiny(Twice(then))) is None


class ScalarBias(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.weight, self.bias = nn.Parameter(torch.randn(36, 5)), nn.Parameter(torch.randn(()))

    def forward(self, inputs: Tensor) -> Tensor:
        return torch.addmm(self.bias, inputs.flatten(1), self.weight)


def test_a_scalar_bias_takes_probes():
    assert trace(of_tiny(ScalarBias())) is None


def test_a_batch_whose_graph_differs_takes_probes():
    """A forward that branches on the number of samples."""
    of = of_tiny(Twice(lambda x, square: square(x) if len(x) < 4 else square(functional.gelu(x))))
    assert trace(of) is None


def test_the_loss_is_the_subjects_own():
    of = subject(activation=nn.ReLU)
    lifted = of.with_loss(tempered(cross_entropy, 3.0))
    hessians, subset = HessianFactory(lifted, PLAN), named(lifted, "class:2")
    exact = gauss_newton_spectrum(hessians, subset, hessians.of(subset), 0).trace
    assert trace(lifted, "class:2").value == pytest.approx(exact, rel=1e-11)
    assert trace(lifted).value != pytest.approx(trace(of).value, rel=0.1)


def test_scaled_mixtures_estimate_the_scaled_trace():
    of = many_classes()
    exact = np.trace(scaled(of, dense(of, named(of, "few"))[2]))
    found = traces(of, "few").scaled
    assert 0 < abs(found.value - exact) <= 2 * found.half_width
    assert traces(of, "few", half_width=1e-4).scaled.value == pytest.approx(exact, rel=1e-11)


@functools.cache
def many_classes():
    counts = tuple(max(1, 12 - c // 4) for c in range(MIXTURES + 4))
    torch.manual_seed(3)
    net = network(activation=nn.ReLU, width=3, classes=len(counts))
    return subject(net=net, samples=samples(counts), train_counts=counts, subsets=["few", "class:0"])


def test_of_many_classes_mixtures_take_part():
    of = many_classes()
    exact = np.trace(dense(of, named(of, "class:0"))[2])
    estimates = [trace(of, "class:0", seed=seed) for seed in range(2)]
    assert all(0 < abs(e.value - exact) <= 2 * e.half_width for e in estimates)
    assert estimates[0] == trace(of, "class:0") != estimates[1]


@pytest.mark.exhaustive
def test_the_interval_of_mixtures_covers_the_truth():
    of = many_classes()
    exact = np.trace(dense(of, named(of, "class:0"))[2])
    estimates = [trace(of, "class:0", seed=seed) for seed in range(30)]
    assert all(e.error > 0 for e in estimates)
    assert 26 <= sum(abs(e.value - exact) <= e.half_width for e in estimates) < 30


@pytest.mark.parametrize("seeds", [4, pytest.param(20, marks=pytest.mark.exhaustive)])
def test_mixtures_keep_the_signs_too(seeds):
    loss = LOSSES["cross-entropy and the penalty of BGP"]
    of = many_classes().with_loss(loss)
    exact = np.trace(dense(of, named(of, "class:0"), loss)[2])
    found = [trace(of, "class:0", seed=seed) for seed in range(seeds)]
    assert np.mean([f.value for f in found]) == pytest.approx(exact, abs=4 * found[0].error / seeds**0.5)
    assert np.mean([abs(f.value - exact) <= f.half_width for f in found]) >= (0.5 if seeds < 20 else 0.85)


@pytest.mark.exhaustive
def test_an_asked_width_takes_all_gradients():
    of = many_classes()
    exact = np.trace(dense(of, named(of, "few"))[2])
    narrow = trace(of, "few", half_width=1e-4)
    assert narrow.error == 0 and narrow.value == pytest.approx(exact, rel=1e-11)
    assert trace(of, "few", half_width=0.9) == trace(of, "few") != narrow


def test_the_number_of_workers_and_samples_at_a_time_changes_nothing():
    of = standard(nn.ReLU)
    found = [trace(of, plan=plan).value for plan in (Plan(1), Plan(16, workers=2), Plan(1000))]
    assert found == pytest.approx([found[0]] * 3, rel=1e-12)


def test_one_sample_is_a_subject_too():
    of = subject(activation=nn.ReLU, samples=TensorSamples(torch.randn(1, 1, 6, 6), torch.tensor([4])))
    assert trace(of, "class:4").value == pytest.approx(np.trace(dense(of, named(of, "class:4"))[2]), rel=1e-11)


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("can't allocate memory")])
def test_out_of_memory_halves_the_batch_and_leaves_the_answer(error):
    of = subject(activation=nn.ReLU)
    batches = []

    def crowded(logits, labels):
        if torch.is_grad_enabled():  # a few samples without a graph always fit
            batches.append(len(labels))
            if len(labels) > 3:
                raise error
        return of.loss(logits, labels)

    assert trace(of.with_loss(crowded)).value == pytest.approx(trace(of).value, rel=1e-12)
    last = max(i for i, size in enumerate(batches) if size > 3)
    assert max(batches[last + 1 :]) in {2, 3}  # halved until it fits, and no further


def test_where_memory_does_not_reach_for_one_sample_probes_take_over():
    of = subject(activation=nn.ReLU)

    def hopeless(logits, labels):
        if torch.is_grad_enabled():
            raise torch.OutOfMemoryError("CUDA out of memory")
        return of.loss(logits, labels)

    assert trace(of.with_loss(hopeless)) is None

    def broken(logits, labels):
        raise RuntimeError("loss failed")

    with pytest.raises(RuntimeError, match="loss failed"):
        trace(of.with_loss(broken))
