"""Twins of a trained network, measured for real: the same function under other weights is never called flatter."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn

import landscape
from landscape.comparison.compare import Comparison, compare
from landscape.comparison.flatness import ADAPTIVE, EQUAL, TOP, UNKNOWN
from landscape.report.headline import headline_of

COUNTS = (120, 60, 25, 10)
PROBES = 128
"""Of the scale-free trace: with the eight of the default its interval is wider than what counts as equal."""


def data() -> tuple[torch.Tensor, torch.Tensor]:
    digits = load_digits()
    rows = np.concatenate([np.flatnonzero(digits.target == c)[:n] for c, n in enumerate(COUNTS)])
    return torch.tensor(digits.data[rows] / 16, dtype=torch.float32), torch.tensor(digits.target[rows])


def train(seed: int) -> nn.Sequential:
    torch.manual_seed(seed)
    network = nn.Sequential(nn.Linear(64, 12), nn.ReLU(), nn.Linear(12, 10), nn.ReLU(), nn.Linear(10, 4))
    inputs, labels = data()
    optimizer = torch.optim.Adam(network.parameters(), 3e-3)
    for _ in range(120):
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(inputs), labels).backward()
        optimizer.step()
    return network


def measured(network: nn.Module, folder: Path) -> Path:
    inputs, labels = data()
    subject = landscape.Subject(network, landscape.TensorSamples(inputs, labels), train_counts=COUNTS)
    file = folder / "landscape.h5"
    landscape.measure(
        subject, file, hessian=landscape.HessianSettings(top=1, probes=PROBES, intervals=False),
        sharpness=landscape.SharpnessSettings(radii=(0.1,), draws=2),
    )  # fmt: skip
    return file


def layer_rescaled(twin: nn.Sequential) -> None:
    twin[0].weight.mul_(5)
    twin[0].bias.mul_(5)
    twin[2].weight.div_(5)


def neuron_rescaled(twin: nn.Sequential) -> None:
    scale = torch.logspace(-0.8, 0.8, 12)
    twin[0].weight.mul_(scale[:, None])
    twin[0].bias.mul_(scale)
    twin[2].weight.div_(scale)


def permuted(twin: nn.Sequential) -> None:
    order = torch.randperm(12, generator=torch.Generator().manual_seed(0))
    twin[0].weight.copy_(twin[0].weight[order])
    twin[0].bias.copy_(twin[0].bias[order])
    twin[2].weight.copy_(twin[2].weight[:, order])


def sharpened(twin: nn.Sequential) -> None:
    twin[4].weight.mul_(3)
    twin[4].bias.mul_(3)


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> tuple[nn.Sequential, Path]:
    network = train(0)
    return network, measured(network, tmp_path_factory.mktemp("runs") / "original")


def against_twin(original: tuple[nn.Sequential, Path], change: Callable[[nn.Sequential], None], to: Path) -> Comparison:
    network, file = original
    twin = copy.deepcopy(network)
    with torch.no_grad():
        change(twin)
    return compare([file, measured(twin, to / "twin")])


def title(compared: Comparison) -> str:
    return re.sub("<[^>]+>", "", str(headline_of(compared, ()).title)).replace("‑", "-")


@pytest.mark.parametrize("change", [layer_rescaled, neuron_rescaled, permuted])
def test_the_same_function_is_equally_flat(
    original: tuple[nn.Sequential, Path], change: Callable[[nn.Sequential], None], tmp_path: Path
) -> None:
    compared = against_twin(original, change, tmp_path)
    assert {flatness.verdict for flatness in compared.flatness[1]} == {EQUAL}
    for flatness in compared.flatness[1]:
        assert {TOP, ADAPTIVE} <= {witness.name for witness in flatness.witnesses}
    assert title(compared).startswith("At equal loss twin is as flat as original at ")
    raw = [columns["top"].value for columns in compared.table.views[0].columns]
    if change is not permuted:
        assert np.max(np.abs(np.log(raw[1] / raw[0]))) > np.log(3)  # what raw curvature would have claimed


def test_the_same_decisions_at_another_loss_are_not_judged(
    original: tuple[nn.Sequential, Path], tmp_path: Path
) -> None:
    compared = against_twin(original, sharpened, tmp_path)
    assert {flatness.verdict for flatness in compared.flatness[1]} == {UNKNOWN}
    assert "neither is called flatter" in title(compared)


def test_two_seeds_of_one_method_are_two_networks(original: tuple[nn.Sequential, Path], tmp_path: Path) -> None:
    compared = compare([original[1], measured(train(1), tmp_path / "other")])
    told = title(compared)
    assert "neither is called flatter" in told or told.endswith("Two networks, one seed each.")
