"""How much each class weighs in a balanced penalty: over whole epochs, at every batch size."""

import itertools

import numpy as np
import pytest
import torch

from tests.training.test_epochs import Stop, config, same, stopping
from training import train
from training.data import open_data
from training.methods.balance import expected_class_weights
from training.methods.method import build_method
from training.methods.objective import FINISHED, SampleTerm
from training.trainer import Trainer

COUNTS = [600, 359, 215, 129, 77, 46, 27, 16, 10, 6]  # fashion-mini at imbalance 100


@pytest.mark.parametrize(("size", "ratio"), [(16, 0.053), (64, 0.209), (128, 0.392), (256, 0.654)])
def test_the_rarest_class_weighs_less_when_batches_are_averaged_over_the_classes_present(size, ratio):
    weights = expected_class_weights(COUNTS, size, draws=50_000)
    assert weights.sum().item() == pytest.approx(1)
    assert (weights[-1] / weights[0]).item() == pytest.approx(ratio, abs=0.01)


def test_expected_weights_are_those_of_enumerated_batches():
    counts, size = [3, 2, 1], 3
    labels = np.repeat(np.arange(3), counts)
    exact = np.zeros(3)
    batches = list(itertools.combinations(range(6), size))
    for chosen in batches:
        present = np.unique(labels[list(chosen)])
        exact[present] += 1 / len(present) / len(batches)
    simulated = expected_class_weights(counts, size, draws=200_000).numpy()
    np.testing.assert_allclose(simulated, exact, atol=3e-3)
    assert expected_class_weights(counts, 6).tolist() == pytest.approx([1 / 3] * 3)


@pytest.mark.parametrize(("size", "ratio"), [(16, 0.05), (64, 0.20), (128, 0.38), (256, 0.64)])
def test_under_batch_whole_epochs_weigh_as_simulated(tmp_path, size, ratio):
    """The batches that training draws, not those of the simulation: some 750 of them."""
    settings = config(tmp_path, data="fashion-mini", imbalance=100.0, batch_size=size, augment="none")
    data = open_data("fashion-mini", imbalance=100)
    method = build_method("bgp", data.class_counts)
    trainer, penalty = Trainer(settings, data, method, torch.device("cpu")), method.terms[1]
    assert data.class_counts == tuple(COUNTS) and penalty.class_weights == "batch"
    total, epochs = torch.zeros(10), size // 2
    for seed in range(epochs):
        for (_, labels), _ in trainer.batches(0, seed):
            shares = penalty.shares(labels, torch.bincount(labels, minlength=10).float(), FINISHED)
            total.index_add_(0, labels, shares)
    weights = total / (epochs * trainer.steps_per_epoch)
    torch.testing.assert_close(weights, expected_class_weights(COUNTS, size).float(), rtol=0.05, atol=0.002)
    assert float(weights[-1] / weights[0]) == pytest.approx(ratio, abs=0.03)


def weights_of_an_epoch(monkeypatch, trainer, epoch):
    """What each class weighed in the running penalty, over a whole epoch of the trainer's own steps, (C,)."""
    seen, shares = [], SampleTerm.shares

    def spy(term, labels, counts, progress):
        found = shares(term, labels, counts, progress)
        if term.class_weights == "running":
            seen.append((labels, found))
        return found

    monkeypatch.setattr(SampleTerm, "shares", spy)
    trainer.epoch(epoch)
    monkeypatch.undo()
    total, pieces = torch.zeros(10), trainer.config.accumulate
    for start in range(0, len(seen), pieces):
        step = seen[start : start + pieces]
        size = sum(len(labels) for labels, _ in step)
        for labels, found in step:
            total.index_add_(0, labels, found * len(labels) / size)
    return total / trainer.steps_per_epoch


STEPS = [
    (16, 1, "bgp"),
    (64, 1, "batch-balanced-ce"),
    (128, 1, "bgp-as-weights"),
    (256, 1, "bgp"),
    (64, 4, "bgp"),
    (64, 1, "bgp+mixup"),
]


@pytest.mark.parametrize(("size", "accumulate", "method"), STEPS)
def test_running_weights_are_equal_over_every_epoch_after_the_first(monkeypatch, tmp_path, size, accumulate, method):
    settings = config(tmp_path, data="fashion-mini", imbalance=100.0, model_kwargs={"widths": [2]}, batch_size=size,
                      accumulate=accumulate, evaluate_every=99, validation=0)  # fmt: skip
    data = open_data("fashion-mini", imbalance=100, validation=0)
    trainer = Trainer(settings, data, build_method(method, data.class_counts, balance="running"), torch.device("cpu"))
    first = weights_of_an_epoch(monkeypatch, trainer, 0)
    if "mixup" not in method:  # the spy sees each of two labels whole, whatever its share
        torch.testing.assert_close(first, torch.tensor(data.class_counts) / len(data.train), rtol=0.02, atol=0)
        second = weights_of_an_epoch(monkeypatch, trainer, 1)
        torch.testing.assert_close(second, torch.full((10,), 0.1), rtol=0.02, atol=0)
    expected = torch.tensor(data.class_counts).double() / len(data.train)
    torch.testing.assert_close(trainer.running_shares.values, expected, rtol=1e-3, atol=1e-5)


def test_an_interrupted_run_remembers_the_shares(tmp_path):
    changes = {"method": "bgp", "method_kwargs": {"balance": "running"}, "epochs": 3, "snapshots": 0}
    whole = train(config(tmp_path / "whole", **changes))
    with pytest.raises(Stop):
        train(config(tmp_path / "parts", **changes), say=stopping(6))
    parts = train(config(tmp_path / "parts", **changes))
    states = [torch.load(run.folder / "resume.pt", weights_only=True)["state"] for run in (whole, parts)]
    assert same(*states) and states[0]["class_shares"].sum() == pytest.approx(1)
