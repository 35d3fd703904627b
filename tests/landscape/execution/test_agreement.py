"""Rewritten forms are used only where they are the same function, and differentiate to the same one."""

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, prune

from landscape.execution.bn_folding import FoldedNetwork
from landscape.execution.evaluate import Evaluator
from landscape.execution.traced import traced
from landscape.hessian.products.bn_fusion import fused
from landscape.hessian.products.operators import HessianFactory, Plan
from tests.landscape.execution.test_checks import subject
from tests.zoo.modules import Custom, Detached, Frozen, NamedRelu, Stateful
from tests.zoo.registry import Small, old


def wide(net: nn.Module) -> nn.Module:
    """With a head of four classes, statistics of its own, and room in its ReLU6."""
    torch.manual_seed(0)
    net.head = nn.Linear(16, 4)
    net.norm.running_mean.normal_()
    net.norm.weight.data.uniform_(2, 4)
    return net


def hooked(wrap) -> nn.Module:
    net = Small()
    net.conv = wrap(net.conv)
    return net


FORMS = {
    "plain": Small,
    "ReLU6 named relu": NamedRelu,
    "weight_norm": lambda: hooked(parametrizations.weight_norm),
    "hook-made weight_norm": lambda: hooked(lambda conv: old(nn.utils.weight_norm, conv)),
    "spectral_norm": lambda: hooked(parametrizations.spectral_norm),
    "hook-made spectral_norm": lambda: hooked(lambda conv: old(nn.utils.spectral_norm, conv)),
    "pruned": lambda: hooked(lambda conv: prune.random_unstructured(conv, "weight", 0.4)),
    "custom Function": Custom,
    "no_grad": Frozen,
    "detached": Detached,
    "stateful": Stateful,
}


@pytest.mark.parametrize("name", FORMS)
def test_losses_at_moved_weights_are_the_networks_own(name):
    of = subject(wide(FORMS[name]()), dtype=torch.float64)
    point = of.vector() * 1.3 + 0.05
    found = Evaluator(of).at(point).loss
    with of.placed(point), torch.no_grad():
        losses = of.loss(of.network(of.inputs(slice(0, 16))), of.labels)
    for s, subset in enumerate(of.subsets):
        assert found[s] == pytest.approx(float(losses[of.rows(subset)] @ of.weights(subset)), rel=1e-9)


@pytest.mark.parametrize("name", FORMS)
def test_products_are_the_networks_own(name):
    of = subject(wide(FORMS[name]()), dtype=torch.float64)
    vector = torch.randn(of.size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    products = [HessianFactory(of, Plan(8, keep=100, fused=fuse)).of(of.subsets[0])(vector) for fuse in (True, False)]
    torch.testing.assert_close(*products, rtol=0, atol=1e-9 * float(products[1].abs().max()))


def test_the_plain_network_is_folded_and_fused():
    of = subject(wide(Small()))
    assert FoldedNetwork(of.network).folded == 1 and fused(of) is not None
    assert Evaluator(of).form == "folded"


def test_a_block_without_gradients_that_tracing_sees_through_is_not_rewritten():
    assert fused(subject(wide(Frozen()))) is None


def test_tracing_leaves_no_proxy_in_a_networks_state():
    net = wide(Stateful()).eval()
    net(torch.zeros(1, 1, 6, 6))
    assert traced(net) is not None
    assert isinstance(net.kept, torch.Tensor)
