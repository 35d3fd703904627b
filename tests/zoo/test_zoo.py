"""Every kind of network: each number agrees with a dense Hessian and plain forward passes, or a sentence refuses it."""

from __future__ import annotations

import contextlib
import functools
import random
import warnings

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from foundation.errors import LandscapeError
from landscape.hessian.measure import measure_hessian
from landscape.hessian.result import HessianSettings
from landscape.sharpness.measure import measure_sharpness
from landscape.sharpness.result import SharpnessSettings
from landscape.subject.samples import TensorSamples
from landscape.subject.subject import Subject
from landscape.subject.subsets import Subset
from landscape.surface.measure import measure_surface
from landscape.surface.result import Surface, SurfaceSettings
from tests.zoo import layers, modules, sequences
from tests.zoo.registry import CLASSES, IMAGE, ROW, SEQUENCE, ZOO, Small

COUNTS = (9, 5, 2)
REFUSED = {
    "random in eval": "draws random numbers",
    "drifting buffer": "changes its own state",
    "batch mixing": "another loss alone",
    "BatchNorm without statistics": "more than 1 value",
    "squeeze": "give forward, a function of network and inputs",
    "tuple": "returns a tuple",
    "fewer logits than classes": "out of bounds",
    "custom Function with another derivative": "not",
    "no_grad block": "not their derivative",
    "detached gate": "not their derivative",
}
ONLY_FLOAT32 = {"float32 inside"}
DIFFERENCES = {"Hardsigmoid", "squeeze and excitation", "EmbeddingBag mean", "EmbeddingBag sum", "EmbeddingBag max",
               "weight_norm", "old weight_norm", "weight_norm conv", "old weight_norm conv"}  # fmt: skip
"""PyTorch has no second derivative of these, or a wrong one: their Hessians are differences of gradients."""
DTYPES = {"float64": torch.float64, "float32": torch.float32}
SAMPLE = random.Random(0).sample(sorted(ZOO), 8)
MUST = ["aliased modules", "state on self", "weight_norm conv", "MultiheadAttention"]

assert all((layers, modules, sequences)) and len(ZOO) >= 60  # they fill the zoo


def data(kind: str) -> TensorSamples:
    generator = torch.Generator().manual_seed(0)
    labels = torch.repeat_interleave(torch.arange(CLASSES), torch.tensor(COUNTS))
    shape = {IMAGE: (1, 6, 6), ROW: (5,), SEQUENCE: (5, 4)}.get(kind)
    if shape is None:
        return TensorSamples(torch.randint(7, (len(labels), 5), generator=generator), labels)
    noise = torch.randn(len(labels), *shape, generator=generator)
    return TensorSamples(noise + 0.3 * labels.view(-1, *[1] * len(shape)), labels)


def built(name: str) -> nn.Module:
    torch.manual_seed(1)
    net = ZOO[name][1]()
    for module in net.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.running_mean is not None:
            module.running_mean.normal_(std=0.3)
            module.running_var.uniform_(0.5, 2.0)
            module.weight.data.uniform_(0.5, 1.5)
            module.bias.data.normal_(std=0.3)
    return net.eval()


class Oracle:
    """A network by the book: float64, one graph, no rewriting."""

    def __init__(self, name: str) -> None:
        net = built(name)
        net = getattr(net, "_orig_mod", None) or (net.module if isinstance(net, nn.DataParallel) else net)
        if name in ONLY_FLOAT32:
            net, given = Small().eval(), net
            net.load_state_dict(given.state_dict())
        for module in net.modules():
            for key, value in vars(module).items():
                if isinstance(value, Tensor) and not isinstance(value, nn.Parameter):
                    setattr(module, key, value.detach().double())
        self.net, samples, self.name = net.double(), data(ZOO[name][0]), name
        self.parameters = [p for p in net.parameters() if p.requires_grad]
        self.inputs = samples.data.double() if samples.data.is_floating_point() else samples.data
        self.labels = samples.labels

    def losses(self, vector: Tensor | None = None) -> Tensor:
        """Of each sample, at other weights (P,) if they are given."""
        if vector is not None:
            start = 0
            for parameter in self.parameters:
                parameter.data = vector[start : start + parameter.numel()].view(parameter.shape).double().clone()
                start += parameter.numel()
        with sdpa_kernel(SDPBackend.MATH):
            return F.cross_entropy(self.net(self.inputs), self.labels, reduction="none")

    def vector(self) -> Tensor:
        return torch.cat([p.detach().reshape(-1) for p in self.parameters]).clone()

    def gradient(self, weights: Tensor, create_graph: bool = False) -> Tensor:
        loss = (self.losses() * weights).sum()
        parts = torch.autograd.grad(loss, self.parameters, create_graph=create_graph, materialize_grads=True)
        return torch.cat([part.reshape(-1) for part in parts])

    def hessian(self, weights: Tensor) -> np.ndarray:
        if self.name in DIFFERENCES:
            return self.differences(weights)
        gradient, rows = self.gradient(weights, create_graph=True), []
        for entry in gradient:
            parts = [torch.zeros_like(p) for p in self.parameters]
            if entry.requires_grad:
                parts = torch.autograd.grad(entry, self.parameters, retain_graph=True, materialize_grads=True)
            rows.append(torch.cat([part.reshape(-1) for part in parts]))
        return torch.stack(rows).numpy()

    def differences(self, weights: Tensor, step: float = 1e-5) -> np.ndarray:
        origin, rows = self.vector(), []
        for place in range(len(origin)):
            ends = []
            for sign in (step, -step):
                moved = origin.clone()
                moved[place] += sign
                self.losses(moved)
                ends.append(self.gradient(weights))
            rows.append((ends[0] - ends[1]) / (2 * step))
        self.losses(origin)
        found = torch.stack(rows).numpy()
        return (found + found.T) / 2


def weights_of(oracle: Oracle, subset) -> Tensor:
    members = torch.isin(oracle.labels, torch.tensor(subset.classes))
    counts = torch.bincount(oracle.labels, minlength=CLASSES).double()
    if subset.kind == "balanced":
        return members / counts[oracle.labels] / CLASSES
    return members / members.sum()


@functools.cache
def true_hessian(name: str, subset: Subset) -> np.ndarray:
    """Once for both dtypes and for the sample: its rows are half of a test's time."""
    oracle = Oracle(name)
    return oracle.hessian(weights_of(oracle, subset))


def subject_of(name: str, dtype: torch.dtype) -> Subject:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        return Subject(built(name), data(ZOO[name][0]), train_counts=COUNTS, subsets=["balanced", "class:2"],
                       dtype=dtype)  # fmt: skip


@contextlib.contextmanager
def threads(count: int):
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def examine(name: str, dtype: torch.dtype) -> None:
    refused = REFUSED.get(name) or ("measure in float32" if name in ONLY_FLOAT32 and dtype == torch.float64 else None)
    # A probe of signs sees an eigenvector (e_i − e_j)/√2 as 0 or 2: one of 128 times eight of them agree, and the
    # spread that they show says nothing.
    settings = HessianSettings(top=2, tol=1e-4, probes=32, slq_vectors=2, intervals=False)
    if refused is not None:
        with pytest.raises(LandscapeError, match=refused):
            measure_hessian(subject_of(name, dtype), settings=settings)
        return
    subject, oracle = subject_of(name, dtype), Oracle(name)
    origin = oracle.vector()
    rough = 1e-6 if dtype == torch.float64 else 3e-4
    if "half" in name:
        rough = 3e-4
    assert subject.size == len(origin)
    torch.testing.assert_close(subject.vector().double(), origin, rtol=1e-6, atol=1e-6)
    found = measure_hessian(subject, settings=settings)
    for subset in subject.subsets:
        curvature, weights = found.of(subset.name), weights_of(oracle, subset)
        values, slope = np.linalg.eigvalsh(true_hessian(name, subset)), oracle.gradient(weights)
        scale = max(np.abs(values).max(), 1e-12 + rough * float(slope.norm()))
        says = f"{name} {subset.name}"
        loss = float((oracle.losses().detach() * weights).sum())
        assert curvature.loss == pytest.approx(loss, rel=rough, abs=rough), says
        assert curvature.gradient_norm == pytest.approx(float(slope.norm()), rel=10 * rough, abs=rough), says
        known = min(2, subject.size)
        for mine, true, residual in (
            *zip(curvature.top.values[:known], values[::-1], curvature.top.residuals, strict=False),
            *zip(curvature.bottom.values, values, curvature.bottom.residuals, strict=False),
        ):
            if curvature.converged:
                assert abs(mine - true) <= max(3 * residual, 30 * rough * scale), (says, mine, true)
            assert mine <= values[-1] + 30 * rough * scale and mine >= values[0] - 30 * rough * scale, says
        error = 8 * curvature.trace.error if np.isfinite(curvature.trace.error) else 0.0
        far = abs(curvature.trace.value - values.sum())
        assert far <= error + 100 * rough * scale, (says, curvature.trace, values.sum())
    first = subject.subsets[-1]
    weights = weights_of(oracle, first)
    sharpness = measure_sharpness(subject, settings=SharpnessSettings(radii=(0.1,), steps=1, draws=2))
    slope, base = oracle.gradient(weights), oracle.losses().detach()
    up = slope / slope.norm() if float(slope.norm()) > 0 else slope
    rise = float(((oracle.losses(origin + 0.1 * up).detach() - base) * weights).sum())
    assert sharpness.sam[-1, 0] == pytest.approx(rise, rel=100 * rough, abs=10 * rough), name
    surface = _surface(subject)
    for row, column in ((0, 0), (1, 1), (2, 1)) if surface is not None else ():
        at = surface.plane.at(float(surface.a[column]), float(surface.b[row]))
        for s, subset in enumerate(subject.subsets):
            true = float((oracle.losses(at).detach() * weights_of(oracle, subset)).sum())
            assert surface.loss[s, row, column] == pytest.approx(true, rel=10 * rough, abs=10 * rough), name
    torch.testing.assert_close(subject.vector().double(), origin, rtol=1e-6, atol=1e-6)


def _surface(subject: Subject) -> Surface | None:
    if not any(p.dim() > 1 for p in subject.parameters.values()):
        return None
    return measure_surface(subject, settings=SurfaceSettings(points=(3, 3), span=1.0, tolerance=None))


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("name", sorted({*SAMPLE, *MUST, *REFUSED}))
def test_a_sample_of_the_zoo(name):
    with threads(2):
        examine(name, torch.float32)


@pytest.mark.exhaustive
@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", sorted(ZOO))
def test_every_network(name, dtype):
    with threads(2):
        examine(name, DTYPES[dtype])
