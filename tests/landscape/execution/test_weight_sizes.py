"""Sizes of weights: without what a head adds to all logits alike, where losses are proven not to depend on it."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.nn import functional

import landscape
from landscape.execution.weight_sizes import weight_sizes
from landscape.subject.temperature import tempered
from training.models.heads import Cosine, Scaled

COUNTS = (20, 12, 6, 2)


def body() -> list[nn.Module]:
    return [nn.Linear(6, 9), nn.ReLU()]


def network(*head: nn.Module) -> nn.Sequential:
    return nn.Sequential(*body(), *(head or [nn.Linear(9, 4)]))


def subject(net: nn.Module, **options: object) -> landscape.Subject:
    labels = torch.repeat_interleave(torch.arange(4), torch.tensor(COUNTS))
    inputs = torch.randn(len(labels), 6, generator=torch.Generator().manual_seed(1))
    return landscape.Subject(net, landscape.TensorSamples(inputs, labels), train_counts=COUNTS, **options)


def centered(net: nn.Sequential) -> torch.Tensor:
    parts = [net[0].weight, net[0].bias, net[2].weight - net[2].weight.mean(0), net[2].bias - net[2].bias.mean()]
    return torch.cat([part.detach().abs().flatten() for part in parts])


def shifted(net: nn.Sequential) -> nn.Sequential:
    twin = copy.deepcopy(net)
    with torch.no_grad():
        twin[2].weight += torch.randn(9)
        twin[2].bias += 3.0
    return twin


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_mean_row_and_the_mean_bias_of_a_head_do_not_count(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    net = network()
    sizes = [weight_sizes(subject(one, dtype=dtype)) for one in (net, shifted(net))]
    torch.testing.assert_close(sizes[0], centered(net).to(dtype))
    torch.testing.assert_close(sizes[1], sizes[0], atol=1e-6, rtol=1e-5)


def test_they_do_not_at_any_temperature_nor_when_the_weight_alone_is_measured() -> None:
    torch.manual_seed(0)
    net = network()
    warm = subject(net).with_loss(tempered(functional_cross_entropy, 7.0))
    torch.testing.assert_close(weight_sizes(warm), centered(net))
    alone = weight_sizes(subject(net, params=["2.weight"]))
    torch.testing.assert_close(alone, (net[2].weight - net[2].weight.mean(0)).detach().abs().flatten())


def functional_cross_entropy(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return functional.cross_entropy(logits, labels, reduction="none")


def sigmoid_loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    wanted = functional.one_hot(labels, logits.shape[1]).to(logits)
    return functional.binary_cross_entropy_with_logits(logits, wanted, reduction="none").sum(1)


def confident() -> nn.Module:
    """A network whose logits saturate every sigmoid."""
    net = network()
    with torch.no_grad():
        net[2].weight *= 200
    return net


@pytest.mark.parametrize(
    ("net", "loss"),
    [
        (network, sigmoid_loss),
        (confident, sigmoid_loss),
        (lambda: network(nn.Linear(9, 4), nn.Tanh()), functional_cross_entropy),
        (lambda: network(Cosine(9, 4)), functional_cross_entropy),
        (lambda: network(Scaled(nn.Linear(9, 4))), functional_cross_entropy),  # its factors are all 1, but may move
    ],
)
def test_where_a_loss_depends_on_them_they_count(
    net: Callable[[], nn.Module], loss: Callable[..., torch.Tensor]
) -> None:
    torch.manual_seed(0)
    one = subject(net(), loss=loss)
    before = one.vector()
    assert torch.equal(weight_sizes(one), one.vector().abs())
    assert torch.equal(one.vector(), before)


def test_a_head_that_shares_its_weight_with_an_earlier_layer_keeps_it() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.head = nn.Linear(6, 6, bias=False), nn.Linear(6, 6, bias=False)
            self.head.weight = self.first.weight

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(torch.relu(self.first(x)))

    torch.manual_seed(0)
    one = subject(Tied())
    assert torch.equal(weight_sizes(one), one.vector().abs())
