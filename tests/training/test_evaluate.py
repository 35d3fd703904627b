"""Losses and accuracies of subsets against a plain loop over samples."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from training.evaluate import by_subset, evaluate


def test_every_subset_is_the_mean_over_its_samples_whatever_the_batches():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(12, 4), nn.BatchNorm1d(4), nn.Dropout(0.5))
    images, labels = torch.randn(23, 3, 2, 2), torch.tensor([0] * 11 + [1] * 7 + [2] * 4 + [3])
    scores = evaluate(network, zip(images.split(5), labels.split(5), strict=True), [300, 50, 10, 3])
    logits = network(images).detach()  # evaluation mode: no dropout, running statistics
    losses = F.cross_entropy(logits, labels, reduction="none")
    right = (logits.argmax(1) == labels).float()
    members = {"all": labels >= 0, "many": labels == 0, "medium": labels == 1, "few": labels >= 2}
    for kind, values in (("loss", losses), ("accuracy", right)):
        expected = {name: float(values[rows].mean()) for name, rows in members.items()}
        classes = [float(values[labels == c].mean()) for c in range(4)]
        assert {name: scores[kind][name] for name in expected} == pytest.approx(expected, rel=1e-5)
        assert scores[kind]["classes"] == pytest.approx(classes, rel=1e-5)
        assert scores[kind]["balanced"] == pytest.approx(sum(classes) / 4, rel=1e-5)


def test_a_class_without_samples_counts_in_no_mean():
    means = by_subset(torch.tensor([4.0, 0.0, 3.0]), torch.tensor([2.0, 0.0, 1.0]), [200, 50, 5])
    assert means["classes"] == [2.0, None, 3.0]
    assert means["balanced"] == 2.5 and means["all"] == pytest.approx(7 / 3)
    assert "medium" not in means


def test_what_is_not_finite_is_shown():
    means = by_subset(torch.tensor([math.inf, math.nan]), torch.tensor([2.0, 1.0]), [200, 5])
    assert means["classes"][0] == math.inf and math.isnan(means["classes"][1]) and math.isnan(means["all"])
