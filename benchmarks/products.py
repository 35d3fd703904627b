"""What one Hessian-vector product costs beside two gradients, and how the cost of many grows."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional

from landscape.hessian.estimators.lanczos import LanczosOptions, extremal_eigenpairs
from landscape.hessian.estimators.random_vectors import random_signs
from landscape.hessian.products.autotune import choose_plan
from landscape.hessian.products.operators import HessianFactory
from landscape.subject.samples import TensorSamples
from landscape.subject.subject import Subject
from training.models import build_model


def product_over_floor(repeats: int) -> tuple[float, float, float]:
    """A product on kept graphs against its floor of two gradients, ResNet-32 on 128 images of CIFAR-10's shape.

    Args:
        repeats: Turns.

    Returns:
        Seconds of a product, of a gradient of the network as it is, and product / (2 gradients).
    """
    torch.manual_seed(0)
    network = build_model("resnet32", in_channels=3, classes=10)
    data = TensorSamples(torch.randn(128, 3, 32, 32), torch.arange(128) % 10)
    subject = Subject(network, data, train_counts=[13] * 10)
    hessian = HessianFactory(subject, choose_plan(subject)).of(subject.subsets[0])
    vector = random_signs(subject.size, torch.Generator().manual_seed(0))
    inputs, labels = subject.inputs(slice(0, 128)), subject.labels
    parameters = list(subject.parameters.values())

    def gradient(chunk: int) -> None:
        for x, y in zip(torch.split(inputs, chunk), torch.split(labels, chunk), strict=True):
            torch.autograd.grad(functional.cross_entropy(subject.network(x), y), parameters)

    hessian(vector)
    chunk = min((16, 32, 64, 128), key=lambda n: _seconds(lambda: gradient(n)))
    products, gradients = [], []
    for _ in range(max(repeats, 3)):
        products.append(_seconds(lambda: hessian(vector)))
        gradients.append(_seconds(lambda: gradient(chunk)))
    ratio = statistics.median(p / (2 * g) for p, g in zip(products, gradients, strict=True))
    return statistics.median(products), statistics.median(gradients), ratio


def growth(repeats: int) -> list[str]:
    """How the cost of a fixed number of products for every class grows, on a two-layer perceptron.

    Args:
        repeats: Turns.

    Returns:
        Rows of a table.
    """

    def seconds(classes: int, samples: int, width: int) -> float:
        torch.manual_seed(0)
        labels = torch.arange(classes).repeat_interleave(samples)
        network = nn.Sequential(nn.Flatten(), nn.Linear(784, width), nn.GELU(), nn.Linear(width, 10))
        data = TensorSamples(torch.randn(len(labels), 784), labels)
        names = [f"class:{c}" for c in range(classes)]
        subject = Subject(network, data, train_counts=[samples] * classes, subsets=names)
        hessians = HessianFactory(subject, choose_plan(subject))
        goal = LanczosOptions(1, 1, tol=1e-12, max_products=24)

        def measure() -> None:
            for subset in subject.subsets:
                generator = torch.Generator().manual_seed(0)
                extremal_eigenpairs(hessians.of(subset), random_signs(subject.size, generator), goal, generator)

        return _seconds(measure)

    sizes = {"base": (5, 200, 256), "classes x 2": (10, 200, 256), "samples x 2": (5, 400, 256)}
    sizes["parameters x 2"] = (5, 200, 512)
    turns = [{name: seconds(*size) for name, size in sizes.items()} for _ in range(max(repeats, 3))]
    lines = ["| 24 products of every class | classes | samples a class | width | s | over base |", "|---" * 6 + "|"]
    for name, size in sizes.items():
        middle = statistics.median(turn[name] for turn in turns)
        ratio = statistics.median(turn[name] / turn["base"] for turn in turns)
        lines.append(f"| {name} | {size[0]} | {size[1]} | {size[2]} | {middle:.2f} | {ratio:.2f} |")
    return lines


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started
