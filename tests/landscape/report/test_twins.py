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
from sklearn.datasets import load_digits
from torch import nn

import landscape
from landscape.comparison.compare import Comparison, compare
from landscape.comparison.flatness import EQUAL, UNKNOWN, WITNESSES
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
    landscape.measure(subject, file, hessian=HESSIAN, sharpness=SHARPNESS)
    return file


def lift(network: nn.Module, file: Path, other: Path) -> None:
    """Measures a network at the losses of another's file."""
    inputs, labels = data()
    subject = landscape.Subject(network, landscape.TensorSamples(inputs, labels), train_counts=COUNTS)
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


@pytest.mark.parametrize("change", [layer_rescaled, neuron_rescaled, permuted, head_shifted])
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


def test_two_seeds_of_one_method_are_two_networks(original: tuple[nn.Sequential, Path], tmp_path: Path) -> None:
    compared = compare([original[1], measured(train(1), tmp_path / "other")])
    told = title(compared)
    assert "neither is called flatter" in told or told.endswith("Two networks, one seed each.")
