"""CC-SAM: one forward pass with moved logits equals moving the classifier class by class."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from foundation.errors import InputError
from tests.training.methods.losses import references as ref
from tests.training.methods.losses.test_losses import COUNTS, LABELS
from training.methods.method import build_method
from training.methods.objective import TrainingProgress


def make():
    torch.manual_seed(2)
    network = torch.nn.Sequential(torch.nn.Linear(6, 4), torch.nn.Tanh(), torch.nn.Linear(4, 5)).double()
    return network, torch.randn(len(LABELS), 6, dtype=torch.float64), torch.tensor(LABELS)


def gradients(network, loss):
    return torch.autograd.grad(loss, list(network.parameters()))


@pytest.mark.parametrize(("base", "shift"), [("ce", None), ("la", np.log(np.array(COUNTS) / np.sum(COUNTS)))])
def test_equals_a_loop_over_classes_that_moves_the_weight(base, shift):
    network, inputs, labels = make()
    got = ref.objective(f"{base}+cc-sam", COUNTS, ref.outputs_of(network, inputs), labels, share=0.3, strength=0.9)
    head = network[-1]
    features = network[:-1](inputs)
    prior = 0 if shift is None else torch.tensor(shift)

    def loss_of(rows, weight):
        return functional.cross_entropy(functional.linear(features[rows], weight, head.bias) + prior, labels[rows])

    clean = loss_of(torch.arange(len(labels)), head.weight)
    perturbed = 0
    for c in labels.unique():
        mine = (labels == c).nonzero().squeeze(1)
        (g,) = torch.autograd.grad(loss_of(mine, head.weight), head.weight, retain_graph=True)
        rho = 0.9 * (head.weight.norm() / (2 * g.norm())).sqrt() * head.weight.numel() ** -0.25
        rho = rho * max(COUNTS[c] - 1, 1) ** -0.25
        moved = head.weight + (rho * g / g.norm()).detach()
        perturbed = perturbed + loss_of(mine, moved) * len(mine) / len(labels)
    expected = 0.7 * clean + 0.3 * perturbed
    torch.testing.assert_close(got, expected)
    for mine, theirs in zip(gradients(network, got), gradients(network, expected), strict=True):
        torch.testing.assert_close(mine, theirs)


def test_second_stage_equals_a_loop_over_classes_that_moves_the_features():
    network, inputs, labels = make()
    moment = {"progress": TrainingProgress(0.0, 1, 4)}
    outputs = ref.outputs_of(network, inputs)
    got = ref.objective("cc-sam-classifier", COUNTS, outputs, labels, moment, feature_scale=0.8)
    features = outputs.features.detach().requires_grad_()
    head = network[-1]
    losses = functional.cross_entropy(head(features), labels, reduction="none")
    perturbed = 0
    for c in labels.unique():
        mine = labels == c
        v = float(np.log(max(COUNTS) / COUNTS[c] + 0.01) / 2)
        (g,) = torch.autograd.grad(losses[mine].mean(), features, retain_graph=True)
        moved = head(features + 0.8 * v * g / g.norm())
        perturbed = perturbed + v * functional.cross_entropy(moved[mine], labels[mine], reduction="sum")
    expected = 0.5 * losses.mean() + 0.5 * perturbed / len(labels)
    torch.testing.assert_close(got, expected)
    heads = [torch.autograd.grad(loss, head.weight, retain_graph=True)[0] for loss in (got, expected)]
    torch.testing.assert_close(*heads)


def test_comes_with_its_second_stage_and_wants_a_linear_head():
    (stage,) = build_method("cc-sam", COUNTS, limit=0.3).stages
    assert (stage.name, stage.sampler, stage.method) == ("crt", "class-balanced", "cc-sam-classifier")
    assert (stage.lr, stage.anew) == (0.1, False)
    assert build_method(stage.method, COUNTS, **stage.kwargs).record["kwargs"]["cc-sam-classifier.limit"] == 0.3
    with pytest.raises(InputError, match="cosine head"):
        build_method("ldam+cc-sam", COUNTS)
