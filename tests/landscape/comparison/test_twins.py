"""Twins of a trained network, measured for real: the same function under other weights is never called flatter."""

from __future__ import annotations

import copy
import dataclasses
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.optimize import brentq
from sklearn.datasets import load_digits
from torch import nn

import landscape
from landscape.comparison.compare import Comparison, compare
from landscape.comparison.flatness import EQUAL, FLATTER, TOP, TRACE, UNKNOWN, WITNESSES
from landscape.comparison.weight_norm import weight_norm
from landscape.files.identity import target_of
from landscape.hessian.record import record_hessian
from landscape.report.headline import headline_of
from landscape.sharpness.record_matched import record_matched_sharpness

COUNTS = (120, 60, 25, 10)
PROBES = 128
"""Of the scale-free trace: with the eight of the default its interval is wider than what counts as equal."""
HESSIAN = landscape.HessianSettings(top=1, probes=PROBES, intervals=False)
SHARPNESS = landscape.SharpnessSettings(radii=(0.1,), draws=2)


def data() -> tuple[torch.Tensor, torch.Tensor]:
    digits = load_digits()
    rows = np.concatenate([np.flatnonzero(digits.target == c)[:n] for c, n in enumerate(COUNTS)])
    return torch.tensor(digits.data[rows] / 16, dtype=torch.float32), torch.tensor(digits.target[rows])


def train(seed: int, steps: int = 120) -> nn.Sequential:
    torch.manual_seed(seed)
    network = nn.Sequential(nn.Linear(64, 12), nn.ReLU(), nn.Linear(12, 10), nn.ReLU(), nn.Linear(10, 4))
    inputs, labels = data()
    optimizer = torch.optim.Adam(network.parameters(), 3e-3)
    for _ in range(steps):
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(inputs), labels).backward()
        optimizer.step()
    return network


def subject_of(network: nn.Module, subsets: list[str] | None = None) -> landscape.Subject:
    return landscape.Subject(network, landscape.TensorSamples(*data()), train_counts=COUNTS, subsets=subsets)


def measured(network: nn.Module, folder: Path, subsets: list[str] | None = None) -> Path:
    file = folder / "landscape.h5"
    landscape.measure(subject_of(network, subsets), file, hessian=HESSIAN, sharpness=SHARPNESS)
    return file


def lift(network: nn.Module, file: Path, other: Path, subsets: list[str] | None = None) -> None:
    """Measures a network at the losses of another's file."""
    subject = subject_of(network, subsets)
    target = dataclasses.replace(target_of(subject, file), name="train-matched")
    record_hessian(subject, target, HESSIAN, match_loss=other)
    record_matched_sharpness(subject, target, SHARPNESS, other)


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


def head_shifted(twin: nn.Sequential) -> None:
    twin[4].weight.add_(2 * torch.randn(10, generator=torch.Generator().manual_seed(0)))
    twin[4].bias.add_(1.5)


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


@pytest.mark.parametrize(
    "change",
    [
        layer_rescaled,
        head_shifted,
        *(pytest.param(f, marks=pytest.mark.exhaustive) for f in (neuron_rescaled, permuted)),
    ],
)
def test_the_same_function_is_equally_flat(
    original: tuple[nn.Sequential, Path], change: Callable[[nn.Sequential], None], tmp_path: Path
) -> None:
    compared = against_twin(original, change, tmp_path)
    assert {flatness.verdict for flatness in compared.flatness[1]} == {EQUAL}
    for flatness in compared.flatness[1]:
        assert {witness.name for witness in flatness.witnesses} == set(WITNESSES)
    assert title(compared).startswith("At equal loss twin is as flat as original at ")
    raw = [columns["top"].value for columns in compared.table.views[0].columns]
    norms = [weight_norm(run) for run in compared.runs]
    torch.testing.assert_close(norms[0], float(nn.utils.parameters_to_vector(original[0].parameters()).detach().norm()))
    if change is not permuted:
        assert norms[1] != pytest.approx(norms[0], rel=0.05)
    if change in (layer_rescaled, neuron_rescaled):
        assert np.max(np.abs(np.log(raw[1] / raw[0]))) > np.log(3)  # what raw curvature would have claimed


def test_the_same_decisions_at_another_loss_are_not_judged(
    original: tuple[nn.Sequential, Path], tmp_path: Path
) -> None:
    compared = against_twin(original, sharpened, tmp_path)
    assert {flatness.verdict for flatness in compared.flatness[1]} == {UNKNOWN}
    assert "neither is called flatter" in title(compared)


def test_the_same_decisions_are_equal_once_both_losses_are(
    original: tuple[nn.Sequential, Path], tmp_path: Path
) -> None:
    """The head × 3 makes small losses smaller and large ones larger: each network is lifted where it is the lower.

    Many losses are met at two temperatures; only that on the other's side of the lowest loss makes the same function.
    """
    network, files = copy.deepcopy(original[0]), [tmp_path / name / "landscape.h5" for name in ("original", "twin")]
    files[0].parent.mkdir()
    shutil.copy(original[1], files[0])
    twin = copy.deepcopy(network)
    with torch.no_grad():
        sharpened(twin)
    measured(twin, files[1].parent)
    lift(network, files[0], files[1])
    lift(twin, files[1], files[0])
    compared = compare(files)
    lifted = [run.of("hessian")["train-matched"] for run in compared.runs]
    factors = np.max([np.abs(np.log(m.data["temperature"])) for m in lifted], axis=0)
    np.testing.assert_allclose(factors, np.log(3), rtol=1e-3)
    assert [row.name for row in compared.rows] == list(lifted[0].subset)
    assert {flatness.verdict for flatness in compared.flatness[1]} == {EQUAL}
    for flatness in compared.flatness[1]:
        assert {witness.name for witness in flatness.witnesses} == set(WITNESSES)
        assert all(witness.ratio == pytest.approx(1, rel=0.03) for witness in flatness.witnesses)
    assert title(compared).startswith("At equal loss twin is as flat as original at ")


def normalized(seed: int) -> nn.Sequential:
    """A trained network with BatchNorm behind both hidden layers, in evaluation mode."""
    torch.manual_seed(seed)
    network = nn.Sequential(
        nn.Linear(64, 12), nn.BatchNorm1d(12), nn.ReLU(), nn.Linear(12, 10), nn.BatchNorm1d(10), nn.ReLU(),
        nn.Linear(10, 4),
    )  # fmt: skip
    inputs, labels = data()
    optimizer = torch.optim.Adam(network.parameters(), 3e-3)
    for _ in range(60):
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(inputs), labels).backward()
        optimizer.step()
    return network.eval()


def test_a_layer_rescaled_through_batch_norm_is_equally_flat(tmp_path: Path) -> None:
    """The weights before the statistics × 5, and what follows them neuron by neuron: raw λ₁ falls 1.8 times."""
    network = normalized(0)
    twin = copy.deepcopy(network)
    linear, norm, after = twin[0], twin[1], twin[3]
    with torch.no_grad():
        for tensor in (linear.weight, linear.bias, norm.running_mean):
            tensor.mul_(5)
        shrunk = (norm.running_var + norm.eps).sqrt()
        norm.running_var.mul_(25)
        exact = (norm.running_var + norm.eps).sqrt() / (5 * shrunk)  # ε is not rescaled with the variance
        scale = torch.logspace(-0.5, 0.5, 12)
        norm.weight.mul_(exact * scale)
        norm.bias.mul_(scale)
        after.weight.div_(scale)
        torch.testing.assert_close(twin(data()[0]), network(data()[0]), rtol=1e-4, atol=1e-4)
    files = [measured(net, tmp_path / name, ["class:3"]) for net, name in ((network, "original"), (twin, "twin"))]
    compared = compare(files)
    judged = compared.flatness[1][-1]
    assert compared.rows[-1].name == "class:3" and judged.verdict == EQUAL
    assert {witness.name for witness in judged.witnesses} == set(WITNESSES)
    assert all(witness.ratio == pytest.approx(1, rel=0.01) for witness in judged.witnesses)
    assert title(compared) == (
        "At equal loss twin is as flat as original at the one few-shot class. Two networks, one seed each."
    )
    raw = [columns["top"].value for columns in compared.table.views[0].columns]
    assert raw[1][-1] < raw[0][-1] / 1.5


def decayed() -> list[nn.Sequential]:
    """Two networks from the same start, trained without and with weight decay 5e-3."""
    networks, (inputs, labels) = [], data()
    for decay in (0.0, 5e-3):
        networks.append(train(0, steps=0))
        optimizer = torch.optim.SGD(networks[-1].parameters(), 0.1, momentum=0.9, weight_decay=decay)
        for _ in range(300):
            optimizer.zero_grad()
            nn.functional.cross_entropy(networks[-1](inputs), labels).backward()
            optimizer.step()
    return networks


def dense_witnesses(network: nn.Sequential, rows: torch.Tensor, temperature: float) -> dict[str, float]:
    """Top eigenvalue and trace of |w|H|w| from the dense Hessian in float64, the head centered."""
    network = copy.deepcopy(network).double()
    inputs, labels = data()
    inputs, labels = inputs[rows].double(), labels[rows]
    shapes = {name: parameter.detach() for name, parameter in network.named_parameters()}

    def loss(*parameters: torch.Tensor) -> torch.Tensor:
        logits = torch.func.functional_call(network, dict(zip(shapes, parameters, strict=True)), inputs)
        return nn.functional.cross_entropy(logits / temperature, labels)

    blocks = torch.autograd.functional.hessian(loss, tuple(shapes.values()), vectorize=True)
    sizes = [value.numel() for value in shapes.values()]
    hessian = torch.cat([torch.cat([b.reshape(n, m) for b, m in zip(row, sizes, strict=True)], 1)
                         for row, n in zip(blocks, sizes, strict=True)])  # fmt: skip
    centered = {name: value - value.mean(0) if name.startswith("4.") else value for name, value in shapes.items()}
    weight = torch.cat([value.abs().flatten() for value in centered.values()])
    scaled = weight[:, None] * hessian * weight
    return {TOP: float(torch.linalg.eigvalsh(scaled)[-1]), TRACE: float(scaled.trace())}


@pytest.mark.exhaustive
def test_a_true_difference_is_told(tmp_path: Path) -> None:
    """With weight decay the witnesses of a class fall by a third or more, as the dense Hessians say."""
    networks, (inputs, labels), names = decayed(), data(), ("plain", "decayed")
    files = [measured(network, tmp_path / name, ["class:1"]) for network, name in zip(networks, names, strict=True)]
    lift(networks[0], files[0], files[1], ["class:1"])  # its loss is the lower one
    compared = compare(files)
    judged = next(f for row, f in zip(compared.rows, compared.flatness[1], strict=True) if row.name == "class:1")
    assert judged.verdict == FLATTER and {witness.name for witness in judged.witnesses} == set(WITNESSES)
    rows = torch.nonzero(labels == 1)[:, 0]

    def excess(log_t: float) -> float:
        with torch.no_grad():
            logits = networks[0](inputs[rows]).double() / np.exp(log_t)
        return float(nn.functional.cross_entropy(logits, labels[rows])) - judged.loss

    dense = [
        dense_witnesses(networks[0], rows, float(np.exp(brentq(excess, 0, 3)))),
        dense_witnesses(networks[1], rows, 1.0),
    ]
    for witness in judged.witnesses:
        if witness.name in dense[0]:
            assert witness.ratio == pytest.approx(dense[1][witness.name] / dense[0][witness.name], rel=0.02)


def test_two_seeds_of_one_method_are_two_networks(original: tuple[nn.Sequential, Path], tmp_path: Path) -> None:
    compared = compare([original[1], measured(train(1), tmp_path / "other")])
    told = title(compared)
    assert "neither is called flatter" in told or told.endswith("Two networks, one seed each.")
